//! `louver privacy notice`, `ropa` and the other papers, and `self-check`.

use std::fs;
use std::path::Path;
use std::time::Duration;
use std::time::SystemTime;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::audit;
use crate::audit::Action;
use crate::audit::Actor;
use crate::audit::Event;
use crate::audit::Keys;
use crate::audit::Outcome;
use crate::audit::Purpose;
use crate::base::clock::Clock;
use crate::base::clock::SystemClock;
use crate::base::master::Master;
use crate::cli::Failure;
use crate::cli::args::Format;
use crate::cli::args::PaperArgs;
use crate::cli::args::Places;
use crate::cli::audit::note_where_kept;
use crate::cli::load;
use crate::cli::result;
use crate::cli::when;
use crate::cli::when::End;
use crate::config::places::data_dir;
use crate::papers;
use crate::papers::Change;
use crate::papers::Document;
use crate::papers::Grade;
use crate::papers::Lang;
use crate::papers::Machine;
use crate::papers::Options;
use crate::web::api;

/// Changes of settings that the notice tells.
pub const CHANGES: usize = 10;

/// Prints the notice.
pub(super) fn notice(places: &Places, args: &PaperArgs, lang: &str) -> Result<(), Failure> {
    let lang = Lang::parse(lang)
        .ok_or_else(|| Failure::usage(format!("there is no notice in `{lang}`, expected en or fr")))?;
    let options = options(places)?;
    print(&papers::notice(&options, lang), &options, args.format)
}

/// Prints the record of processing.
pub(super) fn record(places: &Places, args: &PaperArgs) -> Result<(), Failure> {
    let options = options(places)?;
    print(&papers::record(&options), &options, args.format)
}

/// Prints the skeleton of an impact assessment.
pub(super) fn dpia(places: &Places, args: &PaperArgs) -> Result<(), Failure> {
    let options = options(places)?;
    print(&papers::dpia(&options), &options, args.format)
}

/// Prints the self-assessment; exit status 1 when a criterion is not met.
pub(super) fn self_assessment(places: &Places, args: &PaperArgs) -> Result<(), Failure> {
    let options = options(places)?;
    let (document, failed) = papers::self_assessment(&options);
    print(&document, &options, args.format)?;
    match failed {
        0 => Ok(()),
        n => Err(Failure::Running(format!("{n} criteria are not met"))),
    }
}

/// Prints the form for the notification of a breach.
pub(super) fn breach(places: &Places, args: &PaperArgs, noticed: Option<&str>) -> Result<(), Failure> {
    let options = options(places)?;
    let now = Timestamp::try_from(SystemClock.wall()).map_err(Failure::running)?;
    let noticed = when::read(noticed, End::Since, &TimeZone::UTC, now)?;
    let form = papers::breach_report(&options, noticed.unwrap_or(now), now);
    print(&form, &options, args.format)
}

/// Judges settings and machine; exit status 1 when something is bad.
pub(super) fn self_check(places: &Places) -> Result<(), Failure> {
    let options = options(places)?;
    let dir = data_dir(&load(places)?).map_err(Failure::usage)?;
    let findings = papers::self_check(&options, &machine(&dir));
    let mut text = String::new();
    for finding in &findings {
        let grade = match finding.grade {
            Grade::Good => "good   ",
            Grade::Warning => "WARNING",
            Grade::Bad => "BAD    ",
        };
        text.push_str(&format!("{grade}  {:<18} {}\n", finding.name, finding.text));
    }
    let bad = findings.iter().filter(|f| f.grade == Grade::Bad).count();
    let event = Event::new(Actor::Shell, Action::SelfChecked, Purpose::Accountability).amount(bad as u64);
    note_where_kept(
        &dir,
        event.outcome(if bad == 0 { Outcome::Done } else { Outcome::Failed }),
    );
    result(text.as_bytes())?;
    match bad {
        0 => Ok(()),
        n => Err(Failure::Running(format!("{n} things are bad, see above"))),
    }
}

fn print(document: &Document, options: &Options, format: Format) -> Result<(), Failure> {
    let text = match format {
        Format::Md => document.markdown(),
        Format::Text => document.plain(),
        Format::Csv => document.csv(),
        Format::Json => api::to_line(&api::DocumentJson::new(document, options.version())),
    };
    result(text.as_bytes())
}

/// The settings, and how they came to be.
fn options(places: &Places) -> Result<Options, Failure> {
    let config = load(places)?;
    let mut options = config.papers();
    let dir = data_dir(&config).map_err(Failure::usage)?;
    options.changes = setting_changes(&dir).map_err(Failure::running)?;
    Ok(options)
}

/// Changes of settings that the trail knows, newest first.
///
/// # Errors
/// When the trail cannot be read.
pub fn setting_changes(data_dir: &Path) -> Result<Vec<Change>, audit::TrailError> {
    let mut all = std::collections::VecDeque::new();
    audit::show(data_dir, i64::MIN, |entry| {
        if entry.action == Action::Setting && entry.detail.contains(" -> ") {
            let at = Timestamp::from_second(entry.ts).unwrap_or(Timestamp::UNIX_EPOCH);
            all.push_front(Change {
                date: at.strftime("%Y-%m-%d").to_string(),
                setting: entry.object.clone(),
                change: entry.detail.clone(),
            });
            all.truncate(CHANGES);
        }
    })?;
    Ok(all.into())
}

/// What can be told of this machine and of the data directory.
fn machine(dir: &Path) -> Machine {
    let problems = Master::load(dir)
        .ok()
        .and_then(|master| audit::verify(dir, &Keys::new(&master), "").ok());
    Machine {
        plain_swap: plain_swap(),
        // `analytics` sets it on every connection, and its tests search the files; there is nothing here to ask.
        secure_delete: Some(true),
        wal_hours: Some(wal_hours(dir, SystemClock.wall())),
        readable: readable(dir),
        audit_problems: problems.map(|found| found.problems.len()),
    }
}

/// Whether some swap is neither compressed memory nor on an encrypted device.
fn plain_swap() -> Option<bool> {
    let swaps = fs::read_to_string("/proc/swaps").ok()?;
    let devices = swaps
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().next());
    let mut plain = false;
    for device in devices {
        let name = fs::canonicalize(device).unwrap_or_else(|_| device.into());
        let name = name
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let uuid = fs::read_to_string(format!("/sys/block/{name}/dm/uuid")).unwrap_or_default();
        plain |= !name.starts_with("zram") && !uuid.starts_with("CRYPT-");
    }
    Some(plain)
}

fn wal_hours(dir: &Path, now: SystemTime) -> u64 {
    let wal = fs::metadata(dir.join("louver.db-wal"))
        .ok()
        .filter(|m| m.len() > 0);
    let age = wal
        .and_then(|m| m.modified().ok())
        .and_then(|at| now.duration_since(at).ok());
    age.unwrap_or(Duration::ZERO).as_secs() / 3_600
}

/// Files of the data directory that others can read.
#[cfg(unix)]
fn readable(dir: &Path) -> Vec<String> {
    use std::os::unix::fs::PermissionsExt;
    let open = |path: &Path| fs::metadata(path).is_ok_and(|m| m.permissions().mode() & 0o077 != 0);
    if !open(dir) {
        return Vec::new(); // nobody gets as far as the files
    }
    let files = fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
    let mut names: Vec<String> = files
        .filter(|file| open(&file.path()))
        .map(|file| file.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[cfg(not(unix))]
fn readable(_: &Path) -> Vec<String> {
    Vec::new()
}
