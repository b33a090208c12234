//! Alerts of a relay that runs, as a web server and a mail server on this machine get them; and settings that weaken
//! protection (A28).

use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::net::TcpListener;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::Hmac;
use hmac::KeyInit;
use hmac::Mac;
use serde_json::Value;
use sha2::Sha256;

use crate::http;
use crate::peers::Transport;
use crate::relay::Options;
use crate::relay::Relay;
use crate::relay::eventually;
use crate::relay::louver;
use crate::rtsp::Conn;
use crate::rtsp::Viewer;

const SECRET: &str = "whsec_bG91dmVyIGxvdXZlciBsb3V2ZXIgbG91dmVy";

/// A web server that takes alerts, checks who signed them, and gives them on.
fn receiver() -> (String, std::sync::mpsc::Receiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = format!(
        "webhook = \"http://{}/hook\"\nwebhook_secret = \"{SECRET}\"\n",
        listener.local_addr().unwrap()
    );
    let (give, take) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().map(Result::unwrap) {
            let mut stream = BufReader::new(stream);
            let (_, headers) = http::read_head(&mut stream).unwrap();
            let header = |name: &str| {
                let mut found = headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
                found.next().unwrap().1.clone()
            };
            let mut body = vec![0; header("content-length").parse().unwrap()];
            stream.read_exact(&mut body).unwrap();
            let mut mac = Hmac::<Sha256>::new_from_slice(b"louver louver louver louver").unwrap();
            mac.update(format!("{}.{}.", header("webhook-id"), header("webhook-timestamp")).as_bytes());
            mac.update(&body);
            let given = header("webhook-signature")
                .strip_prefix("v1,")
                .unwrap()
                .to_owned();
            mac.verify_slice(&STANDARD.decode(given).unwrap()).unwrap();
            let answer = b"HTTP/1.1 204 ok\r\ncontent-length: 0\r\n\r\n";
            stream.get_mut().write_all(answer).unwrap();
            if give.send(serde_json::from_slice(&body).unwrap()).is_err() {
                return;
            }
        }
    });
    (config, take)
}

#[test]
fn a28_weaker_settings_and_guessed_passwords_are_told_to_a_webhook() {
    let (webhook, alerts) = receiver();
    let config =
        |privacy: &str| format!("[auth]\nrequired = \"always\"\n[alerts]\n{webhook}[privacy]\n{privacy}");
    let mut relay = Relay::start(Options::publish().config(&config("")));
    let end = |relay: &mut Relay| {
        relay.signal("TERM");
        let status = relay.wait(Duration::from_secs(10)).expect("it ends");
        assert_eq!(status.code(), Some(0), "{}", relay.log());
    };
    let next = || alerts.recv_timeout(Duration::from_secs(60)).expect("an alert");
    let who = "10.9.8.7";
    for n in 0..5 {
        let wrong = crate::relay::basic("louver", &format!("CANARY{n}"));
        let headers = [
            ("authorization", wrong.as_str()),
            ("user-agent", "CanaryPlayer"),
            ("x-forwarded-for", who),
        ];
        let from = [127, 0, 0, 9].into();
        assert_eq!(
            http::request(from, relay.addr("http"), "GET", "/api/v1/stats", &headers).status,
            401
        );
    }
    let guessed = next();
    assert_eq!(guessed["data"]["rule"], "failed-logins");
    assert_eq!(guessed["data"]["actor"], "stranger");
    end(&mut relay);
    relay.rewrite(&config(
        "k = 4\nlevel = \"identified\"\nconsent = \"opt-in\"\n[privacy.retention]\nsessions_days = 9\n",
    ));
    relay.restart();
    let mut told = vec![next(), next(), next()];
    told.iter()
        .for_each(|alert| assert_eq!(alert["data"]["rule"], "privacy-downgrade", "{alert}"));
    told.push(guessed);
    let told = Value::from(told).to_string();
    for canary in ["127.0.0.9", who, "CANARY", "CanaryPlayer", "\"louver\""] {
        assert!(!told.contains(canary), "{canary} is in {told}");
    }
    end(&mut relay);
    let trail = louver()
        .args(["audit", "show", "--data-dir"])
        .arg(relay.data_dir())
        .output()
        .unwrap();
    let trail = String::from_utf8(trail.stdout).unwrap();
    for line in [
        "privacy.k  5 -> 4",
        "privacy.level  pseudonymous -> identified",
        "retention.sessions  7 d -> 9 d",
        "alert.raise  privacy-downgrade",
    ] {
        assert!(trail.contains(line), "{line} is not in\n{trail}");
    }
}

