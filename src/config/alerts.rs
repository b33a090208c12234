//! The rules of `[alerts]`.

use crate::alerts::Mail;
use crate::alerts::Options;
use crate::alerts::Secret;
use crate::alerts::Server;
use crate::alerts::Target;
use crate::alerts::Webhook;
use crate::alerts::is_address;
use crate::config::file::AlertsFile;
use crate::config::file::Text;
use crate::config::values::Checker;
use crate::config::values::each;

/// Shorter secrets can be guessed.
const LEAST_SECRET: usize = 24;
/// Who may get alerts.
const MOST_ADDRESSES: usize = 16;

impl Checker<'_> {
    pub(super) fn alerts(&mut self, f: &AlertsFile) -> Options {
        Options {
            mail: self.mail(f),
            webhook: self.webhook(f),
        }
    }

    fn mail(&mut self, f: &AlertsFile) -> Option<Mail> {
        let login = self.login(f);
        let from = self.address("from", &f.from);
        let to = self.recipients(f);
        let smtp = f.smtp.as_ref().filter(|raw| !raw.get_ref().is_empty());
        let Some(smtp) = smtp else {
            for raw in [&f.smtp_user, &f.from].into_iter().flatten() {
                self.wrong(
                    &raw.span(),
                    "this does nothing without smtp, expected smtp = \"smtps://HOST\" beside it",
                );
            }
            return None;
        };
        let Some(server) = Server::parse(smtp.get_ref()) else {
            self.wrong(
                &smtp.span(),
                "smtp is no mail server, expected as in \"smtps://mail.example.org\" (TLS, port 465) or \
                 \"smtp://mail.example.org:587\" (STARTTLS); name and password go into smtp_user and smtp_password",
            );
            return None;
        };
        if from.is_none() || to.is_empty() {
            self.wrong(
                &smtp.span(),
                "smtp alone sends nothing, expected from = \"louver@example.org\" and to = [\"you@example.org\"] beside it",
            );
        }
        Some(Mail {
            server,
            login,
            from: from.unwrap_or_default(),
            to,
        })
    }

    fn login(&mut self, f: &AlertsFile) -> Option<(String, Secret)> {
        match (&f.smtp_user, &f.smtp_password) {
            (Some(user), Some(password)) => Some((user.get_ref().clone(), Secret::new(password.get_ref()))),
            (Some(one), None) | (None, Some(one)) => {
                self.wrong(
                    &one.span(),
                    "name and password belong together, expected both, smtp_user and smtp_password, or neither",
                );
                None
            }
            (None, None) => None,
        }
    }

    fn address(&mut self, key: &str, raw: &Text) -> Option<String> {
        let raw = raw.as_ref().filter(|raw| !raw.get_ref().is_empty())?;
        if !is_address(raw.get_ref()) {
            let message =
                format!("{key} is no e-mail address, expected one without a name, as in \"a@example.org\"");
            self.wrong(&raw.span(), &message);
        }
        Some(raw.get_ref().clone())
    }

    fn recipients(&mut self, f: &AlertsFile) -> Vec<String> {
        let mut to = Vec::new();
        for (text, span) in f.to.iter().flat_map(each) {
            if !is_address(text) {
                self.wrong(
                    &span,
                    "this is no e-mail address, expected one without a name, as in \"a@example.org\"",
                );
            }
            to.push(text.to_owned());
        }
        if let Some(raw) = f.to.as_ref().filter(|_| to.len() > MOST_ADDRESSES) {
            let message = format!("to has too many addresses, expected {MOST_ADDRESSES} at most");
            self.wrong(&raw.span(), &message);
        }
        to
    }

    fn webhook(&mut self, f: &AlertsFile) -> Option<Webhook> {
        let secret = f.webhook_secret.as_ref().filter(|raw| !raw.get_ref().is_empty());
        let webhook = f.webhook.as_ref().filter(|raw| !raw.get_ref().is_empty());
        if let Some(raw) = secret.filter(|raw| raw.get_ref().len() < LEAST_SECRET) {
            let message = format!(
                "webhook_secret can be guessed, expected {LEAST_SECRET} characters or more, as \
                 `openssl rand -base64 32` prints them"
            );
            self.wrong(&raw.span(), &message);
        }
        let Some(webhook) = webhook else {
            if let Some(raw) = secret {
                self.wrong(
                    &raw.span(),
                    "webhook_secret does nothing without webhook, expected its address beside it",
                );
            }
            return None;
        };
        let Some(secret) = secret else {
            self.wrong(
                &webhook.span(),
                "a webhook that is not signed can be forged, expected webhook_secret beside it",
            );
            return None;
        };
        let Some(target) = Target::parse(webhook.get_ref()) else {
            self.wrong(
                &webhook.span(),
                "webhook is no address, expected as in \"https://hooks.example.org/louver\" (http:// on this machine \
                 alone), without name and password",
            );
            return None;
        };
        Some(Webhook {
            target,
            secret: Secret::new(secret.get_ref()),
        })
    }
}
