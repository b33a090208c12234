//! Keeps the running sources in step with the configuration.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::clock::SharedClock;
use crate::base::tasks::Tasks;
use crate::config::Config;
use crate::config::PathEntry;
use crate::hub::Hub;
use crate::hub::PathName;
use crate::ingest;
use crate::ingest::Source;
use crate::telemetry::Metrics;

/// The path that is shown when nothing is configured.
pub(super) const DEFAULT_PATH: &str = "webcam";

/// The configured sources that run.
pub(super) struct Sources {
    tasks: Tasks,
    hub: Arc<Hub>,
    clock: SharedClock,
    metrics: Arc<Metrics>,
    running: BTreeMap<String, Running>,
    /// What stands in where nothing is configured.
    fallback: Option<&'static str>,
}

struct Running {
    source: String,
    tasks: Tasks,
}

impl Sources {
    pub(super) fn new(tasks: &Tasks, hub: &Arc<Hub>, clock: &SharedClock, metrics: &Arc<Metrics>) -> Self {
        Self {
            tasks: tasks.child(),
            hub: Arc::clone(hub),
            clock: clock.clone(),
            metrics: Arc::clone(metrics),
            running: BTreeMap::new(),
            fallback: None,
        }
    }
    /// Starts what is new, stops what is gone, restarts what changed; the rest goes on untouched.
    /// True if no webcam was found and the test picture stands in.
    pub(super) fn apply(&mut self, config: &Config) -> bool {
        let (paths, fallback) = self.wanted(config);
        self.running.retain(|name, running| {
            let stays = paths
                .iter()
                .any(|p| p.name == *name && p.source == running.source);
            if !stays {
                running.tasks.stop();
                self.hub.remove(name);
            }
            stays
        });
        for path in &paths {
            if !self.running.contains_key(&path.name) {
                self.start(path);
            }
        }
        fallback
    }
    /// The configured paths, or the first webcam, or the test picture.
    fn wanted(&mut self, config: &Config) -> (Vec<PathEntry>, bool) {
        if !config.paths.is_empty() {
            self.fallback = None;
            return (config.paths.clone(), false);
        }
        // Chosen once: a camera that was plugged in since shall not cut those who watch.
        let source = *self.fallback.get_or_insert_with(|| match ingest::first_webcam() {
            Some(_) => "webcam:",
            None => "pattern:",
        });
        let entry = PathEntry {
            name: DEFAULT_PATH.to_owned(),
            source: source.to_owned(),
            sensitive: false,
        };
        (vec![entry], source != "webcam:")
    }
    fn start(&mut self, path: &PathEntry) {
        // Names and sources were checked with the configuration; a difference would be a fault of ours.
        let (Ok(name), Ok(source)) = (PathName::parse(&path.name), Source::parse(&path.source)) else {
            return tracing::error!(path = path.name, "The path has a source that cannot be started.");
        };
        let tasks = self.tasks.child();
        let (hub, clock, metrics) = (&self.hub, self.clock.clone(), Arc::clone(&self.metrics));
        if let Err(error) = ingest::start(&tasks, hub, clock, metrics, name, source) {
            return tracing::error!(path = path.name, %error, "The system has no thread for this source.");
        }
        self.running.insert(
            path.name.clone(),
            Running {
                source: path.source.clone(),
                tasks,
            },
        );
    }
}
