//! Log lines: on stderr alone, one filter, and nothing in them that names a viewer.
//!
//! The rooms log no addresses, agents, users, queries or tokens; the layer here looks at each finished line
//! once more ([`redact`]) and counts what it stopped as [`Reason::Redacted`], which is an alert. What a
//! person is told at the start (`listening` lines, addresses to open) is no log and does not pass here.

pub mod redact;

use std::io;
use std::io::IsTerminal;
use std::io::Write;
use std::panic;
use std::panic::PanicHookInfo;
use std::sync::Arc;

use tracing::Level;
use tracing::Metadata;
use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::Registry;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

use crate::telemetry::Metrics;
use crate::telemetry::Reason;

/// Libraries that say who connects or what was asked when they are allowed to talk: warnings only.
const CAPPED: [&str; 4] = ["hyper", "hyper_util", "h2", "sqlx"];
/// A library that says where it is connected and what it was told with every warning: errors only.
const HUSHED: &str = "retina";

/// Why logs could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    #[error(
        "the log filter is not understood; expected a level (error, warn, info, debug, trace), or pairs \
         as in louver=debug,louver::egress=trace"
    )]
    Filter,
    #[error("logs are set up already")]
    Twice,
}

/// Changes the filter while the program runs.
pub struct Control {
    /// `None` where the command line or the environment said what is logged: that stays.
    handle: Option<reload::Handle<EnvFilter, Registry>>,
}

impl Control {
    /// Logs by the configuration's filter from here on; `None` is `info`.
    ///
    /// # Errors
    /// When the filter cannot be read; the former one stays.
    pub fn follow(&self, file: Option<&str>) -> Result<(), LogsError> {
        let filter = parse_filter(file)?;
        let Some(handle) = &self.handle else {
            return Ok(());
        };
        handle.reload(filter).map_err(|_| LogsError::Filter)
    }
}

/// Sends logs to stderr from here on. `filter`: `--log`, else `RUST_LOG`, else what the `file` says, else `info`.
///
/// # Errors
/// When the filter cannot be read, or logs were set up before.
pub fn init(filter: Option<&str>, file: Option<&str>, metrics: Arc<Metrics>) -> Result<Control, LogsError> {
    let variable = std::env::var("RUST_LOG").ok().filter(|v| !v.trim().is_empty());
    let chosen = match (filter, &variable) {
        (None, Some(variable)) => read(variable)?, // may be meant for several programs
        _ => parse_filter(filter.or(file))?,
    };
    let (layered, handle) = reload::Layer::new(chosen);
    let handle = (filter.is_none() && variable.is_none()).then_some(handle);
    let plain = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
    let colours = io::stderr().is_terminal() && !plain;
    tracing_subscriber::registry()
        .with(layer(layered, io::stderr, metrics, colours))
        .try_init()
        .map_err(|_| LogsError::Twice)?;
    Ok(Control { handle })
}

/// Reads a filter of the command line or the configuration. A word alone is a level or a room of ours: else a mistyped
/// level would be the name of a library that there is not, and nothing would be logged.
///
/// # Errors
/// When the filter cannot be read.
pub fn parse_filter(filter: Option<&str>) -> Result<EnvFilter, LogsError> {
    let filter = filter.map(str::trim).filter(|f| !f.is_empty()).unwrap_or("info");
    let meant = |part: &str| {
        let word = part.trim();
        word.contains(['=', '['])
            || word.is_empty()
            || word.eq_ignore_ascii_case("off")
            || word.split("::").next() == Some("louver")
            || word.parse::<Level>().is_ok()
    };
    if !filter.split(',').all(meant) {
        return Err(LogsError::Filter);
    }
    read(filter)
}

fn read(filter: &str) -> Result<EnvFilter, LogsError> {
    EnvFilter::builder().parse(filter).map_err(|_| LogsError::Filter)
}

