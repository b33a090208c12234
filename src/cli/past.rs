//! `louver privacy anonymize-past`: logs of other servers become counts, databases of Louver's lose what is of single
//! viewers. Logs are never changed; what they say is never shown.

use std::fmt::Write as _;
use std::path::Path;
use std::path::PathBuf;

use jiff::Timestamp;
use jiff::ToSpan;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use tokio::runtime::Runtime;

use crate::analytics;
use crate::analytics::Mode;
use crate::analytics::Store;
use crate::analytics::past::Import;
use crate::analytics::past::Imported;
use crate::analytics::past::PastSession;
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
use crate::cli::result;
use crate::cli::scan::shown;
use crate::cli::stats::statistics;
use crate::cli::tell;
use crate::config::Config;
use crate::config::path_name_error;
use crate::config::places::data_dir;
use crate::config::time_zone;
use crate::past;
use crate::past::Day;
use crate::past::Days;
use crate::past::Format;
use crate::past::Line;
use crate::past::Log;
use crate::past::Reader;
use crate::past::Settings;
use crate::past::Told;
use crate::scan;

/// Lines of a file that are named when they cannot be read; others are counted.
const NAMED: usize = 5;

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

/// What was read of the files, and what became of it.
#[derive(Default)]
struct Report {
    lines: u64,
    /// Lines of another format: of which file, how many, and the first of them.
    broken: Vec<(PathBuf, u64, Vec<u64>)>,
    told: Told,
    unfinished: usize,
    stored: u64,
    before: u64,
    of_others: u64,
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

    fn sink(&self, files: &[PathBuf]) -> Result<Sink, Failure> {
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

    fn take(&self, day: &Day, sink: &mut Sink, report: &mut Report) -> Result<(), Failure> {
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
    fn end(&self, sink: Sink, report: &Report) -> Result<(), Failure> {
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

    fn databases(&self) -> Result<(), Failure> {
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

/// Where days go.
enum Sink {
    Nothing,
    Summary(String),
    Store(Box<Import>),
}

const CSV_HEAD: &str = "day,path,fact,value,sessions,viewer_days,watch_seconds,peak_concurrent\n";

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

/// Searches a database for personal data, as `louver privacy scan` does.
fn searched(file: &Path) -> Result<(), Failure> {
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

impl Report {
    fn text(&self, args: &PastArgs) -> String {
        let told = &self.told;
        let mut text = format!(
            "{} lines, {} of which tell of somebody who watched.\n",
            self.lines, told.records
        );
        for (file, count, named) in &self.broken {
            let numbers: Vec<String> = named.iter().map(u64::to_string).collect();
            let more = if *count > NAMED as u64 { ", ..." } else { "" };
            let _ = writeln!(
                text,
                "{}: {count} lines are of another format or damaged (line {}{more}).",
                shown(file),
                numbers.join(", ")
            );
        }
        let _ = writeln!(
            text,
            "{} sessions in {} days; {} of recorders and monitors beside them.",
            told.sessions, told.days, told.machines
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
                let _ = writeln!(text, "Left out: {n} records {what}.");
            }
        }
        match (args.dry_run, args.to) {
            (true, _) => text.push_str("Nothing was stored: this was a dry run.\n"),
            (false, PastTo::Store) => {
                let _ = writeln!(
                    text,
                    "{} days were stored now, {} before.",
                    self.stored, self.before
                );
            }
            _ => {}
        }
        if self.of_others > 0 {
            let _ = writeln!(
                text,
                "Left out: {} days that another import brought; --add adds to them.",
                self.of_others
            );
        }
        text
    }
}
