//! Who serves the readers: the floor, Louver, or another program that the user names.

use std::io::Read;
use std::io::Write;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use crate::Args;
use crate::Fault;
use crate::Own;
use crate::clip::Clip;
use crate::crowd::Target;
use crate::process::Process;
use crate::publisher::Publisher;

const URL: &str = "rtsp://127.0.0.1:{port}/bench/stream";

/// A server to measure.
pub(crate) enum Server {
    Own(Own),
    Peer {
        name: String,
        command: String,
        url: String,
    },
}

/// A server that runs and has a publisher.
pub(crate) struct Served {
    // Dropped in this order: the publisher first.
    _publisher: Option<Publisher>,
    pub(crate) process: Process,
    pub(crate) target: Target,
    /// Of Louver's API.
    pub(crate) http: Option<SocketAddr>,
    _dir: TempDir,
}

impl Server {
    /// All that the command line names, in the order in which they take turns.
    pub(crate) fn all(args: &Args) -> Result<Vec<Self>, Fault> {
        let mut urls = vec![];
        for url in &args.peer_urls {
            urls.push(url.split_once('=').ok_or("--peer-url wants NAME=URL")?);
        }
        let mut all: Vec<_> = args.servers.iter().map(|own| Self::Own(*own)).collect();
        for peer in &args.peers {
            let (name, command) = peer.split_once('=').ok_or("--peer wants NAME=CMD")?;
            let url = urls
                .iter()
                .find(|(of, _)| *of == name)
                .map_or(URL, |(_, url)| url);
            all.push(Self::Peer {
                name: name.to_owned(),
                command: command.to_owned(),
                url: url.to_owned(),
            });
        }
        Ok(all)
    }
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Own(Own::Floor) => "floor",
            Self::Own(Own::Louver) => "louver",
            Self::Peer { name, .. } => name,
        }
    }
    pub(crate) fn is_floor(&self) -> bool {
        matches!(self, Self::Own(Own::Floor))
    }
    /// Starts it with a publisher, and waits until what it keeps of the stream no longer grows.
    pub(crate) fn start(&self, args: &Args, clip: &Arc<Clip>) -> Result<Served, Fault> {
        let dir = TempDir::new()?;
        let (process, addr, http) = self.launch(args, &dir.0)?;
        let url = match self {
            Self::Peer { url, .. } => url,
            Self::Own(_) => URL,
        };
        let url = url.replace("{port}", &addr.port().to_string());
        let publisher = match self {
            Self::Own(Own::Floor) => None,
            _ => Some(Publisher::start(clip, addr, &url)?),
        };
        let warm_up = Duration::from_secs_f64(args.warm_up);
        // All of it: memory that the start freed fills first, so that a server that does not grow need not be full.
        std::thread::sleep(if self.is_floor() { AT_ONCE } else { warm_up });
        Ok(Served {
            _publisher: publisher,
            process,
            target: Target { addr, url },
            http,
            _dir: dir,
        })
    }
    fn launch(&self, args: &Args, dir: &Path) -> Result<(Process, SocketAddr, Option<SocketAddr>), Fault> {
        match self {
            Self::Own(Own::Floor) => {
                let mut cmd = Command::new(std::env::current_exe()?);
                cmd.arg("--serve-floor").arg("--clip").arg(&args.clip);
                let (process, addrs) = Process::listening(&mut cmd, &["rtsp"])?;
                Ok((process, addrs[0], None))
            }
            Self::Own(Own::Louver) => {
                let mut cmd = louver(args, dir, &["publish:"])?;
                let (process, addrs) = Process::listening(&mut cmd, &["rtsp", "http"])?;
                Ok((process, addrs[0], Some(addrs[1])))
            }
            Self::Peer { command, .. } => {
                let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
                let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
                let command = command.replace("{port}", &port.to_string());
                let command = command.replace("{dir}", &dir.display().to_string());
                Ok((Process::shell(&command, addr)?, addr, None))
            }
        }
    }
}

/// The relay with a new data directory and ports of the system's choice.
pub(crate) fn louver(args: &Args, dir: &Path, sources: &[&str]) -> Result<Command, Fault> {
    let config = dir.join("louver.toml");
    let ports = "[rtsp]\nlisten = \"127.0.0.1:0\"\nudp_ports = [0, 0]\n[http]\nlisten = \"127.0.0.1:0\"\n";
    std::fs::File::create(&config)?.write_all(ports.as_bytes())?;
    let mut cmd = Command::new(&args.louver);
    cmd.arg("run").arg("--config").arg(config);
    cmd.arg("--data-dir").arg(dir.join("data"));
    cmd.args(["--log", "warn"]).args(sources).stderr(Stdio::null());
    Ok(cmd)
}

/// The number of sessions in Louver's statistics, and of those that go on.
pub(crate) fn sessions(http: SocketAddr) -> Result<(u64, u64), Fault> {
    let mut stream = TcpStream::connect(http)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(
        stream,
        "GET /api/v1/stats HTTP/1.1\r\nHost: {http}\r\nConnection: close\r\n\r\n"
    )?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let stats: serde_json::Value = serde_json::from_str(body)?;
    let number = |pointer| stats.pointer(pointer).and_then(serde_json::Value::as_u64);
    let both = number("/sessions").zip(number("/live/sessions"));
    Ok(both.ok_or("/api/v1/stats has no number of sessions")?)
}

/// The floor keeps nothing.
const AT_ONCE: Duration = Duration::from_millis(500);

/// A directory that goes when dropped.
pub(crate) struct TempDir(pub(crate) PathBuf);

impl TempDir {
    pub(crate) fn new() -> Result<Self, Fault> {
        let (process, now) = (std::process::id(), crate::clip::micros_now());
        let dir = std::env::temp_dir().join(format!("louver-bench-{process}-{now}"));
        std::fs::create_dir_all(dir.join("data"))?;
        Ok(Self(dir))
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}
