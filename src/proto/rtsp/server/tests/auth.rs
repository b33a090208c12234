//! Listeners that want credentials.

use md5::Digest;
use md5::Md5;
use sha2::Sha256;

use super::*;
use crate::proto::rtsp::auth::Rule;
use crate::proto::rtsp::server::Event;
use crate::proto::rtsp::server::Purpose;

const URL: &str = "rtsp://h/cam";
const NONCE: &str = "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a";

fn hex<D: Digest>(text: &str) -> String {
    D::digest(text.as_bytes())
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
}

/// What a client computes from a challenge.
fn digest<D: Digest>(method: &str, uri: &str, password: &str, nonce: &str) -> String {
    let ha1 = hex::<D>(&format!("user:Louver:{password}"));
    let ha2 = hex::<D>(&format!("{method}:{uri}"));
    let response = hex::<D>(&format!("{ha1}:{nonce}:{ha2}"));
    format!(
        "Authorization: Digest username=\"user\", realm=\"Louver\", nonce=\"{nonce}\", uri=\"{uri}\", \
         response=\"{response}\""
    )
}

fn describe(authorization: &str) -> String {
    format!("DESCRIBE {URL} RTSP/1.0\nCSeq: 2\n{authorization}")
}

const BASIC: &str = "Authorization: Basic dXNlcjpwYXNz";

#[test]
fn options_and_keepalives_need_no_credentials() {
    let mut peer = Peer::guarded();
    for method in ["OPTIONS", "GET_PARAMETER", "SET_PARAMETER"] {
        assert_eq!(
            peer.reply(&format!("{method} {URL} RTSP/1.0\nCSeq: 1")).status,
            200
        );
    }
}

#[test]
fn the_first_request_is_told_at_once_what_is_needed_however_often() {
    let mut peer = Peer::guarded();
    for method in [
        "DESCRIBE", "ANNOUNCE", "SETUP", "PLAY", "PAUSE", "RECORD", "TEARDOWN",
    ] {
        let reply = peer.reply(&format!(
            "{method} {URL} RTSP/1.0\nCSeq: 1\nTransport: RTP/AVP/TCP"
        ));
        assert_eq!((reply.status, reply.get("CSeq")), (401, Some("1")), "{method}");
        let sha256 = format!("Digest realm=\"Louver\", nonce=\"{NONCE}\", algorithm=SHA-256");
        let md5 = format!("Digest realm=\"Louver\", nonce=\"{NONCE}\"");
        let challenges = ["Basic realm=\"Louver\"", &sha256, &md5];
        assert_eq!(reply.all("WWW-Authenticate"), challenges, "{method}");
    }
    peer.ask(&describe(BASIC));
}

#[test]
fn a_client_with_basic_or_digest_gets_through_the_whole_dialogue() {
    type Says = fn(&str, &str) -> String;
    let basic: Says = |_, _| BASIC.into();
    let md5: Says = |method, uri| digest::<Md5>(method, uri, "pass", NONCE);
    let sha256: Says = |method, uri| digest::<Sha256>(method, uri, "pass", NONCE) + ", algorithm=SHA-256";
    for says in [basic, md5, sha256] {
        let mut peer = Peer::guarded();
        assert!(matches!(
            peer.ask(&describe(&says("DESCRIBE", URL))),
            Ask::Describe(_)
        ));
        peer.answer(Answer::Describe {
            sdp: "m=video\r\n".into(),
        });
        let setup = "rtsp://h/cam/trackID=0";
        peer.set_up(&format!(
            "SETUP {setup} RTSP/1.0\nCSeq: 3\nTransport: RTP/AVP/TCP;interleaved=0-1\n{}",
            says("SETUP", setup)
        ));
        peer.play(&format!(
            "PLAY {URL}/ RTSP/1.0\nCSeq: 4\n{}",
            says("PLAY", "rtsp://h/cam/")
        ));
        let end = format!(
            "TEARDOWN {URL}/ RTSP/1.0\nCSeq: 5\n{}",
            says("TEARDOWN", "rtsp://h/elsewhere")
        );
        assert_eq!(
            peer.say(&end).len(),
            2,
            "what a session's requests hash does not matter"
        );
    }
}

