//! SIGHUP: the configuration is followed, and viewers of paths that stayed the same lose nothing.

use std::time::Duration;
use std::time::Instant;

use md5::Digest;
use md5::Md5;
use sha2::Sha256;

use crate::http;
use crate::peers::Transport;
use crate::peers::ffmpeg;
use crate::relay::DEADLINE;
use crate::relay::Options;
use crate::relay::Relay;
use crate::relay::basic;
use crate::relay::eventually;
use crate::relay::louver;
use crate::rtsp::Conn;
use crate::rtsp::Viewer;
use crate::watchful::Watchful;

const MOMENT: Duration = Duration::from_millis(300);

/// A path with a test picture of this width.
pub fn pattern(path: &str, width: u32) -> String {
    format!("[paths.{path}]\nsource = \"pattern:?size={width}x120&fps=25\"\n")
}

fn started(config: &str) -> Relay {
    Relay::start(Options::default().config(config))
}

fn describe(relay: &Relay, path: &str) -> u16 {
    let mut conn = Conn::open([127, 0, 0, 1].into(), relay.addr("rtsp"));
    conn.request("DESCRIBE", &relay.rtsp(path), &[]).status
}

fn paths(relay: &Relay) -> Vec<String> {
    let paths = relay.api("/api/v1/paths");
    let items = paths["items"].as_array().unwrap();
    items
        .iter()
        .map(|p| p["path"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn paths_come_go_and_change_beside_one_that_stays() {
    let stays = pattern("stays", 160);
    let before = [&*stays, &pattern("changes", 160), &pattern("goes", 160)].concat();
    let relay = started(&before);
    let mut watching = Watchful::of(&relay, "stays");
    let mut changed = Watchful::of(&relay, "changes");
    let mut gone = Watchful::of(&relay, "goes");
    changed.watch(MOMENT);
    gone.watch(MOMENT);
    relay.reconfigure(&[&*stays, &pattern("changes", 320), &pattern("comes", 160)].concat());
    watching.watch(MOMENT);
    changed.until_cut_off();
    gone.until_cut_off();
    relay.wait_for_state("comes", "ready");
    relay.wait_for_state("changes", "ready");
    assert_eq!(paths(&relay), ["changes", "comes", "stays"]);
    assert_eq!(describe(&relay, "goes"), 404);
    Watchful::of(&relay, "changes").watch(MOMENT);
    for _ in 0..3 {
        relay.reconfigure(&[&*stays, &pattern("changes", 320), &pattern("comes", 160)].concat());
        watching.watch(MOMENT);
    }
    relay.stop();
}

#[test]
fn a_file_with_a_mistake_is_told_by_line_and_changes_nothing() {
    let stays = pattern("stays", 160);
    let relay = started(&stays);
    let mut watching = Watchful::of(&relay, "stays");
    relay.reconfigure(&format!("{}[publish]\nallow = \"no\"\n", pattern("comes", 160)));
    let log = relay.log();
    assert!(log.contains("louver.toml:4: "), "{log}");
    watching.watch(MOMENT);
    assert_eq!(paths(&relay), ["stays"]);
    relay.rewrite(&stays); // `louver stats` reads it too
    relay.stop();
}

#[test]
fn the_notice_tells_of_the_paths_that_are_sensitive_now_and_of_the_port() {
    let stays = pattern("stays", 160);
    let relay = started(&stays);
    let notice = || {
        let words = http::get(relay.addr("http"), "/privacy.md").text();
        words.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let version = || relay.api("/privacy.json")["version"].clone();
    let port = relay.addr("rtsp").port();
    let (before, former) = (notice(), version());
    assert!(
        before.contains(&format!("rtsp://HOST:{port}/nostats/NAME")),
        "{before}"
    );
    assert!(!before.contains("marked as sensitive"), "{before}");
    relay.reconfigure(&format!("{stays}sensitive = true\n"));
    let after = notice();
    assert!(after.contains("no session is recorded (1)"), "{after}");
    assert_ne!(version(), former);
    relay.reconfigure(&stays);
    assert!(!notice().contains("marked as sensitive"), "{}", notice());
    assert_eq!(version(), former);
    relay.stop();
}

#[test]
fn keys_that_need_another_start_are_named() {
    let stays = pattern("stays", 160);
    let relay = started(&stays);
    let mut watching = Watchful::of(&relay, "stays");
    relay.reconfigure(&format!(
        "{stays}[rtsps]\nlisten = \"127.0.0.1:0\"\n[privacy]\nk = 7\n"
    ));
    let log = relay.log();
    for key in ["[rtsps] listen", "[privacy] k"] {
        let line = log.lines().find(|l| l.contains(key));
        assert!(
            line.is_some_and(|l| l.contains("at the next start")),
            "{key}: {log}"
        );
    }
    watching.watch(MOMENT);
    relay.stop();
}

/// A user for the configuration.
pub fn user(name: &str, password: &str) -> String {
    let secret = format!("{name}:Louver:{password}");
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    format!(
        "[[auth.users]]\nname = \"{name}\"\nha1_md5 = \"{}\"\nha1_sha256 = \"{}\"\n",
        hex(&Md5::digest(&secret)),
        hex(&Sha256::digest(&secret))
    )
}

/// A connection of a user whose password is `pw-of-NAME`.
fn conn_of(relay: &Relay, name: &str) -> Conn {
    let conn = Conn::open(http::LOCAL, relay.addr("rtsp"));
    conn.header("Authorization", &basic(name, &format!("pw-of-{name}")))
}

/// Takes a user away by the command line, and has that read.
fn remove(relay: &Relay, name: &str) {
    let mut remove = louver();
    remove
        .args(["user", "remove", "--config"])
        .arg(relay.config_file());
    let removed = remove.arg(name).output().unwrap();
    assert!(removed.status.success(), "{removed:?}");
    relay.signal("HUP");
}

#[test]
fn users_and_rules_count_for_the_next_request() {
    const ALWAYS: &str = "[auth]\nrequired = \"always\"\n";
    let (anna, bob) = (user("anna", "pw-of-anna"), user("bob", "pw-of-bob"));
    let both = "[paths.cam]\nsource = \"pattern:?size=160x120&fps=25\"\n";
    let options = Options::default().config(&format!("{both}{ALWAYS}{anna}"));
    let mut relay = Relay::start(options.login("anna", "pw-of-anna"));
    let conn = |name: &str| conn_of(&relay, name);
    let status = |name: &str| conn(name).request("DESCRIBE", &relay.rtsp("cam"), &[]).status;
    let page = |name: &str| {
        let authorization = basic(name, &format!("pw-of-{name}"));
        let headers = [("Authorization", &*authorization)];
        http::request(
            http::LOCAL,
            relay.addr("http"),
            "GET",
            "/live/cam/snapshot.jpg",
            &headers,
        )
        .status
    };
    let mut watching = Watchful::on(conn("anna"), "cam");
    assert_eq!((status("anna"), status("bob")), (200, 401));
    assert_eq!((page("anna"), page("bob")), (200, 401));

    relay.reconfigure(&format!("{both}{ALWAYS}{anna}{bob}"));
    watching.watch(MOMENT);
    assert_eq!((status("anna"), status("bob")), (200, 200));
    relay.reconfigure(&format!("{both}read = [\"bob\"]\n{ALWAYS}{anna}{bob}"));
    assert_eq!((status("anna"), status("bob")), (403, 200));
    assert_eq!((page("anna"), page("bob")), (403, 200));
    watching.until_cut_off();
    relay.reconfigure(&format!("{both}{ALWAYS}{bob}"));
    assert_eq!((status("anna"), status("bob")), (401, 200));
    drop(watching);
    relay.login_as("bob", "pw-of-bob");
}

/// Whoever is named: nobody learns whose session it was.
#[test]
fn a_user_who_is_removed_stops_watching_and_publishing_and_others_go_on() {
    let (anna, bob) = (user("anna", "pw-of-anna"), user("bob", "pw-of-bob"));
    let paths = format!("{}[paths.live]\nsource = \"publish:\"\n", pattern("cam", 160));
    let config = format!("{paths}[auth]\nrequired = \"always\"\n{anna}{bob}");
    let relay = Relay::start(Options::default().config(&config).login("bob", "pw-of-bob"));
    let conn = |name: &str| conn_of(&relay, name);
    let page = |name: &str| {
        let authorization = basic(name, &format!("pw-of-{name}"));
        let headers = [("Authorization", &*authorization)];
        let path = "/live/cam/stream.mjpeg";
        http::Stream::open(http::LOCAL, relay.addr("http"), "GET", path, &headers)
    };
    let (mut bobs, mut annas) = (
        Watchful::on(conn("bob"), "cam"),
        Watchful::on(conn("anna"), "cam"),
    );
    let mut by_udp = Viewer::watch(conn("anna"), "cam", Transport::Udp);
    let (mut bobs_page, mut annas_page) = (page("bob"), page("anna"));
    assert!(bobs_page.next_part().is_some() && annas_page.next_part().is_some());
    let mut publisher = conn("anna");
    record_sound(&mut publisher, &relay.rtsp("live"));
    assert!(send_sound(&mut publisher, 0));
    relay.wait_for_state("live", "ready");

    remove(&relay, "anna");
    annas.until_cut_off();
    let until = Instant::now() + DEADLINE;
    while by_udp.receive() || !publisher.has_ended() || annas_page.next_part().is_some() {
        assert!(Instant::now() < until, "one of them goes on");
    }
    relay.wait_for_state("live", "waiting");
    let _last_of_them = by_udp.receive();
    let packets = by_udp.packets();
    bobs.watch(MOMENT);
    let _nothing = by_udp.receive();
    assert_eq!(by_udp.packets(), packets, "packets go on by UDP");
    assert!(bobs_page.next_part().is_some());
    let log = relay.log();
    assert_eq!(
        log.matches("its user may not have it any more").count(),
        3,
        "{log}"
    );
    assert!(!log.contains("anna"), "{log}");
    drop((bobs, bobs_page));
    relay.stop();
}

#[test]
fn when_the_last_user_is_removed_nobody_watches_or_comes_in() {
    let config = format!(
        "{}[auth]\nrequired = \"always\"\n{}",
        pattern("cam", 160),
        user("anna", "pw-of-anna")
    );
    let mut relay = Relay::start(Options::default().config(&config).login("anna", "pw-of-anna"));
    let conn = || conn_of(&relay, "anna");
    let mut annas = Watchful::on(conn(), "cam");
    annas.watch(MOMENT);
    remove(&relay, "anna");
    annas.until_cut_off();
    let reply = conn().request("DESCRIBE", &relay.rtsp("cam"), &[]);
    assert_eq!(reply.status, 401);
    assert!(relay.log().contains("so nobody comes in"), "{}", relay.log());
    relay.signal("TERM");
    assert!(relay.wait(DEADLINE).is_some_and(|status| status.success()));
}

#[test]
fn a_removed_user_is_cut_off_in_tls_and_in_a_tunnel_too() {
    let (anna, bob) = (user("anna", "pw-of-anna"), user("bob", "pw-of-bob"));
    let config = format!(
        "{}[auth]\nrequired = \"always\"\n{anna}{bob}",
        pattern("cam", 160)
    );
    let options = Options::default().rtsps().config(&config);
    let relay = Relay::start(options.login("bob", "pw-of-bob"));
    let of_anna = |url: &str| url.replacen("://", "://anna:pw-of-anna@", 1);
    let ways = [
        ("tls", of_anna(&relay.rtsps("cam")), "tcp"),
        ("tunnel", of_anna(&relay.rtsp("cam")), "http"),
    ];
    let mut readers = ways.map(|(name, url, transport)| {
        let out = relay.scratch().join(name);
        (
            ffmpeg::reading(
                &["-rtsp_transport", transport, "-i", &url],
                &["-flush_packets", "1"],
                &out,
            ),
            out,
        )
    });
    for (_, out) in &readers {
        eventually("pictures", || {
            let seen = std::fs::read_to_string(out).unwrap_or_default();
            (!ffmpeg::parse(&seen, 0).is_empty()).then_some(())
        });
    }
    remove(&relay, "anna");
    for (reader, _) in &mut readers {
        let _either_way = reader.wait(DEADLINE);
    }
    relay.stop();
}

/// Goes as far as the answer to RECORD, with one track of sound by TCP.
fn record_sound(conn: &mut Conn, url: &str) {
    const SDP: &str = "v=0\r\nm=audio 0 RTP/AVP 8\r\na=control:a\r\n";
    assert_eq!(conn.request_with("ANNOUNCE", url, &[], SDP).status, 200);
    let transport = [("Transport", "RTP/AVP/TCP;interleaved=0-1;mode=record")];
    conn.ok("SETUP", &format!("{url}/a"), &transport);
    conn.ok("RECORD", url, &[]);
}

/// Sends twenty milliseconds of it; false when the relay has closed.
fn send_sound(conn: &mut Conn, sequence: u16) -> bool {
    let [high, low] = sequence.to_be_bytes();
    let time = (u32::from(sequence) * 160).to_be_bytes();
    let packet = [&[0x80, 8, high, low], &time[..], &[0, 0, 0, 9], &[0x55; 160]].concat();
    conn.try_send_packet(0, &packet)
}

#[test]
fn limits_and_what_is_logged_follow_the_file() {
    let stays = pattern("stays", 160);
    let mut options = Options::default().config(&stays);
    options.log_by_file = true;
    let relay = Relay::start(options);
    let mut watching = Watchful::of(&relay, "stays");
    let tried = || {
        let mut conn = Conn::open([127, 0, 0, 1].into(), relay.addr("rtsp"));
        let url = format!("{}/trackID=0", relay.rtsp("stays"));
        conn.request("SETUP", &url, &[("Transport", "RTP/AVP/TCP;interleaved=0-1")])
            .status
    };
    assert_eq!(tried(), 200);
    relay.reconfigure(&format!("{stays}[limits]\nsessions = 1\n"));
    assert_eq!(tried(), 453);
    watching.watch(MOMENT);
    // With errors alone nobody is told that the file was read; that it was shows in its limit.
    let before = relay.log();
    relay.rewrite(&format!("{stays}[log]\nfilter = \"error\"\n"));
    relay.signal("HUP");
    eventually("the limit is gone", || (tried() == 200).then_some(()));
    assert_eq!(relay.log(), before);
    relay.reconfigure(&stays);
    watching.watch(MOMENT);
    relay.stop();
}

#[test]
fn a_publisher_outlives_the_configuring_of_its_path_and_ends_when_a_camera_takes_it() {
    let (stays, named) = (pattern("stays", 160), "[paths.live]\nsource = \"publish:\"\n");
    let relay = started(&stays);
    let mut watching = Watchful::of(&relay, "stays");
    let mut publisher = Conn::open([127, 0, 0, 3].into(), relay.addr("rtsp"));
    record_sound(&mut publisher, &relay.rtsp("live"));
    let mut numbers = 0_u16..;
    let mut send = |publisher: &mut Conn| send_sound(publisher, numbers.next().unwrap());
    assert!(send(&mut publisher));
    relay.wait_for_state("live", "ready");
    let source = |relay: &Relay| relay.api("/api/v1/paths")["items"][0]["source"].clone();
    for (config, told) in [
        (format!("{stays}{named}"), "publish:"),
        (stays.clone(), "publisher"),
    ] {
        relay.reconfigure(&config);
        assert_eq!(source(&relay), told);
        assert!(send(&mut publisher) && !publisher.has_ended());
        relay.wait_for_state("live", "ready");
    }
    relay.reconfigure(&format!("{stays}{}", pattern("live", 160)));
    eventually("the publisher is sent away", || {
        let _ = send(&mut publisher);
        publisher.has_ended().then_some(())
    });
    watching.watch(MOMENT);
    relay.stop();
}

#[test]
fn settings_that_matter_for_privacy_are_in_the_audit_trail_as_soon_as_they_are_read() {
    let ward = |sensitive: bool| {
        let source = "[paths.ward]\nsource = \"publish:\"\n";
        format!("{source}sensitive = {sensitive}\n")
    };
    let mut relay = started(&format!("[privacy]\nk = 4\n{}", ward(true)));
    let trail = |relay: &Relay| {
        let out = louver()
            .args(["audit", "show", "--data-dir"])
            .arg(relay.data_dir())
            .output()
            .unwrap();
        String::from_utf8(out.stdout).unwrap()
    };
    let until = |relay: &Relay, line: &str| {
        eventually(&format!("{line} is in the trail"), || {
            trail(relay).contains(line).then_some(())
        });
    };
    let changed = format!("[privacy]\nk = 3\n{}[publish]\nallow = false\n", ward(false));
    relay.reconfigure(&changed);
    until(&relay, "setting.change  privacy.sensitive_paths  ward -> none");
    until(&relay, "setting.change  publish.allow  true -> false");
    until(&relay, "setting.await  privacy.k  4 -> 3");
    // Who protects viewers less is told of at once, where it has an effect at once.
    until(&relay, "alert.raise  privacy-downgrade");
    assert!(!trail(&relay).contains("setting.change  privacy.k  4 -> 3"));
    // The same again is no news, nor is a file with a mistake.
    let told = |relay: &Relay| trail(relay).matches("setting.").count();
    let before = told(&relay);
    relay.reconfigure(&changed);
    relay.reconfigure("[privacy]\nk = \"many\"\n");
    until(&relay, "config.reload");
    assert_eq!(told(&relay), before, "{}", trail(&relay));
    relay.signal("TERM");
    assert!(relay.wait(DEADLINE).is_some());
    relay.rewrite(&changed);
    relay.restart();
    until(&relay, "setting.change  privacy.k  4 -> 3");
    assert_eq!(told(&relay), before + 1, "{}", trail(&relay));
    // The notice tells of all of them.
    let notice = http::get(relay.addr("http"), "/privacy.md").text();
    for change in [
        "privacy.k 4 -> 3",
        "privacy.sensitive_paths ward -> none",
        "publish.allow true -> false",
    ] {
        assert!(notice.contains(change), "{change}: {notice}");
    }
    relay.stop();
}
