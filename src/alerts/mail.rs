//! An alert by e-mail, through the operator's mail server (SMTP, RFC 5321): in TLS, but on this machine.

use lettre::AsyncSmtpTransport;
use lettre::AsyncTransport;
use lettre::Tokio1Executor;
use lettre::address::Address;
use lettre::address::Envelope;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::Tls;
use lettre::transport::smtp::client::TlsParameters;
use lettre::transport::smtp::extension::ClientId;

use crate::alerts::AlertError;
use crate::alerts::Message;
use crate::alerts::PATIENCE;
use crate::alerts::Secret;
use crate::alerts::webhook::is_loopback;

/// Where e-mail goes out, from whom and to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    pub server: Server,
    /// Name and password, where the server wants them.
    pub login: Option<(String, Secret)>,
    pub from: String,
    pub to: Vec<String>,
}

/// A mail server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    pub host: String,
    pub port: u16,
    /// TLS from the first byte on; else it begins with STARTTLS, or on loopback not at all.
    pub tls: bool,
}

impl Server {
    /// Reads `smtps://HOST` (TLS, port 465), `smtp://HOST` (STARTTLS, port 587; on loopback port 25 and no TLS), each with
    /// another port if need be. `None` for all else, also for names and passwords in the address.
    pub fn parse(text: &str) -> Option<Self> {
        let (tls, rest) = match text.strip_prefix("smtps://") {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix("smtp://")?),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port)),
            _ => (rest, None),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':');
        if host.is_empty() || !host.chars().all(known) {
            return None;
        }
        let usual = match (tls, is_loopback(host)) {
            (true, _) => 465,
            (false, true) => 25,
            (false, false) => 587,
        };
        Some(Self {
            host: host.to_owned(),
            port: port.map_or(Some(usual), |port| port.parse().ok())?,
            tls,
        })
    }
}

/// Whether this can stand in an envelope and in a header: one address, without a name.
pub(crate) fn is_address(text: &str) -> bool {
    text.is_ascii() && text.parse::<Address>().is_ok()
}

impl Mail {
    pub(super) async fn send(&self, message: &Message) -> Result<(), AlertError> {
        let address = |text: &str| text.parse::<Address>().map_err(|_| AlertError::MailAddress);
        let to: Vec<Address> = self.to.iter().map(|to| address(to)).collect::<Result<_, _>>()?;
        let envelope = Envelope::new(Some(address(&self.from)?), to).map_err(|_| AlertError::MailAddress)?;
        let transport = self.transport().ok_or(AlertError::MailConnection)?;
        let letter = message.letter(&self.from, &self.to);
        let sent = transport.send_raw(&envelope, letter.as_bytes()).await;
        sent.map(drop).map_err(|error| match error.status() {
            Some(code) => match u16::from(code) {
                530 | 534 | 535 => AlertError::MailLogin,
                status => AlertError::MailRefused(status),
            },
            None => AlertError::MailConnection,
        })
    }

    fn transport(&self) -> Option<AsyncSmtpTransport<Tokio1Executor>> {
        let server = &self.server;
        let parameters = || TlsParameters::new(server.host.clone()).ok();
        let tls = match (server.tls, is_loopback(&server.host)) {
            (true, _) => Tls::Wrapper(parameters()?),
            (false, true) => Tls::None,
            (false, false) => Tls::Required(parameters()?),
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&server.host)
            .port(server.port)
            .tls(tls)
            // The name of this machine is nobody's business.
            .hello_name(ClientId::Domain("localhost".to_owned()))
            .timeout(Some(PATIENCE));
        if let Some((name, password)) = &self.login {
            builder = builder.credentials(Credentials::new(name.clone(), password.expose().to_owned()));
        }
        Some(builder.build())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_has_tls_from_the_start_or_begins_it() {
        let of = |text: &str| Server::parse(text).map(|s| (s.host, s.port, s.tls));
        let is = |host: &str, port, tls| Some((host.to_owned(), port, tls));
        assert_eq!(of("smtps://mail.example.org"), is("mail.example.org", 465, true));
        assert_eq!(of("smtp://mail.example.org/"), is("mail.example.org", 587, false));
        assert_eq!(
            of("smtp://mail.example.org:2525"),
            is("mail.example.org", 2525, false)
        );
        assert_eq!(of("smtp://localhost"), is("localhost", 25, false));
        assert_eq!(of("smtps://[2001:db8::1]:465"), is("2001:db8::1", 465, true));
        assert_eq!(of("smtps://2001:db8::1"), is("2001:db8::1", 465, true));
        for bad in [
            "mail.example.org",
            "smtp://",
            "smtp://u:p@mail.example.org",
            "smtp://a:b",
            "smtp://a b",
        ] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_address_is_one_and_nothing_but_one() {
        assert!(is_address("dpo@example.org"));
        for bad in [
            "",
            "dpo",
            "a@b, c@d",
            "Data <dpo@example.org>",
            "a@b\r\nBcc: c@d",
            "é@example.org",
        ] {
            assert!(!is_address(bad), "{bad}");
        }
    }
}
