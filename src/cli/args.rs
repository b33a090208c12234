//! The command line as the user typed it: clap's definitions, from which help and completions are made too.

use std::path::PathBuf;

use clap::Args;
use clap::Parser;
use clap::Subcommand;
use clap_complete::Shell;

use crate::analytics::private::Epsilon;
use crate::analytics::private::Table;
use crate::web::api::Breakdown;

const EXAMPLES: &str = "\
Examples:
  louver                              the first webcam, else a test picture
  louver --lan                        for the whole network, with a password
  louver pattern:                     a test picture with a clock
  louver door=webcam:/dev/video0      this camera, rtsp://localhost:8554/door
  louver door=rtsp://192.0.2.7/1      another camera of the network
  louver stats --since 7d             how it was watched, without who
  louver check --config louver.toml   is this file right?

SOURCE is one of
  webcam:                             the first camera
  webcam:DEVICE?size=WxH&fps=N        a certain one, and how it is read (also
                                      format=mjpeg, raw or h264, bitrate=2M)
  pattern:?size=WxH&fps=N             a test picture
  rtsp:// rtsps:// http:// https://
  rtmp:// srt:// udp://               another camera or server
  file:clip.mp4?loop=1                a file, again and again
  publish:                            whoever publishes to the path
  redirect:rtsp://...                 players are sent there
Without PATH= the paths are called webcam, webcam2 and so on. To paths that have
no source anybody may publish:
  ffmpeg -re -i clip.mp4 -c copy -f rtsp rtsp://localhost:8554/mystream

Exit status: 0 fine, 1 failed while running, 2 bad usage or configuration.";

/// Turns a webcam or any publisher into an IP camera, and tells how it is watched without knowing who watches
#[derive(Parser, Debug)]
#[command(name = "louver", version, after_help = EXAMPLES, max_term_width = 100)]
pub(super) struct CommandLine {
    #[command(flatten)]
    pub(super) run: RunArgs,
    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

/// What to do; `run` when nothing is said.
#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// Relay cameras and publishers (also when no command is given)
    #[command(after_help = EXAMPLES)]
    Run(RunArgs),
    /// List cameras with their formats, sizes and frame rates, and who holds a busy one
    Devices(Output),
    /// List codecs, containers, protocols and devices that this build takes in and gives out
    Formats(Output),
    /// Tell how the streams were watched
    Stats(StatsArgs),
    /// Say what is wrong in the configuration, and at which line
    Check(Places),
    /// What is known of viewers, what is not, and the papers about it
    #[command(subcommand)]
    Privacy(PrivacyCommand),
    /// Who did what to the statistics and their settings
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Users of the configuration
    #[command(subcommand)]
    User(UserCommand),
    /// Print what makes a shell complete this program's command line
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// Of `privacy`.
#[derive(Subcommand, Debug)]
pub(super) enum PrivacyCommand {
    /// Find personal data in files and below directories, also deleted rows of databases and gzip; exit status 1 when
    /// there are some. Values are never shown
    Scan {
        #[command(flatten)]
        places: Places,
        /// Do not count loopback addresses, and those that were made for documents
        #[arg(long)]
        ignore_harmless: bool,
        /// Files and directories
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
    },
    /// Count what logs of other servers say of viewers, without who, into the statistics; or take what is of single
    /// viewers out of a database of Louver's. Logs are only read
    AnonymizePast(PastArgs),
    /// Print the privacy notice for viewers, made of the configuration; also at /privacy
    Notice {
        #[command(flatten)]
        args: PaperArgs,
        /// Language: en or fr
        #[arg(long, default_value = "en")]
        lang: String,
    },
    /// Print the record of processing activities (Art. 30 GDPR)
    Ropa(PaperArgs),
    /// Print a skeleton of an impact assessment (Art. 35 GDPR)
    Dpia(PaperArgs),
    /// Answer fourteen criteria for audience measurement without consent; exit status 1 when one is not met
    #[command(alias = "cnil-selfassessment")]
    SelfAssessment(PaperArgs),
    /// Print the form for the notification of a breach (Art. 33 GDPR), with the 72 hours counted
    BreachReport {
        #[command(flatten)]
        args: PaperArgs,
        /// When it was noticed, as for `stats` [default: now]
        #[arg(long, value_name = "T")]
        noticed: Option<String>,
    },
    /// Send a message that says it is a test, by every way that the configuration names; exit status 1 when one fails
    AlertTest(Places),
    /// Say what is wrong with the settings and this machine; exit status 1 when something is
    SelfCheck(Places),
    /// Attack what may be published of the statistics: fetch all of it, and compute what is hidden in it; exit status 1
    /// when that succeeds
    VerifyReport(VerifyArgs),
    /// Consents of viewers, and their proof
    #[command(subcommand)]
    Consent(ConsentCommand),
    /// Read the receipt of a session from stdin and have the session erased; a running relay does so within seconds
    Erase(Places),
}

/// Of `privacy verify-report`.
#[derive(Args, Debug)]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    pub(super) places: Places,
    #[command(flatten)]
    pub(super) period: Period,
}

