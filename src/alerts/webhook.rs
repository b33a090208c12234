//! An alert to a web server: `POST` with a JSON body, signed as Standard Webhooks 1.0 has it.
//!
//! `webhook-signature` is `v1,` and the base64 of HMAC-SHA-256 under the shared secret over `ID.TIMESTAMP.BODY`, where the
//! time is that of the sending: who receives it can refuse what is forged, changed, or old. Of the answer nothing but the
//! status is read.

use std::pin::pin;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::Hmac;
use hmac::KeyInit;
use hmac::Mac;
use http_body_util::Full;
use hyper::Request;
use hyper::Uri;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use sha2::Sha256;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use crate::alerts::AlertError;
use crate::alerts::Message;
use crate::alerts::Secret;
use crate::base::clock::Clock;
use crate::base::clock::SystemClock;

/// How a secret in base64 begins.
const PREFIX: &str = "whsec_";

/// Where alerts are sent, and what they are signed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    pub target: Target,
    pub secret: Secret,
}

/// A place on a web server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub tls: bool,
    pub host: String,
    pub port: u16,
    /// With the query.
    pub path: String,
}

impl Target {
    /// Reads `https://HOST/PATH`, or `http://` on loopback: elsewhere it could be read and changed on the way. `None` for all
    /// else, also for names and passwords in the address.
    pub fn parse(text: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        let tls = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let host = uri
            .host()?
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        if uri.authority()?.as_str().contains('@') || host.is_empty() || !tls && !is_loopback(&host) {
            return None;
        }
        Some(Self {
            tls,
            host,
            port: uri.port_u16().unwrap_or(if tls { 443 } else { 80 }),
            path: uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
        })
    }

    /// As it stands in a request.
    fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

/// Whether a host is this machine.
pub(super) fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

impl Webhook {
    pub(super) async fn send(&self, message: &Message) -> Result<(), AlertError> {
        let target = &self.target;
        let tcp = TcpStream::connect((target.host.as_str(), target.port))
            .await
            .map_err(|_| AlertError::WebhookConnection)?;
        let request = self.request(message);
        if !target.tls {
            return post(tcp, request).await;
        }
        let name = ServerName::try_from(target.host.clone()).map_err(|_| AlertError::WebhookTls)?;
        let connector = connector().ok_or(AlertError::WebhookTls)?;
        let tls = connector.connect(name, tcp).await;
        post(tls.map_err(|_| AlertError::WebhookTls)?, request).await
    }

    fn request(&self, message: &Message) -> Request<Full<Bytes>> {
        let since = SystemClock.wall().duration_since(std::time::UNIX_EPOCH);
        let now = since.unwrap_or_default().as_secs().to_string();
        let body = message.json();
        Request::post(&self.target.path)
            .header(header::HOST, self.target.authority())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, concat!("louver/", env!("CARGO_PKG_VERSION")))
            .header(header::CONNECTION, "close")
            .header("webhook-id", message.id())
            .header("webhook-timestamp", &now)
            .header("webhook-signature", self.signature(message.id(), &now, &body))
            .body(Full::new(Bytes::from(body)))
            .expect("the path was part of an address, all else is plain text")
    }

    /// `v1,` and the base64 of the MAC.
    fn signature(&self, id: &str, timestamp: &str, body: &str) -> String {
        let secret = self.secret.expose();
        let decoded = secret
            .strip_prefix(PREFIX)
            .and_then(|text| STANDARD.decode(text).ok());
        let key = Zeroizing::new(decoded.unwrap_or_else(|| secret.as_bytes().to_vec()));
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("a key of any length is taken");
        for part in [id, ".", timestamp, ".", body] {
            mac.update(part.as_bytes());
        }
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

/// Believes the authorities of this system.
fn connector() -> Option<TlsConnector> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .ok()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Some(TlsConnector::from(Arc::new(config)))
}

async fn post<S>(stream: S, request: Request<Full<Bytes>>) -> Result<(), AlertError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let shaken = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = shaken.map_err(|_| AlertError::WebhookConnection)?;
    // Both in this task: the connection is worked on until there is an answer, which may come with its end.
    let (mut connection, mut ended) = (pin!(connection), false);
    let mut answer = pin!(sender.send_request(request));
    let answer = loop {
        tokio::select! {
            biased;
            answer = &mut answer => break answer,
            _ = &mut connection, if !ended => ended = true,
        }
    };
    match answer
        .map_err(|_| AlertError::WebhookConnection)?
        .status()
        .as_u16()
    {
        200..=299 => Ok(()),
        status => Err(AlertError::WebhookRefused(status)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_in_tls_or_on_this_machine() {
        let target = Target::parse("https://hooks.example.org/louver?x=1").unwrap();
        assert_eq!(
            (target.tls, target.port, target.path.as_str()),
            (true, 443, "/louver?x=1")
        );
        for good in [
            "http://127.0.0.1:9/a",
            "http://[::1]/",
            "http://localhost",
            "https://[2001:db8::1]:8443/",
        ] {
            assert!(Target::parse(good).is_some(), "{good}");
        }
        for bad in [
            "http://hooks.example.org/",
            "https://u:p@hooks.example.org/",
            "ftp://127.0.0.1/",
            "hooks.example.org",
            "https://",
            "",
        ] {
            assert!(Target::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn the_signature_is_that_of_the_standard() {
        // The example of the Standard Webhooks specification.
        let webhook = Webhook {
            target: Target::parse("http://localhost/").unwrap(),
            secret: Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        };
        let signature = webhook.signature(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            "1614265330",
            "{\"test\": 2432232314}",
        );
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }
}
