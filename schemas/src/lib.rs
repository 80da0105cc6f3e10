//! The contracts of Weir: ids, time, money, rows, positions, epochs, KPI cells; and the list
//! that rows and cells are kept in.
//!
//! # Guarantees
//! - No IO, no async, no clock and no sibling crate: everything here is a pure value or function.
//! - Every textual and binary form that outlives the process (positions, rows, periods, decimals)
//!   has exactly one canonical form, so equal values are equal bytes.
//!
//! # Non-guarantees
//! - Nothing here validates business meaning; contracts say which columns and types a table has.

pub mod alert;
pub mod contract;
pub mod decimal;
pub mod epoch;
mod error_chain;
pub mod feed;
pub mod identity;
pub mod kpi;
pub mod marks;
pub mod observe;
pub mod paged;
pub mod position;
pub mod row;
pub mod state;
pub mod time;

pub use alert::{Alert, Contribution, Severity, alert_id};
pub use contract::{Column, ColumnType, Contract, ContractError};
pub use epoch::{EpochId, EpochStamp, Span};
pub use error_chain::chain;
pub use feed::{Feed, Published, Reason, Start};
pub use identity::{Fingerprint, Identity};
pub use kpi::{CellKey, CellValue, Good, KpiInfo, KpiUpdate, SeriesId, Status, Unit};
pub use marks::Marks;
pub use observe::{Band, Bands, Cells, FrozenObserver, Observer};
pub use paged::Paged;
pub use position::Position;
pub use row::{RowBuilder, RowLayout, RowRef};
pub use state::{Records, Saved, SavedPart, StatePart};
pub use time::{Clock, Grain, Micros};
