//! The serving half: REST, stream and page over what the pipeline publishes. It never writes a table.
//!
//! # Guarantees
//! - Every answer says its epoch and that epoch's clock; nothing is served before recovery is over.
//! - What a token may not see is in no answer.
//!
//! # Non-guarantees
//! - Nothing here computes a KPI or decides what is anomalous. Cells are held against earlier ones, whose
//!   days may be added up for it.

// One style: a module with files of its own is a folder with a `mod.rs`.
#![deny(clippy::self_named_module_files)]

pub mod app;
pub mod auth;
pub mod claims;
mod compare;
pub mod decisions;
mod earlier;
mod front;
pub mod health;
pub mod metrics;
mod page;
mod probes;
mod problem;
mod query;
mod rate;
mod rest;
mod router;
mod server;
pub mod store;
pub mod stream;
pub mod wire;

pub use app::{App, AppParts, PageSessions, ServerLimits};
pub use auth::{DevKeys, Jwks, JwksConfig, ListenRefused, MintRequest, may_listen};
pub use claims::{AuthError, Claims, Refused, Scope, Tenants, TokenCheck};
pub use decisions::{Decisions, Deliveries, Delivery, NotKept, Pending};
pub use earlier::Against;
pub use front::Front;
pub use health::{Audits, Doubts, Health, Report, SourceLag};
pub use problem::{PROBLEM_JSON, Problem};
pub use rest::{ALERTS_MAX, POINTS_MAX};
pub use router::router;
pub use server::serve;
pub use store::{CellFilter, DimFilter, Periods, SeriesName, Store, StreamPosition};

/// The version of the program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
