//! The composition root: bind all, build, spawn, drain, in a written order.
//!
//! Nothing is served before every socket is bound, so that a taken port is an error at the start and not a
//! surprise later, and so that the addresses are known when they are told.

mod groups;
mod listen;
mod papers;
mod reload;
mod signals;
mod sources;

use std::io;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;

use crate::analytics;
use crate::analytics::Recorder;
use crate::analytics::Store;
use crate::audit::Audit;
use crate::base::clock::SharedClock;
use crate::base::clock::SystemClock;
use crate::base::live::Live;
use crate::base::master::Master;
use crate::base::master::MasterError;
use crate::base::proxies::Proxies;
use crate::base::tasks::Tasks;
use crate::base::tls;
use crate::base::tls::Identity;
use crate::base::tls::TlsError;
use crate::base::why::Why;
use crate::cli;
use crate::cli::welcome::Hint;
use crate::cli::welcome::Welcome;
use crate::cli::welcome::lan_addresses;
use crate::config;
use crate::config::Config;
use crate::config::credentials::Credentials;
use crate::config::credentials::CredentialsError;
use crate::config::credentials::REALM;
use crate::egress::rtsp;
use crate::hub;
use crate::hub::Hub;
use crate::hub::PathState;
use crate::hub::ring;
use crate::logs;
use crate::privacy;
use crate::privacy::Countries;
use crate::privacy::Door;
use crate::privacy::Rotations;
use crate::proto;
use crate::proto::rtsp::auth::Rule;
use crate::proto::rtsp::auth::Users;
use crate::rights;
use crate::rights::Registry;
use crate::rights::Rights;
use crate::rights::Shares;
use crate::telemetry::Metrics;
use crate::web;

use groups::Groups;
use listen::Bound;
use reload::Running;
use signals::Signal;
use signals::Signals;
use sources::Sources;

/// How often it is looked which streams are there.
const ONLINE_EVERY: Duration = Duration::from_secs(10);

/// Everything that a start needs, checked.
pub struct Start {
    /// As the file and the command line say; `--lan` is already in the addresses. Without paths, the first
    /// webcam or else the test picture is to be shown on path `webcam`.
    pub config: Config,
    /// Exists.
    pub data_dir: PathBuf,
    /// `None`: no listener asks for credentials.
    pub credentials: Option<Credentials>,
    pub metrics: Arc<Metrics>,
    /// Changes what is logged.
    pub log: logs::Control,
    /// Reads the configuration again (SIGHUP); the error is for the log.
    pub reload: Box<dyn Fn() -> Result<Config, String> + Send + Sync>,
}

