//! A real server on a port of its own, and clients that see every byte.

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
use crate::hub;
use crate::hub::Path;
use crate::hub::PathName;
use crate::hub::Picture;
use crate::privacy;
use crate::proto::rtsp::auth::User;

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
        let clock = SystemClock::shared();
        let metrics = Metrics::new();
        let tasks = Tasks::new();
        let data = tempfile::tempdir().unwrap();
        let store = Store::open(data.path(), Mode::ReadWrite, analytics::Options::default())
            .await
            .unwrap();
        let recorder = Recorder::start(&tasks, store.clone(), Arc::clone(&clock), Arc::clone(&metrics));
        let hub = Hub::new(hub::Options::default(), Arc::clone(&clock), Arc::clone(&metrics));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let ctx = Context {
            hub: Arc::clone(&hub),
            door: Arc::new(Door::new(privacy::Options::default(), Arc::clone(&clock))),
            recorder: recorder.clone(),
            store,
            metrics: Arc::clone(&metrics),
            clock,
            users: users.map(Arc::new),
            options,
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

#[tokio::test]
async fn every_answer_has_the_security_headers_and_no_cookie() {
    let served = Served::start().await;
    served.camera("cam");
    for target in [
        "/",
        "/style.css",
        "/app.js",
        "/icon.svg",
        "/live/cam/",
        "/api/v1/paths",
        "/healthz",
        "/nothing",
    ] {
        let answer = served.get(target).await;
        let policy = answer.header("content-security-policy").unwrap_or_default();
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self'"),
            "{target}"
        );
        assert!(
            policy.contains("frame-ancestors 'self'") && !policy.contains("unsafe"),
            "{target}"
        );
        assert_eq!(
            answer.header("x-content-type-options"),
            Some("nosniff"),
            "{target}"
        );
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"), "{target}");
        assert_eq!(
            answer.header("cross-origin-resource-policy"),
            Some("same-origin"),
            "{target}"
        );
        assert!(answer.header("cache-control").is_some(), "{target}");
        assert!(
            answer.header("set-cookie").is_none() && answer.header("server").is_none(),
            "{target}"
        );
        assert!(
            !answer.head.to_lowercase().contains("http://") && !answer.head.contains("https://"),
            "{target}"
        );
    }
}

#[tokio::test]
async fn the_page_asks_no_other_server_for_anything() {
    let served = Served::start().await;
    for target in ["/", "/style.css", "/app.js"] {
        let page = served.get(target).await;
        assert_eq!(page.status, 200);
        let text = page.text().replace("http://www.w3.org/2000/svg", ""); // a name, not an address
        assert!(
            !text.contains("http://") && !text.contains("https://") && !text.contains("//cdn"),
            "{target}"
        );
    }
    assert!(
        served
            .get("/")
            .await
            .header("content-type")
            .unwrap()
            .starts_with("text/html")
    );
}

#[tokio::test]
async fn what_is_not_there_is_a_problem_that_says_what_to_do_and_echoes_nothing() {
    let served = Served::start().await;
    for target in [
        "/canary",
        "/live/canary/",
        "/live/canary/stream.mjpeg?token=canary",
        "/live/canary",
        "/live/",
    ] {
        let answer = served.get(target).await;
        answer.is_problem(404);
        assert!(
            !answer.text().contains("canary") && !answer.head.contains("canary"),
            "{target}"
        );
    }
    served.camera("cam");
    served
        .get("/live/cam/snapshot.jpg?width=canary")
        .await
        .is_problem(400);
    served.get("/api/v1/stats?since=canary").await.is_problem(400);
    served
        .get("/api/v1/stats?since=2026-05-02T00:00:00Z&until=2026-05-01T00:00:00Z")
        .await
        .is_problem(400);
    let posted = served.ask(
        "POST /api/v1/paths HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc",
    );
    let posted = posted.await;
    posted.is_problem(405);
    assert_eq!(posted.header("allow"), Some("GET, HEAD"));
}

#[tokio::test]
async fn a_path_without_slash_leads_to_its_page_under_its_own_name() {
    let served = Served::start().await;
    served.camera("Floor/2");
    let answer = served.get("/live/floor%2f2?token=canary").await;
    assert_eq!(
        (answer.status, answer.header("location")),
        (308, Some("/live/Floor/2/"))
    );
    assert_eq!(served.get("/live/Floor/2/").await.status, 200);
}

