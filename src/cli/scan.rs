//! `louver privacy scan PATH...`: personal data in files, by kind and place. The values are never shown.

use std::collections::BTreeMap;
use std::io;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;

use crate::cli::Failure;
use crate::cli::counted;
use crate::cli::tell;
use crate::logs::redact;
use crate::scan;
use crate::scan::Found;
use crate::scan::Kind;
use crate::scan::ScanError;

/// Places that are told of one file; the rest is counted.
const TOLD: u64 = 20;

/// Searches; exit status 1 when something was found or could not be read.
pub(super) fn scan(paths: &[PathBuf], ignore_harmless: bool) -> Result<(), Failure> {
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
