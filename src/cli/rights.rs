//! `louver stats share`, `shares` and `unshare`, `louver privacy consent` and `erase`: what the web offers, from the shell
//! of this machine. A running relay sees it within seconds.
//!
//! Tokens and receipts come by stdin: everybody on a machine can see command lines.

use std::io;
use std::io::IsTerminal;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use zeroize::Zeroizing;

use crate::audit::Action;
use crate::audit::Actor;
use crate::audit::Event;
use crate::audit::Purpose;
use crate::base::clock::Clock;
use crate::base::clock::SystemClock;
use crate::base::master::Master;
use crate::cli::Failure;
use crate::cli::args::Places;
use crate::cli::args::ShareArgs;
use crate::cli::audit::note;
use crate::cli::load;
use crate::cli::result;
use crate::cli::tell;
use crate::config::Config;
use crate::config::path_name_error;
use crate::config::places::data_dir;
use crate::config::time_zone;
use crate::rights::Options;
use crate::rights::Registry;
use crate::rights::RightsError;
use crate::rights::Shares;
use crate::web::api;

const DAY: Duration = Duration::from_secs(86_400);

/// How moments and days are told.
const TIME: &str = "%Y-%m-%dT%H:%M:%SZ";
const DATE: &str = "%Y-%m-%d";

/// Longest token or receipt that is read.
const MAX_SECRET: u64 = 1024;

/// A data directory, opened.
struct Open {
    config: Config,
    dir: PathBuf,
    master: Master,
    zone: TimeZone,
}

/// Prints a link to a report.
pub(super) fn share(places: &Places, args: &ShareArgs) -> Result<(), Failure> {
    let open = open(places)?;
    if let Some(error) = path_name_error(&args.path) {
        return Err(Failure::Usage(error.to_string()));
    }
    let (token, share) = Shares::new(&open.dir, &open.master)
        .make(
            &args.path,
            args.days,
            DAY * u32::from(args.expires),
            &open.zone,
            SystemClock.wall(),
        )
        .map_err(Failure::running)?;
    let made = Event::new(Actor::Shell, Action::ShareMade, Purpose::Audience);
    let made = made.object(&args.path).amount(u64::from(args.days));
    note(&open.dir, &open.master, made);
    tell(&format!(
        "The report of {} from {} to {}; the link works until {}. Its id is {}.",
        share.path,
        share.since.strftime(DATE),
        share.until.strftime(DATE),
        share.expires.strftime(TIME),
        share.id
    ));
    let site = match open.config.http.listen.first() {
        Some(at) if at.ip().is_unspecified() => format!("http://HOST:{}", at.port()),
        Some(at) if at.port() != 0 => format!("http://{at}"),
        _ => String::new(),
    };
    result(format!("{site}/share/{}\n", token.as_str()).as_bytes())
}

/// Lists the links that are in force.
pub(super) fn shares(places: &Places, json: bool) -> Result<(), Failure> {
    let open = open(places)?;
    let all = Shares::new(&open.dir, &open.master)
        .list(SystemClock.wall())
        .map_err(Failure::running)?;
    let listed = Event::new(Actor::Shell, Action::SharesListed, Purpose::Audience);
    note(&open.dir, &open.master, listed.amount(all.len() as u64));
    if json {
        return result(api::to_line(&api::ShareJson::list(&all)).as_bytes());
    }
    let mut text = String::from("ID                LOOKS  UNTIL                 REPORT\n");
    for share in &all {
        text.push_str(&format!(
            "{:<16}  {:>5}  {}  {} {} to {}\n",
            share.id,
            share.views,
            share.expires.strftime(TIME),
            share.path,
            share.since.strftime(DATE),
            share.until.strftime(DATE)
        ));
    }
    result(text.as_bytes())
}

/// Ends a link.
pub(super) fn unshare(places: &Places, id: &str) -> Result<(), Failure> {
    let open = open(places)?;
    let there = Shares::new(&open.dir, &open.master)
        .revoke(id)
        .map_err(Failure::running)?;
    if !there {
        return Err(Failure::Running(
            "there is no such link; louver stats shares lists those in force".to_owned(),
        ));
    }
    let event = Event::new(Actor::Shell, Action::ShareRevoked, Purpose::Audience);
    note(&open.dir, &open.master, event);
    Ok(())
}

/// Counts consents, and says whether the proof holds.
pub(super) fn consents(places: &Places) -> Result<(), Failure> {
    let open = open(places)?;
    let proofs = registry(&open).proofs().map_err(Failure::running)?;
    result(
        format!(
            "{} given, {} of them taken back\n",
            proofs.given, proofs.withdrawn
        )
        .as_bytes(),
    )?;
    match proofs.broken {
        None => Ok(()),
        Some(line) => Err(Failure::Running(format!(
            "line {line} of the file `consents` was changed: what stands there and behind it is believed no more; put the \
             file back from a backup"
        ))),
    }
}

/// Takes a consent back.
pub(super) fn withdraw(places: &Places) -> Result<(), Failure> {
    let open = open(places)?;
    let token = secret("The token of the consent")?;
    registry(&open).withdraw(&token).map_err(failed)?;
    let event = Event::new(Actor::Shell, Action::ConsentWithdrawn, Purpose::Rights);
    note(&open.dir, &open.master, event);
    tell("It counts no more. A relay erases what hangs on it now, or when it starts.");
    Ok(())
}

/// Has a session erased.
pub(super) fn erase(places: &Places) -> Result<(), Failure> {
    let open = open(places)?;
    let receipt = secret("The receipt of the session")?;
    registry(&open).erase(&receipt).map_err(failed)?;
    let event = Event::new(Actor::Shell, Action::ReceiptErased, Purpose::Rights);
    note(&open.dir, &open.master, event);
    tell("Nobody is shown it any more. A relay erases it now, or when it starts.");
    Ok(())
}

fn open(places: &Places) -> Result<Open, Failure> {
    let config = load(places)?;
    let dir = data_dir(&config).map_err(Failure::usage)?;
    let master = Master::load(&dir).map_err(Failure::running)?;
    let zone = time_zone(&config.privacy.time_zone)
        .ok_or_else(|| Failure::Usage("the time zone is unknown to this system".to_owned()))?;
    Ok(Open {
        config,
        dir,
        master,
        zone,
    })
}

fn registry(open: &Open) -> Arc<Registry> {
    let options = Options {
        consent: open.config.privacy.consent,
        time_zone: open.zone.clone(),
        ..Options::default()
    };
    Registry::new(&open.dir, &open.master, options, SystemClock::shared())
}

/// A line of stdin.
fn secret(what: &str) -> Result<Zeroizing<String>, Failure> {
    if io::stdin().is_terminal() {
        tell(&format!("{what}, then Enter and Ctrl-D:"));
    }
    let mut text = Zeroizing::new(String::new());
    io::stdin()
        .take(MAX_SECRET)
        .read_to_string(&mut text)
        .map_err(|_| Failure::Usage(format!("{what} is expected on stdin")))?;
    Ok(Zeroizing::new(text.trim().to_owned()))
}

fn failed(error: RightsError) -> Failure {
    match error {
        RightsError::Unknown => Failure::Running(
            "this is none that this installation gave out; is it whole, and is --data-dir right?".to_owned(),
        ),
        other => Failure::running(other),
    }
}
