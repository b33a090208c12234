//! `louver check`: is the configuration right?

use crate::cli::Failure;
use crate::cli::args::Places;
use crate::cli::tell;
use crate::config;

/// Tells every mistake, or that there is none.
pub(super) fn check(places: &Places) -> Result<(), Failure> {
    let Some(file) = places.config.clone().or_else(config::places::config_file) else {
        tell("There is no configuration file; the defaults are used.");
        return Ok(());
    };
    let name = file.display();
    config::load(&file)?;
    tell(&format!("{name}: fine."));
    Ok(())
}