#[test]
fn a_publisher_needs_credentials_too() {
    let mut peer = Peer::guarded();
    let announce = |authorization: &str| {
        format!("ANNOUNCE {URL} RTSP/1.0\nCSeq: 2\nContent-Length: 3\n{authorization}\n\nv=0")
    };
    // The empty line in the middle ends the header; what follows is the body.
    assert_eq!(reply_alone(peer.say(&announce("X: y"))).status, 401);
    assert!(matches!(peer.ask(&announce(BASIC)), Ask::Announce(..)));
}

#[test]
fn wrong_credentials_wait_and_end_the_connection() {
    let md5 = digest::<Md5>("DESCRIBE", URL, "wrong", NONCE);
    for wrong in [
        "Authorization: Basic dXNlcjp4",
        "Authorization: Basic",
        md5.as_str(),
    ] {
        let mut peer = Peer::guarded();
        let out = peer.say(&describe(wrong));
        assert_eq!(
            out,
            [Output::Event(Event::Unauthorized { path: "cam".into() })],
            "{wrong}"
        );
        assert_eq!(peer.sleeps(), Duration::from_secs(2));
        assert_eq!(peer.say(&describe(BASIC)), [], "nobody listens meanwhile");
        assert_eq!(peer.conn.parser.waiting(), 0, "or remembers");
        assert_eq!(peer.wait(Duration::from_millis(1999)), []);
        let out = peer.wait(Duration::from_millis(1));
        let [Output::Send(reply), Output::Close] = &out[..] else {
            panic!("{out:?}")
        };
        assert_eq!(Reply::read(reply).status, 401);
        assert_eq!(peer.say(&describe(BASIC)), [Output::Close]);
    }
}

#[test]
fn wrong_credentials_in_a_url_are_wrong_and_right_ones_are_enough_for_any_method() {
    let mut peer = Peer::guarded();
    let out = peer.say("DESCRIBE rtsp://user:no@h/cam RTSP/1.0\nCSeq: 1");
    assert_eq!(out, [Output::Event(Event::Unauthorized { path: "cam".into() })]);
    let mut peer = Peer::guarded();
    let Ask::Describe(target) = peer.ask("DESCRIBE rtsp://user:pass@h/cam RTSP/1.0\nCSeq: 1") else {
        panic!()
    };
    assert_eq!(target.path, "cam");
    let reply = peer.answer(Answer::Describe { sdp: String::new() });
    assert_eq!(reply.get("Content-Base"), Some("rtsp://h/cam/"));
}

#[test]
fn wrong_credentials_within_a_session_are_wrong_too() {
    let mut peer = Peer::guarded();
    peer.set_up(&format!(
        "SETUP {URL}/trackID=0 RTSP/1.0\nCSeq: 1\nTransport: RTP/AVP/TCP\n{BASIC}"
    ));
    let out = peer.say(&format!(
        "PLAY {URL} RTSP/1.0\nCSeq: 2\nAuthorization: Basic dXNlcjp4"
    ));
    assert_eq!(out, [Output::Event(Event::Unauthorized { path: "cam".into() })]);
}

#[test]
fn a_session_that_was_set_up_with_credentials_needs_no_more() {
    let mut peer = Peer::guarded();
    peer.set_up(&format!(
        "SETUP {URL}/trackID=0 RTSP/1.0\nCSeq: 1\nTransport: RTP/AVP/TCP\n{BASIC}"
    ));
    assert_eq!(peer.play(&format!("PLAY {URL} RTSP/1.0\nCSeq: 2")).status, 200);
    let setup = format!("SETUP {URL}/trackID=1 RTSP/1.0\nCSeq: 3\nTransport: RTP/AVP/TCP");
    assert_eq!(peer.reply(&setup).status, 401, "another track does");
}

#[test]
fn the_nonce_of_an_earlier_connection_is_stale_and_no_crime() {
    let mut peer = Peer::guarded();
    let reply = peer.reply(&describe(&digest::<Md5>("DESCRIBE", URL, "pass", "of-yesterday")));
    assert_eq!(reply.status, 401);
    let last = reply.all("WWW-Authenticate")[2].to_owned();
    assert_eq!(
        last,
        format!("Digest realm=\"Louver\", nonce=\"{NONCE}\", stale=TRUE")
    );
    peer.ask(&describe(&digest::<Md5>("DESCRIBE", URL, "pass", NONCE)));
}

#[test]
fn an_open_listener_does_not_look_at_credentials() {
    let mut peer = Peer::open();
    peer.ask(&describe("Authorization: Basic dXNlcjp4"));
}