#[tokio::test]
async fn with_users_everything_but_health_needs_credentials() {
    let users = Users::new("louver", vec![User::new("viewer", "louver", "secret")]);
    let served = Served::with(Options::default(), Some(users)).await;
    served.camera("cam");
    assert_eq!(served.get("/healthz").await.status, 200);
    for target in [
        "/",
        "/app.js",
        "/metrics",
        "/api/v1/paths",
        "/live/cam/snapshot.jpg",
        "/live/none/",
        "/none",
    ] {
        let answer = served.get(target).await;
        let problem = answer.is_problem(401);
        assert_eq!(
            answer.header("www-authenticate"),
            Some("Basic realm=\"louver\", charset=\"UTF-8\""),
            "{target}"
        );
        assert!(!problem.to_string().contains("viewer"), "{problem}");
    }
    let with = |password: &str| {
        let basic = base64::engine::general_purpose::STANDARD.encode(format!("viewer:{password}"));
        format!(
            "GET / HTTP/1.1\r\nHost: cam.example\r\nAuthorization: Basic {basic}\r\nConnection: close\r\n\r\n"
        )
    };
    served.ask(&with("wrong")).await.is_problem(401);
    assert_eq!(served.ask(&with("secret")).await.status, 200);
    assert_eq!(served.metric("louver_lost_total{reason=\"Unauthorized\"}"), 8);
}

#[tokio::test]
async fn an_open_loopback_listener_answers_to_no_foreign_host_name() {
    let served = Served::start().await;
    let from =
        |host: &str| format!("GET /api/v1/paths HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    for ours in ["localhost:8080", "127.0.0.1", "[::1]:8080"] {
        assert_eq!(served.ask(&from(ours)).await.status, 200, "{ours}");
    }
    for theirs in ["rebound.example", "rebound.example:8080", "a b", ""] {
        served.ask(&from(theirs)).await.is_problem(421);
    }
    assert_eq!(served.ask("GET / HTTP/1.0\r\n\r\n").await.status, 200);
}

#[tokio::test]
async fn the_list_of_paths_tells_how_to_watch_them() {
    let options = Options {
        rtsp_port: Some(9554),
        ..Options::default()
    };
    let served = Served::with(options, None).await;
    let path = served.camera("floor/2");
    path.report(
        hub::PathState::Waiting,
        Some("no such device; plug one in".into()),
    );
    let list = served.get("/api/v1/paths").await.json();
    assert_eq!(list["next"], serde_json::Value::Null);
    let item = &list["items"][0];
    assert_eq!(item["path"], "floor/2");
    assert_eq!(item["state"], "waiting");
    assert_eq!(item["source"], "pattern:");
    assert_eq!(item["viewers"], 0);
    assert_eq!(item["tracks"], serde_json::json!([]));
    assert_eq!(item["last_error"], "no such device; plug one in");
    assert_eq!(item["urls"]["rtsp"], "rtsp://localhost:9554/floor/2");
    assert_eq!(item["urls"]["snapshot"], "/live/floor/2/snapshot.jpg");
    let since: jiff::Timestamp = item["since"].as_str().unwrap().parse().unwrap();
    assert!(SystemTime::from(since).elapsed().unwrap() < LONG);
}

#[tokio::test]
async fn each_part_of_a_stream_is_a_picture_and_the_viewer_is_counted_from_the_first_on() {
    let served = Served::start().await;
    let path = served.camera("cam");
    let mut client = Client::watch(&served, "cam", "").await;
    assert_eq!(path.demand().borrow().pictures, 1);
    assert_eq!(served.viewers("cam"), 0, "nothing was sent yet");
    for luma in [50, 100, 200] {
        path.pictures().publish(picture(64, luma));
        let (width, height, seen) = look(&client.part().await);
        assert!(
            (width, height) == (64, 32) && seen.abs_diff(expand(luma)) < 4,
            "{luma} became {seen}"
        );
        assert_eq!(served.viewers("cam"), 1);
    }
    assert_eq!(served.metric("louver_readers{output=\"Mjpeg\"}"), 1);
    assert_eq!(served.metric("louver_units_out_total{output=\"Mjpeg\"}"), 3);
    drop(client);
    served
        .until("leaving", |_| path.demand().borrow().pictures == 0)
        .await;
    assert_eq!(served.viewers("cam"), 0);
    assert_eq!(served.metric("louver_readers{output=\"Mjpeg\"}"), 0);
}

