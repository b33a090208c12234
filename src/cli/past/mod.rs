//! `louver privacy anonymize-past`: logs of other servers become counts, databases of Louver's lose what is of single
//! viewers. Logs are never changed; what they say is never shown.

mod databases;
mod report;
mod sink;

use std::path::PathBuf;

use jiff::Timestamp;
use jiff::ToSpan;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use tokio::runtime::Runtime;

use crate::analytics;
use crate::app;
use crate::audit::Action;
use crate::audit::Actor;
use crate::audit::Event;
use crate::audit::Outcome;
use crate::audit::Purpose;
use crate::base::clock::Clock;
use crate::base::clock::SystemClock;
use crate::base::master::Master;
use crate::cli::Failure;
use crate::cli::args::PastArgs;
use crate::cli::args::PastFormat;
use crate::cli::args::PastTo;
use crate::cli::args::Places;
use crate::cli::audit::note;
use crate::cli::audit::note_where_kept;
use crate::cli::load;
use crate::cli::past::report::NAMED;
use crate::cli::past::report::Report;
use crate::cli::past::sink::Sink;
use crate::cli::result;
use crate::cli::stats::statistics;
use crate::cli::tell;
use crate::config::Config;
use crate::config::path_name_error;
use crate::config::places::data_dir;
use crate::config::time_zone;
use crate::past;
use crate::past::Days;
use crate::past::Format;
use crate::past::Line;
use crate::past::Log;
use crate::past::Reader;
use crate::past::Settings;

/// Reads the past.
pub(super) fn anonymize(places: &Places, args: &PastArgs) -> Result<(), Failure> {
    let config = load(places)?;
    let zone = time_zone(&config.privacy.time_zone)
        .ok_or_else(|| Failure::Usage("the time zone is unknown to this system".to_owned()))?;
    let options = statistics(&config, zone)
        .ok_or_else(|| Failure::Usage("the address of the statistics' database is none".to_owned()))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let run = Run {
        dir: data_dir(&config).map_err(Failure::usage)?,
        runtime,
        options,
        config,
        args,
    };
    match format(args.format) {
        None => run.databases(),
        Some(format) => run.logs(format),
    }
}

/// `None`: databases of Louver's.
fn format(named: PastFormat) -> Option<Format> {
    match named {
        PastFormat::Nginx | PastFormat::Apache => Some(Format::Requests),
        PastFormat::Icecast => Some(Format::Icecast),
        PastFormat::MediaMtx => Some(Format::MediaMtx),
        PastFormat::Owncast => Some(Format::Owncast),
        PastFormat::Louver => None,
    }
}

/// What one call of the command needs.
struct Run<'a> {
    config: Config,
    options: analytics::Options,
    dir: PathBuf,
    runtime: Runtime,
    args: &'a PastArgs,
}

