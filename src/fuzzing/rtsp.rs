//! Targets for what clients send over RTSP.

use crate::base::clock::Clock;
use crate::base::clock::SystemClock;
use crate::proto::rtsp::auth::Claim;
use crate::proto::rtsp::auth::User;
use crate::proto::rtsp::auth::Users;
use crate::proto::rtsp::auth::Verdict;
use crate::proto::rtsp::headers;
use crate::proto::rtsp::parse::Message;
use crate::proto::rtsp::parse::Parser;
use crate::proto::rtsp::server::fuzz;
use crate::proto::rtsp::url::Url;

/// Events of a connection do not depend on where TCP cut the bytes; see [`fuzz::conn`].
pub(super) fn conn(data: &[u8]) {
    fuzz::conn(SystemClock.now(), data);
}

/// Inputs up to this length are cut everywhere; longer ones at this many places, or each takes milliseconds.
const EVERYWHERE: usize = 200;
const PLACES: usize = 16;

/// Messages and interleaved packets are the same whatever the pieces they come in: all bytes at once, byte by
/// byte, and in two pieces, cut at each place if there are not too many.
pub(super) fn interleaved(data: &[u8]) {
    let whole = messages(&[data]);
    let bytes: Vec<&[u8]> = data.chunks(1).collect();
    assert_eq!(messages(&bytes), whole, "byte by byte");
    let step = if data.len() <= EVERYWHERE {
        1
    } else {
        data.len().div_ceil(PLACES)
    };
    for cut in (0..data.len()).step_by(step) {
        let (first, second) = data.split_at(cut);
        assert_eq!(messages(&[first, second]), whole, "cut at {cut}");
    }
}

/// What a parser finds, and whether it gave up.
fn messages(pieces: &[&[u8]]) -> (Vec<Message>, bool) {
    let mut parser = Parser::default();
    let mut found = Vec::new();
    for piece in pieces {
        parser.push(piece);
        loop {
            match parser.next_message() {
                Ok(Some(message)) => found.push(message),
                Ok(None) => break,
                Err(_) => return (found, true),
            }
        }
        assert!(parser.waiting() <= 200_000, "a message waits for ever");
    }
    (found, false)
}

/// What is told to others of a URL holds no credentials.
pub(super) fn url(data: &[u8]) {
    let Some(url) = Url::parse(&String::from_utf8_lossy(data)) else {
        return;
    };
    for told in [url.without_credentials(), url.content_base()] {
        let again = Url::parse(&told);
        assert!(
            again.is_none_or(|u| u.credentials().is_none()),
            "credentials are left in {told}"
        );
    }
    assert!(
        url.covered_by(&url.without_credentials()),
        "a URL is about itself"
    );
}

/// Values of CSeq, Session, Transport, Range, Require and Authorization. What we answer has no line breaks in it,
/// and nobody gets in by chance.
pub(super) fn headers(data: &[u8]) {
    let text = String::from_utf8_lossy(data).replace(['\r', '\n'], " ");
    assert!(headers::cseq(&text).is_none_or(|c| c.len() <= 20));
    assert!(!headers::session_id(&text).contains(';'));
    headers::live_range(Some(&text));
    for option in headers::unsupported_options(&text) {
        assert!(!option.contains(['\r', '\n']));
    }
    for transport in headers::Transport::parse_list(&text) {
        let reply = headers::udp_reply(
            &transport.protocol,
            transport.client_port.unwrap_or((2, 3)),
            (4, 5),
            Some(6),
        );
        let again = headers::Transport::parse_list(&reply);
        assert!(!reply.contains(['\r', '\n']) && !again.is_empty());
    }
    let Some(url) = Url::parse("rtsp://host/path") else {
        return;
    };
    let users = Users::new(
        "Louver",
        vec![User::new("user", "Louver", "a password nobody guesses")],
    );
    let claim = Claim {
        method: "DESCRIBE",
        url: &url,
        authorization: Some(&text),
        check_uri: true,
    };
    let verdict = users.check(&claim, "0123456789abcdef");
    assert!(verdict != Verdict::Good, "let in with {text}");
}
