//! Dialogues with the connection, as real clients hold them. Each file is one kind of client.

mod auth;
mod backchannel;
mod carrier;
mod kept;
mod multicast;
mod play;
mod publish;
mod robust;
mod satip;
mod setup;

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use super::Answer;
use super::Ask;
use super::Carrier;
use super::Conn;
use super::Input;
use super::Options;
use super::Output;
use super::RtpInfo;
use super::SessionId;
use super::SetupRequest;
use super::some_instant;
use crate::media::TrackId;
use crate::proto::rtsp::auth::User;
use crate::proto::rtsp::auth::Users;

/// The idle time of these connections; the peer is told 60.
const IDLE: Duration = Duration::from_secs(65);

/// The peer's side of a connection.
struct Peer {
    conn: Conn,
    now: Instant,
    /// Sessions that the test answers for when they are asked for.
    claims: Vec<SessionId>,
}

/// A reply, read by somebody else's rules: exact names, CRLF, lengths.
#[derive(Debug)]
struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Peer {
    /// On an open listener with UDP ports 8000 and 8001.
    fn open() -> Self {
        Self::with(Some((8000, 8001)), None)
    }

    /// On a listener that knows `user` with the password `pass`.
    fn guarded() -> Self {
        let user = User::new("user", "Louver", "pass");
        let users = Users::new("Louver", vec![User::new("other", "Louver", "x"), user]);
        Self::with(Some((8000, 8001)), Some(users))
    }

    /// On an open listener with UDP ports, behind this.
    fn carried_by(carrier: Carrier) -> Self {
        Self::made_with(Some((8000, 8001)), None, carrier)
    }

    fn with(server_ports: Option<(u16, u16)>, users: Option<Users>) -> Self {
        Self::made_with(server_ports, users, Carrier::Tcp)
    }

    fn made_with(server_ports: Option<(u16, u16)>, users: Option<Users>, carrier: Carrier) -> Self {
        Self::make(server_ports, users, carrier, false)
    }

    fn with_options(server_ports: Option<(u16, u16)>, users: Option<Users>, multicast: bool) -> Self {
        Self::make(server_ports, users, Carrier::Tcp, multicast)
    }

    fn make(
        server_ports: Option<(u16, u16)>,
        users: Option<Users>,
        carrier: Carrier,
        multicast: bool,
    ) -> Self {
        let now = some_instant();
        let options = Options {
            limits: Arc::default(),
            server_ports,
            multicast,
            idle: IDLE,
            users: users.map(Arc::new),
            carrier,
        };
        let mut next = 0xa0;
        let ids = move || {
            next += 1;
            next
        };
        let conn = Conn::new(now, options, [0x5a; 16], Box::new(ids));
        Self {
            conn,
            now,
            claims: Vec::new(),
        }
    }

    /// Sends a message; lines are parted by `\n` here and by CRLF on the wire. Gives all that is to be done.
    fn say(&mut self, message: &str) -> Vec<Output> {
        let mut wire = message.trim_end().replace('\n', "\r\n");
        wire.push_str("\r\n\r\n");
        let mut outputs = self.bytes(wire.as_bytes());
        // Nobody has lost a session here, unless a test says so.
        while let Some(Output::Ask(Ask::Claim { session })) = outputs.last()
            && !self.claims.contains(session)
        {
            outputs.pop();
            self.conn.answer(self.now, Answer::Kept(None));
            outputs.extend(self.drain());
        }
        outputs
    }

    fn bytes(&mut self, bytes: &[u8]) -> Vec<Output> {
        self.conn.handle(self.now, Input::Bytes(bytes)).expect("RTSP");
        self.drain()
    }

    fn drain(&mut self) -> Vec<Output> {
        let mut all = Vec::new();
        loop {
            match self.conn.poll() {
                Output::WaitUntil(_) => return all,
                Output::Close => {
                    all.push(Output::Close);
                    return all;
                }
                output => all.push(output),
            }
        }
    }

    /// Says something that is answered without a question to the driver.
    #[track_caller]
    fn reply(&mut self, message: &str) -> Reply {
        reply_alone(self.say(message))
    }

    /// Says something that the driver is asked about.
    #[track_caller]
    fn ask(&mut self, message: &str) -> Ask {
        match <[Output; 1]>::try_from(self.say(message)) {
            Ok([Output::Ask(ask)]) => ask,
            other => panic!("not one question: {other:?}"),
        }
    }

    /// Says a SETUP that the driver is asked about.
    #[track_caller]
    fn ask_setup(&mut self, message: &str) -> SetupRequest {
        match self.ask(message) {
            Ask::Setup(request) => request,
            other => panic!("no setup: {other:?}"),
        }
    }

    /// The driver's answer, and what the peer gets.
    #[track_caller]
    fn answer(&mut self, answer: Answer) -> Reply {
        self.conn.answer(self.now, answer);
        reply_alone(self.drain())
    }

    /// Sets a track up and gives the reply.
    #[track_caller]
    fn set_up(&mut self, message: &str) -> Reply {
        self.ask_setup(message);
        let reply = self.answer(Answer::SetUp { ssrc: 0x0102_abcd });
        assert_eq!(reply.status, 200, "{message}");
        reply
    }

    #[track_caller]
    fn describe(&mut self, url: &str, tracks: usize) -> Reply {
        let sdp = format!("v=0\r\ns= \r\n{}", "m=video 0 RTP/AVP 96\r\n".repeat(tracks));
        self.ask(&format!("DESCRIBE {url} RTSP/1.0\nCSeq: 2"));
        self.answer(Answer::Describe { sdp })
    }

    /// Lets the driver start the newest session.
    #[track_caller]
    fn play(&mut self, message: &str) -> Reply {
        assert!(matches!(self.ask(message), Ask::Play { .. }), "{message}");
        self.answer(Answer::Playing { rtp_info: Vec::new() })
    }

    /// Lets time pass, and gives what is to be done then.
    fn wait(&mut self, time: Duration) -> Vec<Output> {
        self.now += time;
        self.conn
            .handle(self.now, Input::Tick)
            .expect("a tick is no error");
        self.drain()
    }

    /// How long the driver may sleep.
    #[track_caller]
    fn sleeps(&mut self) -> Duration {
        match self.conn.poll() {
            Output::WaitUntil(at) => at.saturating_duration_since(self.now),
            other => panic!("not quiet: {other:?}"),
        }
    }
}