/// Limited range, as our frames have it, to full range, as JPEG has it.
fn expand(luma: u8) -> u8 {
    ((u32::from(luma) - 16) * 255 / 219) as u8
}

#[tokio::test]
async fn who_opts_out_sees_pictures_and_is_not_counted() {
    let served = Served::start().await;
    let path = served.camera("cam");
    for opted_out in ["?stats=off", "\nDNT: 1\r\n", "\nSec-GPC: 1\r\n"] {
        let mut client = Client::watch(&served, "cam", opted_out).await;
        path.pictures().publish(picture(64, 100));
        client.part().await;
        assert_eq!(served.viewers("cam"), 0, "{opted_out}");
    }
}

#[tokio::test]
async fn statistics_tell_of_who_watched_and_of_nobody_who_opted_out_or_took_a_snapshot() {
    let served = Served::start().await;
    let path = served.camera("cam");
    let mut viewer = Client::watch(&served, "cam", "?token=canary\nUser-Agent: canary\r\n").await;
    let mut hidden = Client::watch(&served, "cam", "?stats=off").await;
    path.pictures().publish(picture(64, 100));
    tokio::join!(viewer.part(), hidden.part());
    served.get("/live/cam/snapshot.jpg").await;
    served.recorder.flushed().await;

    let answer = served.get("/api/v1/stats?path=cam").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let stats = answer.json();
    assert_eq!(
        (&stats["sessions"], &stats["viewer_days"]),
        (&1.into(), &1.into()),
        "{stats}"
    );
    assert_eq!(
        stats["live"]["by_path"][0],
        serde_json::json!({ "path": "cam", "sessions": 1 })
    );
    assert_eq!(stats["by_protocol"][0]["protocol"], "mjpeg");
    assert_eq!(stats["by_country"], serde_json::json!([]));
    assert_eq!(served.get("/api/v1/stats?path=other").await.json()["sessions"], 0);
    for target in ["/api/v1/stats", "/api/v1/paths", "/metrics"] {
        let text = served.get(target).await;
        assert!(
            !text.text().contains("canary") && !text.text().contains("127.0.0.1"),
            "{target}"
        );
    }
}

