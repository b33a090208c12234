//! RTSP sources in TLS: whose certificate is taken, and the way through it.
//!
//! Neither retina nor FFmpeg's libraries take a stream that somebody else opened, and neither can compare a
//! fingerprint. So TLS ends here, and they reach it through a port of the loopback interface that is there for
//! one connection: the one that says, in the agent of its first request, a number that was made for it. What
//! the source is asked with is therefore an address of this machine, consistently, also where it is hashed.
//!
//! Media comes in the same connection: by UDP it would be in the clear.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use rustls::CertificateError;
use rustls::ClientConfig;
use rustls::DigitallySignedStruct;
use rustls::Error as TlsError;
use rustls::RootCertStore;
use rustls::SignatureScheme;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::client::danger::ServerCertVerified;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::ServerName;
use rustls::pki_types::UnixTime;
use sha2::Digest;
use sha2::Sha256;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::address::Pull;
use super::error::PullError;
use crate::ingest::Context;

const NOT_POISONED: &str = "no panic happens while the lock is held";
/// The port of RTSP in TLS where an address names none.
const PORT: u16 = 322;
/// Longest head of a client's first request, bytes.
const MAX_HEAD: usize = 8 << 10;
/// How long somebody who connected may take to say who it is.
const FIRST_REQUEST: Duration = Duration::from_secs(1);

/// A certificate's SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Fingerprint([u8; 32]);

impl Fingerprint {
    fn of(certificate: &CertificateDer<'_>) -> Self {
        Self(Sha256::digest(certificate.as_ref()).into())
    }
    /// Reads 64 hexadecimal digits, with or without colons, as browsers and `openssl x509 -fingerprint` print them.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let digits = text.get(..7).filter(|p| p.eq_ignore_ascii_case("sha256:"));
        let digits = &text[digits.map_or(0, str::len)..];
        let digits: Vec<u8> = digits.bytes().filter(|b| *b != b':').collect();
        let value = |b: u8| char::from(b).to_digit(16);
        let byte = |pair: &[u8]| u8::try_from(value(pair[0])? << 4 | value(pair[1])?).ok();
        let bytes: Option<Vec<u8>> = digits.chunks_exact(2).map(byte).collect();
        let exact = digits.len().is_multiple_of(2);
        Some(Self(bytes.filter(|_| exact)?.try_into().ok()?))
    }
    fn hex(self) -> String {
        self.0.iter().map(|b| format!("{b:02x}")).collect()
    }
}

/// Whose certificate is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Trust {
    /// One that the system's authorities vouch for, for this host and now.
    System,
    /// This one alone, whatever else it says.
    Only(Fingerprint),
    Anybody,
}

/// Opens a way to a source in TLS. What comes back is where a client reaches it, as a source without TLS.
pub(super) async fn bridge(context: &Context, pull: &Pull) -> Result<Pull, PullError> {
    let far = connect(pull).await?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
    let listener = listener.map_err(|_| PullError::NoBridge)?;
    let port = listener.local_addr().map_err(|_| PullError::NoBridge)?.port();
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|_| PullError::NoBridge)?;
    let word: String = random.iter().map(|b| format!("{b:02x}")).collect();
    let near = pull.through(port, &word);
    let patience = pull.options.silence;
    context.tasks.spawn("tls", move |stop| async move {
        tokio::select! {
            _either_side_has_gone = carry(listener, far, &word, patience) => {}
            () = stop.cancelled() => {}
        }
    });
    Ok(near)
}

async fn connect(pull: &Pull) -> Result<TlsStream<TcpStream>, PullError> {
    let (host, port) = pull.host_and_port(PORT).ok_or(PullError::Unreachable)?;
    let name = ServerName::try_from(host.to_owned()).map_err(|_| PullError::Unreachable)?;
    let judge = Arc::new(Judge::new(pull.options.trust())?);
    let config = ClientConfig::builder_with_provider(Arc::clone(&judge.provider))
        .with_safe_default_protocol_versions()
        .map_err(|_| PullError::Tls)?
        .dangerous() // the judge decides, and asks the system's authorities unless told otherwise
        .with_custom_certificate_verifier(Arc::clone(&judge) as Arc<dyn ServerCertVerifier>)
        .with_no_client_auth();
    let socket = TcpStream::connect((host, port)).await;
    let socket = socket.map_err(|_| PullError::Unreachable)?;
    let _ = socket.set_nodelay(true);
    let shaken = TlsConnector::from(Arc::new(config)).connect(name, socket).await;
    shaken.map_err(|_| judge.refused().unwrap_or(PullError::Tls))
}

/// Carries bytes to and fro, for the client that knows the word.
async fn carry(
    listener: TcpListener,
    mut far: TlsStream<TcpStream>,
    word: &str,
    patience: Duration,
) -> io::Result<()> {
    let (mut near, request) = tokio::time::timeout(patience, admit(&listener, word)).await??;
    drop(listener);
    far.write_all(&request).await?;
    far.flush().await?;
    tokio::io::copy_bidirectional(&mut near, &mut far).await?;
    Ok(())
}