#[test]
fn outputs_show_neither_credentials_nor_addresses_in_debug() {
    let mut peer = Peer::guarded();
    let ask = peer.ask("DESCRIBE rtsp://user:pass@h/cam?token=hush RTSP/1.0\nCSeq: 1\nUser-Agent: Lynx");
    peer.conn
        .answer(peer.now, Answer::Describe { sdp: String::new() });
    let reply = peer.drain();
    let announce = peer.ask(&format!(
        "ANNOUNCE {URL} RTSP/1.0\nCSeq: 2\nContent-Length: 29\n{BASIC}\n\no=- 0 0 IN IP4 203.0.113.77\n\n"
    ));
    let shown = format!("{ask:?} {reply:?} {announce:?}");
    assert!(shown.contains("Send(") && shown.contains("29 bytes"), "{shown}");
    let as_bytes = |text: &str| {
        format!("{:?}", text.as_bytes())
            .trim_matches(['[', ']'])
            .to_owned()
    };
    for secret in ["user", "pass", "hush", "Lynx", "203.0.113.77"] {
        assert!(
            !shown.contains(secret) && !shown.contains(&as_bytes(secret)),
            "{shown}"
        );
    }
}

#[test]
fn a_user_may_do_what_the_rules_say_and_hears_403_for_the_rest() {
    let names = |names: &[&str]| Some(names.iter().map(|n| (*n).to_owned()).collect());
    let rules = vec![
        Rule {
            path: None,
            read: None,
            publish: names(&["other"]),
        },
        Rule {
            path: Some("yard".into()),
            read: names(&["other"]),
            publish: None,
        },
    ];
    let user = User::new("user", "Louver", "pass");
    let users = || Users::new("Louver", vec![user.clone()]).with_rules(rules.clone());
    let basic = "Authorization: Basic dXNlcjpwYXNz"; // user:pass
    let tcp = "Transport: RTP/AVP/TCP;interleaved=0-1";
    for (request, path) in [
        (
            format!("DESCRIBE rtsp://h/yard RTSP/1.0\nCSeq: 1\n{basic}"),
            "yard",
        ),
        (
            format!("SETUP rtsp://h/yard/trackID=0 RTSP/1.0\nCSeq: 1\n{basic}\n{tcp}"),
            "yard",
        ),
        (
            format!("SETUP rtsp://user:pass@h/Yard RTSP/1.0\nCSeq: 1\n{tcp}"),
            "Yard",
        ),
        (
            format!("ANNOUNCE rtsp://h/door RTSP/1.0\nCSeq: 1\n{basic}"),
            "door",
        ),
    ] {
        let mut peer = Peer::with(None, Some(users()));
        let path = path.to_owned();
        match &peer.say(&request)[..] {
            [Output::Event(event), Output::Send(bytes)] => {
                assert_eq!(*event, Event::Forbidden { path }, "{request}");
                assert_eq!(Reply::read(bytes).status, 403, "{request}");
            }
            other => panic!("{request}: {other:?}"),
        }
        // No penalty: the credentials were right.
        peer.ask(&format!("DESCRIBE rtsp://h/door RTSP/1.0\nCSeq: 2\n{basic}"));
    }
}

#[test]
fn who_publishes_and_may_not_read_reads_nothing_by_calling_its_track_like_a_path() {
    let names = |names: &[&str]| Some(names.iter().map(|n| (*n).to_owned()).collect());
    let nobody_reads = Rule {
        path: None,
        read: names(&[]),
        publish: None,
    };
    let user = User::new("user", "Louver", "pass");
    let users = Users::new("Louver", vec![user]).with_rules(vec![nobody_reads]);
    let mut peer = Peer::with(None, Some(users));
    peer.ask("ANNOUNCE rtsp://user:pass@h/own RTSP/1.0\nCSeq: 1\nContent-Length: 5\n\nv=0");
    let yard = "rtsp://h/yard/trackID=0";
    let controls = vec![yard.to_owned(), "trackID=1".to_owned()];
    assert_eq!(peer.answer(Answer::Announced { controls }).status, 200);
    let setup = |url: &str, more: &str| {
        let url = url.replacen("://", "://user:pass@", 1);
        format!("SETUP {url} RTSP/1.0\nCSeq: 2\nTransport: RTP/AVP/TCP;unicast{more}")
    };
    for (url, path) in [(yard, "yard"), ("rtsp://h/own/trackID=1", "own")] {
        match &peer.say(&setup(url, ";mode=play"))[..] {
            [Output::Event(event), Output::Send(bytes)] => {
                assert_eq!(*event, Event::Forbidden { path: path.into() });
                assert_eq!(Reply::read(bytes).status, 403);
            }
            other => panic!("{url}: {other:?}"),
        }
    }
    // To publish they are its own.
    for url in [yard, "rtsp://h/own/trackID=1"] {
        let request = peer.ask_setup(&setup(url, ";mode=record"));
        assert_eq!((request.purpose, &*request.target.path), (Purpose::Record, "own"));
        peer.answer(Answer::SetUp { ssrc: 0 });
    }
}

