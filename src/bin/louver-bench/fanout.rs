//! N readers of one published stream: what the server's time, memory, delay and loss are.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::Args;
use crate::Fault;
use crate::Own;
use crate::clip::Clip;
use crate::process::Process;
use crate::publisher::Publisher;
use crate::reader::Reader;
use crate::reader::Seen;
use crate::reader::Shared;
use crate::reader::Transport;
use crate::report::Fanout;
use crate::report::Percentiles;

/// So many readers join one by one, the others in crowds.
const ALONE: usize = 10;
const CROWD: usize = 16;
/// How long readers settle before the window opens.
const SETTLE: Duration = Duration::from_secs(1);

/// A server to measure.
enum Server<'a> {
    Own(Own),
    Peer { name: &'a str, command: &'a str },
}

impl Server<'_> {
    fn name(&self) -> &str {
        match self {
            Self::Own(Own::Floor) => "floor",
            Self::Own(Own::Louver) => "louver",
            Self::Peer { name, .. } => name,
        }
    }
    fn start(&self, args: &Args, dir: &Path) -> Result<(Process, SocketAddr), Fault> {
        match self {
            Self::Own(Own::Floor) => {
                let mut cmd = Command::new(std::env::current_exe()?);
                Process::listening(cmd.arg("--serve-floor").arg("--clip").arg(&args.clip))
            }
            Self::Own(Own::Louver) => Process::listening(&mut louver(args, dir, &["publish:"])?),
            Self::Peer { command, .. } => Process::shell(command),
        }
    }
}

/// The relay with a new data directory and ports of the system's choice.
pub(crate) fn louver(args: &Args, dir: &Path, sources: &[&str]) -> Result<Command, Fault> {
    let config = dir.join("louver.toml");
    let ports = "[rtsp]\nlisten = \"127.0.0.1:0\"\nudp_ports = [0, 0]\n[http]\nlisten = \"127.0.0.1:0\"\n";
    std::fs::File::create(&config)?.write_all(ports.as_bytes())?;
    let mut cmd = Command::new(&args.louver);
    cmd.arg("run")
        .arg("--config")
        .arg(config)
        .arg("--data-dir")
        .arg(dir.join("data"));
    cmd.args(["--log", "warn"]).args(sources).stderr(Stdio::null());
    Ok(cmd)
}

/// Every server with every number of readers over every transport.
pub(crate) fn measure(args: &Args) -> Result<Vec<Fanout>, Fault> {
    let clip = Arc::new(Clip::read(&args.clip)?);
    let mut servers: Vec<_> = args.servers.iter().map(|own| Server::Own(*own)).collect();
    for peer in &args.peers {
        let (name, command) = peer.split_once('=').ok_or("--peer wants NAME=CMD")?;
        servers.push(Server::Peer { name, command });
    }
    let mut rows = vec![];
    for &transport in &args.transport {
        for &readers in &args.readers {
            for server in &servers {
                eprintln!(
                    "louver-bench: {}, {readers} readers over {transport:?}",
                    server.name()
                );
                let row = one(args, &clip, server, transport, readers);
                rows.push(row.map_err(|e| format!("{}, {readers} readers: {e}", server.name()))?);
            }
        }
    }
    Ok(rows)
}

fn one(
    args: &Args,
    clip: &Arc<Clip>,
    server: &Server<'_>,
    transport: Transport,
    readers: usize,
) -> Result<Fanout, Fault> {
    let dir = TempDir::new()?;
    let (process, addr) = server.start(args, &dir.0)?;
    let url = format!("rtsp://127.0.0.1:{}/bench/stream", addr.port());
    let publisher = match server {
        Server::Own(Own::Floor) => None,
        _ => Some(Publisher::start(clip, addr, &url)?),
    };
    // The first keyframe has come when the first reader joins.
    std::thread::sleep(clip.duration().min(Duration::from_secs(3)));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let row = runtime.block_on(async {
        let crowd = |joined| match server {
            // It has no keyframe for them: they all wait for the next one.
            Server::Own(Own::Floor) => readers,
            _ if joined < ALONE => 1,
            _ => CROWD,
        };
        let audience = Audience::gather(addr, &url, transport, readers, crowd).await?;
        audience.watch(&process, Duration::from_secs(args.seconds)).await
    })?;
    drop(publisher);
    Ok(Fanout {
        server: server.name().to_owned(),
        transport: format!("{transport:?}").to_lowercase(),
        ..row
    })
}

