//! A reader that goes on until the test has seen enough of what it decodes. So no test depends on where a reader
//! joined, how long it took to start, or what it does with its last pictures when it is told to stop after so many.

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;
use std::time::Instant;

use tempfile::NamedTempFile;

use crate::clips::assert_contiguous;
use crate::clips::longest_run;
use crate::peers::Peer;
use crate::relay::DEADLINE;

/// What a reader must show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// Every picture from the first that it shows: whoever joins begins at a keyframe.
    All,
    /// Every picture from the first whole one: it came into the middle, and shows what it has.
    FromKeyframe,
    /// As many without a gap, somewhere: it loses datagrams by itself when the machine is busy.
    Run,
}

/// A running reader. Killed when dropped.
pub struct Watch {
    name: String,
    promise: Promise,
    peers: Vec<Peer>,
    /// What is started in their place if they end by themselves, once.
    again: Vec<Command>,
    out: NamedTempFile,
}

impl Watch {
    /// Starts a program that writes one line per picture, with its MD5 as the last word, to this file; or to stdout.
    pub fn start(name: &str, promise: Promise, command: impl FnOnce(&Path) -> Command) -> Self {
        let out = NamedTempFile::new().unwrap();
        let mut commands = vec![command(out.path())];
        Self {
            name: name.to_owned(),
            promise,
            peers: spawn(name, &mut commands, out.path()),
            again: Vec::new(),
            out,
        }
    }
    /// Starts a program whose stdout another one takes apart, and writes such lines.
    pub fn piped(name: &str, promise: Promise, source: Command, sink: Command) -> Self {
        let out = NamedTempFile::new().unwrap();
        Self {
            name: name.to_owned(),
            promise,
            peers: spawn(name, &mut [source, sink], out.path()),
            again: Vec::new(),
            out,
        }
    }
    /// A program that gives up by itself now and then may begin once more, as these commands say. What it showed
    /// before is forgotten.
    pub fn or_again(mut self, commands: impl FnOnce(&Path) -> Vec<Command>) -> Self {
        self.again = commands(self.out.path());
        self
    }
    /// The same, promising less.
    pub fn only_from_keyframe(mut self) -> Self {
        self.promise = Promise::FromKeyframe;
        self
    }
    /// Checksums of the pictures so far.
    pub fn seen(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.out.path()).unwrap();
        let (whole, _) = text.rsplit_once('\n').unwrap_or_default();
        let lines = whole.lines().filter(|l| !l.starts_with('#'));
        // ffmpeg tells of side data behind the checksum: `stream, dts, pts, duration, size, checksum, ...`.
        let sum = |l: &str| {
            l.split([',', ' '])
                .map(str::trim)
                .find(|w| w.len() == 32)
                .map(str::to_owned)
        };
        lines.filter_map(sum).collect()
    }
    /// What it showed that it must not, or nothing.
    #[track_caller]
    fn check(&self, source: &[String], at_least: usize) {
        let seen = self.seen();
        match self.promise {
            Promise::All => assert_contiguous(source, &seen, at_least, &self.name),
            Promise::FromKeyframe => {
                assert_contiguous(source, from_keyframe(source, &seen), at_least, &self.name);
            }
            Promise::Run => assert!(
                longest_run(source, &seen) >= at_least,
                "{}: no {at_least} pictures without a gap in {}",
                self.name,
                seen.len()
            ),
        }
    }
    fn has_enough(&self, source: &[String], at_least: usize) -> bool {
        let seen = self.seen();
        match self.promise {
            Promise::All => seen.len() >= at_least,
            Promise::FromKeyframe => from_keyframe(source, &seen).len() >= at_least,
            Promise::Run => longest_run(source, &seen) >= at_least,
        }
    }
    #[track_caller]
    fn assert_runs(&mut self) {
        let ended = |peer: &mut Peer| peer.child.try_wait().unwrap();
        let Some(status) = self.peers.iter_mut().find_map(ended) else {
            return;
        };
        let told = format!(
            "{} ended after {} pictures: {status}\n{}",
            self.name,
            self.seen().len(),
            self.log()
        );
        assert!(!self.again.is_empty(), "{told}");
        eprintln!("{told}It begins once more.");
        self.peers.clear();
        self.out.as_file().set_len(0).unwrap();
        self.peers = spawn(&self.name, &mut self.again, self.out.path());
        self.again.clear();
    }
    /// Waits until its stream has ended for it.
    #[track_caller]
    pub fn wait(&mut self) {
        for peer in &mut self.peers {
            peer.wait(DEADLINE);
        }
    }
    /// Everything that its programs said.
    pub fn log(&self) -> String {
        self.peers.iter().map(Peer::log).collect()
    }
}

/// The source of the lines and, if there is one, who takes it apart before.
fn spawn(name: &str, commands: &mut [Command], out: &Path) -> Vec<Peer> {
    let stdout = File::options().append(true).open(out).unwrap();
    match commands {
        [program] => vec![Peer::spawn(name, program.stdout(stdout))],
        [source, sink] => {
            let mut source = Peer::spawn(name, source.stdout(Stdio::piped()));
            let pipe = source.child.stdout.take().unwrap();
            let sink = Peer::spawn_with(&format!("what decodes {name}"), sink.stdout(stdout), pipe);
            vec![source, sink]
        }
        other => panic!("{} programs", other.len()),
    }
}

fn from_keyframe<'a>(source: &[String], seen: &'a [String]) -> &'a [String] {
    let whole = seen.iter().position(|p| source.contains(p));
    &seen[whole.unwrap_or(seen.len())..]
}

/// Lets readers go on until each has shown so many pictures of the source; then ends them and checks what they showed.
#[track_caller]
pub fn until_all_have_seen(readers: Vec<Watch>, source: &[String], at_least: usize) {
    let readers = wait_for_all(readers, source, at_least);
    for reader in &readers {
        reader.check(source, at_least);
    }
}

/// Lets readers go on until each has shown so many pictures, whatever they are.
#[track_caller]
pub fn wait_for_all(mut readers: Vec<Watch>, source: &[String], at_least: usize) -> Vec<Watch> {
    let until = Instant::now() + DEADLINE;
    loop {
        readers.iter_mut().for_each(Watch::assert_runs);
        let late: Vec<_> = readers
            .iter()
            .filter(|r| !r.has_enough(source, at_least))
            .collect();
        if late.is_empty() {
            return readers;
        }
        if Instant::now() > until {
            let told = late
                .iter()
                .map(|r| format!("{}: {} pictures; it said: {}", r.name, r.seen().len(), r.log()));
            let told: Vec<_> = told.collect();
            panic!("not enough pictures in {DEADLINE:?}: {told:#?}");
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}