/// Of `privacy consent`.
#[derive(Subcommand, Debug)]
pub(super) enum ConsentCommand {
    /// Count consents and withdrawals; exit status 1 when somebody changed the file
    List(Places),
    /// Read the token of a consent from stdin and take it back; a running relay erases what hangs on it within seconds
    Withdraw(Places),
}

/// Of `privacy anonymize-past`.
#[derive(Args, Debug)]
pub(super) struct PastArgs {
    #[command(flatten)]
    pub(super) places: Places,
    /// Who wrote the files; louver: they are databases (louver.db), and are changed
    #[arg(long, value_enum)]
    pub(super) format: PastFormat,
    /// Read everything and say what would be done; change nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Where the counts go; json and csv print them as they may be published, and store nothing
    #[arg(long, value_enum, default_value_t = PastTo::Store)]
    pub(super) to: PastTo,
    /// Keep the name of this path too, beside those of the configuration; all others are counted as one
    #[arg(long = "path", value_name = "PATH")]
    pub(super) paths: Vec<String>,
    /// Time zone of the machine that wrote times without one (MediaMTX) [default: that of the configuration]
    #[arg(long, value_name = "ZONE")]
    pub(super) log_time_zone: Option<String>,
    /// Also add to days that another import brought, of which these files have other viewers
    #[arg(long)]
    pub(super) add: bool,
    /// Files, also packed by gzip; all those of a log at once, so that their days are whole
    #[arg(required = true, value_name = "FILE")]
    pub(super) files: Vec<PathBuf>,
}

/// Who wrote a log.
#[derive(clap::ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PastFormat {
    Nginx,
    Apache,
    Icecast,
    #[value(name = "mediamtx")]
    MediaMtx,
    Owncast,
    Louver,
}

/// Where counts of the past go.
#[derive(clap::ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PastTo {
    Store,
    Json,
    Csv,
}

/// Of the papers.
#[derive(Args, Debug, Clone)]
pub(super) struct PaperArgs {
    #[command(flatten)]
    pub(super) places: Places,
    /// In which form; csv has the tables alone
    #[arg(long, value_enum, default_value_t = Format::Md)]
    pub(super) format: Format,
}

/// The form of a paper.
#[derive(clap::ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Md,
    Json,
    Text,
    Csv,
}

/// Of `audit`.
#[derive(Subcommand, Debug)]
pub(super) enum AuditCommand {
    /// Print the trail, oldest entry first
    Show(AuditShowArgs),
    /// Check every entry, every link and every checkpoint; exit status 1 when somebody meddled
    Verify(AuditVerifyArgs),
}

/// Of `audit show`.
#[derive(Args, Debug)]
pub(super) struct AuditShowArgs {
    #[command(flatten)]
    pub(super) places: Places,
    #[command(flatten)]
    pub(super) output: Output,
    /// From when, as for `stats` [default: the beginning]
    #[arg(long, value_name = "T")]
    pub(super) since: Option<String>,
}

/// Of `audit verify`.
#[derive(Args, Debug)]
pub(super) struct AuditVerifyArgs {
    #[command(flatten)]
    pub(super) places: Places,
    /// A log or another text with copies of checkpoints, such as the journal of this machine or of another
    #[arg(long, value_name = "FILE")]
    pub(super) checkpoints: Vec<PathBuf>,
}

/// Of `user`.
#[derive(Subcommand, Debug)]
pub(super) enum UserCommand {
    /// Read a password from stdin and print the user's lines for the configuration, hashed
    Hash {
        /// The user's name
        name: String,
    },
    /// Read a password from stdin and add the user to the configuration file, or give it another password
    Add {
        #[command(flatten)]
        places: Places,
        /// The user's name
        name: String,
    },
    /// Print the names of the users
    List {
        #[command(flatten)]
        places: Places,
    },
    /// Take a user out of the configuration file
    Remove {
        #[command(flatten)]
        places: Places,
        /// The user's name
        name: String,
    },
}

