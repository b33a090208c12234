//! What the program notes about itself in the audit trail: starts, ends, and settings that differ from last time.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::alerts;
use crate::analytics::Bytes;
use crate::analytics::Purged;
use crate::app::AppError;
use crate::app::Start;
use crate::app::listen::Bound;
use crate::audit;
use crate::audit::Action;
use crate::audit::Actor;
use crate::audit::Audit;
use crate::audit::Event;
use crate::audit::Outcome;
use crate::audit::Purpose;
use crate::base::clock::SharedClock;
use crate::base::master::Master;
use crate::base::tasks::Tasks;
use crate::cli;
use crate::config::Config;
use crate::config::is_followed;
use crate::config::streams_at;
use crate::papers::Change;
use crate::papers::Options;

/// Opens the trail, and tells it of the start and of what is set otherwise than at the last one. Gives what the notice is
/// made of, too.
pub(super) fn begin_audit(
    tasks: &Tasks,
    start: &Start,
    bound: &Bound,
    master: &Master,
    clock: &SharedClock,
) -> Result<(Audit, Options), AppError> {
    // A trail that cannot be read is told by the first entry that cannot be written.
    let before = audit::last_settings(&start.data_dir).unwrap_or_default();
    let former = cli::setting_changes(&start.data_dir).unwrap_or_default();
    let audit = Audit::start(
        tasks,
        &start.data_dir,
        master,
        audit::Options {
            keep: start.config.audit.keep,
            max_bytes: start.config.audit.max_bytes,
        },
        clock.clone(),
        start.metrics.clone(),
        alerts::start(tasks, &start.config.alerts, &start.metrics),
    )
    .map_err(AppError::Audit)?;
    audit.note(
        Event::new(Actor::Relay, Action::Started, Purpose::Operation).detail(env!("CARGO_PKG_VERSION")),
    );
    let mut told = start.config.papers();
    told.streams_at = streams_at(&bound.rtsp, &bound.rtsps);
    told.changes = former;
    for (name, value) in start.config.settings() {
        let detail = match before.get(name) {
            Some(old) if *old == value => continue,
            Some(old) => {
                let change = format!("{old} -> {value}");
                told.changes.insert(0, news(clock, name, change.clone()));
                change
            }
            None => value,
        };
        let setting = Event::new(Actor::Relay, Action::Setting, Purpose::Accountability);
        audit.note(setting.object(name).detail(detail));
    }
    told.changes.truncate(cli::CHANGES);
    Ok((audit, told))
}

/// A setting that is changed today.
fn news(clock: &SharedClock, setting: &str, change: String) -> Change {
    let today = Timestamp::try_from(clock.wall()).unwrap_or_default();
    Change {
        date: today.strftime("%Y-%m-%d").to_string(),
        setting: setting.to_owned(),
        change,
    }
}

/// What the notice is made of once the configuration `now` is followed. `before` is what it was made of.
pub(super) fn follow(
    start: &Config,
    now: &Config,
    users_stay: bool,
    before: &Options,
    clock: &SharedClock,
) -> Options {
    let mut told = start.following(now).papers();
    told.streams_at.clone_from(&before.streams_at);
    if let (false, Some(users)) = (users_stay, before.settings.get("auth.users")) {
        told.settings.insert("auth.users", users.clone());
    }
    told.changes.clone_from(&before.changes);
    for (name, value) in &told.settings {
        if let Some(old) = before.settings.get(name).filter(|old| *old != value) {
            let change = format!("{old} -> {value}");
            told.changes.insert(0, news(clock, name, change));
        }
    }
    told.changes.truncate(cli::CHANGES);
    told
}

/// Tells of what the configuration, read again, sets otherwise than was told last: what is followed from now on, and what
/// waits for the next start. `told` is then what was told last.
pub(super) fn note_settings(
    audit: &Audit,
    told: &mut BTreeMap<&'static str, String>,
    now: BTreeMap<&'static str, String>,
) {
    for (name, value) in now {
        let Some(old) = told.get_mut(name).filter(|old| **old != value) else {
            continue;
        };
        let action = match is_followed(name) {
            true => Action::Setting,
            false => Action::SettingAwaits,
        };
        let event = Event::new(Actor::Relay, action, Purpose::Accountability);
        audit.note(event.object(name).detail(format!("{old} -> {value}")));
        *old = value;
    }
}

/// The configuration was read again, or could not be.
pub(super) fn note_reload(audit: &Audit, outcome: Outcome) {
    audit.note(Event::new(Actor::Relay, Action::Reloaded, Purpose::Operation).outcome(outcome));
}

/// Keys of days that were wiped, and how many of them late. Nothing of a key is told, not even a hash of one.
pub(super) fn note_rotations(audit: &Audit, changed: u64, late: u64) {
    if changed > 0 {
        let event = Event::new(Actor::Relay, Action::KeyRotated, Purpose::Security).amount(changed);
        audit.note(match late {
            0 => event,
            _ => event.detail("late").outcome(Outcome::Failed),
        });
    }
}

/// Rows were deleted for good, or should have been.
pub(super) fn note_purge(audit: &Audit, purged: &Purged) {
    audit.note(purge(purged));
}

/// How much of what, and whether a search of the bytes proves it. Nothing in it is of one viewer, or of one path.
fn purge(purged: &Purged) -> Event {
    let rows = purged.rows.iter().map(|(kind, n)| match n {
        0 => format!("few {kind}"),
        n => format!("{n} {kind}"),
    });
    let bytes = match purged.bytes {
        Bytes::Gone => "searched, nothing left".to_owned(),
        Bytes::Left(n) => format!("searched, {n} left"),
        Bytes::NotSearched => "could not be searched".to_owned(),
        Bytes::WrittenAnew => "tables written anew".to_owned(),
        Bytes::NotWrittenAnew => "tables not written anew".to_owned(),
    };
    let detail: Vec<String> = rows.chain([bytes]).collect();
    let event = Event::new(Actor::Relay, Action::Purged, Purpose::Accountability)
        .detail(detail.join(", "))
        .amount(purged.rows.iter().map(|(_, n)| n).sum());
    match purged.bytes.are_gone() {
        true => event,
        false => event.outcome(Outcome::Failed),
    }
}

/// The program ends by itself.
pub(super) fn note_end(audit: &Audit) {
    audit.note(Event::new(Actor::Relay, Action::Ended, Purpose::Operation));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_purge_is_told_in_kinds_and_counts_and_is_a_failure_unless_its_bytes_are_gone() {
        let event = |bytes| {
            let rows = vec![("sessions", 20), ("visits", 0)];
            purge(&Purged { rows, bytes })
        };
        let gone = event(Bytes::Gone);
        assert_eq!(gone.detail, "20 sessions, few visits, searched, nothing left");
        assert_eq!((gone.amount, gone.outcome), (20, Outcome::Done));
        assert_eq!(event(Bytes::WrittenAnew).outcome, Outcome::Done);
        for bytes in [Bytes::Left(3), Bytes::NotSearched, Bytes::NotWrittenAnew] {
            assert_eq!(event(bytes).outcome, Outcome::Failed, "{bytes:?}");
        }
    }
}
