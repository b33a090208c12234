//! Programs under measurement: started, found ready, read in `/proc`, killed.

use std::collections::VecDeque;
use std::io::BufRead;
use std::io::BufReader;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use nix::sys::resource::Resource;
use nix::sys::resource::getrlimit;
use nix::sys::resource::setrlimit;

use crate::Fault;

/// How long a server may take to start.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running program. Killed when dropped.
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// Starts a program that prints `listening rtsp ADDR`; where it listens.
    pub(crate) fn listening(cmd: &mut Command) -> Result<(Self, SocketAddr), Fault> {
        let child = cmd.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut child = child.map_err(|e| format!("{}: {e}", cmd.get_program().display()))?;
        let out = child.stdout.take().expect("it was piped");
        let process = Self { child };
        let mut lines = BufReader::new(out).lines();
        while let Some(Ok(line)) = lines.next() {
            if let Some(addr) = line.strip_prefix("listening rtsp ") {
                // The pipe must stay open and be emptied.
                let addr = addr.parse()?;
                std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
                return Ok((process, addr));
            }
        }
        Err(format!(
            "{} ended before it was listening; start it by hand to see why",
            cmd.get_program().display()
        )
        .into())
    }
    /// Starts a shell command on a free port and waits until that port answers.
    pub(crate) fn shell(command: &str) -> Result<(Self, SocketAddr), Fault> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let command = command.replace("{port}", &port.to_string());
        let mut cmd = Command::new("sh");
        cmd.args(["-c", &format!("exec {command}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let process = Self {
            child: cmd.stderr(Stdio::null()).spawn()?,
        };
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(addr).is_err() {
            if Instant::now() > until {
                return Err(format!("nothing listens on port {port} after: {command}").into());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok((process, addr))
    }
    /// Starts a program that serves nobody.
    pub(crate) fn plain(cmd: &mut Command) -> Result<Self, Fault> {
        let child = cmd.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        Ok(Self {
            child: child.map_err(|e| format!("{}: {e}", cmd.get_program().display()))?,
        })
    }
    /// User and system time so far, in seconds, of the program and its children.
    pub(crate) fn cpu(&self) -> Result<f64, Fault> {
        let mut ticks = 0;
        let mut pids = VecDeque::from([self.child.id()]);
        while let Some(pid) = pids.pop_front() {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))
                .map_err(|_| "the program under measurement has ended")?;
            // After the name in parentheses: state is field 3, utime 14, stime 15.
            let fields = stat.rsplit_once(") ").map_or("", |(_, rest)| rest).split(' ');
            ticks += fields
                .skip(11)
                .take(2)
                .filter_map(|f| f.parse::<u64>().ok())
                .sum::<u64>();
            let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
            pids.extend(
                children
                    .unwrap_or_default()
                    .split_whitespace()
                    .filter_map(|p| p.parse::<u32>().ok()),
            );
        }
        // USER_HZ is 100 on every Linux.
        Ok(ticks as f64 / 100.0)
    }
    /// Memory in megabytes (10^6): resident now, and the most it ever was.
    pub(crate) fn memory(&self) -> Result<(f64, f64), Fault> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let of = |name: &str| {
            let line = status.lines().find_map(|l| l.strip_prefix(name))?;
            line.split_whitespace().next()?.parse::<f64>().ok()
        };
        let both = of("VmRSS:")
            .zip(of("VmHWM:"))
            .ok_or("/proc has no memory of the program")?;
        Ok((both.0 * 1024.0 / 1e6, both.1 * 1024.0 / 1e6))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A thousand UDP readers hold three thousand sockets.
pub(crate) fn raise_file_limit() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).ok();
    }
}