/// Of `run`.
#[derive(Args, Debug, Default, Clone)]
pub(super) struct RunArgs {
    #[command(flatten)]
    pub(super) places: Places,
    /// Listen on every IPv4 interface, and require credentials
    #[arg(long)]
    pub(super) lan: bool,
    /// What to log: error, warn, info, debug, trace, or pairs as in louver::egress=debug [default: info]
    #[arg(long, value_name = "FILTER")]
    pub(super) log: Option<String>,
    /// What to show on which path
    #[arg(value_name = "[PATH=]SOURCE")]
    pub(super) sources: Vec<String>,
}

/// How a result is printed.
#[derive(Args, Debug, Default, Clone, Copy)]
pub(super) struct Output {
    /// Print JSON for programs
    #[arg(long)]
    pub(super) json: bool,
}

/// Of `stats`, beside showing them.
#[derive(Subcommand, Debug, Clone)]
pub(super) enum StatsCommand {
    /// Print numbers that may be given away: days that are over, in multiples of k, or with noise
    Export(ExportArgs),
    /// Print a link by which others see one report: days that are over, in multiples of k
    Share(ShareArgs),
    /// List the links that are in force, and how often each was looked at
    Shares {
        #[command(flatten)]
        places: Places,
        #[command(flatten)]
        output: Output,
    },
    /// End a link
    Unshare {
        #[command(flatten)]
        places: Places,
        /// As `louver stats shares` lists it
        id: String,
    },
}

/// Of `stats share`.
#[derive(Args, Debug, Clone)]
pub(super) struct ShareArgs {
    #[command(flatten)]
    pub(super) places: Places,
    /// Of this path
    pub(super) path: String,
    /// Of so many days before today
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..=366))]
    pub(super) days: u16,
    /// How long the link works, in days, as in 30d
    #[arg(long, value_name = "DAYS", default_value = "30d", value_parser = whole_days)]
    pub(super) expires: u16,
}

fn whole_days(text: &str) -> Result<u16, String> {
    let days = text.strip_suffix('d').unwrap_or(text).parse().ok();
    days.filter(|days| (1..=366).contains(days))
        .ok_or_else(|| "expected days, from 1d to 366d".to_owned())
}

/// The days that are asked about.
#[derive(Args, Debug, Default, Clone)]
pub(super) struct Period {
    /// From when: 2026-05-01T12:00:00Z, 2026-05-01 (that day), 24h or 7d (ago) [default: the seven days that end with --until]
    #[arg(long, value_name = "T")]
    pub(super) since: Option<String>,
    /// Until when, in the same forms; a day is included [default: now, or the end of yesterday where days must be over]
    #[arg(long, value_name = "T")]
    pub(super) until: Option<String>,
}

/// Of `stats`.
#[derive(Args, Debug, Default, Clone)]
pub(super) struct StatsArgs {
    #[command(subcommand)]
    pub(super) command: Option<StatsCommand>,
    #[command(flatten)]
    pub(super) places: Places,
    #[command(flatten)]
    pub(super) output: Output,
    #[command(flatten)]
    pub(super) period: Period,
    /// Of this path alone
    #[arg(long)]
    pub(super) path: Option<String>,
    /// What may be given to others: days that are over, in multiples of k
    #[arg(long)]
    pub(super) published: bool,
    /// Print CSV (RFC 4180) for spreadsheets
    #[arg(long, conflicts_with = "json")]
    pub(super) csv: bool,
    /// In CSV, this breakdown alone: total, path, protocol, transport, client, country, length, staying, day, hour,
    /// weekday_hour or machines
    #[arg(long, value_name = "BREAKDOWN", requires = "csv", conflicts_with = "json", value_parser = breakdown)]
    pub(super) by: Option<Breakdown>,
}

/// Of `stats export`.
#[derive(Args, Debug, Clone)]
pub(super) struct ExportArgs {
    #[command(flatten)]
    pub(super) places: Places,
    #[command(flatten)]
    pub(super) output: Output,
    #[command(flatten)]
    pub(super) period: Period,
    /// With noise that hides whether any one viewer was there (differential privacy). Each day has a budget of 1 for all
    /// its tables; a table that was given out before is printed again and costs nothing
    #[arg(long, requires = "epsilon")]
    pub(super) private: bool,
    /// What each day may cost: 0.1 is much noise, 1 is little and all of a day's budget
    #[arg(long, value_name = "E", requires = "private", value_parser = epsilon)]
    pub(super) epsilon: Option<Epsilon>,
    /// With noise: total, path, client, country, protocol (viewers), or sessions (by path)
    #[arg(long, value_name = "TABLE", requires = "private", default_value = "total", value_parser = table)]
    pub(super) table: Table,
}

