//! The serving half: REST, stream and page over what the pipeline publishes. It never writes a table.
//!
//! # Guarantees
//! - Every answer says its epoch and that epoch's clock; nothing is served before recovery is over.
//! - What a token may not see is in no answer.
//!
//! # Non-guarantees
//! - Nothing here computes a KPI or decides what is anomalous.

pub mod claims;
pub mod health;
pub mod store;
pub mod stream;
pub mod wire;

pub use claims::{AuthError, Claims, Refused, Scope, Tenants, TokenCheck};
pub use health::{Health, Report, SourceLag};
pub use store::{Filter, Position, Start, Store};
