//! Where the days of logs go: nowhere, into a summary, or into the store.

use std::fmt::Write as _;
use std::path::PathBuf;

use jiff::civil::Date;

use crate::analytics;
use crate::analytics::Mode;
use crate::analytics::Store;
use crate::analytics::past::Import;
use crate::analytics::past::Imported;
use crate::analytics::past::PastSession;
use crate::base::master::Master;
use crate::cli::Failure;
use crate::cli::args::PastTo;
use crate::cli::past::Run;
use crate::cli::past::databases::searched;
use crate::cli::past::report::Report;
use crate::cli::result;
use crate::cli::tell;
use crate::past;
use crate::past::Day;

/// Where days go.
pub(super) enum Sink {
    Nothing,
    Summary(String),
    Store(Box<Import>),
}

const CSV_HEAD: &str = "day,path,fact,value,sessions,viewer_days,watch_seconds,peak_concurrent\n";

impl Run<'_> {
    pub(super) fn sink(&self, files: &[PathBuf]) -> Result<Sink, Failure> {
        if self.args.dry_run {
            return Ok(Sink::Nothing);
        }
        if self.args.to != PastTo::Store {
            return Ok(Sink::Summary(String::new()));
        }
        let store = Store::open(&self.dir, Mode::ReadWrite, self.options.clone());
        let store = self.runtime.block_on(store).map_err(Failure::running)?;
        let master = Master::load_or_make(&self.dir).map_err(Failure::running)?;
        let name = past::mark(files, &master.key("past import")).map_err(Failure::running)?;
        let import = Import::begin(&store, &name, self.args.add);
        let import = self.runtime.block_on(import).map_err(Failure::running)?;
        Ok(Sink::Store(Box::new(import)))
    }

    pub(super) fn take(&self, day: &Day, sink: &mut Sink, report: &mut Report) -> Result<(), Failure> {
        let sessions: Vec<PastSession> = day
            .began
            .iter()
            .map(|session| session.to_count(true))
            .chain(day.went_on.iter().map(|session| session.to_count(false)))
            .collect();
        match sink {
            Sink::Nothing => {}
            Sink::Summary(text) => summary(text, day.date, &sessions, &self.options, self.args.to),
            Sink::Store(import) => {
                let done = self.runtime.block_on(import.day(day.date, &sessions));
                match done.map_err(Failure::running)? {
                    Imported::Now => {
                        report.stored += 1;
                        tell(&format!("{} is stored.", day.date));
                    }
                    Imported::Before => report.before += 1,
                    Imported::Other => report.of_others += 1,
                }
            }
        }
        Ok(())
    }

    /// Nothing more comes.
    pub(super) fn end(&self, sink: Sink, report: &Report) -> Result<(), Failure> {
        match sink {
            Sink::Nothing => Ok(()),
            Sink::Summary(text) => match self.args.to {
                PastTo::Csv => result(format!("{CSV_HEAD}{text}").as_bytes()),
                _ => result(format!("[{}]\n", text.trim_end_matches(",\n")).as_bytes()),
            },
            Sink::Store(import) => {
                self.runtime.block_on(import.end()).map_err(Failure::running)?;
                let file = self.dir.join("louver.db");
                if report.stored > 0 && self.options.database.is_none() {
                    searched(&file)?;
                }
                Ok(())
            }
        }
    }
}

/// Adds the lines of a day.
fn summary(
    text: &mut String,
    date: Date,
    sessions: &[PastSession],
    options: &analytics::Options,
    to: PastTo,
) {
    for line in analytics::past::summary(date, sessions, options) {
        // Names of paths and words of lists: nothing that must be quoted.
        let _ = match to {
            PastTo::Csv => writeln!(
                text,
                "{date},{},{},{},{},{},{},{}",
                line.scope,
                line.dimension,
                line.value,
                line.sessions,
                line.viewers,
                line.watch_seconds,
                line.peak
            ),
            _ => writeln!(
                text,
                "{},",
                serde_json::json!({
                    "day": date.to_string(), "path": &*line.scope, "fact": line.dimension, "value": &*line.value,
                    "sessions": line.sessions, "viewer_days": line.viewers,
                    "watch_seconds": line.watch_seconds, "peak_concurrent": line.peak,
                })
            ),
        };
    }
}