fn epsilon(text: &str) -> Result<Epsilon, String> {
    Epsilon::parse(text)
        .ok_or_else(|| "expected a number from 0.001 to 1, with three decimals at most".to_owned())
}

fn table(name: &str) -> Result<Table, String> {
    Table::named(name).ok_or_else(|| {
        let all = Table::ALL.map(Table::name).join(", ");
        format!("expected one of {all}")
    })
}

fn breakdown(name: &str) -> Result<Breakdown, String> {
    Breakdown::named(name).ok_or_else(|| {
        let all = Breakdown::ALL.map(Breakdown::name).join(", ");
        format!("expected one of {all}")
    })
}

/// Where configuration and data are.
#[derive(Args, Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Places {
    /// Configuration file [default: louver/louver.toml in the user's configuration directory, if there]
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Directory for sessions and credentials [default: louver in the user's data directory]
    #[arg(long, value_name = "DIR")]
    pub(super) data_dir: Option<PathBuf>,
}

impl Places {
    /// What was said before the command counts for the command, unless it says otherwise.
    pub(super) fn or(self, before: &Self) -> Self {
        Self {
            config: self.config.or_else(|| before.config.clone()),
            data_dir: self.data_dir.or_else(|| before.data_dir.clone()),
        }
    }
}

impl RunArgs {
    /// `louver --lan run pattern:` is `louver run --lan pattern:`.
    pub(super) fn or(self, before: Self) -> Self {
        Self {
            places: self.places.or(&before.places),
            lan: self.lan || before.lan,
            log: self.log.or(before.log),
            sources: [before.sources, self.sources].concat(),
        }
    }

    /// The first thing here that means nothing before this command.
    pub(super) fn meaningless_before(&self, command: &Command) -> Option<&'static str> {
        let reads_places = match command {
            Command::Run(_)
            | Command::Check(_)
            | Command::Stats(_)
            | Command::Audit(_)
            | Command::Privacy(_) => true,
            Command::User(user) => !matches!(user, UserCommand::Hash { .. }),
            _ => false,
        };
        if self.lan {
            Some("--lan")
        } else if self.log.is_some() {
            Some("--log")
        } else if !reads_places && self.places.config.is_some() {
            Some("--config")
        } else if !reads_places && self.places.data_dir.is_some() {
            Some("--data-dir")
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definitions_are_consistent() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn run_is_the_default_and_its_arguments_stand_alone() {
        let parse = |words: &[&str]| CommandLine::try_parse_from([&["louver"], words].concat()).unwrap();
        assert!(parse(&[]).command.is_none());
        assert!(parse(&["--lan"]).run.lan);
        let one = parse(&["--log", "debug", "pattern:", "door=webcam:/dev/video0?size=1x1"]);
        assert_eq!(one.run.sources, ["pattern:", "door=webcam:/dev/video0?size=1x1"]);
        assert!(matches!(parse(&["run", "--lan", "pattern:"]).command, Some(Command::Run(a)) if a.lan));
        assert!(matches!(parse(&["check"]).command, Some(Command::Check(_))));
        // Only the first word can be a command.
        assert!(parse(&["pattern:", "check"]).command.is_none());
    }

    #[test]
    fn one_form_at_a_time_and_a_breakdown_only_in_csv() {
        let parse = |words: &str| CommandLine::try_parse_from(words.split(' '));
        for good in [
            "louver stats --csv",
            "louver stats --csv --by weekday_hour --published",
            "louver stats export",
            "louver stats export --json --since 30d",
            "louver stats export --private --epsilon 0.5 --table country",
            "louver --data-dir d stats export --private --epsilon 1",
        ] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for bad in [
            "louver stats --csv --json",
            "louver stats --by path",
            "louver stats --json --by path",
            "louver stats --csv --by viewer",
            "louver stats export --private",
            "louver stats export --epsilon 1",
            "louver stats export --private --epsilon 2",
            "louver stats export --private --epsilon 1 --table viewer",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn places_may_stand_before_or_after_the_command() {
        let places = |words: &[&str]| {
            let line = CommandLine::try_parse_from([&["louver"], words].concat()).unwrap();
            match line.command {
                Some(Command::Check(places)) => places.or(&line.run.places),
                other => panic!("{other:?}"),
            }
        };
        let after = places(&["check", "--config", "a", "--data-dir", "d"]);
        assert_eq!(places(&["--config", "a", "--data-dir", "d", "check"]), after);
        assert_eq!(
            places(&["--config", "b", "check", "--config", "a", "--data-dir", "d"]),
            after
        );
    }
}