#[test]
fn what_is_asked_at_the_shell_is_judged_as_what_is_asked_over_http() {
    let relay = Relay::start(Options::sources(&["cam=pattern:?size=160x120&fps=10"]));
    let conn = Conn::open([127, 0, 0, 2].into(), relay.addr("rtsp"));
    Viewer::watch(conn, "cam", Transport::Tcp).leave();
    eventually("one session is stored", || {
        (relay.api("/api/v1/stats")["sessions"] == 1).then_some(())
    });
    let run = |words: &[&str]| {
        let mut cmd = louver();
        cmd.args(words).arg("--config").arg(relay.config_file());
        let out = cmd.arg("--data-dir").arg(relay.data_dir()).output().unwrap();
        assert_eq!(out.status.code(), Some(0), "{out:?}");
        String::from_utf8(out.stdout).unwrap()
    };
    // Four questions that differ in one word, of which each answer hides cells.
    for day in 1..=4 {
        run(&["stats", "--path", "cam", "--until", &format!("2099-01-0{day}")]);
    }
    eventually("the rule that judges hidden cells holds", || {
        let trail = run(&["audit", "show"]);
        assert!(trail.contains("cells hidden"), "{trail}");
        trail.contains("alert.raise  differencing").then_some(())
    });
}

#[test]
fn a_test_alert_is_mailed_and_the_record_names_the_mail_server() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("louver.toml");
    let config = format!(
        "[alerts]\nsmtp = \"smtp://{}\"\nfrom = \"louver@example.org\"\nto = \"dpo@example.org\"\n",
        listener.local_addr().unwrap()
    );
    std::fs::write(&file, config).unwrap();
    let run = |words: &[&str]| {
        let mut command = louver();
        command
            .args(words)
            .arg("--config")
            .arg(&file)
            .arg("--data-dir")
            .arg(dir.path());
        command.output().unwrap()
    };
    let server = std::thread::spawn(move || {
        let stream = listener.accept().unwrap().0;
        let mut write = stream.try_clone().unwrap();
        let (mut letter, mut in_data) = (String::new(), false);
        write.write_all(b"220 test\r\n").unwrap();
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let ends = line == "." || line == "QUIT";
            if in_data && !ends {
                letter.push_str(&line);
                letter.push('\n');
                continue;
            }
            in_data = line == "DATA";
            let answer: &[u8] = if in_data { b"354 go on\r\n" } else { b"250 ok\r\n" };
            write.write_all(answer).unwrap();
            if ends {
                break;
            }
        }
        letter
    });
    let sent = run(&["privacy", "alert-test"]);
    assert_eq!(sent.status.code(), Some(0), "{sent:?}");
    assert_eq!(sent.stdout, b"e-mail: sent\n");
    let letter = server.join().unwrap();
    assert!(
        letter.contains("To: dpo@example.org\nSubject: Louver alert: test\n"),
        "{letter}"
    );
    let record = String::from_utf8(run(&["privacy", "ropa"]).stdout).unwrap();
    assert!(record.contains("the operator's mail server"), "{record}");
    let gone = run(&["privacy", "alert-test"]);
    assert_eq!(gone.status.code(), Some(1), "nobody listens there now");
    std::fs::write(&file, "").unwrap();
    let none = run(&["privacy", "alert-test"]);
    assert_eq!(none.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&none.stderr).contains("alerts go to the log alone"));
}

#[test]
fn a28_what_is_longer_or_smaller_than_may_be_is_refused_and_no_secret_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("louver.toml");
    let check = |config: &str| {
        std::fs::write(&file, config).unwrap();
        let out = louver().args(["check", "--config"]).arg(&file).output().unwrap();
        let text = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
        (out.status.code(), text)
    };
    for (config, says) in [
        (
            "[privacy.retention]\ndays_months = 120",
            "days_months is out of range",
        ),
        ("[privacy]\nk = 0", "k is out of range"),
        ("[privacy]\nlevel = \"identified\"", "for viewers who agreed"),
        (
            "[http]\nlisten = \"0.0.0.0:8080\"\n[privacy]\nk = 2",
            "expected 3 or more",
        ),
        (
            "[alerts]\nsmtp = \"smtp://u:CANARY@mail.example.org\"",
            "smtp is no mail server",
        ),
        ("[alerts]\nsmtp_password = \"CANARY\"", "belong together"),
        (
            "[alerts]\nwebhook = \"http://example.org/?token=CANARY\"\nwebhook_secret = \"CANARY CANARY CANARY CANARY\"",
            "webhook is no address",
        ),
        (
            "[alerts]\nwebhook = \"https://example.org/\"\nwebhook_secret = \"CANARY\"",
            "can be guessed",
        ),
        (
            "[stats]\ndatabase = \"mysql://louver:CANARY@db/louver\"",
            "database is unknown",
        ),
        ("[paths.a]\nsource = \"xyz://louver:CANARY@cam/1\"", "source"),
    ] {
        let (status, text) = check(config);
        assert_eq!(status, Some(2), "{config}: {text}");
        assert!(text.contains(says), "{says} is not in {text}");
        assert!(!text.contains("CANARY"), "{text}");
    }
    assert_eq!(check("[privacy]\nk = 2").0, Some(0), "for this machine alone");
}