/// What libraries ask of the `log` crate comes to [`Layer::enabled`] alone, without an event. So the filters are layers
/// of their own: a filter of a single layer (`with_filter`) keeps its answer for the event that comes next on that
/// thread, which would be a line of ours, and is lost.
fn layer<S, F, W>(filter: F, writer: W, metrics: Arc<Metrics>, ansi: bool) -> impl Layer<S>
where
    S: Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
    F: Layer<S>,
    W: for<'w> MakeWriter<'w> + 'static + Send + Sync,
{
    let lines = tracing_subscriber::fmt::layer().with_ansi(ansi);
    let lines = lines.with_writer(Redacting { writer, metrics });
    filter.and_then(filter_fn(within_caps)).and_then(lines)
}

fn within_caps(meta: &Metadata<'_>) -> bool {
    let library = meta.target().split("::").next().unwrap_or("");
    match *meta.level() {
        Level::ERROR => true,
        Level::WARN => library != HUSHED,
        _ => library != HUSHED && !CAPPED.contains(&library),
    }
}

/// Makes writers that look at every line.
struct Redacting<W> {
    writer: W,
    metrics: Arc<Metrics>,
}

impl<'w, W: MakeWriter<'w>> MakeWriter<'w> for Redacting<W> {
    type Writer = RedactingWriter<'w, W::Writer>;

    fn make_writer(&'w self) -> Self::Writer {
        RedactingWriter {
            inner: self.writer.make_writer(),
            metrics: &self.metrics,
        }
    }
}

/// The formatter hands over one whole line per call.
struct RedactingWriter<'a, W> {
    inner: W,
    metrics: &'a Metrics,
}

