//! Errors of the core: why there is none, and why it cannot take what a barrier holds.

use gold::{DefinitionError, EngineError};
use pipeline::silver;
use schemas::state::SavedError;

/// Why no core can be made of these contracts, topics and definitions.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SetupError {
    /// A contract cannot be used; the text names it and says what to change.
    #[error("{0}")]
    Contract(String),
    /// A topic names a contract that does not exist; the text says which there are.
    #[error("{0}")]
    Topic(String),
    /// A KPI definition does not fit the contracts.
    #[error(transparent)]
    Definition(#[from] DefinitionError),
}

/// Why the rows and the saved state of a barrier cannot be taken: it is loaded otherwise, or from bronze.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RestoreError {
    /// A row is there twice.
    #[error(transparent)]
    Row(#[from] silver::LoadError),
    /// The saved state of a silver table.
    #[error(transparent)]
    Table(#[from] silver::StateError),
    /// The rows of a table do not go into cells.
    #[error(transparent)]
    Cells(#[from] EngineError),
    /// The saved state of KPIs.
    #[error(transparent)]
    Kpis(#[from] gold::StateError),
    /// Saved state is damaged.
    #[error(transparent)]
    Saved(#[from] SavedError),
    /// The saved text of the definitions in force.
    #[error("the saved definitions in force are damaged ({0}); they are read again from bronze")]
    InForce(#[from] serde_json::Error),
    /// The saved state of detectors; the text says what is wrong with it.
    #[error("{0}")]
    Detectors(String),
}
