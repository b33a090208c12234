//! Sessions that outlive their connection.

use super::*;
use crate::proto::rtsp::server::Event;

const UDP: &str = "SETUP rtsp://h/cam/trackID=0 RTSP/1.0\nCSeq: 3\nTransport: RTP/AVP;client_port=5000-5001";
const TCP: &str = "SETUP rtsp://h/cam/trackID=0 RTSP/1.0\nCSeq: 3\nTransport: RTP/AVP/TCP;interleaved=0-1";

fn lost(setup: &str) -> Vec<crate::proto::rtsp::server::Kept> {
    let mut first = Peer::open();
    first.set_up(setup);
    first.play("PLAY rtsp://h/cam/ RTSP/1.0\nCSeq: 4\nSession: 00000000000000a1");
    first.conn.give_up()
}

/// gortsplib: TestServerPlayUDPChangeConn.
#[test]
fn a_reader_by_udp_goes_on_by_another_connection() {
    for (request, status) in [
        ("OPTIONS rtsp://h/cam/", 200),
        ("GET_PARAMETER rtsp://h/cam/", 200),
        ("SET_PARAMETER rtsp://h/cam/", 200),
        ("PAUSE rtsp://h/cam/", 200),
        ("TEARDOWN rtsp://h/cam/", 200),
        ("RECORD rtsp://h/cam/", 455),
    ] {
        let kept = lost(UDP).pop().expect("it needs no connection");
        assert_eq!(kept.id(), FIRST);
        let mut second = Peer::open();
        second.claims.push(FIRST);
        let request = format!("{request} RTSP/1.0\nCSeq: 9\nSession: 00000000000000a1;timeout=60");
        assert_eq!(second.ask(&request), Ask::Claim { session: FIRST });
        second.conn.answer(second.now, Answer::Kept(Some(Box::new(kept))));
        let reply = match second.drain().pop() {
            Some(Output::Send(bytes)) => Reply::read(&bytes),
            other => panic!("{request}: {other:?}"),
        };
        assert_eq!(
            (reply.status, reply.get("CSeq")),
            (status, Some("9")),
            "{request}"
        );
    }
}

#[test]
fn an_adopted_session_is_asked_for_once_and_plays_and_times_out_as_any_other() {
    let kept = lost(UDP).pop().expect("it needs no connection");
    let mut second = Peer::open();
    second.claims.push(FIRST);
    second.ask("PLAY rtsp://h/cam/ RTSP/1.0\nCSeq: 2\nSession: 00000000000000a1");
    second.conn.answer(second.now, Answer::Kept(Some(Box::new(kept))));
    assert_eq!(second.drain(), [Output::Ask(Ask::Play { session: FIRST })]);
    assert_eq!(
        second.answer(Answer::Playing { rtp_info: Vec::new() }).status,
        200
    );
    let over = Output::Event(Event::TimedOut { session: FIRST });
    assert_eq!(second.wait(IDLE).first(), Some(&over));
}

#[test]
fn a_session_by_tcp_goes_with_its_connection_and_so_does_one_that_is_nobodys() {
    assert_eq!(lost(TCP), []);
    let mut peer = Peer::open();
    peer.claims.push(SessionId(0xabc));
    peer.ask("PAUSE rtsp://h/cam RTSP/1.0\nCSeq: 2\nSession: 0000000000000abc");
    assert_eq!(peer.answer(Answer::Kept(None)).status, 454);
}
