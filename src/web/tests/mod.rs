//! A real server on a port of its own, and clients that see every byte. The tests are in the files beside.

mod choices;
mod pictures;
mod site;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::SystemTime;

use base64::Engine;
use bytes::Bytes;
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::io::BufReader;

use super::*;
use crate::analytics;
use crate::analytics::Mode;
use crate::av::frame::Frame;
use crate::av::jpeg::JpegEncoder;
use crate::base::clock::SystemClock;
use crate::base::master::Master;
use crate::hub;
use crate::hub::Path;
use crate::hub::PathName;
use crate::hub::Picture;
use crate::privacy;
use crate::proto::rtsp::auth::User;
use crate::rights;
use crate::rights::Registry;
use crate::rights::Shares;

/// Nothing in these tests takes longer, unless it hangs.
const LONG: Duration = Duration::from_secs(20);

struct Served {
    addr: SocketAddr,
    hub: Arc<Hub>,
    metrics: Arc<Metrics>,
    recorder: Recorder,
    tasks: Tasks,
    _data: TempDir,
}

impl Served {
    async fn start() -> Self {
        Self::with(Options::default(), None).await
    }
    async fn with(options: Options, users: Option<Users>) -> Self {
        Self::with_rights(options, users, rights::Options::default()).await
    }
    async fn with_rights(options: Options, users: Option<Users>, rights: rights::Options) -> Self {
        let clock = SystemClock::shared();
        let metrics = Metrics::new();
        let tasks = Tasks::new();
        let data = tempfile::tempdir().unwrap();
        let store = Store::open(data.path(), Mode::ReadWrite, analytics::Options::default())
            .await
            .unwrap();
        let recorder = Recorder::start(&tasks, store.clone(), Arc::clone(&clock), Arc::clone(&metrics));
        let hub = Hub::new(hub::Options::default(), Arc::clone(&clock), Arc::clone(&metrics));
        let master = Master::load_or_make(data.path()).unwrap();
        let registry = Registry::new(data.path(), &master, rights.clone(), Arc::clone(&clock));
        let shares = Shares::new(data.path(), &master);
        let door = privacy::Options {
            consent: rights.consent,
            clerk: Some(registry.clone()),
            ..privacy::Options::default()
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let ctx = Context {
            hub: Arc::clone(&hub),
            door: Arc::new(Door::new(door, Arc::clone(&clock))),
            rights: Rights::start(
                &tasks,
                registry,
                shares,
                recorder.clone(),
                Audit::none(),
                Arc::clone(&clock),
            ),
            recorder: recorder.clone(),
            store,
            audit: Audit::none(),
            papers: Live::default(),
            metrics: Arc::clone(&metrics),
            clock,
            users: users.map(Arc::new),
            options: Live::new(options),
        };
        start(&tasks, listener, ctx);
        Self {
            addr,
            hub,
            metrics,
            recorder,
            tasks,
            _data: data,
        }
    }
    /// A path whose source makes pictures itself.
    fn camera(&self, name: &str) -> Arc<Path> {
        let path = self.hub.configure(&PathName::parse(name).unwrap(), "pattern:");
        path.pictures().set_made_by_source(true);
        path
    }
    async fn ask(&self, head: &str) -> Answer {
        let mut client = Client::open(self.addr, head).await;
        let mut answer = client.head().await;
        client.input.read_to_end(&mut answer.body).await.unwrap();
        answer
    }
    async fn get(&self, target: &str) -> Answer {
        self.ask(&format!(
            "GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        ))
        .await
    }
    /// Waits until something is so.
    async fn until(&self, what: &str, so: impl Fn(&Self) -> bool) {
        let waited = tokio::time::timeout(LONG, async {
            while !so(self) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        assert!(waited.await.is_ok(), "{what} did not happen");
    }
    fn metric(&self, line: &str) -> u64 {
        let text = self.metrics.encode();
        let value = text.lines().find_map(|l| l.strip_prefix(line)).unwrap_or(" 0");
        value.trim().parse().unwrap()
    }
    fn viewers(&self, path: &str) -> u32 {
        self.hub
            .snapshot()
            .iter()
            .find(|p| p.name.as_str() == path)
            .unwrap()
            .readers
    }
}

#[derive(Default)]
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let line = |l: &'_ str| {
            l.split_once(": ")
                .filter(|(n, _)| n.eq_ignore_ascii_case(name))
                .is_some()
        };
        self.head
            .lines()
            .find(|l| line(l))
            .and_then(|l| l.split_once(": "))
            .map(|(_, value)| value)
    }
    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
    fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
    #[track_caller]
    fn is_problem(&self, status: u16) -> serde_json::Value {
        assert_eq!(self.status, status, "{}", self.head);
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        let problem = self.json();
        assert_eq!(problem["status"], status);
        for key in ["type", "title", "detail"] {
            assert!(problem[key].as_str().is_some_and(|t| !t.is_empty()), "{problem}");
        }
        problem
    }
}

/// One connection.
struct Client {
    input: BufReader<TcpStream>,
    /// Bytes of the chunk that were not read yet.
    chunk: VecDeque<u8>,
}

impl Client {
    async fn open(addr: SocketAddr, request: &str) -> Self {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        Self {
            input: BufReader::new(stream),
            chunk: VecDeque::new(),
        }
    }
    async fn watch(served: &Served, path: &str, more: &str) -> Self {
        let request = format!("GET /live/{path}/stream.mjpeg{more} HTTP/1.1\r\nHost: localhost\r\n");
        let (request, headers) = match more.split_once('\n') {
            Some((query, headers)) => (
                format!("GET /live/{path}/stream.mjpeg{query} HTTP/1.1\r\nHost: localhost\r\n"),
                headers.to_owned(),
            ),
            None => (request, String::new()),
        };
        let mut client = Self::open(served.addr, &format!("{request}{headers}\r\n")).await;
        let head = client.head().await;
        assert_eq!(head.status, 200, "{}", head.head);
        assert_eq!(
            head.header("content-type"),
            Some("multipart/x-mixed-replace; boundary=louver")
        );
        assert_eq!(head.header("transfer-encoding"), Some("chunked"));
        assert_eq!(client.line().await, "--louver");
        client
    }
    async fn head(&mut self) -> Answer {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(within(self.input.read_u8()).await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer {
            status,
            head,
            body: Vec::new(),
        }
    }
    /// The next byte of a chunked body; `None` at its end.
    async fn byte(&mut self) -> Option<u8> {
        if self.chunk.is_empty() {
            let mut size = Vec::new();
            while !size.ends_with(b"\r\n") {
                size.push(self.input.read_u8().await.ok()?);
            }
            let size = usize::from_str_radix(std::str::from_utf8(&size).unwrap().trim(), 16).unwrap();
            let mut chunk = vec![0; size + 2];
            self.input.read_exact(&mut chunk).await.ok()?;
            assert!(chunk.ends_with(b"\r\n"));
            self.chunk.extend(&chunk[..size]);
        }
        self.chunk.pop_front()
    }
    async fn line(&mut self) -> String {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.push(within(self.byte()).await.expect("the body goes on"));
        }
        String::from_utf8(line).unwrap().trim_end().to_owned()
    }
    /// One part, from after its boundary to after the next.
    async fn part(&mut self) -> Vec<u8> {
        assert_eq!(self.line().await, "Content-Type: image/jpeg");
        let length = self.line().await;
        let length: usize = length.strip_prefix("Content-Length: ").unwrap().parse().unwrap();
        assert_eq!(self.line().await, "");
        let mut jpeg = Vec::with_capacity(length);
        for _ in 0..length {
            jpeg.push(within(self.byte()).await.unwrap());
        }
        assert_eq!(self.line().await, "");
        assert_eq!(self.line().await, "--louver");
        jpeg
    }
}

async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONG, what).await.expect("in time")
}

