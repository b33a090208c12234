//! The answer as text for a terminal.

use crate::analytics::query::Stats;

/// What `louver stats` prints.
pub fn render(stats: &Stats) -> String {
    format!("{} sessions\n", stats.total.sessions)
}