/// Waits for the client that was sent here; others, who must be on this machine, are let go.
async fn admit(listener: &TcpListener, word: &str) -> io::Result<(TcpStream, Vec<u8>)> {
    loop {
        let (mut socket, _) = listener.accept().await?;
        let head = tokio::time::timeout(FIRST_REQUEST, first_request(&mut socket)).await;
        if let Ok(Ok(head)) = head
            && head.windows(word.len()).any(|w| w == word.as_bytes())
        {
            let _ = socket.set_nodelay(true);
            return Ok((socket, head));
        }
    }
}

async fn first_request(socket: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    let mut socket = socket.take(MAX_HEAD as u64);
    while !head.ends_with(b"\r\n\r\n") {
        if socket.read_buf(&mut head).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(head)
}

/// Judges one certificate, and remembers why it did not take it.
#[derive(Debug)]
struct Judge {
    trust: Trust,
    provider: Arc<CryptoProvider>,
    authorities: Option<Arc<WebPkiServerVerifier>>,
    refused: Mutex<Option<(Fingerprint, &'static str)>>,
}

impl Judge {
    fn new(trust: Trust) -> Result<Self, PullError> {
        let provider = Arc::new(ring::default_provider());
        let authorities = match trust {
            Trust::System => Some(authorities(&provider)?),
            Trust::Only(_) | Trust::Anybody => None,
        };
        Ok(Self {
            trust,
            provider,
            authorities,
            refused: Mutex::default(),
        })
    }
    fn refused(&self) -> Option<PullError> {
        let (seen, why) = self.refused.lock().expect(NOT_POISONED).take()?;
        let seen = seen.hex();
        Some(match self.trust {
            Trust::Only(_) => PullError::OtherCertificate { seen },
            Trust::System | Trust::Anybody => PullError::Certificate { why, seen },
        })
    }
}

/// The system's own list of whom to believe.
fn authorities(provider: &Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>, PullError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|_| PullError::NoAuthorities)
}

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let seen = Fingerprint::of(certificate);
        let judged = match (&self.authorities, self.trust) {
            (_, Trust::Anybody) => Ok(ServerCertVerified::assertion()),
            (_, Trust::Only(pinned)) if pinned == seen => Ok(ServerCertVerified::assertion()),
            (Some(authorities), Trust::System) => {
                authorities.verify_server_cert(certificate, chain, name, ocsp, now)
            }
            _ => Err(CertificateError::ApplicationVerificationFailure.into()),
        };
        if let Err(e) = &judged {
            *self.refused.lock().expect(NOT_POISONED) = Some((seen, words(e)));
        }
        judged
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// What is wrong with a certificate, as the end of a sentence about it.
fn words(error: &TlsError) -> &'static str {
    let TlsError::InvalidCertificate(error) = error else {
        return "is not valid";
    };
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "is not valid yet",
        CertificateError::UnknownIssuer => "is vouched for by nobody whom this system trusts",
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "is for another name"
        }
        _ => "is not valid",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_read_as_tools_print_them() {
        let plain = "0123456789abcdef".repeat(4);
        let print = Fingerprint::parse(&plain).unwrap();
        assert_eq!(print.hex(), plain);
        let pairs: Vec<String> = print.0.iter().map(|b| format!("{b:02X}")).collect();
        for text in [
            pairs.join(":"),
            plain.to_uppercase(),
            format!("SHA256:{}", pairs.join(":")),
        ] {
            assert_eq!(Fingerprint::parse(&text), Some(print), "{text}");
        }
        for bad in [
            "",
            "ab",
            &plain[1..],
            &format!("{plain}00"),
            &format!("x{}", &plain[1..]),
            "ä",
        ] {
            assert_eq!(Fingerprint::parse(bad), None, "{bad}");
        }
    }
    #[tokio::test]
    async fn only_who_knows_the_word_is_let_through() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let at = listener.local_addr().unwrap();
        let say = async |agent: &str| {
            let mut socket = TcpStream::connect(at).await.unwrap();
            let request = format!("OPTIONS * RTSP/1.0\r\nUser-Agent: {agent}\r\n\r\n");
            socket.write_all(request.as_bytes()).await.unwrap();
            socket
        };
        let mut stranger = say("Louver/1").await;
        let _silent = TcpStream::connect(at).await.unwrap();
        let _ours = say("Louver/1 (c0ffee)").await;
        let (_socket, head) = admit(&listener, "c0ffee").await.unwrap();
        assert!(head.ends_with(b"Louver/1 (c0ffee)\r\n\r\n"));
        let mut answer = Vec::new();
        let _reset_or_end = stranger.read_to_end(&mut answer).await;
        assert!(answer.is_empty(), "the stranger was let go without a word");
    }
}