/// `user` is gone, or may not any more, or has another password.
fn taken_away() -> Vec<(Vec<User>, Vec<Rule>)> {
    let names = |names: &[&str]| Some(names.iter().map(|n| (*n).to_owned()).collect());
    let user = |password| User::new("user", "Louver", password);
    let other = Rule {
        path: None,
        read: names(&["other"]),
        publish: names(&["other"]),
    };
    vec![
        (vec![User::new("other", "Louver", "x")], vec![]),
        (vec![user("pass")], vec![other]),
        (vec![user("another")], vec![]),
    ]
}

impl Peer {
    fn after(&mut self, users: Vec<User>, rules: Vec<Rule>) -> Vec<Output> {
        let all = self.conn.options.users.as_ref().expect("a guarded listener");
        all.replace(users, rules);
        self.conn
            .handle(self.now, Input::RightsChanged)
            .expect("no input");
        self.drain()
    }
}

const UDP_OF_USER: &str = "SETUP rtsp://user:pass@h/cam/trackID=0 RTSP/1.0\nCSeq: 3\n\
                           Transport: RTP/AVP;client_port=5000-5001";

#[test]
fn a_session_ends_with_the_rights_of_its_user_and_takes_its_connection_along() {
    for (users, rules) in taken_away() {
        let mut peer = Peer::guarded();
        peer.set_up(UDP_OF_USER);
        peer.play("PLAY rtsp://h/cam/ RTSP/1.0\nCSeq: 4\nSession: 00000000000000a1");
        let dismissed = Output::Event(Event::Dismissed {
            session: FIRST,
            path: "cam".into(),
        });
        assert_eq!(peer.after(users, rules), [dismissed, Output::Close]);
        assert!(
            peer.conn.give_up().is_empty(),
            "nobody goes on without a connection"
        );
    }
}

#[test]
fn what_is_announced_ends_with_the_rights_of_who_announced_it() {
    for (users, rules) in taken_away() {
        let mut peer = Peer::guarded();
        peer.ask("ANNOUNCE rtsp://user:pass@h/cam RTSP/1.0\nCSeq: 1\nContent-Length: 5\n\nv=0");
        let controls = vec!["a".to_owned()];
        assert_eq!(peer.answer(Answer::Announced { controls }).status, 200);
        assert_eq!(peer.after(users, rules), [Output::Close]);
    }
}

#[test]
fn a_kept_session_knows_that_its_user_has_gone() {
    for (users, rules) in taken_away() {
        let mut peer = Peer::guarded();
        peer.set_up(UDP_OF_USER);
        let kept = peer.conn.give_up().pop().expect("it needs no connection");
        assert!(kept.may_go_on());
        peer.after(users, rules);
        assert!(!kept.may_go_on());
    }
}

#[test]
fn who_keeps_the_right_notices_nothing_when_others_come_and_go() {
    let user = || User::new("user", "Louver", "pass");
    let mut guarded = Peer::guarded();
    guarded.set_up(UDP_OF_USER);
    let new = User::new("new", "Louver", "y");
    assert_eq!(guarded.after(vec![new, user()], vec![]), []);
    let yard = Rule {
        path: Some("yard".into()),
        read: Some(vec!["new".into()]),
        publish: None,
    };
    assert_eq!(guarded.after(vec![user()], vec![yard]), []);
    let mut open = Peer::open();
    open.set_up("SETUP rtsp://h/cam/trackID=0 RTSP/1.0\nCSeq: 3\nTransport: RTP/AVP;client_port=5000-5001");
    open.conn
        .handle(open.now, Input::RightsChanged)
        .expect("no input");
    assert_eq!(open.drain(), []);
}
