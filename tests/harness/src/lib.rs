//! The oracle: expected results, computed without the product.
//!
//! A lake is read with an own Delta log reader, its bronze records are folded again by the slowest
//! and plainest means, and what comes out is compared with what silver and gold hold.
//!
//! # Guarantees
//! - Of the product only `schemas` is linked, and of that only names, contracts, instants and
//!   periods. Decoding, ordering, sums, quotients and history rules are written a second time here.
//! - Every figure of a [`report::Report`] has a test that turns it red.
//!
//! # Non-guarantees
//! - Speed and memory are enough for about a million records, no more.
//! - Only local folders are read, and only logs whose JSON entries are all still there.

pub mod audit;
pub mod bronze;
pub mod check;
mod columns;
pub mod deletion_vector;
pub mod delta_log;
pub mod error;
pub mod event;
pub mod fold;
pub mod history;
pub mod kpis;
pub mod log;
pub mod numbers;
pub mod periods;
pub mod report;
#[cfg(test)]
mod selftest;
pub mod simulator;
pub mod stream;
pub mod tables;
pub mod workload;

pub use check::{Options, check_lake};
pub use error::Error;
pub use log::Log;
pub use report::Report;
pub use workload::Workload;
