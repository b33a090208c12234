//! RTSP in other things: TLS, HTTP (GET and POST), WebSocket. What proxies and broken players do to tunnels, and who
//! has no TLS. Real players and publishers through TLS, HTTP and SRTP are in `matrix`.

use std::io::Read;
use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::bridge::Bridge;
use crate::clips;
use crate::clips::assert_contiguous;
use crate::peers::Transport;
use crate::peers::ffmpeg;
use crate::relay::DEADLINE;
use crate::relay::Options;
use crate::relay::Relay;
use crate::relay::eventually;

/// Two seconds: two keyframes.
const PICTURES: usize = 50;

#[test]
fn websockets_carry_publishers_and_readers_unchanged() {
    let relay = Relay::start(Options::publish());
    let clip = clips::h264();
    let onvif = Bridge::start(relay.addr("rtsp"), Some("rtsp.onvif.org"));
    let plain = Bridge::start(relay.addr("rtsp"), None);
    let url = |bridge: &Bridge| format!("rtsp://{}/mystream", bridge.addr);
    let _publisher = ffmpeg::publish(clip, &url(&plain), Transport::Tcp);
    relay.wait_for_state("mystream", "ready");
    thread::scope(|s| {
        for (url, who) in [
            (url(&onvif), "with ONVIF's subprotocol"),
            (url(&plain), "without a subprotocol"),
            (relay.rtsp("mystream"), "without a WebSocket"),
        ] {
            s.spawn(move || {
                let got = ffmpeg::read(&url, Transport::Tcp, PICTURES);
                assert_contiguous(&clip.pictures, &got, PICTURES - 2, who);
            });
        }
    });
    relay.stop();
}

/// A connection of HTTP, by hand.
struct Half(TcpStream);

impl Half {
    fn send(to: SocketAddr, text: &str) -> Self {
        let mut stream = TcpStream::connect(to).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.write_all(text.replace('\n', "\r\n").as_bytes()).unwrap();
        Self(stream)
    }
    /// Reads until this was read.
    #[track_caller]
    fn expect(&mut self, text: &str) -> String {
        let mut seen = Vec::new();
        while !String::from_utf8_lossy(&seen).contains(text) {
            let mut bytes = [0; 4096];
            let n = self.0.read(&mut bytes).unwrap();
            assert!(n > 0, "waited for {text:?}: {}", String::from_utf8_lossy(&seen));
            seen.extend_from_slice(&bytes[..n]);
        }
        String::from_utf8_lossy(&seen).into_owned()
    }
}

fn options(cseq: u32) -> String {
    STANDARD.encode(format!("OPTIONS * RTSP/1.0\r\nCSeq: {cseq}\r\n\r\n"))
}

#[test]
fn a_tunnel_outlives_its_posts_and_takes_them_in_any_order_and_in_any_pieces() {
    let relay = Relay::start(Options::publish());
    let at = relay.addr("rtsp");
    const GET: &str = "GET /cam HTTP/1.0\nx-sessioncookie: c00k1e\nAccept: application/x-rtsp-tunnelled\n\n";
    const POST: &str = "POST /cam HTTP/1.1\nVia: 1.1 proxy\nX-SessionCookie: c00k1e\n\
                        Content-Type: application/x-rtsp-tunnelled\nContent-Length: 999999999\n\n";
    // The POST comes first; its request comes byte by byte.
    let mut post = Half::send(at, POST);
    let mut get = Half::send(at, GET);
    get.expect("application/x-rtsp-tunnelled\r\n\r\n");
    for byte in options(1).bytes() {
        post.0.write_all(&[byte]).unwrap();
    }
    get.expect("CSeq: 1\r\n");
    // Closed, and opened again: QuickTime and live555 do so. The request is in the same piece as the head.
    drop(post);
    let post = Half::send(at, &format!("{POST}{}", options(2)));
    get.expect("CSeq: 2\r\n");
    // A third one while the second is still open.
    let _third = Half::send(at, &format!("{POST}{}\n", options(3)));
    get.expect("CSeq: 3\r\n");
    drop(post);
    // The GET's end is the tunnel's: its cookie is free again.
    drop(get);
    eventually("the cookie is free", || {
        let mut again = Half::send(at, GET);
        let answer = again.expect("\r\n\r\n");
        answer.starts_with("HTTP/1.0 200").then_some(())
    });
    let log = relay.stop();
    assert!(!log.contains("c00k1e"), "{log}");
}

#[test]
fn what_is_no_tunnel_is_refused_and_what_lacks_its_other_half_ends() {
    let relay = Relay::start(Options::publish());
    let at = relay.addr("rtsp");
    let mut page = Half::send(at, "GET / HTTP/1.1\nHost: localhost\n\n");
    assert!(page.expect("another one").starts_with("HTTP/1.1 404"));
    let mut nonsense = Half::send(at, "GET / HTTP/1.1\nno header\n\n");
    assert!(nonsense.expect("no HTTP").starts_with("HTTP/1.1 400"));
    let mut lonely = Half::send(at, "POST / HTTP/1.1\nx-sessioncookie: a\n\n");
    let mut waiting = Half::send(at, "GET / HTTP/1.1\nx-sessioncookie: b\n\n");
    waiting.expect("\r\n\r\n");
    // A second GET cannot take the tunnel over.
    let mut second = Half::send(at, "GET / HTTP/1.1\nx-sessioncookie: b\n\n");
    assert!(second.expect("\r\n\r\n").starts_with("HTTP/1.1 503"));
    assert!(lonely.expect("half").starts_with("HTTP/1.1 408"));
    let ended = waiting.0.read(&mut [0; 16]).unwrap();
    assert_eq!(ended, 0, "a GET without a POST ends");
    relay.stop();
}

#[test]
fn somebody_who_does_not_speak_tls_does_not_hold_up_others() {
    let relay = Relay::start(Options::publish().rtsps());
    let silent: Vec<TcpStream> = (0..20)
        .map(|_| TcpStream::connect(relay.addr("rtsps")).unwrap())
        .collect();
    let mut clear = Half::send(relay.addr("rtsps"), "OPTIONS * RTSP/1.0\nCSeq: 1\n\n");
    let mut answer = Vec::new();
    clear.0.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let _reset_or_alert = clear.0.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"RTSP"), "no RTSP in the clear");
    let clip = clips::h264();
    let _publisher = ffmpeg::publish(clip, &relay.rtsps("mystream"), Transport::Tcp);
    relay.wait_for_state("mystream", "ready");
    drop(silent);
    relay.stop();
}

#[test]
fn the_certificate_is_kept_shown_by_its_fingerprint_and_read_again() {
    let mut relay = Relay::start(Options::publish().rtsps());
    let told = |relay: &Relay| {
        let log = relay.log();
        let line = log
            .lines()
            .rfind(|l| l.contains("Certificate, SHA-256"))
            .map(str::to_owned);
        line.unwrap_or_else(|| panic!("no fingerprint: {log}"))
    };
    eventually("the fingerprint is told", || {
        relay.log().contains("Certificate, SHA-256").then_some(())
    });
    let before = told(&relay);
    relay.kill9();
    relay.restart();
    eventually("it is told again", || {
        (relay.log().matches("Certificate, SHA-256").count() == 2).then_some(())
    });
    assert_eq!(told(&relay), before);
    relay.signal("HUP");
    eventually("it is read again", || {
        relay
            .log()
            .contains("The certificate was read again.")
            .then_some(())
    });
    relay.stop();
}
