//! `louver run`: everything is checked here, then `app` takes over.

use std::sync::Arc;

use crate::app;
use crate::av::memory;
use crate::cli::Failure;
use crate::cli::args::RunArgs;
use crate::cli::load;
use crate::cli::process;
use crate::cli::sources;
use crate::cli::tell;
use crate::config;
use crate::config::Config;
use crate::config::credentials;
use crate::config::places;
use crate::logs;
use crate::telemetry::Metrics;

/// Runs until a signal ends it.
pub(super) fn run(args: &RunArgs) -> Result<(), Failure> {
    process::prepare();
    let config = configured(args)?;
    if !config.privacy.core_dumps {
        process::leave_no_core_files();
    }
    let metrics = Metrics::new();
    let log = logs::init(args.log.as_deref(), config.log.as_deref(), Arc::clone(&metrics));
    let log = log.map_err(Failure::usage)?;
    logs::install_panic_hook();
    let data_dir = places::data_dir(&config).map_err(Failure::usage)?;
    places::make_data_dir(&data_dir).map_err(Failure::running)?;
    let again = args.clone();
    let start = app::Start {
        credentials: credentials::of(&config, &data_dir).map_err(Failure::running)?,
        config,
        data_dir,
        metrics,
        log,
        reload: Box::new(move || reload(&again)),
    };
    memory::share_one_heap();
    // The loader's pages are a good half of what a relay without cameras would have in memory.
    if let Err(error) = memory::give_back_unchanged() {
        tracing::debug!(%error, "What only the loader needed stays in memory.");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Failure::Running(format!("cannot start threads ({})", e.kind())))?;
    runtime.block_on(app::run(start)).map_err(Failure::running)
}

/// Reads the configuration again. Mistakes are told as at the start, not logged: they quote the file, which
/// names addresses.
fn reload(args: &RunArgs) -> Result<Config, String> {
    configured(args).map_err(|failure| {
        tell(&failure.text());
        "it has mistakes; `louver check` tells them".to_owned()
    })
}

/// The file's configuration with what the command line adds.
fn configured(args: &RunArgs) -> Result<Config, Failure> {
    let mut config = load(&args.places)?;
    sources::add(&args.sources, &mut config.paths).map_err(Failure::usage)?;
    if args.lan {
        config.open_to_lan();
        if config.privacy.k < config::LEAST_K {
            return Err(Failure::Usage(format!(
                "--lan would show single viewers to others: k in [privacy] is {}, expected {} or more",
                config.privacy.k,
                config::LEAST_K
            )));
        }
    }
    Ok(config)
}
