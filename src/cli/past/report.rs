//! What `anonymize-past` tells of logs when it is done.

use std::fmt::Write as _;
use std::path::PathBuf;

use crate::cli::args::PastArgs;
use crate::cli::args::PastTo;
use crate::cli::counted;
use crate::cli::scan::shown;
use crate::past::Told;

/// Lines of a file that are named when they cannot be read; others are counted.
pub(super) const NAMED: usize = 5;

/// What was read of the files, and what became of it.
#[derive(Default)]
pub(super) struct Report {
    pub(super) lines: u64,
    /// Lines of another format: of which file, how many, and the first of them.
    pub(super) broken: Vec<(PathBuf, u64, Vec<u64>)>,
    pub(super) told: Told,
    pub(super) unfinished: usize,
    pub(super) stored: u64,
    pub(super) before: u64,
    pub(super) of_others: u64,
}

impl Report {
    pub(super) fn text(&self, args: &PastArgs) -> String {
        let told = &self.told;
        let mut text = format!(
            "{}, {} of which tell of somebody who watched.\n",
            counted(self.lines, "line"),
            told.records
        );
        for (file, count, named) in &self.broken {
            let numbers: Vec<String> = named.iter().map(u64::to_string).collect();
            let more = if *count > NAMED as u64 { ", ..." } else { "" };
            let _ = writeln!(
                text,
                "{}: {} of another format or damaged (line {}{more}).",
                shown(file),
                counted(*count, "line"),
                numbers.join(", ")
            );
        }
        let _ = writeln!(
            text,
            "{} in {}; {} of recorders and monitors beside them.",
            counted(told.sessions, "session"),
            counted(told.days, "day"),
            told.machines
        );
        for (n, what) in [
            (told.not_over, "of today, the future or before 1970"),
            (told.too_old, "older than days are kept"),
            (
                told.too_late,
                "of days that were done: the files overlap; give one server's at a time, with --add",
            ),
            (told.objected, "of viewers who objected or did not agree"),
            (told.sensitive, "of sensitive paths"),
            (told.too_many, "for which there was no room"),
            (
                self.unfinished as u64,
                "of sessions whose end is not in the files",
            ),
        ] {
            if n > 0 {
                let _ = writeln!(text, "Left out: {} {what}.", counted(n, "record"));
            }
        }
        match (args.dry_run, args.to) {
            (true, _) => text.push_str("Nothing was stored: this was a dry run.\n"),
            (false, PastTo::Store) => {
                let _ = writeln!(
                    text,
                    "Stored: {} now, {} before.",
                    counted(self.stored, "day"),
                    self.before
                );
            }
            _ => {}
        }
        if self.of_others > 0 {
            let _ = writeln!(
                text,
                "Left out: {} that another import brought; --add adds to them.",
                counted(self.of_others, "day")
            );
        }
        text
    }
}
