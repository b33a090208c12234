//! `louver privacy verify-report`: whether somebody who has everything that is published can compute what is hidden in it.

use crate::analytics::Mode;
use crate::analytics::Store;
use crate::analytics::query::Tier;
use crate::analytics::verify;
use crate::analytics::verify::Verified;
use crate::audit::Action;
use crate::audit::Actor;
use crate::audit::Event;
use crate::audit::Outcome;
use crate::audit::Purpose;
use crate::cli::Failure;
use crate::cli::args::Period;
use crate::cli::args::Places;
use crate::cli::audit;
use crate::cli::counted;
use crate::cli::result;
use crate::cli::stats;
use crate::cli::stats::Asked;

/// Groups that are named one by one.
const NAMED: usize = 20;

/// Attacks the statistics of the data directory; the relay may be running or not.
pub(super) fn verify(places: &Places, period: &Period) -> Result<(), Failure> {
    let Asked { dir, options, .. } = Asked::at(places)?;
    let question = stats::about(period, Tier::Published, &options.time_zone)?;
    let k = options.k;
    let found = stats::run(async {
        let store = Store::open(&dir, Mode::ReadOnly, options).await?;
        verify::published(&store, &question).await
    })?;
    let found = found.map_err(Failure::running)?;
    let computed = found.computed.len();
    let outcome = match computed {
        0 => Outcome::Done,
        _ => Outcome::Failed,
    };
    let event = Event::new(Actor::Shell, Action::ReportVerified, Purpose::Accountability);
    audit::note_where_kept(&dir, event.outcome(outcome).amount(computed as u64));
    result(told(&found, k).as_bytes())?;
    match computed {
        0 => Ok(()),
        n => Err(Failure::Running(format!(
            "{} can be computed from what is published; with a larger `k` in [privacy] fewer can",
            counted(n as u64, "hidden number")
        ))),
    }
}

fn told(found: &Verified, k: u32) -> String {
    let Some((first, last)) = found.range else {
        return "No day is over in this range, so nothing of it is published.\n".to_owned();
    };
    let days = counted(found.days, "day");
    let mut text = format!("{first} to {last}: {days} with viewers, k = {k}\n");
    let hidden = found.hidden();
    text.push_str(&format!(
        "Groups of fewer than {k} viewers, of which no number is published: {hidden}"
    ));
    let facts: Vec<_> = found
        .small
        .iter()
        .map(|(fact, n)| format!("{fact} {n}"))
        .collect();
    if !facts.is_empty() {
        text.push_str(&format!(" ({})", facts.join(", ")));
    }
    let narrowed = found.narrowed;
    text.push_str(&format!(
        "\nMore follows than that they are fewer: of {narrowed}\n"
    ));
    text.push_str(&format!("Computed exactly: {}\n", found.computed.len()));
    for computed in found.computed.iter().take(NAMED) {
        let (day, path, fact) = (computed.day, &computed.path, computed.fact);
        text.push_str(&format!("COMPUTED: {day}, path {path}, by {fact}\n"));
    }
    let more = found.computed.len().saturating_sub(NAMED);
    if more > 0 {
        text.push_str(&format!("and {more} more\n"));
    }
    text
}
