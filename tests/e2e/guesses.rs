//! A18: who has no credentials, or wrong ones, learns nothing of which users and paths there are: answers are the same
//! byte by byte, but for what is of the moment. (Times: `tests/privacy`. Tokens: `rights::guesses`.)

use std::thread;
use std::time::Duration;
use std::time::Instant;

use crate::http;
use crate::http::LOCAL;
use crate::relay::Options;
use crate::relay::Relay;
use crate::relay::basic;
use crate::reload::pattern;
use crate::reload::user;
use crate::rtsp::Conn;

/// Paths that are there (a picture, one for another user, one that is elsewhere) and one that is not.
const PATHS: [&str; 4] = ["cam", "yard", "moved", "nix"];

/// What an answer says; dates and nonces are of the moment.
pub fn said(status: u16, headers: &[(String, String)], body: &str) -> String {
    let mut told = format!("{status}\n");
    for (name, value) in headers.iter().filter(|(name, _)| name != "date") {
        let value: Vec<&str> = value
            .split(", ")
            .filter(|part| !part.starts_with("nonce="))
            .collect();
        told.push_str(&format!("{name}: {}\n", value.join(", ")));
    }
    told + body
}

/// Nobody's credentials; and of a user who is there, and of one who is not, with a wrong password.
fn credentials() -> Vec<(&'static str, Option<String>)> {
    let digest = |name: &str, length: usize| {
        format!(
            "Digest username=\"{name}\", realm=\"Louver\", nonce=\"n\", uri=\"*\", response=\"{}\"",
            "0".repeat(length)
        )
    };
    vec![
        ("none", None),
        ("basic", Some(basic("anna", "wrong"))),
        ("basic", Some(basic("nina", "wrong"))),
        ("digest", Some(digest("anna", 32))),
        ("digest", Some(digest("nina", 32))),
        ("digest sha", Some(digest("anna", 64))),
        ("digest sha", Some(digest("nina", 64))),
    ]
}

/// That each kind of credentials gets one answer, whatever it is about.
#[track_caller]
fn all_the_same(what: &str, answers: &[(&str, String)]) {
    for (kind, answer) in answers {
        let (_, first) = answers.iter().find(|(k, _)| k == kind).unwrap();
        assert_eq!(first, answer, "{what}, {kind}");
    }
}

#[test]
fn a18_who_has_no_credentials_gets_the_same_answer_whatever_there_is() {
    let users = [user("anna", "pw-of-anna"), user("bob", "pw-of-bob")].concat();
    let config = format!(
        "[auth]\nrequired = \"always\"\n{users}{}[paths.yard]\nsource = \"publish:\"\nread = [\"bob\"]\n\
         [paths.moved]\nsource = \"redirect:rtsp://192.0.2.1/cam\"\n",
        pattern("cam", 160)
    );
    let relay = Relay::start(Options::default().config(&config).login("anna", "pw-of-anna"));
    relay.wait_for_state("cam", "ready");
    by_rtsp(&relay);
    by_http(&relay);
    relay.stop();
}

/// Wrong credentials cost two seconds each, so all ask at once.
fn by_rtsp(relay: &Relay) {
    let announced = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n";
    let ask = |method: &str, path: &str, authorization: Option<&str>| {
        let mut conn = Conn::open(LOCAL, relay.addr("rtsp"));
        let url = relay.rtsp(path);
        let mut headers = vec![("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1")];
        headers.extend(authorization.map(|a| ("Authorization", a)));
        let body = if method == "ANNOUNCE" {
            headers.push(("Content-Type", "application/sdp"));
            announced
        } else {
            ""
        };
        let begun = Instant::now();
        let reply = conn.request_with(method, &url, &headers, body);
        let told = said(reply.status, &reply.headers, &reply.body);
        (told, begun.elapsed())
    };
    for method in [
        "OPTIONS",
        "DESCRIBE",
        "SETUP",
        "ANNOUNCE",
        "PLAY",
        "GET_PARAMETER",
        "TEARDOWN",
    ] {
        let credentials = credentials();
        let answers: Vec<(&str, String)> = thread::scope(|scope| {
            let ask = &ask;
            let asked: Vec<_> = credentials
                .iter()
                .flat_map(|(kind, authorization)| {
                    PATHS.map(|path| {
                        let asking = scope.spawn(move || ask(method, path, authorization.as_deref()));
                        (*kind, asking)
                    })
                })
                .collect();
            let answers = asked.into_iter().map(|(kind, asking)| {
                let (answer, took) = asking.join().unwrap();
                let judged = ["DESCRIBE", "SETUP", "ANNOUNCE"].contains(&method);
                if judged {
                    assert!(answer.starts_with("401"), "{method}, {kind}: {answer}");
                }
                // Whoever there is: who guesses waits.
                assert!(
                    !judged || kind == "none" || took >= Duration::from_secs(1),
                    "{kind}: {took:?}"
                );
                (kind, answer)
            });
            answers.collect()
        });
        all_the_same(method, &answers);
    }
}

fn by_http(relay: &Relay) {
    let targets = [
        "/live/PATH/",
        "/live/PATH",
        "/live/PATH/snapshot.jpg",
        "/live/PATH/stream.mjpeg",
        "/live/nostats/PATH/stream.mjpeg",
        "/api/v1/stats?path=PATH",
        "/api/v1/shares/PATH",
        "/PATH",
    ];
    let ask = |method: &str, target: &str, authorization: Option<&str>| {
        let headers: Vec<_> = authorization.iter().map(|a| ("Authorization", *a)).collect();
        let answer = http::request(LOCAL, relay.addr("http"), method, target, &headers);
        assert_eq!(answer.status, 401, "{method} {target}");
        said(answer.status, &answer.headers, &answer.text())
    };
    for method in ["GET", "HEAD", "POST", "DELETE"] {
        let credentials = credentials();
        let answers: Vec<(&str, String)> = thread::scope(|scope| {
            let ask = &ask;
            let mut asked = Vec::new();
            for (kind, authorization) in &credentials {
                for target in targets
                    .iter()
                    .flat_map(|t| PATHS.map(|path| t.replace("PATH", path)))
                {
                    let asking = scope.spawn(move || ask(method, &target, authorization.as_deref()));
                    asked.push((*kind, asking));
                }
            }
            asked
                .into_iter()
                .map(|(kind, asking)| (kind, asking.join().unwrap()))
                .collect()
        });
        all_the_same(method, &answers);
    }
}