#[tokio::test]
async fn asking_for_the_head_makes_no_demand() {
    let served = Served::start().await;
    let path = served.camera("cam");
    let demand = path.demand();
    for (file, content_type) in [
        ("stream.mjpeg", mjpeg::CONTENT_TYPE),
        ("snapshot.jpg", "image/jpeg"),
    ] {
        let request =
            format!("HEAD /live/cam/{file} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let answer = served.ask(&request).await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, Some(content_type))
        );
        assert!(answer.body.is_empty());
    }
    assert!(!demand.has_changed().unwrap(), "somebody asked for pictures");
    let page = served
        .ask("HEAD / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await;
    assert!(page.body.is_empty() && page.header("content-length").unwrap().parse::<u32>().unwrap() > 100);
}

#[tokio::test]
async fn a_slow_viewer_skips_pictures_and_goes_on_with_the_newest() {
    let served = Served::start().await;
    let path = served.camera("cam");
    let mut client = Client::watch(&served, "cam", "").await;
    // More than all buffers on the way can hold, while nothing is read.
    let sent = |s: &Served| s.metric("louver_units_out_total{output=\"Mjpeg\"}");
    for _ in 0..40 {
        path.pictures().publish(heavy(60, 1 << 20));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let before = sent(&served);
    assert!(
        before < 35,
        "{before} of 40 pictures were sent to somebody who reads nothing"
    );
    path.pictures().publish(heavy(200, 1 << 20));
    let mut late = 0;
    while look(&client.part().await).2 < 150 {
        late += 1;
    }
    assert_eq!(
        late, before,
        "after what was under way comes the newest, and nothing in between"
    );
    assert_eq!(
        served.metric("louver_lost_total{reason=\"ReaderLagged\"}"),
        40 - before
    );
}

#[tokio::test]
async fn a_viewer_who_takes_nothing_is_closed_and_counted() {
    let options = Options {
        write_timeout: Duration::from_millis(200),
        ..Options::default()
    };
    let served = Served::with(options, None).await;
    let path = served.camera("cam");
    let client = Client::watch(&served, "cam", "").await;
    let publishing = async {
        loop {
            path.pictures().publish(heavy(60, 1 << 20));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        () = publishing => {}
        () = served.until("closing", |_| path.demand().borrow().pictures == 0) => {}
    }
    assert_eq!(served.metric("louver_lost_total{reason=\"ReaderStuck\"}"), 1);
    drop(client);
}

#[tokio::test]
async fn a_snapshot_waits_for_a_picture_and_is_as_wide_as_asked_but_never_wider() {
    let served = Served::start().await;
    let path = served.camera("cam");
    let mut demand = path.demand();
    let publish = async {
        demand.wait_for(|d| d.pictures == 1).await.unwrap();
        path.pictures().publish(picture(320, 100));
    };
    let (answer, ()) = tokio::join!(served.get("/live/cam/snapshot.jpg"), publish);
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, Some("image/jpeg"))
    );
    assert_eq!(look(&answer.body).0, 320);
    assert_eq!(path.demand().borrow().pictures, 0);

    let _watching = path.subscribe_pictures();
    path.pictures().publish(picture(320, 100));
    for (asked, want) in [
        ("160", (160, 80)),
        ("160", (160, 80)),
        ("16", (16, 8)),
        ("3840", (320, 160)),
    ] {
        let answer = served.get(&format!("/live/cam/snapshot.jpg?width={asked}")).await;
        let (width, height, luma) = look(&answer.body);
        assert_eq!((width, height), want);
        assert!(luma.abs_diff(expand(100)) < 4);
    }
    assert_eq!(served.viewers("cam"), 0, "a snapshot is not watching");
}

#[tokio::test]
async fn a_snapshot_of_nothing_is_a_problem_that_says_when_to_come_back() {
    let options = Options {
        picture_timeout: Duration::from_millis(50),
        ..Options::default()
    };
    let served = Served::with(options, None).await;
    served.camera("cam");
    let answer = served.get("/live/cam/snapshot.jpg").await;
    answer.is_problem(503);
    assert_eq!(answer.header("retry-after"), Some("5"));
}

#[tokio::test]
async fn one_connection_too_many_is_refused_and_counted() {
    let options = Options {
        max_connections: 1,
        ..Options::default()
    };
    let served = Served::with(options, None).await;
    let first = TcpStream::connect(served.addr).await.unwrap();
    served
        .until("the first", |s| s.metric("louver_connections") == 1)
        .await;
    let mut second = TcpStream::connect(served.addr).await.unwrap();
    let mut answer = String::new();
    within(second.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert_eq!(served.metric("louver_lost_total{reason=\"Limit\"}"), 1);
    drop(first);
    served
        .until("leaving", |s| s.metric("louver_connections") == 0)
        .await;
    assert_eq!(served.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn a_head_that_does_not_end_ends_the_connection() {
    let options = Options {
        head_timeout: Duration::from_millis(100),
        ..Options::default()
    };
    let served = Served::with(options, None).await;
    let mut slow = Client::open(served.addr, "GET / HTTP/1.1\r\nHost: loc").await;
    let mut rest = Vec::new();
    within(slow.input.read_to_end(&mut rest)).await.unwrap();
    let large = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    let mut large = Client::open(served.addr, &large).await;
    assert_eq!(large.head().await.status, 431);
}

#[tokio::test]
async fn when_the_program_ends_streams_end_whole_and_sessions_are_stored() {
    let served = Served::start().await;
    let path = served.camera("cam");
    let mut client = Client::watch(&served, "cam", "").await;
    path.pictures().publish(picture(64, 100));
    client.part().await;
    served.recorder.flushed().await;
    let idle = TcpStream::connect(served.addr).await.unwrap();
    assert!(
        served.tasks.clone().shutdown(Duration::from_secs(5)).await,
        "something did not end"
    );
    assert_eq!(within(client.byte()).await, None);
    drop(idle);
}