impl<W: Write> Write for RedactingWriter<'_, W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let (clean, hits) = redact::line(&text);
        if hits > 0 {
            self.metrics.lose(Reason::Redacted, hits);
        }
        self.inner.write_all(clean.as_bytes())?;
        Ok(line.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Makes panics say where they happened, and nothing that was only known at run time: a formatted message
/// may hold bytes from the network.
pub fn install_panic_hook() {
    panic::set_hook(Box::new(|info| {
        // A closed stderr must not make a panic of a panic.
        let _ = writeln!(io::stderr(), "{}", panic_text(info));
    }));
}

fn panic_text(info: &PanicHookInfo<'_>) -> String {
    let place = info
        .location()
        .map_or_else(String::new, |l| format!(" at {}:{}", l.file(), l.line()));
    // Only a literal is a `&'static str`; what was formatted is a `String`.
    let text = info
        .payload()
        .downcast_ref::<&'static str>()
        .map_or_else(String::new, |t| format!(": {t}"));
    format!("louver: this is a bug, please report it: panicked{place}{text}")
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tracing::Callsite;
    use tracing::callsite::Identifier;
    use tracing::field::FieldSet;
    use tracing::metadata::Kind;
    use tracing::subscriber::Interest;

    use super::*;

    /// What is logged while `f` runs.
    fn logged(filter: &str, f: impl FnOnce()) -> (String, Arc<Metrics>) {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let metrics = Metrics::new();
        let writer = {
            let lines = Arc::clone(&lines);
            move || Shared(Arc::clone(&lines))
        };
        let layer = layer(
            parse_filter(Some(filter)).unwrap(),
            writer,
            Arc::clone(&metrics),
            false,
        );
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), f);
        let text = String::from_utf8(lines.lock().unwrap().clone()).unwrap();
        (text, metrics)
    }

    struct Shared(Arc<Mutex<Vec<u8>>>);
    impl Write for Shared {
        fn write(&mut self, b: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(b);
            Ok(b.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_that_names_a_viewer_is_redacted_and_counted() {
        let (text, metrics) = logged("info", || {
            tracing::info!(
                peer = "192.0.2.1:5000",
                "A reader joined at rtsp://anna:pw@cam/1?token=abc."
            );
        });
        for secret in ["192.0.2.1", "anna", "pw@", "abc"] {
            assert!(!text.contains(secret), "{text}");
        }
        assert!(text.contains("A reader joined at"), "{text}");
        assert!(
            metrics
                .encode()
                .contains("louver_lost_total{reason=\"Redacted\"} 3"),
            "{}",
            metrics.encode()
        );
    }

    /// A line of a library that is not let through.
    struct Theirs;
    static THEIRS: Theirs = Theirs;
    static THEIR_LINE: Metadata<'static> = Metadata::new(
        "line",
        "sqlx::postgres::notice",
        Level::INFO,
        None,
        None,
        None,
        FieldSet::new(&[], Identifier(&THEIRS)),
        Kind::EVENT,
    );
    impl Callsite for Theirs {
        fn set_interest(&self, _: Interest) {}
        fn metadata(&self) -> &Metadata<'_> {
            &THEIR_LINE
        }
    }

    #[test]
    fn a_library_that_asks_whether_it_may_talk_costs_no_line_of_ours() {
        let (text, _) = logged("info", || {
            for n in 1..=3 {
                tracing::dispatcher::get_default(|dispatch| dispatch.enabled(&THEIR_LINE));
                tracing::info!(n, "A reader joined.");
            }
        });
        assert_eq!(text.lines().count(), 3, "{text}");
    }

    #[test]
    fn an_ordinary_line_passes_unchanged_and_uncounted() {
        let (text, metrics) = logged("info", || {
            tracing::info!(session = 7, path = "cam1", took_ms = 1.5, "A reader joined.");
        });
        assert!(
            text.ends_with(
                "INFO louver::logs::tests: A reader joined. session=7 path=\"cam1\" took_ms=1.5\n"
            ),
            "{text}"
        );
        assert!(!metrics.encode().contains("Redacted"), "{text}");
    }

    #[test]
    fn chatty_libraries_stay_capped_whatever_the_filter_says() {
        let (text, _) = logged("trace,hyper::proto=trace,sqlx=debug", || {
            tracing::debug!(target: "hyper::proto", "chatter");
            tracing::info!(target: "sqlx::query", "chatter");
            tracing::warn!(target: "hyper", "A warning.");
            tracing::warn!(target: "retina::client", "chatter");
            tracing::trace!("Ours.");
        });
        assert!(!text.contains("chatter"), "{text}");
        assert!(text.contains("A warning.") && text.contains("Ours."), "{text}");
    }

    #[test]
    fn the_default_is_info_and_nonsense_is_refused() {
        let (text, _) = logged("  ", || {
            tracing::info!("shown");
            tracing::debug!("hidden");
        });
        assert!(text.contains("shown") && !text.contains("hidden"), "{text}");
        for bad in ["louver=loud", "loud", "info,verbose"] {
            assert!(parse_filter(Some(bad)).is_err(), "{bad}");
        }
        for good in [
            "debug",
            "OFF",
            "warn,louver::egress=trace",
            "louver::hub",
            "hyper=debug",
        ] {
            assert!(parse_filter(Some(good)).is_ok(), "{good}");
        }
    }

    #[test]
    fn a_panic_tells_its_place_and_static_text_only() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let before = panic::take_hook();
        let tell = Arc::clone(&told);
        panic::set_hook(Box::new(move |info| tell.lock().unwrap().push(panic_text(info))));
        let canary = String::from("canary");
        let _ = panic::catch_unwind(|| panic!("got {canary}"));
        let _ = panic::catch_unwind(|| panic!("the ring is torn"));
        panic::set_hook(before);
        // Other tests may panic meanwhile on purpose.
        let told: Vec<String> = told
            .lock()
            .unwrap()
            .iter()
            .filter(|t| t.contains("logs/mod.rs"))
            .cloned()
            .collect();
        assert!(told.iter().all(|t| !t.contains("canary")), "{told:?}");
        assert!(told.iter().any(|t| t.ends_with(": the ring is torn")), "{told:?}");
    }
}
