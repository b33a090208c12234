//! Strangers who take what they can: connections, descriptors, half requests, datagrams. Those who watch lose
//! nothing meanwhile, and what was refused is counted.

use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::TcpStream;
use std::net::UdpSocket;
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::Digest;
use md5::Md5;
use sha2::Sha256;

use crate::http;
use crate::peers::Transport;
use crate::relay::Options;
use crate::relay::Relay;
use crate::relay::basic;
use crate::relay::eventually;
use crate::rtsp::Conn;
use crate::rtsp::Viewer;
use crate::watchful::Watchful;

const PASSWORD: &str = "right-word-9k";
const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn relay(rtsp: &str) -> Relay {
    Relay::start(Options::sources(&["cam=pattern:?size=160x120&fps=25"]).rtsp(rtsp))
}

#[test]
fn half_requests_and_silent_connections_cost_viewers_nothing_and_end() {
    let relay = relay("session_timeout = \"5s\"");
    let mut watchful = Watchful::of(&relay, "cam");
    let mut strangers: Vec<TcpStream> = (0..200)
        .map(|_| http::connect(HOST, relay.addr("rtsp")))
        .collect();
    for stranger in strangers.iter_mut().step_by(2) {
        stranger
            .write_all(b"DESCRIBE rtsp://localhost/cam RTSP/1.0\r\nCSeq: ")
            .unwrap();
    }
    // A byte now and then does not keep a connection: only whole requests do.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(11) {
        watchful.watch(Duration::from_millis(500));
        for stranger in strangers.iter_mut().step_by(2) {
            let _ = stranger.write_all(b"1"); // it may be over already
        }
    }
    eventually("all strangers are gone", || {
        let text = http::get(relay.addr("http"), "/metrics").text();
        let open = text.lines().find_map(|l| l.strip_prefix("louver_connections "));
        (open.unwrap().parse::<u32>().unwrap() < 10).then_some(())
    });
    watchful.watch(Duration::from_millis(500));
    relay.stop();
}

#[test]
fn a_flood_of_datagrams_from_strangers_costs_viewers_nothing_and_is_counted() {
    let relay = relay("");
    let mut watchful = Watchful::of(&relay, "cam");
    let rtp = relay.addr("rtp");
    let socket = UdpSocket::bind("127.0.0.3:0").unwrap();
    let mut packet = [0x80_u8; 1200];
    let begun = Instant::now();
    for round in 0_u32.. {
        packet[2..4].copy_from_slice(&(round as u16).to_be_bytes());
        for to in [rtp, (rtp.ip(), rtp.port() + 1).into()] {
            for _ in 0..50 {
                let _ = socket.send_to(&packet, to);
            }
        }
        watchful.watch(Duration::ZERO);
        if begun.elapsed() > Duration::from_secs(3) {
            break;
        }
    }
    watchful.watch(Duration::from_secs(1));
    assert!(relay.lost("BadInput") > 100);
    relay.stop();
}

