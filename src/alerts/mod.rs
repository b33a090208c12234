//! Alerts on their way to people: by e-mail and to a web server. (Into the log and the audit trail they go in `audit`.)
//!
//! Each way has a task of its own behind a bounded queue, so that neither waits for the other and nobody waits for
//! either. What cannot be delivered is tried again with growing pauses, and then counted and told in the log. An alert is
//! made of a rule, of who acted (a kind, or the tag of an account) and of a time; it has no place for anything of a viewer.
//!
//! Not here: the rules (`audit::rules`), the configuration's text (`config`).

mod mail;
mod message;
mod webhook;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::audit::Sink;
use crate::base::tasks::Tasks;
use crate::telemetry::Metrics;
use crate::telemetry::Reason;

pub use crate::alerts::mail::Mail;
pub use crate::alerts::mail::Server;
pub(crate) use crate::alerts::mail::is_address;
pub use crate::alerts::message::Message;
pub use crate::alerts::webhook::Target;
pub use crate::alerts::webhook::Webhook;

/// Alerts that may wait for one way.
const QUEUE: usize = 64;
/// Pauses before another try; after the last one, an alert is given up.
const PAUSES: [Duration; 5] = [
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_secs(120),
    Duration::from_secs(600),
];
/// How long one try may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long alerts still go out once the program was told to end.
const LAST: Duration = Duration::from_millis(800);

/// Where alerts go, beside the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    pub mail: Option<Mail>,
    pub webhook: Option<Webhook>,
}

/// A password or a key. Not printed, and wiped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes it in.
    pub fn new(text: &str) -> Self {
        Self(Zeroizing::new(text.to_owned()))
    }
    fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Why an alert could not be delivered. Names neither hosts nor what they answered, which may repeat what was said to them.
#[derive(Debug, thiserror::Error)]
pub enum AlertError {
    #[error("the mail server cannot be reached or refused the connection; look at [alerts] smtp")]
    MailConnection,
    #[error("the mail server refused name and password; look at [alerts] smtp_user and smtp_password")]
    MailLogin,
    #[error("the mail server refused the message with status {0}; look at [alerts] from and to")]
    MailRefused(u16),
    #[error("the addresses in [alerts] from and to cannot be used")]
    MailAddress,
    #[error("the web server cannot be reached; look at [alerts] webhook")]
    WebhookConnection,
    #[error("the web server's certificate is not believed, or it speaks no TLS")]
    WebhookTls,
    #[error("the web server answered with status {0}, expected 2xx")]
    WebhookRefused(u16),
    #[error("there was no answer within 20 s")]
    Timeout,
}

impl AlertError {
    /// Whether trying the same again is of no use.
    fn is_final(&self) -> bool {
        match self {
            Self::MailAddress => true,
            // 4xx of SMTP is of the moment; of HTTP only these two.
            Self::MailRefused(status) => *status >= 500,
            Self::WebhookRefused(status) => (400..500).contains(status) && ![408, 429].contains(status),
            _ => false,
        }
    }
}

/// One way out.
enum Way {
    Mail(Mail),
    Webhook(Webhook),
}

impl Way {
    fn all(options: &Options) -> Vec<Self> {
        let mail = options.mail.clone().map(Self::Mail);
        mail.into_iter()
            .chain(options.webhook.clone().map(Self::Webhook))
            .collect()
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Mail(_) => "e-mail",
            Self::Webhook(_) => "webhook",
        }
    }

    async fn send(&self, message: &Message) -> Result<(), AlertError> {
        let sent = async {
            match self {
                Self::Mail(mail) => mail.send(message).await,
                Self::Webhook(webhook) => webhook.send(message).await,
            }
        };
        tokio::time::timeout(PATIENCE, sent)
            .await
            .unwrap_or(Err(AlertError::Timeout))
    }
}

/// Starts a task for each way. The sink never waits: it says no when a queue is full.
pub fn start(tasks: &Tasks, options: &Options, metrics: &Arc<Metrics>) -> Sink {
    start_with(tasks, options, metrics, PAUSES.to_vec())
}

fn start_with(tasks: &Tasks, options: &Options, metrics: &Arc<Metrics>, pauses: Vec<Duration>) -> Sink {
    let mut queues = Vec::new();
    for way in Way::all(options) {
        let (queue, waiting) = mpsc::channel(QUEUE);
        queues.push(queue);
        let (metrics, pauses) = (Arc::clone(metrics), pauses.clone());
        tasks.spawn("alerts", move |stop| deliver(way, waiting, pauses, metrics, stop));
    }
    let metrics = Arc::clone(metrics);
    Box::new(move |alert| {
        let message = Message::of(&alert);
        let full = queues
            .iter()
            .filter(|queue| queue.try_send(message.clone()).is_err());
        let lost = full.count() as u64;
        if lost > 0 {
            metrics.lose(Reason::AlertNotSent, lost);
        }
        lost == 0
    })
}

/// Ends when the trail has ended and all is sent, or a moment after the program was told to end.
async fn deliver(
    way: Way,
    mut waiting: mpsc::Receiver<Message>,
    pauses: Vec<Duration>,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) {
    let on_its_way = AtomicBool::new(false);
    let work = async {
        while let Some(message) = waiting.recv().await {
            on_its_way.store(true, Ordering::Relaxed);
            let sent = insist(&way, &message, &pauses, &stop).await;
            on_its_way.store(false, Ordering::Relaxed);
            if let Err(error) = sent {
                metrics.lose(Reason::AlertNotSent, 1);
                tracing::error!(
                    rule = message.rule(),
                    way = way.name(),
                    %error,
                    "An alert could not be delivered; it is in the audit trail."
                );
            }
        }
    };
    let end = async {
        stop.cancelled().await;
        tokio::time::sleep(LAST).await;
    };
    tokio::select! {
        () = work => return,
        () = end => {}
    }
    let left = waiting.len() as u64 + u64::from(on_its_way.load(Ordering::Relaxed));
    if left > 0 {
        metrics.lose(Reason::AlertNotSent, left);
        tracing::error!(
            left,
            way = way.name(),
            "The program ends; alerts are left in the audit trail alone."
        );
    }
}

/// Sends until it works, is of no use, or the program ends.
async fn insist(
    way: &Way,
    message: &Message,
    pauses: &[Duration],
    stop: &CancellationToken,
) -> Result<(), AlertError> {
    let mut pauses = pauses.iter();
    loop {
        let error = match way.send(message).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        let Some(pause) = pauses
            .next()
            .filter(|_| !error.is_final() && !stop.is_cancelled())
        else {
            return Err(error);
        };
        tracing::warn!(way = way.name(), %error, "An alert is tried again.");
        tokio::select! {
            () = tokio::time::sleep(*pause) => {}
            () = stop.cancelled() => {}
        }
    }
}

/// Sends one message that says it is a test, by every way and once; how each went.
pub async fn test(options: &Options, now: i64) -> Vec<(&'static str, Result<(), AlertError>)> {
    let message = Message::test(now);
    let mut done = Vec::new();
    for way in Way::all(options) {
        done.push((way.name(), way.send(&message).await));
    }
    done
}

#[cfg(test)]
mod tests;
