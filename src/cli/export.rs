//! `louver stats export`: numbers to be given away, with noise, or in the published tier.

use crate::analytics::Mode;
use crate::analytics::Store;
use crate::analytics::private;
use crate::analytics::private::OfSystem;
use crate::analytics::private::Wish;
use crate::analytics::query::Question;
use crate::audit::Action;
use crate::audit::Actor;
use crate::audit::Event;
use crate::audit::Outcome;
use crate::audit::Purpose;
use crate::cli::Failure;
use crate::cli::args::ExportArgs;
use crate::cli::audit;
use crate::cli::result;
use crate::cli::stats;
use crate::cli::stats::Asked;
use crate::config::Config;
use crate::web::api;

/// Prints numbers with noise, as far as the budget of their days allows. What was spent is in the audit trail.
pub(super) fn private(asked: &Asked, question: &Question, args: &ExportArgs) -> Result<(), Failure> {
    let epsilon = args.epsilon.ok_or_else(|| {
        Failure::Usage("--private needs --epsilon, expected a number such as 0.5".to_owned())
    })?;
    let wish = Wish {
        table: args.table,
        epsilon,
        since: question.since,
        until: question.until,
        paths: paths(&asked.config),
        now: question.now,
    };
    let event = |outcome| {
        Event::new(Actor::Shell, Action::Exported, Purpose::Audience)
            .object(wish.table.name())
            .outcome(outcome)
    };
    let exported = stats::run(async {
        let store = Store::open(&asked.dir, Mode::ReadOnly, asked.options.clone()).await;
        private::export(&store?, &asked.dir, &wish, &mut OfSystem).await
    })?;
    let export = exported.map_err(|error| {
        let refused = event(Outcome::Refused).detail(format!("with noise, epsilon {epsilon}"));
        audit::note_where_kept(&asked.dir, refused);
        Failure::running(error)
    })?;
    let (days, fresh) = (
        export.days.len(),
        export.days.iter().filter(|day| !day.again).count(),
    );
    let rows = export.days.iter().map(|day| day.rows.len() as u64).sum();
    let again = days - fresh;
    let detail = match fresh {
        0 => format!("with noise, {again} days again"),
        _ => format!("with noise, epsilon {epsilon} for each of {fresh} days, {again} again"),
    };
    audit::note_where_kept(&asked.dir, event(Outcome::Done).detail(detail).amount(rows));
    let text = match args.output.json {
        true => api::to_line(&api::PrivateJson::from(&export)),
        false => api::private_csv(&export),
    };
    result(text.as_bytes())
}

/// Names that the operator chose. Sensitive paths are in no statistics.
fn paths(config: &Config) -> Vec<String> {
    let counted = config.paths.iter().filter(|path| !path.sensitive);
    counted.map(|path| path.name.to_string()).collect()
}