/// Every guess waits for its answer; nobody else does.
#[test]
fn guessing_passwords_is_slow_and_delays_no_neighbour() {
    let secret = format!("anna:Louver:{PASSWORD}");
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let users = format!(
        "[auth]\nrequired = \"always\"\n[[auth.users]]\nname = \"anna\"\nha1_md5 = \"{}\"\nha1_sha256 = \"{}\"",
        hex(&Md5::digest(&secret)),
        hex(&Sha256::digest(&secret))
    );
    let sources = Options::sources(&["cam=pattern:?size=160x120&fps=25"]);
    let relay = Relay::start(sources.config(&users).login("anna", PASSWORD));
    let neighbour = || {
        let conn = Conn::open([127, 0, 0, 2].into(), relay.addr("rtsp"));
        conn.header("Authorization", &basic("anna", PASSWORD))
    };
    let mut watchful = Watchful::on(neighbour(), "cam");
    let to = relay.addr("rtsp");
    let wrong = format!(
        "DESCRIBE {} RTSP/1.0\r\nCSeq: 1\r\nAuthorization: {}\r\n\r\n",
        relay.rtsp("cam"),
        basic("anna", "guessed-word-4x")
    );
    let over = AtomicBool::new(false);
    let guesses = std::thread::scope(|s| {
        let guessing = s.spawn(|| {
            let (begun, mut guesses) = (Instant::now(), Vec::new());
            while !over.load(Ordering::Relaxed) {
                // Two hundred a second, as far as this machine gives them.
                let due = begun.elapsed().as_millis() as usize / 5;
                while guesses.len() < due && guesses.len() < 2000 {
                    let mut guess = http::connect(HOST, to);
                    guess.write_all(wrong.as_bytes()).unwrap();
                    guesses.push(guess);
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            guesses
        });
        let mut times: Vec<Duration> = (0..8)
            .map(|_| {
                let begun = Instant::now();
                Viewer::watch(neighbour(), "cam", Transport::Tcp).leave();
                let took = begun.elapsed();
                watchful.watch(Duration::from_millis(300));
                took
            })
            .collect();
        over.store(true, Ordering::Relaxed);
        times.sort();
        // A guess waits two seconds for its answer.
        assert!(times[4] < Duration::from_secs(2), "a neighbour waited: {times:?}");
        guessing.join().unwrap()
    });
    assert!(guesses.len() > 100, "{} guesses", guesses.len());
    // By HTTP too; and who gives nothing is asked at once.
    let page = |headers: &[(&str, &str)]| {
        let begun = Instant::now();
        let status = http::request(HOST, relay.addr("http"), "GET", "/", headers).status;
        (status, begun.elapsed() >= Duration::from_millis(1900))
    };
    assert_eq!(
        page(&[("Authorization", &basic("anna", "guessed-word-4x"))]),
        (401, true)
    );
    assert_eq!(page(&[]).0, 401);
    assert!(relay.lost("Unauthorized") > 100);
    let log = relay.log();
    for word in ["guessed-word-4x", "anna", "127.0.0.1"] {
        assert!(
            !log.lines()
                .filter(|l| l.contains("WARN"))
                .any(|l| l.contains(word)),
            "{word}: {log}"
        );
    }
    assert!(
        log.contains("A peer was refused: wrong credentials. path=cam"),
        "{log}"
    );
}

#[test]
fn one_host_cannot_take_all_connections() {
    let sources = Options::sources(&["cam=pattern:?size=160x120&fps=25"]);
    let relay = Relay::start(sources.config("[limits]\nrtsp_connections_per_host = 5"));
    let mut watchful = Watchful::of(&relay, "cam");
    let open = |from: [u8; 4]| {
        let mut conn = Conn::open(from.into(), relay.addr("rtsp"));
        let url = relay.rtsp("cam");
        conn.try_request("OPTIONS", &url, &[])
            .map(|reply| (reply.status, conn))
    };
    let all: Vec<_> = (0..8).filter_map(|_| open([127, 0, 0, 1])).collect();
    assert_eq!(all.len(), 5);
    assert!(open([127, 0, 0, 4]).is_some(), "another host");
    assert!(relay.limited("rtsp_connections_per_host") >= 3);
    drop(all);
    eventually("there is room again", || open([127, 0, 0, 1]));
    watchful.watch(Duration::from_millis(200));
    relay.stop();
}

/// Both halves are connections of that host, for as long as the tunnel lives.
#[test]
fn a_tunnel_in_http_counts_as_two_connections_of_its_host() {
    let sources = Options::sources(&["cam=pattern:?size=160x120&fps=25"]);
    let relay = Relay::start(sources.config("[limits]\nrtsp_connections_per_host = 3"));
    let url = relay.rtsp("cam");
    let half = |method: &str| {
        let mut stream = http::connect(HOST, relay.addr("rtsp"));
        let head = format!("{method} /cam HTTP/1.0\r\nx-sessioncookie: a\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        stream
    };
    let (get, mut post) = (half("GET"), half("POST"));
    let asked = format!("OPTIONS {url} RTSP/1.0\r\nCSeq: 1\r\n\r\n");
    post.write_all(STANDARD.encode(asked).as_bytes()).unwrap();
    let mut lines = BufReader::new(&get).lines().map_while(Result::ok);
    assert!(lines.any(|line| line == "RTSP/1.0 200 OK"), "the tunnel is there");
    let open = || {
        let mut conn = Conn::open(HOST, relay.addr("rtsp"));
        conn.try_request("OPTIONS", &url, &[]).map(|_| conn)
    };
    let third = open().expect("there is room for one more");
    assert!(open().is_none(), "and for no other");
    assert_eq!(relay.limited("rtsp_connections_per_host"), 1);
    drop((get, post, third));
    eventually("there is room again", open);
    relay.stop();
}

#[test]
fn without_descriptors_nobody_comes_in_and_those_who_watch_go_on() {
    let relay = relay("");
    let mut watchful = Watchful::of(&relay, "cam");
    let open = std::fs::read_dir(format!("/proc/{}/fd", relay.pid()))
        .unwrap()
        .count();
    let mut cmd = Command::new("prlimit");
    cmd.arg(format!("--pid={}", relay.pid()))
        .arg(format!("--nofile={}", open + 10));
    assert!(cmd.status().unwrap().success());
    let strangers: Vec<TcpStream> = (0..60).map(|_| http::connect(HOST, relay.addr("rtsp"))).collect();
    watchful.watch(Duration::from_secs(2));
    drop(strangers);
    let url = relay.rtsp("cam");
    eventually("there is room again", || {
        let mut conn = Conn::open(HOST, relay.addr("rtsp"));
        conn.try_request("OPTIONS", &url, &[])
    });
    assert!(relay.limited("descriptors") > 0);
    watchful.watch(Duration::from_millis(200));
    relay.stop();
}
