//! KPI definitions and the engine that keeps their cells up to date.
//!
//! A KPI is a TOML file: a filtered count or sum of one table's rows per tenant, dimensions and
//! period, a quotient of such sums, or an aggregate of a SQL view over any tables. [`Catalog`] checks the files, [`Engine`] keeps every cell exact
//! as rows come, change and go, [`table`] writes cells and their history as Arrow batches, and
//! [`audit`] recomputes them with SQL that shares no code with the engine.
//!
//! # Guarantees
//! - Values are exact; a quotient is rounded once. Currencies are never added together.
//! - Everything here is a deterministic function of epochs.
//!
//! # Non-guarantees
//! - Nothing is read from Kafka or written to a table here.

pub mod anomalies;
pub mod audit;
mod bag;
pub mod cases;
pub mod catalog;
mod computed;
mod converted;
mod cube;
#[cfg(feature = "defects")]
pub mod defect;
pub mod definition;
mod distinct;
pub mod engine;
mod flow;
pub mod history;
mod identity;
mod keeping;
mod plan;
mod relation;
pub mod semantic;
mod series;
mod slabs;
mod sum;
pub mod table;
mod value;
pub mod view_file;
pub mod view_table;

pub use catalog::Catalog;
pub use definition::{Definition, DefinitionError, Good, Unit};
pub use engine::{
    CellRow, DeltaError, Engine, EngineError, EpochOutput, Frozen, FrozenView, HistoryRow, Locator,
    StateError, Unconverted,
};
pub use identity::Meaning;
pub use schemas::nearest;
pub use view_table::ViewTables;
pub use views::View;

/// Counts changes of what the engine computes from equal epochs: part of every fingerprint.
pub const ENGINE_SEMANTICS: u32 = 3;
