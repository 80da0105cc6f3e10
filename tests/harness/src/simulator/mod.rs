//! A source that is simulated: databases, their logs, the events of each kind of connector, and what
//! happens to connectors, topics and readers. What a reader of all of it must end with is known.
//!
//! # Guarantees
//! - A script is drawn by seed from the accidents that are switched on, and gives the same history each
//!   time. Truth is the database's table, not a fold of the events.
//! - Connectors emit what Debezium emits, in its order: transactions by their commits, key changes as
//!   delete, tombstone and create, snapshots with their markers, chunks between their watermarks.
//! - [`reference`] gets every history right by plain rules, the whole history in memory.
//!
//! # Non-guarantees
//! - Two connectors that emit one table are not simulated, nor a restore after which no key is there that was told
//!   before, so that no event shows that the log began anew. Of Oracle that has to be the key of the snapshot's first
//!   row, and another one behind it: the last row does not say when it was read.
//! - Clocks of databases and connectors agree, and no two transactions of a database have one instant. Where clocks
//!   jump, and after a restore, there is one partition.
//! - MongoDB's documents are objects already, as the transform makes them that its dead letters name, and no
//!   transaction of it has two changes.
//! - The cleaner leaves alone what would decide about other rows: rows of later snapshots, first and last
//!   rows, and a delete whose key has records in another partition or life of the topic, or a row of
//!   such a snapshot.

mod accidents;
mod block;
mod connector;
mod database;
mod history;
mod judge;
pub mod reference;
mod script;
#[cfg(test)]
mod tests;
mod topic;

pub use accidents::Accidents;
pub use block::Kind;
pub use database::Statement;
pub use history::{DOUBT, History, doubt};
pub use judge::{Cell, Rows, judge};
pub use script::{Script, Start, Step};
