//! How a run ends.

use pipeline::source::SourceError;
use schemas::{CellKey, CellValue, chain};

/// Why a run could not start, or ended early.
#[derive(Debug, thiserror::Error)]
pub enum Stopped {
    /// A source's configuration is refused.
    #[error("{0}")]
    Configuration(String),
    /// A broker that is needed at once does not answer.
    #[error("{0}")]
    Unreachable(String),
    /// It was asked to stop while it recovered: nothing is lost, and the next start goes on.
    #[error("stopped before recovery was complete; nothing is lost, and the next start goes on")]
    Asked,
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

impl From<String> for Stopped {
    fn from(reason: String) -> Stopped {
        Stopped::Failed(reason)
    }
}

impl From<SourceError> for Stopped {
    fn from(error: SourceError) -> Stopped {
        let reason = chain(&error);
        match error {
            SourceError::Config(_) => Stopped::Configuration(reason),
            SourceError::Unreachable { .. } => Stopped::Unreachable(reason),
            _ => Stopped::Failed(reason),
        }
    }
}

/// How a run ended.
#[derive(Debug)]
pub struct Outcome {
    /// The current cells, in key order.
    pub cells: Vec<(CellKey, CellValue)>,
    /// Live rows of silver.
    pub rows: usize,
    /// Why tables stand still, those that do.
    pub halted: Vec<String>,
    /// Topics that were not there when their source came to its end, in words.
    pub missing: Vec<String>,
}