impl Run<'_> {
    fn logs(&self, format: Format) -> Result<(), Failure> {
        let zone = match &self.args.log_time_zone {
            None => self.options.time_zone.clone(),
            Some(name) => time_zone(name)
                .ok_or_else(|| Failure::Usage(format!("the time zone `{name}` is unknown to this system")))?,
        };
        let files = in_order(&self.args.files, format, &zone)?;
        let mut days = Days::new(self.settings(format)?);
        let mut sink = self.sink(&files)?;
        let mut report = Report::default();
        let read = self.read(&files, format, &zone, &mut days, &mut sink, &mut report);
        report.told = days.told();
        let done = read.and_then(|()| self.end(sink, &report));
        self.note(&report, done.is_ok());
        let text = report.text(self.args);
        match self.args.to {
            PastTo::Store => result(text.as_bytes())?,
            _ => tell(text.trim_end()),
        }
        done?;
        if report.told.records == 0 && !report.broken.is_empty() {
            return Err(Failure::Running(
                "nobody watched by these files; are they of this format?".to_owned(),
            ));
        }
        Ok(())
    }

    fn settings(&self, format: Format) -> Result<Settings, Failure> {
        if self.config.privacy.consent.name() == "off" {
            return Err(Failure::Usage(
                "nobody may be counted: [privacy] consent is \"off\"; nobody of the past may be, either"
                    .to_owned(),
            ));
        }
        for path in &self.args.paths {
            if let Some(wrong) = path_name_error(path) {
                return Err(Failure::Usage(format!("`{path}` is no path: {wrong}")));
            }
        }
        let zone = &self.options.time_zone;
        let now = SystemClock.wall();
        let moment = Timestamp::try_from(now).map_err(Failure::running)?;
        let today = moment.to_zoned(zone.clone()).date();
        let months = i64::from(self.options.keep.days_months);
        let paths = &self.config.paths;
        let of = |sensitive| {
            let paths = paths.iter().filter(move |p| p.sensitive == sensitive);
            paths.map(|p| p.name.clone())
        };
        Ok(Settings {
            format,
            privacy: app::privacy_options(&self.config, zone.clone()).map_err(Failure::running)?,
            paths: of(false).chain(self.args.paths.iter().cloned()).collect(),
            sensitive: of(true).collect(),
            now,
            oldest: today.checked_sub(months.months()).unwrap_or(Date::MIN),
        })
    }

    /// Reads all files; what is done goes to the sink.
    fn read(
        &self,
        files: &[PathBuf],
        format: Format,
        zone: &TimeZone,
        days: &mut Days,
        sink: &mut Sink,
        report: &mut Report,
    ) -> Result<(), Failure> {
        let mut reader = Reader::new(format, zone.clone());
        for file in files {
            let mut log = Log::open(file, format).map_err(Failure::running)?;
            let (mut broken, mut named) = (0, Vec::new());
            loop {
                let piece = match log.next_piece() {
                    Ok(Some(piece)) => piece,
                    Ok(None) => break,
                    Err(error) => return Err(Failure::running(error)),
                };
                report.lines += 1;
                match piece.text.map_or(Line::Broken, |text| reader.line(text)) {
                    Line::Watched(record) => {
                        for day in days.add(record) {
                            self.take(&day, sink, report)?;
                        }
                    }
                    Line::Other => {}
                    Line::Broken => {
                        broken += 1;
                        if named.len() < NAMED {
                            named.push(piece.number);
                        }
                    }
                }
            }
            if broken > 0 {
                report.broken.push((file.clone(), broken, named));
            }
        }
        report.unfinished = reader.unfinished();
        while let Some(day) = days.finish_oldest() {
            self.take(&day, sink, report)?;
        }
        Ok(())
    }

    fn note(&self, report: &Report, done: bool) {
        let outcome = if done { Outcome::Done } else { Outcome::Failed };
        let detail = match (self.args.dry_run, self.args.to) {
            (true, _) => "dry run".to_owned(),
            (false, PastTo::Store) => format!("{} days stored", report.stored),
            (false, _) => format!("{} days printed", report.told.days),
        };
        self.leave(detail, report.told.sessions, outcome);
    }

    fn leave(&self, detail: String, amount: u64, outcome: Outcome) {
        let event = Event::new(Actor::Shell, Action::PastAnonymized, Purpose::Accountability)
            .object(name(self.args.format))
            .detail(detail)
            .amount(amount)
            .outcome(outcome);
        let changed = !self.args.dry_run && self.args.to == PastTo::Store;
        if !changed {
            return note_where_kept(&self.dir, event);
        }
        match Master::load_or_make(&self.dir) {
            Ok(master) => note(&self.dir, &master, event),
            Err(e) => tell(&format!("louver: this is not in the audit trail: {e}")),
        }
    }
}

/// The files by when they begin; those of which that is not known last, as they were given.
fn in_order(files: &[PathBuf], format: Format, zone: &TimeZone) -> Result<Vec<PathBuf>, Failure> {
    let mut all = Vec::new();
    for file in files {
        let begins = past::begins(file, format, zone).map_err(Failure::running)?;
        all.push((begins.unwrap_or(i64::MAX), file.clone()));
    }
    all.sort_by_key(|(begins, _)| *begins);
    Ok(all.into_iter().map(|(_, file)| file).collect())
}

fn name(format: PastFormat) -> &'static str {
    match format {
        PastFormat::Nginx => "nginx",
        PastFormat::Apache => "apache",
        PastFormat::Icecast => "icecast",
        PastFormat::MediaMtx => "mediamtx",
        PastFormat::Owncast => "owncast",
        PastFormat::Louver => "louver",
    }
}
