//! The body of a fuzz target: whatever bytes come, nothing panics, and what comes out does not depend on
//! where TCP cut them. Tests use it too.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use super::Answer;
use super::Ask;
use super::Carrier;
use super::ChosenTransport;
use super::Conn;
use super::Group;
use super::Input;
use super::Options;
use super::Output;
use super::Refusal;
use super::RtpInfo;
use crate::media::TrackId;
use crate::proto::rtsp::auth::User;
use crate::proto::rtsp::auth::Users;

/// The first byte chooses the options and answers, the next two where we cut.
pub fn conn(now: Instant, data: &[u8]) {
    let Some((&[choice, a, b], data)) = data.split_first_chunk() else {
        return;
    };
    let cut = usize::from(u16::from_be_bytes([a, b])).min(data.len());
    let (first, second) = data.split_at(cut);
    let whole = outputs(now, choice, &[data]);
    assert_eq!(outputs(now, choice, &[first, second]), whole, "cut at {cut}");
}

/// All that comes out of a connection that is fed with these pieces and answered at once.
pub fn outputs(now: Instant, choice: u8, pieces: &[&[u8]]) -> Vec<Output> {
    let mut next = 0;
    let ids = move || {
        next += 1;
        next
    };
    let mut conn = Conn::new(now, options(choice), [7; 16], Box::new(ids));
    let mut all = Vec::new();
    for piece in pieces {
        // The error itself is told on the call that finds it; what matters is what is done.
        let _closed = conn.handle(now, Input::Bytes(piece));
        loop {
            match conn.poll() {
                Output::WaitUntil(_) => break,
                Output::Close => {
                    all.push(Output::Close);
                    return all;
                }
                Output::Ask(ask) => {
                    let answer = answer(&ask, choice);
                    all.push(Output::Ask(ask));
                    conn.answer(now, answer);
                }
                output => all.push(output),
            }
        }
    }
    all
}

fn options(choice: u8) -> Options {
    let users = || Users::new("Louver", vec![User::new("user", "Louver", "pass")]);
    Options {
        limits: Arc::default(),
        server_ports: (choice & 1 == 0).then_some((8000, 8001)),
        multicast: choice & 8 == 0,
        idle: Duration::from_secs(65),
        users: (choice & 2 != 0).then(|| Arc::new(users())),
        carrier: [Carrier::Tcp, Carrier::Tls, Carrier::Tunnel, Carrier::Tcp][usize::from(choice >> 3 & 3)],
    }
}

fn answer(ask: &Ask, choice: u8) -> Answer {
    if choice & 4 != 0 {
        return Answer::Refused(Refusal::NotFound);
    }
    let info = RtpInfo {
        track: TrackId(0),
        sequence: 1,
        rtp_time: 2,
    };
    match ask {
        Ask::Describe(_) => Answer::Describe {
            sdp: "v=0\r\nm=video 0 RTP/AVP 96\r\n".into(),
        },
        Ask::Announce(..) => Answer::Announced {
            controls: vec!["streamid=0".into()],
        },
        Ask::Setup(setup) if setup.transport == ChosenTransport::Multicast => {
            let group = Group {
                destination: "239.0.0.1".into(),
                ports: (6000, 6001),
                ttl: 1,
            };
            Answer::SetUpMulticast { ssrc: 3, group }
        }
        Ask::Setup(_) => Answer::SetUp { ssrc: 3 },
        Ask::Play { .. } => Answer::Playing { rtp_info: vec![info] },
        Ask::Record { .. } => Answer::Recording,
        Ask::Claim { .. } => Answer::Kept(None),
    }
}
