//! Programs under measurement: started, found ready, watched in `/proc`, killed.

use std::io::BufRead;
use std::io::BufReader;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use nix::sys::resource::Resource;
use nix::sys::resource::getrlimit;
use nix::sys::resource::setrlimit;
use nix::sys::signal::Signal;
use nix::sys::signal::kill;
use nix::time::ClockId;
use nix::unistd::Pid;

use crate::Fault;

/// How long a server may take to start.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running program. Killed when dropped, with its children.
pub(crate) struct Process {
    child: Child,
}

/// What a program holds. Sizes in bytes.
#[derive(Clone, Copy)]
pub(crate) struct Memory {
    /// RAM in use, pages of files and libraries included.
    pub(crate) resident: f64,
    /// Of which heap, stacks and the like.
    pub(crate) anonymous: f64,
    /// The most that was ever resident.
    pub(crate) peak: f64,
}

impl Process {
    /// Starts a program that prints `listening NAME ADDR` for each of these names; where it listens.
    pub(crate) fn listening(cmd: &mut Command, names: &[&str]) -> Result<(Self, Vec<SocketAddr>), Fault> {
        let child = cmd.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut child = child.map_err(|e| format!("{}: {e}", cmd.get_program().display()))?;
        let out = child.stdout.take().expect("it was piped");
        let process = Self { child };
        let mut lines = BufReader::new(out).lines();
        let mut found = vec![None; names.len()];
        while let Some(Ok(line)) = lines.next() {
            let mut words = line.split(' ').skip(1);
            let (name, addr) = (words.next(), words.next());
            if let Some(n) = names.iter().position(|wanted| name == Some(wanted)) {
                found[n] = Some(addr.unwrap_or_default().parse()?);
            }
            if let Some(addrs) = found.iter().copied().collect() {
                // The pipe must stay open and be emptied.
                std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
                return Ok((process, addrs));
            }
        }
        let program = cmd.get_program().display();
        Err(format!("{program} ended before it was listening; start it by hand to see why").into())
    }
    /// Starts a shell command and waits until it listens.
    pub(crate) fn shell(command: &str, addr: SocketAddr) -> Result<Self, Fault> {
        let mut cmd = Command::new("sh");
        cmd.args(["-c", &format!("exec {command}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let mut process = Self {
            child: cmd.stderr(Stdio::null()).spawn()?,
        };
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(addr).is_err() {
            if let Some(status) = process.child.try_wait()? {
                return Err(format!("it ended at once ({status}); start it by hand to see why").into());
            }
            if Instant::now() > until {
                return Err(format!("it does not listen on its port ({}) within 20 s", addr.port()).into());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(process)
    }
    /// Starts a program that serves nobody.
    pub(crate) fn plain(cmd: &mut Command) -> Result<Self, Fault> {
        let child = cmd.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        Ok(Self {
            child: child.map_err(|e| format!("{}: {e}", cmd.get_program().display()))?,
        })
    }
    /// User and system time so far, in seconds, of the program and its children, with threads that have ended.
    pub(crate) fn cpu(&self) -> Result<f64, Fault> {
        let time = |pid: Pid| {
            let clock = ClockId::pid_cpu_clock_id(pid).and_then(ClockId::now);
            clock.map(seconds)
        };
        let mut all = self.pids().into_iter().map(time);
        let first = all.next().expect("the program itself is the first");
        let first = first.map_err(|_| "the program under measurement has ended")?;
        // A child may have ended since.
        Ok(first + all.filter_map(Result::ok).sum::<f64>())
    }
    /// Of the program and its children.
    pub(crate) fn memory(&self) -> Result<Memory, Fault> {
        let mut sum = Memory {
            resident: 0.0,
            anonymous: 0.0,
            peak: 0.0,
        };
        for pid in self.pids() {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let of = |name: &str| {
                let line = status.lines().find_map(|l| l.strip_prefix(name));
                let kib = line.and_then(|l| l.split_whitespace().next()?.parse::<f64>().ok());
                kib.unwrap_or(0.0) * 1024.0
            };
            sum.resident += of("VmRSS:");
            sum.anonymous += of("RssAnon:");
            sum.peak += of("VmHWM:");
        }
        match sum.resident > 0.0 {
            true => Ok(sum),
            false => Err("the program under measurement has ended".into()),
        }
    }
    /// Forgets the peak so far, where the system lets us.
    pub(crate) fn forget_peak(&self) {
        for pid in self.pids() {
            // "5" in proc(5): the high-water mark becomes what is resident now.
            std::fs::write(format!("/proc/{pid}/clear_refs"), "5").ok();
        }
    }
    /// Open files and sockets of the program.
    pub(crate) fn descriptors(&self) -> Result<usize, Fault> {
        Ok(std::fs::read_dir(format!("/proc/{}/fd", self.child.id()))?.count())
    }
    /// The program and all below it.
    fn pids(&self) -> Vec<Pid> {
        let mut pids = vec![Pid::from_raw(
            i32::try_from(self.child.id()).expect("process ids are small"),
        )];
        let mut next = 0;
        while let Some(&pid) = pids.get(next) {
            let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
            let children = children.unwrap_or_default();
            let numbers = children.split_whitespace().filter_map(|p| p.parse().ok());
            pids.extend(numbers.map(Pid::from_raw));
            next += 1;
        }
        pids
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        for pid in self.pids().into_iter().skip(1) {
            kill(pid, Signal::SIGKILL).ok();
        }
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Processor time of the calling thread, in seconds.
pub(crate) fn own_cpu() -> f64 {
    ClockId::CLOCK_THREAD_CPUTIME_ID.now().map_or(0.0, seconds)
}

fn seconds(time: nix::sys::time::TimeSpec) -> f64 {
    Duration::from(time).as_secs_f64()
}

/// A thousand UDP readers hold three thousand sockets.
pub(crate) fn raise_file_limit() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).ok();
    }
}