/// A grey picture; its brightness tells which one it is.
fn picture(width: u32, luma: u8) -> Picture {
    let mut frame = Frame::black(width, width / 2).unwrap();
    frame.luma_mut().0.fill(luma);
    let made = JpegEncoder::new(80).encode(&frame, None).unwrap();
    Picture {
        jpeg: made.jpeg,
        width: made.width,
        height: made.height,
    }
}

/// A picture whose file is as large as asked: bytes after the end of a JPEG are ignored by all decoders.
fn heavy(luma: u8, bytes: usize) -> Picture {
    let small = picture(64, luma);
    let mut jpeg = small.jpeg.to_vec();
    jpeg.resize(bytes, 0);
    Picture {
        jpeg: jpeg.into(),
        ..small
    }
}

/// Size and brightness of a picture, out of a real decoder.
fn look(jpeg: &[u8]) -> (u32, u32, u8) {
    use crate::av::decode::Decoder;
    use crate::base::time::MediaTime;
    use crate::base::time::Rate;
    use crate::media::AccessUnit;
    use crate::media::Codec;
    use crate::media::TrackId;
    let unit = AccessUnit {
        track: TrackId(0),
        pts: MediaTime::new(0, Rate::VIDEO),
        keyframe: true,
        data: Bytes::copy_from_slice(jpeg),
    };
    let frames = Decoder::new(Codec::Jpeg, None).unwrap().push(&unit).unwrap();
    let frame = &frames[0];
    (frame.width(), frame.height(), frame.luma_at(1, 1).unwrap())
}