/// Readers that all have their first picture.
struct Audience {
    shared: Arc<Shared>,
    running: JoinSet<Result<Seen, Fault>>,
    /// How long each waited for its first picture, in microseconds.
    pictures: Vec<u32>,
}

impl Audience {
    /// Lets readers join, so many at a time as `crowd` says of those who have joined.
    async fn gather(
        addr: SocketAddr,
        url: &str,
        transport: Transport,
        readers: usize,
        crowd: impl Fn(usize) -> usize,
    ) -> Result<Self, Fault> {
        let shared = Arc::new(Shared {
            counting: false.into(),
            stop: CancellationToken::new(),
        });
        let mut all = Self {
            shared,
            running: JoinSet::new(),
            pictures: vec![],
        };
        while all.pictures.len() < readers {
            let mut joining = JoinSet::new();
            for _ in 0..crowd(all.pictures.len()).min(readers - all.pictures.len()) {
                let url = url.to_owned();
                joining.spawn(async move {
                    let join = Reader::join(addr, &url, transport);
                    let joined = tokio::time::timeout(Duration::from_secs(20), join).await;
                    joined.unwrap_or_else(|_| Err("no picture within 20 s after joining".into()))
                });
            }
            while let Some(reader) = joining.join_next().await {
                let reader = reader??;
                all.pictures
                    .push(u32::try_from(reader.first_picture.as_micros()).unwrap_or(u32::MAX));
                let shared = Arc::clone(&all.shared);
                all.running.spawn(async move { reader.run(&shared).await });
            }
        }
        Ok(all)
    }
    /// Opens the window for so long, sends all readers home and sums up.
    async fn watch(mut self, process: &Process, window: Duration) -> Result<Fanout, Fault> {
        tokio::time::sleep(SETTLE).await;
        let (cpu, start) = (process.cpu()?, Instant::now());
        self.shared.counting.store(true, Ordering::Relaxed);
        tokio::time::sleep(window).await;
        self.shared.counting.store(false, Ordering::Relaxed);
        let (cpu, seconds) = (process.cpu()? - cpu, start.elapsed().as_secs_f64());
        let (resident_mb, resident_peak_mb) = process.memory()?;
        self.shared.stop.cancel();
        let mut total = Seen::default();
        let mut readers_starved = 0;
        while let Some(seen) = self.running.join_next().await {
            let seen = seen?.map_err(|e| format!("a reader: {e}"))?;
            readers_starved += usize::from(seen.packets == 0);
            total.add(seen);
        }
        let gigabytes = total.bytes as f64 / 1e9;
        Ok(Fanout {
            server: String::new(),
            transport: String::new(),
            readers: self.pictures.len(),
            seconds,
            gigabytes,
            cpu_seconds: cpu,
            cpu_seconds_per_gb: cpu / gigabytes,
            resident_mb,
            resident_peak_mb,
            delay_ms: Percentiles::of_micros(total.delays),
            first_picture_ms: Percentiles::of_micros(self.pictures),
            packets: total.packets,
            packets_lost: total.lost,
            readers_starved,
        })
    }
}

/// A directory that goes when dropped.
pub(crate) struct TempDir(pub(crate) std::path::PathBuf);

impl TempDir {
    pub(crate) fn new() -> Result<Self, Fault> {
        let name = format!(
            "louver-bench-{}-{}",
            std::process::id(),
            crate::clip::micros_now()
        );
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir_all(dir.join("data"))?;
        Ok(Self(dir))
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}
