//! The command line: what was typed becomes a checked start of `app`, or the answer of one command.
//!
//! Human output goes to stderr, results to stdout. Exit status: 0 fine, 1 failed while running, 2 bad usage
//! or configuration. Not here: what the commands tell of (each asks its room).

mod alerts;
mod args;
mod audit;
mod check;
mod devices;
mod export;
mod formats;
mod papers;
mod past;
mod process;
mod rights;
mod run;
mod scan;
mod screen;
mod sources;
mod stats;
mod user;
mod verify;
pub mod welcome;
mod when;

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::io::Write;
use std::process::ExitCode;

use clap::CommandFactory;
use clap::Parser;

use crate::cli::args::Command;
use crate::cli::args::CommandLine;
use crate::cli::args::Places;
use crate::config;
use crate::config::Config;
use crate::config::ConfigErrors;

pub use crate::cli::papers::CHANGES;
pub use crate::cli::papers::setting_changes;
pub use crate::cli::stats::statistics;

/// Why a command ended badly; says the exit status too.
#[derive(Debug)]
enum Failure {
    /// Exit status 2.
    Usage(String),
    /// Exit status 2 as well; the text is `FILE:LINE: ...` and gets nothing before it.
    Mistakes(String),
    /// Exit status 1.
    Running(String),
}

impl Failure {
    fn usage(error: impl fmt::Display) -> Self {
        Self::Usage(error.to_string())
    }
    fn running(error: impl fmt::Display) -> Self {
        Self::Running(error.to_string())
    }
    /// What it is, without the exit status.
    fn text(self) -> String {
        match self {
            Self::Usage(text) | Self::Mistakes(text) | Self::Running(text) => text,
        }
    }
}

impl From<ConfigErrors> for Failure {
    fn from(errors: ConfigErrors) -> Self {
        Self::Mistakes(errors.to_string())
    }
}

/// A result could not be written. A reader that went away (`louver stats | head`) is no failure.
impl From<io::Error> for Failure {
    fn from(e: io::Error) -> Self {
        Self::Running(format!("cannot write the result ({})", e.kind()))
    }
}

/// Runs the program.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let line = match CommandLine::try_parse_from(args) {
        Ok(line) => line,
        Err(told) => {
            // Help and version go to stdout with status 0, mistakes to stderr with 2.
            let _ = told.print();
            return ExitCode::from(u8::try_from(told.exit_code()).unwrap_or(2));
        }
    };
    match dispatch(line) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let (status, prefix) = match failure {
                Failure::Usage(_) => (2, "louver: "),
                Failure::Mistakes(_) => (2, ""),
                Failure::Running(_) => (1, "louver: "),
            };
            tell(&format!("{prefix}{}", failure.text()));
            ExitCode::from(status)
        }
    }
}

/// `1 file`, `2 files`: a number with its word.
fn counted(n: u64, word: &str) -> String {
    let s = if n == 1 { "" } else { "s" };
    format!("{n} {word}{s}")
}

fn dispatch(line: CommandLine) -> Result<(), Failure> {
    let before = line.run;
    let Some(command) = line.command else {
        return run::run(&before);
    };
    if let Command::Run(args) = command {
        return run::run(&args.or(before));
    }
    if let Some(word) = before.meaningless_before(&command) {
        return Err(Failure::Usage(format!(
            "{word} has no meaning for this command; leave it out"
        )));
    }
    match command {
        Command::Run(_) => unreachable!("returned above"),
        Command::Stats(args) => stats::stats(&before.places, &args),
        Command::Check(places) => check::check(&places.or(&before.places)),
        Command::Devices(output) => devices::devices(output.json),
        Command::Formats(output) => formats::formats(output.json),
        Command::User(command) => user::user(command, &before.places),
        Command::Privacy(command) => privacy(command, &before.places),
        Command::Audit(args::AuditCommand::Show(args)) => {
            audit::show(&args.places.clone().or(&before.places), &args)
        }
        Command::Audit(args::AuditCommand::Verify(args)) => {
            audit::verify(&args.places.clone().or(&before.places), &args.checkpoints)
        }
        Command::Completions { shell } => completions(shell),
    }
}

fn privacy(command: args::PrivacyCommand, before: &Places) -> Result<(), Failure> {
    match command {
        args::PrivacyCommand::Scan {
            places,
            ignore_harmless,
            paths,
        } => scan::scan(&places.or(before), &paths, ignore_harmless),
        args::PrivacyCommand::AnonymizePast(args) => past::anonymize(&args.places.clone().or(before), &args),
        args::PrivacyCommand::Notice { args, lang } => {
            papers::notice(&args.places.clone().or(before), &args, &lang)
        }
        args::PrivacyCommand::Ropa(args) => papers::record(&args.places.clone().or(before), &args),
        args::PrivacyCommand::Dpia(args) => papers::dpia(&args.places.clone().or(before), &args),
        args::PrivacyCommand::SelfAssessment(args) => {
            papers::self_assessment(&args.places.clone().or(before), &args)
        }
        args::PrivacyCommand::BreachReport { args, noticed } => {
            papers::breach(&args.places.clone().or(before), &args, noticed.as_deref())
        }
        args::PrivacyCommand::AlertTest(places) => alerts::test(&places.or(before)),
        args::PrivacyCommand::SelfCheck(places) => papers::self_check(&places.or(before)),
        args::PrivacyCommand::VerifyReport(args) => {
            verify::verify(&args.places.clone().or(before), &args.period)
        }
        args::PrivacyCommand::Consent(args::ConsentCommand::List(places)) => {
            rights::consents(&places.or(before))
        }
        args::PrivacyCommand::Consent(args::ConsentCommand::Withdraw(places)) => {
            rights::withdraw(&places.or(before))
        }
        args::PrivacyCommand::Erase(places) => rights::erase(&places.or(before)),
    }
}

fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut CommandLine::command(), "louver", &mut script);
    result(&script)
}

/// Writes a command's result to stdout.
fn result(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

/// Tells a person something on stderr.
fn tell(text: &str) {
    // Nobody is left to be told that stderr is gone.
    let _ = writeln!(io::stderr(), "{text}");
}

/// The configuration that these places mean: the named file, else the user's, else the defaults.
fn load(places: &Places) -> Result<Config, ConfigErrors> {
    let file = places.config.clone().or_else(config::places::config_file);
    let mut config = file
        .as_deref()
        .map_or_else(|| Ok(Config::default()), config::load)?;
    if let Some(dir) = &places.data_dir {
        config.data_dir = Some(dir.clone());
    }
    Ok(config)
}
