//! Sessions whose connection was lost, and who may have them back.

use super::*;
use crate::base::live::Live;
use crate::base::peer::PeerAddr;
use crate::egress::rtsp::Options;
use crate::egress::rtsp::keeper::Keeper;
use crate::egress::rtsp::play::Play;
use crate::proto::rtsp::auth::User;
use crate::proto::rtsp::auth::Users;
use crate::proto::rtsp::server;
use crate::proto::rtsp::server::Answer;
use crate::proto::rtsp::server::Conn;
use crate::proto::rtsp::server::Input;
use crate::proto::rtsp::server::Kept;
use crate::proto::rtsp::server::Output;

const SETUP: &[u8] = b"SETUP rtsp://anna:secret@h/cam/trackID=0 RTSP/1.0\r\nCSeq: 1\r\n\
    Transport: RTP/AVP;client_port=5000-5001\r\n\r\n";

/// A session of anna by UDP that has lost its connection.
fn lost(users: &Arc<Users>, now: Instant) -> Kept {
    let options = server::Options {
        server_ports: Some((8000, 8001)),
        multicast: false,
        idle: Duration::from_secs(65),
        users: Some(Arc::clone(users)),
        carrier: server::Carrier::Tcp,
        limits: Arc::default(),
    };
    let mut conn = Conn::new(now, options, [7; 16], Box::new(|| 9));
    conn.handle(now, Input::Bytes(SETUP)).unwrap();
    assert!(matches!(conn.poll(), Output::Ask(_)));
    conn.answer(now, Answer::SetUp { ssrc: 1 });
    conn.give_up().pop().expect("it needs no connection")
}

#[tokio::test]
async fn nobody_gets_a_kept_session_back_who_may_not_read_any_more() {
    let bench = Bench::new();
    let now = bench.clock.now();
    let users = Arc::new(Users::new("Louver", vec![User::new("anna", "Louver", "secret")]));
    let keeper = Keeper::new(Live::new(Options::default()), bench.clock.clone(), Metrics::new());
    let peer = PeerAddr::new("192.0.2.1:9".parse().unwrap());
    let session = lost(&users, now);
    for may in [true, false] {
        if !may {
            users.replace(Vec::new(), Vec::new()); // before the keeper has looked
        }
        let path = bench.publisher.path();
        let stream = Arc::clone(bench.publisher.stream());
        let play = Play::new(path.attach(), stream, "cam".into(), None, now);
        keeper.keep(session.clone(), Box::new(play), peer.again());
        assert_eq!(keeper.claim(session.id(), &peer).is_some(), may);
    }
}
