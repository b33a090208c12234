//! The certificate that TLS listeners show: from the operator's files, or made by ourselves and kept.
//!
//! It can be read again while connections go on: those who come later get the new one. Not here: sockets.

use std::fmt;
use std::fs;
use std::io;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::RwLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::ClientHello;
use rustls::server::ResolvesServerCert;
use rustls::sign::CertifiedKey;
use sha2::Digest;
use sha2::Sha256;
use tokio_rustls::TlsAcceptor;

use crate::base::why::Why;

/// Where a certificate (with its chain) and its key are, both as PEM.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Files {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// Why there is no certificate to show. The files are the operator's own.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error(
        "{0} cannot be read ({why}); [tls] names it, and the user that runs louver must be able to read it",
        why = Why(*.1)
    )]
    Unreadable(PathBuf, io::ErrorKind),
    #[error("{0} holds no certificate; expected PEM with BEGIN CERTIFICATE")]
    NoCertificate(PathBuf),
    #[error("{0} holds no private key; expected PEM with BEGIN PRIVATE KEY")]
    NoKey(PathBuf),
    #[error("{} does not belong to {}, or is of a kind that is not known ({why})", files.key.display(), files.certificate.display())]
    Mismatch { files: Files, why: rustls::Error },
    #[error("{0} cannot be written ({1}); it is to keep the certificate that louver made for itself")]
    Unwritable(PathBuf, io::ErrorKind),
    #[error("no certificate could be made")]
    Making(#[source] rcgen::Error),
    #[error("TLS cannot be set up")]
    Setup(#[source] rustls::Error),
}

/// What TLS listeners show of themselves.
pub struct Identity {
    files: Files,
    current: Arc<Current>,
    config: Arc<ServerConfig>,
}

impl Identity {
    /// Takes the operator's certificate.
    ///
    /// # Errors
    /// When a file cannot be read or does not fit the other.
    pub fn load(files: Files) -> Result<Self, TlsError> {
        let current = Arc::new(Current(RwLock::new(Arc::new(read(&files)?))));
        let provider = Arc::new(ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Setup)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&current) as Arc<dyn ResolvesServerCert>);
        Ok(Self {
            files,
            current,
            config: Arc::new(config),
        })
    }
    /// Takes the certificate that is kept in a directory, or makes one for these names first.
    ///
    /// # Errors
    /// When none can be made or kept.
    pub fn kept_in(directory: &Path, names: &[String]) -> Result<Self, TlsError> {
        let files = Files {
            certificate: directory.join("tls-certificate.pem"),
            key: directory.join("tls-key.pem"),
        };
        if !files.certificate.exists() || !files.key.exists() {
            make(&files, names)?;
        }
        Self::load(files)
    }
    /// Reads the files again. Connections that are there keep what they have.
    ///
    /// # Errors
    /// When that fails; the former certificate stays.
    pub fn reload(&self) -> Result<(), TlsError> {
        let new = Arc::new(read(&self.files)?);
        *self.current.0.write().expect(NOT_POISONED) = new;
        Ok(())
    }
    /// What a listener needs.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.config))
    }
    /// SHA-256 of the certificate, as browsers and players show it.
    pub fn fingerprint(&self) -> String {
        let key = self.current.get();
        let digest = key.cert.first().map(|c| Sha256::digest(c.as_ref()));
        let pairs: Vec<String> = digest.iter().flatten().map(|b| format!("{b:02X}")).collect();
        pairs.join(":")
    }
}

const NOT_POISONED: &str = "no panic happens while the lock is held";

/// The certificate that is shown now.
struct Current(RwLock<Arc<CertifiedKey>>);

impl Current {
    fn get(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.0.read().expect(NOT_POISONED))
    }
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Current")
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.get())
    }
}

