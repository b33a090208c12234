//! `louver stats`: how the streams were watched, as the web server's `/api/v1/stats` answers too.

use std::path::PathBuf;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::analytics;
use crate::analytics::Mode;
use crate::analytics::Store;
use crate::analytics::query;
use crate::analytics::query::Question;
use crate::analytics::query::Tier;
use crate::analytics::table;
use crate::audit::Action;
use crate::audit::Actor;
use crate::audit::Event;
use crate::audit::Purpose;
use crate::base::clock::Clock;
use crate::base::clock::SystemClock;
use crate::cli::Failure;
use crate::cli::args::ExportArgs;
use crate::cli::args::Period;
use crate::cli::args::Places;
use crate::cli::args::StatsArgs;
use crate::cli::args::StatsCommand;
use crate::cli::audit;
use crate::cli::export;
use crate::cli::load;
use crate::cli::result;
use crate::cli::rights;
use crate::cli::screen;
use crate::cli::tell;
use crate::cli::when;
use crate::cli::when::End;
use crate::config::Config;
use crate::config::path_name_error;
use crate::config::places::data_dir;
use crate::config::time_zone;
use crate::web::api;

/// Where statistics are asked for, and how they are kept.
pub(super) struct Asked {
    pub(super) config: Config,
    pub(super) dir: PathBuf,
    pub(super) options: analytics::Options,
}

impl Asked {
    pub(super) fn at(places: &Places) -> Result<Self, Failure> {
        let config = load(places)?;
        let zone = time_zone(&config.privacy.time_zone)
            .ok_or_else(|| Failure::Usage("the time zone is unknown to this system".to_owned()))?;
        let dir = data_dir(&config).map_err(Failure::usage)?;
        let options = statistics(&config, zone)
            .ok_or_else(|| Failure::Usage("the address of the statistics' database is none".to_owned()))?;
        Ok(Self { config, dir, options })
    }
}

/// Prints the statistics of the data directory; the relay may be running or not.
pub(super) fn stats(before: &Places, args: &StatsArgs) -> Result<(), Failure> {
    let places = args.places.clone().or(before);
    match &args.command {
        None => show(&places, args),
        Some(StatsCommand::Export(args)) => export(&args.places.clone().or(&places), args),
        Some(StatsCommand::Share(args)) => rights::share(&args.places.clone().or(&places), args),
        Some(StatsCommand::Shares { places: own, output }) => {
            rights::shares(&own.clone().or(&places), output.json)
        }
        Some(StatsCommand::Unshare { places: own, id }) => rights::unshare(&own.clone().or(&places), id),
    }
}

/// Numbers to be given away: with noise, or the published tier.
fn export(places: &Places, args: &ExportArgs) -> Result<(), Failure> {
    let range = StatsArgs {
        output: args.output,
        period: args.period.clone(),
        published: true,
        csv: !args.output.json,
        ..StatsArgs::default()
    };
    if !args.private {
        return show(places, &range);
    }
    let asked = Asked::at(places)?;
    let question = question(&range, &asked.options.time_zone)?;
    export::private(&asked, &question, args)
}

/// Waits for an answer.
pub(super) fn run<T>(answer: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    Ok(runtime.block_on(answer))
}

fn show(places: &Places, args: &StatsArgs) -> Result<(), Failure> {
    let Asked { dir, options, .. } = Asked::at(places)?;
    let question = question(args, &options.time_zone)?;
    let answer = run(async {
        let store = Store::open(&dir, Mode::ReadOnly, options).await?;
        query::stats(&store, &question).await
    })?;
    let answer = answer.map_err(Failure::running)?;
    let path = question.path.as_deref().unwrap_or_default();
    let object = match path_name_error(path) {
        Some(_) if !path.is_empty() => "other",
        _ => path,
    };
    let (text, action, rows) = if args.csv {
        let table = api::stats_csv(&answer, args.by);
        let rows = table.lines().count() as u64 - 1;
        (table, Action::Exported, rows)
    } else if args.output.json {
        let line = api::to_line(&api::StatsJson::from(&answer));
        (line, Action::ReportViewed, 0)
    } else {
        (table::render(&answer, &screen::look()), Action::ReportViewed, 0)
    };
    // The same as of a look over HTTP, so that the rules see the same.
    let until = question.until.map_or("now".to_owned(), |until| until.to_string());
    let event = Event::new(Actor::Shell, action, Purpose::Audience)
        .object(object)
        .amount(rows)
        .hidden(api::hidden_cells(&answer))
        .params(format!("since={}&until={until}", answer.from));
    audit::note_where_kept(&dir, event);
    if question.path.is_some() && answer.total.sessions == 0 {
        tell(
            "No session of this path is in these days. `louver stats` without --path names those that have some.",
        );
    }
    result(text.as_bytes())
}

/// The settings of the statistics. `None` for an address of a database that is none, which the configuration refuses.
pub fn statistics(config: &Config, time_zone: TimeZone) -> Option<analytics::Options> {
    let options = analytics::Options {
        time_zone,
        k: config.privacy.k,
        keep: config.privacy.retention,
        database: None,
    };
    match &config.stats.database {
        None => Some(options),
        Some(address) => options.in_database(&address.0),
    }
}

fn question(args: &StatsArgs, zone: &TimeZone) -> Result<Question, Failure> {
    let tier = match args.published {
        true => Tier::Published,
        false => Tier::Console,
    };
    Ok(Question {
        path: args.path.clone(),
        ..about(&args.period, tier, zone)?
    })
}

/// What is asked about all paths of these days.
pub(super) fn about(period: &Period, tier: Tier, zone: &TimeZone) -> Result<Question, Failure> {
    let now = SystemClock.wall();
    let moment = Timestamp::try_from(now).map_err(Failure::running)?;
    let read = |text: &Option<String>, end| when::read(text.as_deref(), end, zone, moment);
    let since = read(&period.since, End::Since)?;
    let until = read(&period.until, End::Until)?;
    if since.is_some_and(|since| since >= until.unwrap_or(moment)) {
        return Err(Failure::Usage(
            "--since is not before --until, expected a range of time".to_owned(),
        ));
    }
    Ok(Question {
        since,
        until,
        path: None,
        tier,
        now,
    })
}
