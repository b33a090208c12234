//! Whose certificate a pulled source in TLS may show: one that the system's authorities vouch for, or the one that
//! is pinned. The far end is a relay of our own.

use std::path::Path;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::BasicConstraints;
use rcgen::CertificateParams;
use rcgen::DnType;
use rcgen::IsCa;
use rcgen::Issuer;
use rcgen::KeyPair;
use sha2::Digest;
use sha2::Sha256;

use crate::canary::Canary;
use crate::clips;
use crate::clips::Clip;
use crate::peers::Peer;
use crate::peers::Transport;
use crate::peers::ffmpeg;
use crate::relay::Options;
use crate::relay::Relay;
use crate::relay::eventually;

const PASSWORD: &str = "pinned-pass-7q";
const QUICK: &str = "retry_first=50ms&retry_max=500ms";

/// Somebody who signs certificates, and whom an edge may be told to believe.
struct Authority {
    dir: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        pem(&dir.path().join("ca.pem"), "CERTIFICATE", certificate.der());
        let issuer = Issuer::new(params, key);
        Self { dir, issuer }
    }
    fn file(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }
    /// A relay that shows a certificate for this name until this year, and the certificate's fingerprint.
    fn origin(&self, name: &str, until: i32) -> (Origin, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2019, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let dir = tempfile::tempdir().unwrap();
        pem(&dir.path().join("cert.pem"), "CERTIFICATE", certificate.der());
        pem(&dir.path().join("key.pem"), "PRIVATE KEY", &key.serialize_der());
        let digest = Sha256::digest(certificate.der());
        let fingerprint = digest.iter().map(|b| format!("{b:02x}")).collect();
        (Origin::new(dir), fingerprint)
    }
}

fn pem(to: &Path, label: &str, der: &[u8]) {
    let text = format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        STANDARD.encode(der)
    );
    std::fs::write(to, text).unwrap();
}

/// A relay with a clip on path `cam`.
struct Origin {
    relay: Relay,
    _publisher: Peer,
    _dir: tempfile::TempDir,
}

impl Origin {
    fn new(dir: tempfile::TempDir) -> Self {
        let file = |name: &str| dir.path().join(name).display().to_string();
        let tls = format!(
            "[tls]\ncertificate = \"{}\"\nkey = \"{}\"",
            file("cert.pem"),
            file("key.pem")
        );
        let relay = Relay::start(Options::publish().config(&tls).rtsps());
        let publisher = ffmpeg::publish(clip(), &relay.rtsp("cam"), Transport::Tcp);
        relay.wait_for_state("cam", "ready");
        Self {
            relay,
            _publisher: publisher,
            _dir: dir,
        }
    }
    /// It as a source, asked for with a password that nobody may see.
    fn source(&self, path: &str, more: &str) -> String {
        let url = self
            .relay
            .rtsps("cam")
            .replace("://", &format!("://anna:{PASSWORD}@"));
        format!("{path}={url}#{QUICK}{more}")
    }
}

fn clip() -> &'static Clip {
    clips::h264()
}

/// A relay that pulls these, and believes this authority alone.
fn edge(authority: &Authority, sources: &[String]) -> Relay {
    let sources: Vec<&str> = sources.iter().map(String::as_str).collect();
    let file = authority.file().display().to_string();
    let options = Options::sources(&sources).env("SSL_CERT_FILE", &file);
    let mut relay = Relay::start(options);
    relay.expect_no_trace_of(Canary::text(PASSWORD));
    relay
}

fn error(relay: &Relay, path: &str) -> String {
    eventually("an error", || {
        let paths = relay.api("/api/v1/paths");
        let items = paths["items"].as_array()?;
        let item = items.iter().find(|p| p["path"] == path)?;
        item["last_error"].as_str().map(str::to_owned)
    })
}

#[track_caller]
fn plays(relay: &Relay, path: &str) {
    relay.wait_for_state(path, "ready");
    let got = ffmpeg::read(&relay.rtsp(path), Transport::Tcp, 30);
    clips::assert_contiguous(&clip().pictures, &got, 30, path);
}

#[test]
fn a_certificate_that_the_system_believes_is_taken_for_its_own_name_only() {
    let authority = Authority::new("Authority");
    let (right, _) = authority.origin("localhost", 2049);
    let (other, seen) = authority.origin("camera.example", 2049);
    let sources = [right.source("right", ""), other.source("other", "")];
    let edge = edge(&authority, &sources);
    plays(&edge, "right");
    let why = error(&edge, "other");
    assert!(
        why.contains("is for another name") && why.contains(&seen),
        "{why}"
    );
    let log = edge.stop();
    assert!(
        !log.contains("FFmpeg's libraries"),
        "packets are passed on: {log}"
    );
}

#[test]
fn a_certificate_of_nobody_is_refused_until_its_fingerprint_is_pinned() {
    let (authority, stranger) = (Authority::new("Authority"), Authority::new("Somebody"));
    let (camera, seen) = stranger.origin("localhost", 2049);
    let colons: Vec<String> = seen
        .as_bytes()
        .chunks(2)
        .map(|pair| String::from_utf8_lossy(pair).to_uppercase())
        .collect();
    let sources = [
        camera.source("refused", ""),
        camera.source("pinned", &format!("&fingerprint={seen}")),
        camera.source("colons", &format!("&fingerprint={}", colons.join(":"))),
        camera.source("wrong", &format!("&fingerprint={}", "ab".repeat(32))),
        camera.source("any", "&insecure=1"),
    ];
    let edge = edge(&authority, &sources);
    let why = error(&edge, "refused");
    assert!(why.contains("vouched for by nobody"), "{why}");
    assert!(why.contains(&format!("write `fingerprint={seen}`")), "{why}");
    for path in ["pinned", "colons", "any"] {
        plays(&edge, path);
    }
    let why = error(&edge, "wrong");
    assert!(
        why.contains("is not the one with the `fingerprint`") && why.contains(&seen),
        "{why}"
    );
    edge.stop();
}

#[test]
fn an_expired_certificate_is_refused_unless_it_is_the_pinned_one() {
    let authority = Authority::new("Authority");
    let (camera, seen) = authority.origin("localhost", 2020);
    let sources = [
        camera.source("refused", ""),
        camera.source("pinned", &format!("&fingerprint={seen}")),
    ];
    let edge = edge(&authority, &sources);
    let why = error(&edge, "refused");
    assert!(why.contains("has expired") && why.contains(&seen), "{why}");
    plays(&edge, "pinned");
    edge.stop();
}

/// What FFmpeg's libraries open. The far end's listener answers to HTTP with 404, to who gets as far as asking.
#[test]
fn downloads_in_tls_are_checked_as_well() {
    let (authority, stranger) = (Authority::new("Authority"), Authority::new("Somebody"));
    let (believed, _) = authority.origin("localhost", 2049);
    let (camera, _) = stranger.origin("localhost", 2049);
    let source = |path: &str, origin: &Origin, more: &str| {
        let port = origin.relay.addr("rtsps").port();
        format!("{path}=https://localhost:{port}/film.ts#{QUICK}{more}")
    };
    let sources = [
        source("believed", &believed, ""),
        source("refused", &camera, ""),
        source("any", &camera, "&insecure=1"),
    ];
    let edge = edge(&authority, &sources);
    for path in ["believed", "any"] {
        let why = error(&edge, path);
        assert!(why.contains("404"), "{path}: {why}");
    }
    let why = error(&edge, "refused");
    assert!(!why.contains("404"), "it was not asked: {why}");
    edge.stop();
}
