//! The results, as Markdown for people and JSON for comparisons.

mod figures;
mod tables;

use serde::Serialize;

pub(crate) use self::figures::Figures;
pub(crate) use self::figures::Runs;

/// One run of the tool. Sizes are decimal (KB = 10^3, MB = 10^6, GB = 10^9).
#[derive(Default, Serialize)]
pub(crate) struct Report {
    /// What was measured on: processors and kernel, nothing else.
    machine: String,
    pub(crate) capture: Option<Runs>,
    pub(crate) fanout: Vec<Cell>,
    pub(crate) joins: Vec<Cell>,
    pub(crate) slow: Vec<Cell>,
    pub(crate) churn: Vec<Churn>,
    pub(crate) stats: Option<Runs>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) store: Option<Figures>,
}

/// What a cell of a table was measured with.
#[derive(Clone, PartialEq, Serialize)]
pub(crate) struct Key {
    #[serde(skip)]
    pub(crate) transport: crate::crowd::Transport,
    pub(crate) readers: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) joins_per_second: Option<u32>,
}

/// One server under one key.
#[derive(Serialize)]
pub(crate) struct Cell {
    pub(crate) server: String,
    pub(crate) transport: &'static str,
    #[serde(flatten)]
    pub(crate) key: Key,
    #[serde(flatten)]
    pub(crate) runs: Runs,
}

/// One server with readers that come and go. Over both transports at once, so there is one run.
#[derive(Serialize)]
pub(crate) struct Churn {
    pub(crate) server: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) failed: Option<String>,
    pub(crate) figures: Figures,
    pub(crate) samples: Vec<Figures>,
    /// Readers that got media.
    pub(crate) readers_served: u64,
    /// Sessions in the statistics, of servers that have some.
    pub(crate) sessions: Option<u64>,
}

impl Report {
    pub(crate) fn new() -> Self {
        let processors = std::thread::available_parallelism().map_or(0, usize::from);
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            machine: format!("{processors} processors, Linux {}", kernel.trim()),
            ..Self::default()
        }
    }
    /// Whether the floor or Louver failed anywhere: peers may.
    pub(crate) fn own_failed(&self) -> bool {
        let own = |server: &str| matches!(server, "floor" | "louver");
        let cells = self.fanout.iter().chain(&self.joins).chain(&self.slow);
        cells
            .into_iter()
            .any(|c| own(&c.server) && !c.runs.failed.is_empty())
            || self.churn.iter().any(|c| own(&c.server) && c.failed.is_some())
    }
}
