//! Databases of Louver's that lose what is of single viewers.

use std::fmt::Write as _;
use std::path::Path;

use jiff::Timestamp;

use crate::analytics;
use crate::audit::Outcome;
use crate::base::clock::Clock;
use crate::base::clock::SystemClock;
use crate::cli::Failure;
use crate::cli::args::PastTo;
use crate::cli::past::Run;
use crate::cli::result;
use crate::cli::scan::shown;
use crate::cli::tell;
use crate::scan;

impl Run<'_> {
    /// Unsets what is of single viewers in databases of Louver's, and searches them.
    pub(super) fn databases(&self) -> Result<(), Failure> {
        if self.args.to != PastTo::Store || !self.args.paths.is_empty() || self.args.add {
            return Err(Failure::Usage(
                "databases of Louver's keep their own counts: --to, --path and --add have no meaning"
                    .to_owned(),
            ));
        }
        let mut text = String::new();
        for file in &self.args.files {
            let now = Timestamp::try_from(SystemClock.wall()).map_err(Failure::running)?;
            let done = self.runtime.block_on(async {
                match self.args.dry_run {
                    true => analytics::past::look(file).await,
                    false => analytics::past::unset(file, &self.options, now.as_millisecond()).await,
                }
            });
            let outcome = if done.is_ok() {
                Outcome::Done
            } else {
                Outcome::Failed
            };
            let rows = done.as_ref().map_or(0, |unset| unset.sessions + unset.visits);
            let detail = if self.args.dry_run {
                "dry run"
            } else {
                "rows unset"
            };
            self.leave(detail.to_owned(), rows, outcome);
            let unset = done.map_err(Failure::running)?;
            let verb = if self.args.dry_run { "would go" } else { "are gone" };
            let _ = writeln!(
                text,
                "{}: {} rows of sessions {verb}, and the numbers in {} rows of visits",
                shown(file),
                unset.sessions,
                unset.visits
            );
            if self.args.dry_run {
                continue;
            }
            if unset.left > 0 {
                return Err(Failure::Running(format!(
                    "{}: {} numbers are still in the file; the file system may keep old blocks",
                    shown(file),
                    unset.left
                )));
            }
            searched(file)?;
        }
        result(text.as_bytes())
    }
}

/// Searches a database for personal data, as `louver privacy scan` does.
pub(super) fn searched(file: &Path) -> Result<(), Failure> {
    struct Count(u64);
    impl scan::Scan for Count {
        fn found(&mut self, _: &Path, _: bool, found: scan::Found) {
            self.0 += u64::from(!found.harmless);
        }
        fn named(&mut self, _: &Path, _: scan::Found) {}
        fn failed(&mut self, _: &Path, _: &scan::ScanError) {
            self.0 += 1;
        }
    }
    let mut count = Count(0);
    scan::paths(&[file.to_path_buf()], &mut count);
    match count.0 {
        0 => {
            tell(&format!("{} was searched: no personal data.", shown(file)));
            Ok(())
        }
        n => Err(Failure::Running(format!(
            "{} has {n} places that look like personal data; `louver privacy scan` names them",
            shown(file)
        ))),
    }
}
