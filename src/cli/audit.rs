//! `louver audit`: who did what to the statistics and their settings, and whether that record holds. Both leave an entry
//! in it themselves.

use std::fs;
use std::path::Path;
use std::path::PathBuf;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::audit;
use crate::audit::Action;
use crate::audit::Actor;
use crate::audit::Entry;
use crate::audit::Event;
use crate::audit::Keys;
use crate::audit::Outcome;
use crate::audit::Purpose;
use crate::audit::Verified;
use crate::base::clock::Clock;
use crate::base::clock::SystemClock;
use crate::base::master::Master;
use crate::base::master::MasterError;
use crate::base::why::Why;
use crate::cli::Failure;
use crate::cli::args::AuditShowArgs;
use crate::cli::args::Places;
use crate::cli::load;
use crate::cli::result;
use crate::cli::tell;
use crate::cli::when;
use crate::cli::when::End;
use crate::config::Config;
use crate::config::credentials::GENERATED_USER;
use crate::config::places::data_dir;

/// Longest text with copies of checkpoints, bytes.
const MAX_TEXT: u64 = 256 << 20;

/// Prints the trail.
pub(super) fn show(places: &Places, args: &AuditShowArgs) -> Result<(), Failure> {
    let (config, dir, master) = open(places)?;
    let zone = crate::config::time_zone(&config.privacy.time_zone)
        .ok_or_else(|| Failure::Usage("the time zone is unknown to this system".to_owned()))?;
    let now = Timestamp::try_from(SystemClock.wall()).map_err(Failure::running)?;
    let since = when::read(args.since.as_deref(), End::Since, &zone, now)?;
    let keys = Keys::new(&master);
    let names: Vec<&str> = config.auth.users.iter().map(|u| u.name.as_str()).collect();
    let names = [&names[..], &[GENERATED_USER]].concat();
    let mut text = String::new();
    let from = since.map_or(i64::MIN, Timestamp::as_second);
    audit::show(&dir, from, |entry| {
        let line = match args.output.json {
            true => entry.json(),
            false => line(entry, &keys, &names, &zone),
        };
        text.push_str(&line);
        text.push('\n');
    })
    .map_err(Failure::running)?;
    note(
        &dir,
        &master,
        Event::new(Actor::Shell, Action::AuditShown, Purpose::Accountability),
    );
    result(text.as_bytes())
}

/// Checks the trail, also against copies of checkpoints in other files.
pub(super) fn verify(places: &Places, copies: &[PathBuf]) -> Result<(), Failure> {
    let (_, dir, master) = open(places)?;
    let mut more = String::new();
    for file in copies {
        let unreadable =
            |why: &dyn std::fmt::Display| Failure::Usage(format!("cannot read {} ({why})", file.display()));
        let size = fs::metadata(file).map_err(|e| unreadable(&Why::from(&e)))?.len();
        if size > MAX_TEXT {
            return Err(unreadable(
                &"it is larger than 256 MiB; give the lines with checkpoints alone",
            ));
        }
        let bytes = fs::read(file).map_err(|e| unreadable(&Why::from(&e)))?;
        more.push_str(&String::from_utf8_lossy(&bytes));
        more.push('\n');
    }
    let found = audit::verify(&dir, &Keys::new(&master), &more).map_err(Failure::running)?;
    let broken = found.problems.len();
    let outcome = match broken {
        0 => Outcome::Done,
        _ => Outcome::Failed,
    };
    let event = Event::new(Actor::Shell, Action::AuditVerified, Purpose::Accountability)
        .outcome(outcome)
        .amount(broken as u64);
    note(&dir, &master, event);
    result(told(&found).as_bytes())?;
    match broken {
        0 => Ok(()),
        n => Err(Failure::Running(format!(
            "the audit trail does not hold: {n} problems"
        ))),
    }
}

/// Leaves an entry about a command; one that cannot be written is told and stops nothing.
pub(super) fn note(data_dir: &Path, master: &Master, event: Event) {
    if let Err(e) = audit::write_now(data_dir, master, &SystemClock::shared(), &event) {
        tell(&format!("louver: this is not in the audit trail: {e}"));
    }
}

/// Leaves an entry where a relay ever kept a trail.
pub(super) fn note_where_kept(data_dir: &Path, event: Event) {
    match Master::load(data_dir) {
        Ok(master) => note(data_dir, &master, event),
        Err(MasterError::Missing(_)) => {}
        Err(e) => tell(&format!("louver: this is not in the audit trail: {e}")),
    }
}

fn open(places: &Places) -> Result<(Config, PathBuf, Master), Failure> {
    let config = load(places)?;
    let dir = data_dir(&config).map_err(Failure::usage)?;
    let master = Master::load(&dir).map_err(Failure::running)?;
    Ok((config, dir, master))
}

fn told(found: &Verified) -> String {
    let range = match found.range {
        None => "The trail is empty.".to_owned(),
        Some((first, last)) => format!(
            "{} entries, {first} to {last}; {} signed checkpoints hold.",
            found.entries, found.checkpoints
        ),
    };
    let problems = found.problems.iter().map(|p| format!("BROKEN: {p}\n"));
    let clock = found
        .clock_back
        .iter()
        .map(|seq| format!("note: the clock went back at entry {seq}\n"));
    let end = match found.problems.len() {
        0 => "Nothing was changed, left out, moved or cut off.\n",
        _ => "",
    };
    format!(
        "{range}\n{}{}{end}",
        problems.collect::<String>(),
        clock.collect::<String>()
    )
}

/// One entry for people. Users of the configuration are named; others stay tags.
fn line(entry: &Entry, keys: &Keys, names: &[&str], zone: &TimeZone) -> String {
    let at = Timestamp::from_second(entry.ts).unwrap_or(Timestamp::UNIX_EPOCH);
    let at = at
        .to_zoned(zone.clone())
        .strftime("%Y-%m-%d %H:%M:%S")
        .to_string();
    let known = names.iter().find(|name| keys.actor(name) == entry.actor);
    let actor = known.map_or_else(|| entry.actor_text(), |name| format!("user {name}"));
    let mut line = format!("{:>6}  {at}  {actor:<14} {}", entry.seq, entry.action.name());
    for part in [&entry.object, &entry.detail] {
        if !part.is_empty() {
            line.push_str("  ");
            line.push_str(part);
        }
    }
    if entry.amount > 0 {
        line.push_str(&format!("  ({})", entry.amount));
    }
    if entry.hidden > 0 {
        line.push_str(&format!("  {} cells hidden", entry.hidden));
    }
    if entry.repeats > 0 {
        line.push_str(&format!("  and {} times more", entry.repeats));
    }
    if entry.outcome != Outcome::Done {
        line.push_str("  ");
        line.push_str(entry.outcome.name());
    }
    line
}