#[track_caller]
fn reply_alone(outputs: Vec<Output>) -> Reply {
    match <[Output; 1]>::try_from(outputs) {
        Ok([Output::Send(bytes)]) => Reply::read(&bytes),
        other => panic!("not one reply: {other:?}"),
    }
}

impl Reply {
    #[track_caller]
    fn read(bytes: &[u8]) -> Self {
        let text = String::from_utf8(bytes.to_vec()).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("an empty line");
        assert!(
            !head.replace("\r\n", "").contains(['\r', '\n']),
            "line ends are CRLF"
        );
        let mut lines = head.split("\r\n");
        let first = lines.next().expect("a status line");
        let status = first
            .strip_prefix("RTSP/1.0 ")
            .and_then(|s| s.get(..3))
            .expect("a status");
        let header = |line: &str| {
            let (name, value) = line.split_once(": ").expect("a header");
            (name.to_owned(), value.to_owned())
        };
        let reply = Self {
            status: status.parse().expect("a number"),
            headers: lines.map(header).collect(),
            body: body.to_owned(),
        };
        let length = reply
            .get("Content-Length")
            .map_or(0, |l| l.parse().expect("a number"));
        assert_eq!(reply.body.len(), length);
        reply
    }

    /// A header by its exact name.
    fn get(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|h| h.0 == name).map(|h| h.1.as_str())
    }

    fn all(&self, name: &str) -> Vec<&str> {
        self.headers
            .iter()
            .filter(|h| h.0 == name)
            .map(|h| h.1.as_str())
            .collect()
    }

    /// The id of the session, as a client would take it.
    #[track_caller]
    fn session(&self) -> String {
        let value = self.get("Session").expect("a session");
        value.split(';').next().expect("an id").to_owned()
    }
}

fn info(track: u8, sequence: u16, rtp_time: u32) -> RtpInfo {
    RtpInfo {
        track: TrackId(track),
        sequence,
        rtp_time,
    }
}

const FIRST: SessionId = SessionId(0xa1);
const SECOND: SessionId = SessionId(0xa2);