fn read(files: &Files) -> Result<CertifiedKey, TlsError> {
    let pem = |file: &PathBuf| fs::read(file).map_err(|e| TlsError::Unreadable(file.clone(), e.kind()));
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&pem(&files.certificate)?)
        .collect::<Result<_, _>>()
        .unwrap_or_default();
    if chain.is_empty() {
        return Err(TlsError::NoCertificate(files.certificate.clone()));
    }
    let key =
        PrivateKeyDer::from_pem_slice(&pem(&files.key)?).map_err(|_| TlsError::NoKey(files.key.clone()))?;
    CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(|why| TlsError::Mismatch {
        files: files.clone(),
        why,
    })
}

/// A certificate that nobody signed, for people who compare fingerprints.
fn make(files: &Files, names: &[String]) -> Result<(), TlsError> {
    let key = rcgen::KeyPair::generate().map_err(TlsError::Making)?;
    let mut params = rcgen::CertificateParams::new(names).map_err(TlsError::Making)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "Louver");
    // As long as it is kept: there is nobody who would renew it.
    params.not_before = rcgen::date_time_ymd(2024, 1, 1);
    params.not_after = rcgen::date_time_ymd(2049, 12, 31);
    let certificate = params.self_signed(&key).map_err(TlsError::Making)?;
    write(&files.key, &pem("PRIVATE KEY", &key.serialize_der()), 0o600)?;
    write(&files.certificate, &pem("CERTIFICATE", certificate.der()), 0o644)
}

/// RFC 7468.
fn pem(label: &str, der: &[u8]) -> String {
    let base64 = STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in base64.as_bytes().chunks(64) {
        text.extend(line.iter().map(|b| char::from(*b)));
        text.push('\n');
    }
    text + &format!("-----END {label}-----\n")
}

fn write(file: &Path, text: &str, mode: u32) -> Result<(), TlsError> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    let written = options
        .open(file)
        .and_then(|mut f| f.write_all(text.as_bytes()).and_then(|()| f.sync_all()));
    written.map_err(|e| TlsError::Unwritable(file.to_owned(), e.kind()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Vec<String> {
        vec!["localhost".to_owned(), "127.0.0.1".to_owned()]
    }

    #[test]
    fn a_certificate_is_made_once_kept_and_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let first = Identity::kept_in(dir.path(), &names()).unwrap();
        let fingerprint = first.fingerprint();
        assert_eq!(fingerprint.len(), 32 * 3 - 1);
        assert_eq!(
            Identity::kept_in(dir.path(), &names()).unwrap().fingerprint(),
            fingerprint
        );
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(dir.path().join("tls-key.pem"))
                .unwrap()
                .permissions();
            assert_eq!(mode.mode() & 0o777, 0o600, "nobody else reads the key");
        }
    }

    #[test]
    fn a_new_certificate_is_shown_after_a_reload_and_a_broken_one_is_not() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let shown = Identity::kept_in(dir.path(), &names()).unwrap();
        let before = shown.fingerprint();
        let new = Identity::kept_in(other.path(), &names()).unwrap();
        fs::copy(&new.files.key, &shown.files.key).unwrap();
        assert!(matches!(shown.reload(), Err(TlsError::Mismatch { .. })));
        assert_eq!(shown.fingerprint(), before);
        fs::copy(&new.files.certificate, &shown.files.certificate).unwrap();
        shown.reload().unwrap();
        assert_eq!(shown.fingerprint(), new.fingerprint());
    }

    #[test]
    fn errors_name_the_file_and_what_was_expected() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files {
            certificate: dir.path().join("c.pem"),
            key: dir.path().join("k.pem"),
        };
        let error = |files: &Files| Identity::load(files.clone()).err().expect("an error").to_string();
        assert!(error(&files).contains("c.pem cannot be read"));
        fs::write(&files.certificate, "nonsense").unwrap();
        assert!(error(&files).contains("c.pem holds no certificate"));
        make(&files, &names()).unwrap();
        fs::write(&files.key, "nonsense").unwrap();
        assert!(error(&files).contains("k.pem holds no private key"));
    }
}
