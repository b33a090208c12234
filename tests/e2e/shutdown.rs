//! Beginnings and ends: signals, taken ports, power cuts.

use std::net::TcpListener;
use std::time::Duration;

use sqlx::Connection;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteConnectOptions;

use crate::clips;
use crate::http::LOCAL;
use crate::peers::Transport;
use crate::peers::ffmpeg;
use crate::relay::DEADLINE;
use crate::relay::Options;
use crate::relay::Relay;
use crate::relay::eventually;
use crate::relay::louver;
use crate::rtsp::Conn;
use crate::rtsp::Viewer;

#[test]
fn a_signal_ends_it_cleanly_within_five_seconds_while_people_watch() {
    for signal in ["TERM", "INT"] {
        let mut relay = Relay::start(Options::sources(&["pattern:?size=320x240&fps=15"]));
        let mut viewers: Vec<_> = [Transport::Tcp, Transport::Tcp, Transport::Udp]
            .map(|t| Viewer::watch(Conn::open(LOCAL, relay.addr("rtsp")), "webcam", t))
            .into();
        let mut page =
            crate::http::Stream::open(LOCAL, relay.addr("http"), "GET", "/live/webcam/stream.mjpeg", &[]);
        page.next_part().expect("a picture");
        relay.signal(signal);
        let status = relay.wait(Duration::from_secs(5));
        let status = status.unwrap_or_else(|| panic!("SIG{signal} did not end it\n{}", relay.log()));
        assert_eq!(status.code(), Some(0), "SIG{signal}: {status}\n{}", relay.log());
        // Nobody is left hanging.
        for viewer in &mut viewers {
            while viewer.receive() {}
        }
        while page.next_part().is_some() {}
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let mut relay = Relay::start(Options::sources(&["pattern:?size=320x240&fps=15"]));
    let _viewer = Viewer::watch(Conn::open(LOCAL, relay.addr("rtsp")), "webcam", Transport::Tcp);
    // While somebody else has the file, the session cannot be stored: the end in order takes its time.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let file = SqliteConnectOptions::new().filename(relay.data_dir().join("louver.db"));
    let _locked = runtime.block_on(async {
        let mut db = SqliteConnection::connect_with(&file.busy_timeout(DEADLINE))
            .await
            .unwrap();
        sqlx::raw_sql("BEGIN EXCLUSIVE").execute(&mut db).await.unwrap();
        db
    });
    relay.signal("TERM");
    eventually("it is ending", || {
        relay.log().contains("Another signal ends at once").then_some(())
    });
    relay.signal("INT");
    let status = relay.wait(DEADLINE).expect("it ends");
    assert_eq!(status.code(), Some(1), "{status}\n{}", relay.log());
    assert!(relay.log().contains("Ended at once"), "{}", relay.log());
}

#[test]
fn a_taken_port_is_named_with_what_to_do() {
    let relay = Relay::start(Options::publish());
    for name in ["rtsp", "http"] {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = taken.local_addr().unwrap();
        let other = if name == "rtsp" { "http" } else { "rtsp" };
        let config = format!(
            "[{name}]\nlisten = \"{addr}\"\n[{other}]\nlisten = \"127.0.0.1:0\"\n{}",
            if name == "rtsp" {
                ""
            } else {
                "udp_ports = [0, 0]\n"
            }
        );
        let config = if name == "rtsp" {
            config.replacen("listen", "udp_ports = [0, 0]\nlisten", 1)
        } else {
            config
        };
        let file = relay.scratch().join("taken.toml");
        std::fs::write(&file, config).unwrap();
        let data = relay.scratch().join("data-taken");
        let out = louver()
            .args(["run", "--config"])
            .arg(&file)
            .arg("--data-dir")
            .arg(&data)
            .arg("publish:")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(1), "{said}");
        assert!(
            said.contains(&addr.port().to_string()),
            "the message names the port: {said}"
        );
        assert!(said.contains("another program uses it"), "{said}");
        assert!(!said.contains("panicked"), "{said}");
    }
    relay.stop();
}

#[test]
fn a_second_relay_in_the_same_directory_does_not_start_and_is_not_in_the_trail() {
    let relay = Relay::start(Options::publish());
    let starts = || {
        let trail = louver()
            .args(["audit", "show", "--data-dir"])
            .arg(relay.data_dir())
            .output()
            .unwrap();
        String::from_utf8_lossy(&trail.stdout)
            .matches("relay.start")
            .count()
    };
    eventually("the start is in the trail", || (starts() == 1).then_some(()));
    let second = louver()
        .args(["run", "--config"])
        .arg(relay.config_file())
        .arg("--data-dir")
        .arg(relay.data_dir())
        .arg("publish:")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(1), "{said}");
    assert!(said.contains("in use by another louver"), "{said}");
    assert_eq!(starts(), 1, "the trail tells of relays that ran");
    relay.stop();
}

#[test]
fn after_a_power_cut_it_starts_again_and_the_publisher_comes_back() {
    let mut relay = Relay::start(Options::publish());
    let publisher = ffmpeg::publish(clips::h264(), &relay.rtsp("mystream"), Transport::Tcp);
    relay.wait_for_state("mystream", "ready");
    let viewer = Viewer::watch(Conn::open(LOCAL, relay.addr("rtsp")), "mystream", Transport::Tcp);
    relay.kill9();
    drop((viewer, publisher));
    relay.restart();
    let _publisher = ffmpeg::publish(clips::h264(), &relay.rtsp("mystream"), Transport::Tcp);
    relay.wait_for_state("mystream", "ready");
    let got = ffmpeg::read(&relay.rtsp("mystream"), Transport::Tcp, 25);
    clips::assert_contiguous(&clips::h264().pictures, &got, 25, "after the restart");
    assert_eq!(relay.stats()["restarts"], 1);
    relay.stop();
}
