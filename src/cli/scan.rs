//! `louver privacy scan PATH...`: personal data in files, by kind and place. The values are never shown. Of the search
//! an entry with counts is left in the audit trail: names of files may themselves be personal data.

use std::collections::BTreeMap;
use std::io;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;

use crate::audit::Action;
use crate::audit::Actor;
use crate::audit::Event;
use crate::audit::Outcome;
use crate::audit::Purpose;
use crate::cli::Failure;
use crate::cli::args::Places;
use crate::cli::audit;
use crate::cli::counted;
use crate::cli::load;
use crate::cli::tell;
use crate::config::places::data_dir;
use crate::logs::redact;
use crate::scan;
use crate::scan::Found;
use crate::scan::Kind;
use crate::scan::ScanError;
use crate::scan::Summary;

/// Places that are told of one file; the rest is counted.
const TOLD: u64 = 20;

/// Searches; exit status 1 when something was found or could not be read.
pub(super) fn scan(places: &Places, paths: &[PathBuf], ignore_harmless: bool) -> Result<(), Failure> {
    let mut report = Report {
        out: io::BufWriter::new(io::stdout().lock()),
        written: Ok(()),
        ignore_harmless,
        file: PathBuf::new(),
        in_file: 0,
        kinds: BTreeMap::new(),
        harmless: 0,
    };
    let done = scan::paths(paths, &mut report);
    report.rest();
    note(places, report.event(&done));
    let written = std::mem::replace(&mut report.written, Ok(()));
    match written.and_then(|()| report.out.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => return Err(e.into()),
        _ => {}
    }
    let mebibytes = done.bytes >> 20;
    tell(&format!(
        "Searched {}, {mebibytes} MiB. Could not be read: {}. Neither file nor directory: {}.",
        counted(done.files, "file"),
        done.failed,
        done.skipped
    ));
    report.judge(done.failed)
}

/// Leaves an entry in the trail of the data directory. A search needs no configuration, so one that is wrong stops none.
fn note(places: &Places, event: Event) {
    let config = load(places).map_err(Failure::from);
    match config.and_then(|config| data_dir(&config).map_err(Failure::usage)) {
        Ok(dir) => audit::note_where_kept(&dir, event),
        Err(failure) => tell(&format!(
            "louver: this is not in the audit trail: {}",
            failure.text()
        )),
    }
}

/// A kind in a word, as in the trail.
fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Ipv4 => "ipv4",
        Kind::Ipv6 => "ipv6",
        Kind::Email => "email",
        Kind::UrlCredentials => "url-credentials",
        Kind::BasicCredentials => "basic",
        Kind::BearerToken => "bearer",
        Kind::Jwt => "jwt",
        Kind::Secret => "secret",
    }
}

struct Report<'o> {
    out: io::BufWriter<io::StdoutLock<'o>>,
    written: io::Result<()>,
    ignore_harmless: bool,
    file: PathBuf,
    in_file: u64,
    kinds: BTreeMap<Kind, u64>,
    harmless: u64,
}

impl Report<'_> {
    fn line(&mut self, text: &str) {
        if self.written.is_ok() {
            self.written = writeln!(self.out, "{text}");
        }
    }

    fn counts(&mut self, found: &Found) -> bool {
        if found.harmless && self.ignore_harmless {
            return false;
        }
        *self.kinds.entry(found.kind).or_default() += 1;
        self.harmless += u64::from(found.harmless);
        true
    }

    /// How much of the file before was not told.
    fn rest(&mut self) {
        if self.in_file > TOLD {
            let line = format!("{}: {} more", shown(&self.file), self.in_file - TOLD);
            self.line(&line);
        }
        self.in_file = 0;
    }

    /// What the trail is told: how many files, and how much of which kind; neither names nor places.
    fn event(&self, done: &Summary) -> Event {
        let kinds = self.kinds.iter().map(|(kind, n)| format!("{n} {}", word(*kind)));
        let found = match self.kinds.is_empty() {
            true => "nothing found".to_owned(),
            false => format!("found {}", kinds.collect::<Vec<_>>().join(", ")),
        };
        let event = Event::new(Actor::Shell, Action::Scanned, Purpose::Accountability).amount(done.files);
        match done.failed {
            0 => event.detail(found),
            n => event
                .detail(format!("{found}; {n} not read"))
                .outcome(Outcome::Failed),
        }
    }

    fn judge(&self, failed: u64) -> Result<(), Failure> {
        if self.kinds.is_empty() && failed == 0 {
            return Ok(());
        }
        let kinds: Vec<String> = self
            .kinds
            .iter()
            .map(|(kind, n)| format!("{n} of kind {}", kind.name()))
            .collect();
        let harmless = match self.harmless {
            0 => String::new(),
            n => format!(" ({n} of them loopback or made for documents; --ignore-harmless leaves them out)"),
        };
        Err(Failure::Running(match kinds.is_empty() {
            true => "some files could not be read, so nothing is proven".to_owned(),
            false => format!("personal data found: {}{harmless}", kinds.join(", ")),
        }))
    }
}

impl scan::Scan for Report<'_> {
    fn found(&mut self, file: &Path, unpacked: bool, found: Found) {
        if file != self.file {
            self.rest();
            self.file = file.to_path_buf();
        }
        if !self.counts(&found) {
            return;
        }
        self.in_file += 1;
        if self.in_file <= TOLD {
            let line = format!(
                "{}: {} ({}) at byte {}{}{}",
                shown(file),
                found.kind.name(),
                found.form.name(),
                found.offset,
                if unpacked { ", unpacked" } else { "" },
                if found.harmless { ", harmless" } else { "" },
            );
            self.line(&line);
        }
    }
    fn named(&mut self, file: &Path, found: Found) {
        if self.counts(&found) {
            let line = format!("{}: {} in the name of the file", shown(file), found.kind.name());
            self.line(&line);
        }
    }
    fn failed(&mut self, file: &Path, error: &ScanError) {
        tell(&format!("louver: {}: {error}", shown(file)));
    }
}

/// A file's name without what it may have of personal data.
pub(super) fn shown(file: &Path) -> String {
    redact::line(&file.display().to_string()).0
}
