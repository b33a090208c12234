//! `louver privacy alert-test`: whether alerts arrive.

use std::time::UNIX_EPOCH;

use crate::alerts;
use crate::audit::Action;
use crate::audit::Actor;
use crate::audit::Event;
use crate::audit::Outcome;
use crate::audit::Purpose;
use crate::base::clock::Clock;
use crate::base::clock::SystemClock;
use crate::cli::Failure;
use crate::cli::args::Places;
use crate::cli::audit::note_where_kept;
use crate::cli::load;
use crate::cli::result;
use crate::config::places::data_dir;

/// Sends a test by every way; exit status 1 when one fails or there is none.
pub(super) fn test(places: &Places) -> Result<(), Failure> {
    let config = load(places)?;
    let dir = data_dir(&config).map_err(Failure::usage)?;
    let since = SystemClock.wall().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let told = runtime.block_on(alerts::test(&config.alerts, now));
    let mut text = String::new();
    for (way, sent) in &told {
        text.push_str(&match sent {
            Ok(()) => format!("{way}: sent\n"),
            Err(error) => format!("{way}: {error}\n"),
        });
    }
    let failed = told.iter().filter(|(_, sent)| sent.is_err()).count();
    let good = failed == 0 && !told.is_empty();
    let event = Event::new(Actor::Shell, Action::AlertRaised, Purpose::Accountability)
        .object("test")
        .outcome(if good { Outcome::Done } else { Outcome::Failed });
    note_where_kept(&dir, event);
    result(text.as_bytes())?;
    match (failed, told.is_empty()) {
        (_, true) => Err(Failure::Running(
            "alerts go to the log alone; name smtp or webhook in [alerts]".to_owned(),
        )),
        (0, _) => Ok(()),
        (n, _) => Err(Failure::Running(format!("{n} of {} ways failed", told.len()))),
    }
}