/// Why the program cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error(transparent)]
    Rtsp(#[from] rtsp::BindError),
    #[error(transparent)]
    Listen(#[from] listen::ListenError),
    #[error(transparent)]
    Store(#[from] analytics::StoreError),
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Master(#[from] MasterError),
    #[error("the system has no thread for the audit trail")]
    Audit(#[source] io::Error),
    #[error("the database of countries {0} cannot be used: {1}")]
    Countries(String, String),
    #[error("time zone `{0}` is unknown to this system")]
    TimeZone(String),
    #[error("the address of the statistics' database is none; it begins with postgres://")]
    Database,
    #[error("signals cannot be received")]
    Signals(#[source] io::Error),
    #[error("some tasks did not end in time; they were left behind")]
    LeftBehind,
}

/// Runs until a signal ends it.
///
/// # Errors
/// When something it cannot do without is missing, or when it had to leave tasks behind at the end.
pub async fn run(start: Start) -> Result<(), AppError> {
    let mut signals = Signals::new().map_err(AppError::Signals)?;
    let clock = SystemClock::shared();
    let users = start
        .credentials
        .as_ref()
        .map(|c| Arc::new(Users::new(REALM, c.users.clone()).with_rules(rules(&start.config))));

    let identity = identity(&start)?.map(Arc::new);
    let listeners = listen::bind(&start.config, users.as_ref(), identity.as_deref()).await?;
    let bound = listeners.bound();
    bound.announce();

    let zone_name = &start.config.privacy.time_zone;
    let time_zone = config::time_zone(zone_name).ok_or_else(|| AppError::TimeZone(zone_name.clone()))?;
    let statistics = cli::statistics(&start.config, time_zone.clone()).ok_or(AppError::Database)?;
    // First of all that leaves a trace: it is refused where another relay runs, whose trail must not tell of this start.
    let store = Store::open(&start.data_dir, analytics::Mode::ReadWrite, statistics).await?;

    let groups = Groups::default();
    let master = Master::load_or_make(&start.data_dir)?;
    let (audit, told) = papers::begin_audit(&groups.audit, &start, &bound, &master, &clock)?;
    let hub = Hub::new(
        hub_options(&start.config),
        clock.clone(),
        Arc::clone(&start.metrics),
    );
    let mut sources = Sources::new(&groups.sources, &hub, &clock, &start.metrics);
    let fallback = sources.apply(&start.config);
    let accounts = audit.clone();
    let recorder = Recorder::start_telling(
        &groups.analytics,
        store.clone(),
        clock.clone(),
        Arc::clone(&start.metrics),
        Box::new(move |purged| papers::note_purge(&accounts, &purged)),
    );
    // What a former run left open is closed before anybody can ask.
    recorder.flushed().await;
    let registry = Registry::new(
        &start.data_dir,
        &master,
        rights_options(&start.config, &told, &time_zone),
        clock.clone(),
    );
    let rights = Rights::start(
        &groups.serving,
        Arc::clone(&registry),
        Shares::new(&start.data_dir, &master),
        recorder.clone(),
        audit.clone(),
        clock.clone(),
    );
    let door = door(&start.config, time_zone, &clock, Arc::clone(&registry))?;
    wipe_keys_in_time(&groups.serving, &door, &start.metrics, &audit);
    count_time_online(&groups.serving, &hub, &recorder);

    let rtsp = rtsp::Context {
        hub: Arc::clone(&hub),
        door: Arc::clone(&door),
        recorder: recorder.clone(),
        metrics: Arc::clone(&start.metrics),
        clock: clock.clone(),
        options: Live::new(rtsp_options(&start.config)),
        recall: rtsp::Recall::default(),
    };
    let web = web::Context {
        hub: Arc::clone(&hub),
        door: Arc::clone(&door),
        recorder,
        store,
        audit: audit.clone(),
        rights,
        papers: Live::new(told),
        metrics: Arc::clone(&start.metrics),
        clock: clock.clone(),
        users: None,
        options: Live::new(web_options(&start.config, &bound)),
    };
    if let Some(credentials) = &start.credentials {
        credentials.keep(&start.data_dir)?;
    }
    let live = (rtsp.options.clone(), web.options.clone(), web.papers.clone());
    let recall = rtsp.recall.clone();
    listeners.serve(&groups.serving, rtsp, web);
    let fingerprint = identity.as_ref().map(|i| i.fingerprint());
    welcome(&start, &bound, fallback, fingerprint.as_deref());

    let mut running = Running {
        told: start.config.settings(),
        start,
        audit: audit.clone(),
        bound,
        sources,
        hub,
        door,
        users,
        identity,
        recall,
        rtsp: live.0,
        web: live.1,
        papers: live.2,
        registry,
        clock: clock.clone(),
    };
    loop {
        match signals.next().await {
            Signal::End => break,
            Signal::Reload => running.reload(),
        }
    }
    papers::note_end(&audit);
    groups.drain(signals, &clock).await
}

/// Tells the person who started the program where to look.
#[expect(
    clippy::print_stderr,
    reason = "this is for the person at the terminal; a log may be filtered"
)]
fn welcome(start: &Start, bound: &Bound, fallback: bool, fingerprint: Option<&str>) {
    let lan = lan_addresses();
    let paths: Vec<String> = start.config.paths.iter().map(|p| p.name.clone()).collect();
    let default = [sources::DEFAULT_PATH.to_owned()];
    let text = cli::welcome::text(&Welcome {
        rtsp: &bound.rtsp,
        rtsps: &bound.rtsps,
        fingerprint,
        http: &bound.http,
        lan: &lan,
        paths: if paths.is_empty() { &default } else { &paths },
        publish: start.config.publish.allow,
        required: start.config.auth.required,
        credentials: start.credentials.as_ref(),
        qr: io::stderr().is_terminal(),
        hints: if fallback { &[Hint::NoCamera] } else { &[] },
    });
    eprint!("{text}");
}

/// What TLS listeners show, if there are any.
fn identity(start: &Start) -> Result<Option<Identity>, TlsError> {
    if start.config.rtsps.listen.is_empty() {
        return Ok(None);
    }
    let identity = match &start.config.tls.files {
        Some(config::TlsFiles { certificate, key }) => Identity::load(tls::Files {
            certificate: certificate.clone(),
            key: key.clone(),
        })?,
        None => {
            let own = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into_iter();
            let lan = lan_addresses().into_iter().map(|a| a.to_string());
            Identity::kept_in(&start.data_dir, &own.chain(lan).collect::<Vec<_>>())?
        }
    };
    Ok(Some(identity))
}

fn hub_options(config: &Config) -> hub::Options {
    hub::Options {
        ring: ring::Limits {
            bytes: config.hub.ring_bytes,
            age: config.hub.ring_time,
        },
        max_paths: config.limits.published_paths,
        k: config.privacy.k,
        ..hub::Options::default()
    }
}

/// The settings of a privacy door, as the configuration wants it.
///
/// # Errors
/// When the database of countries cannot be used.
pub fn privacy_options(config: &Config, time_zone: TimeZone) -> Result<privacy::Options, AppError> {
    let countries = config.privacy.countries.as_ref().map(|file| {
        let unusable = |why: String| AppError::Countries(file.display().to_string(), why);
        let bytes = std::fs::read(file).map_err(|e| unusable(Why::from(&e).to_string()))?;
        Countries::new(bytes, config.privacy.mask).map_err(|e| unusable(e.to_string()))
    });
    Ok(privacy::Options {
        time_zone,
        level: config.privacy.level,
        consent: config.privacy.consent,
        countries: countries.transpose()?.map(Arc::new),
        ..privacy::Options::default()
    })
}

/// The privacy door as the configuration wants it.
fn door(
    config: &Config,
    time_zone: TimeZone,
    clock: &SharedClock,
    clerk: Arc<Registry>,
) -> Result<Arc<Door>, AppError> {
    let options = privacy::Options {
        clerk: Some(clerk),
        ..privacy_options(config, time_zone)?
    };
    let door = Door::new(options, clock.clone());
    door.keep_silent_about(sensitive(config));
    if !door.key_is_locked() {
        tracing::warn!(
            "The system does not lock memory for us: the day's key may get into swap. Raise the limit on locked \
             memory (RLIMIT_MEMLOCK), or encrypt swap."
        );
    }
    Ok(Arc::new(door))
}

/// Consents and receipts as the configuration wants them.
fn rights_options(config: &Config, told: &crate::papers::Options, time_zone: &TimeZone) -> rights::Options {
    rights::Options {
        consent: config.privacy.consent,
        receipts: config.privacy.receipts,
        consent_days: config.privacy.consent_days,
        notice: told.version(),
        time_zone: time_zone.clone(),
        ..rights::Options::default()
    }
}

/// The paths of which no session is recorded.
fn sensitive(config: &Config) -> Vec<String> {
    let paths = config.paths.iter().filter(|path| path.sensitive);
    paths.map(|path| path.name.clone()).collect()
}

/// Keys go at midnight also when nobody comes.
fn wipe_keys_in_time(tasks: &Tasks, door: &Arc<Door>, metrics: &Arc<Metrics>, audit: &Audit) {
    let (door, metrics, audit) = (Arc::clone(door), Arc::clone(metrics), audit.clone());
    tasks.spawn("midnight", move |stop| async move {
        let mut told = Rotations::default();
        loop {
            let day_left = door.wipe_when_over();
            let now = door.rotations();
            papers::note_rotations(&audit, now.changed - told.changed, now.late - told.late);
            tell_of_keys(&mut told, now, &metrics);
            // Once a second, because the wall clock may jump; sooner when midnight is near.
            tokio::select! {
                () = tokio::time::sleep(day_left.min(Duration::from_secs(1))) => {}
                () = stop.cancelled() => return,
            }
        }
    });
}

/// What happened to keys since it was last told.
fn tell_of_keys(told: &mut Rotations, now: Rotations, metrics: &Metrics) {
    metrics.key_changes.inc_by(now.changed - told.changed);
    metrics.key_changes_late.inc_by(now.late - told.late);
    if now.late > told.late {
        tracing::warn!(
            "A day's key outlived its day by more than five minutes: this machine slept, or its clock was set."
        );
    }
    if now.back > told.back {
        tracing::warn!(
            "The clock went back to an earlier day: viewers have new numbers, and may count twice."
        );
    }
    *told = now;
}

/// How long streams are there, beside how long they are watched.
fn count_time_online(tasks: &Tasks, hub: &Arc<Hub>, recorder: &Recorder) {
    let (hub, recorder) = (Arc::clone(hub), recorder.clone());
    tasks.spawn("time online", move |stop| async move {
        loop {
            tokio::select! {
                () = tokio::time::sleep(ONLINE_EVERY) => {}
                () = stop.cancelled() => return,
            }
            let ready = hub
                .snapshot()
                .into_iter()
                .filter(|path| path.state == PathState::Ready);
            for path in ready {
                recorder.tally(
                    path.name.as_str(),
                    analytics::Kind::Online,
                    ONLINE_EVERY.as_millis() as u64,
                );
            }
        }
    });
}

/// What users may do, in the server's words.
fn rules(config: &Config) -> Vec<Rule> {
    let rules = config.auth.rules.iter().cloned();
    rules
        .map(|rule| Rule {
            path: rule.path,
            read: rule.read,
            publish: rule.publish,
        })
        .collect()
}

fn rtsp_options(config: &Config) -> rtsp::Options {
    rtsp::Options {
        // The peer is told 5 s less than what is in force: some players are late by a little.
        idle: config.rtsp.session_timeout + Duration::from_secs(5),
        stuck: config.rtsp.write_timeout,
        publish: config.publish.allow,
        takeover: config.publish.takeover,
        multicast: config.rtsp.multicast,
        keep_readers: config.publish.keep_readers,
        limits: rtsp_limits(&config.limits),
        proxies: Proxies::new(config.privacy.trusted_proxies.clone()),
        ..rtsp::Options::default()
    }
}

fn rtsp_limits(limits: &config::Limits) -> rtsp::Limits {
    let of_connection = proto::rtsp::Limits {
        head: limits.request_size,
        headers: limits.request_headers,
        body: limits.announce_size,
        tracks: limits.tracks,
        sessions: limits.sessions_per_connection,
    };
    rtsp::Limits {
        connections: limits.rtsp_connections,
        connections_per_host: limits.rtsp_connections_per_host,
        sessions: limits.sessions,
        kept: limits.kept_sessions,
        kept_per_host: limits.kept_sessions_per_host,
        tunnels: limits.tunnels,
        of_connection: Arc::new(of_connection),
    }
}

fn web_options(config: &Config, bound: &Bound) -> web::Options {
    web::Options {
        max_connections: config.limits.http_connections,
        max_head: config.limits.request_size,
        max_headers: config.limits.request_headers,
        proxies: Proxies::new(config.privacy.trusted_proxies.clone()),
        proxy_protocol: config.http.proxy_protocol,
        rtsp_port: bound.rtsp.first().map(|a| a.port()),
        ..web::Options::default()
    }
}
