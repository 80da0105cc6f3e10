//! The product from outside: the real binary as a child process, judged by the oracle.
//!
//! # Guarantees
//! - Of the product only `schemas` is linked, for names and instants: what is tested is what is shipped.
//! - Kafka, the databases and Debezium are real. Tests start them and never pass without them.
//! - Every wait has a deadline, and whatever was started ends with its test.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "figures belong into the output of a test run")]

mod additions;
mod alert_rules;
mod answers;
mod applied;
mod audited;
mod catalogue;
mod connectors;
mod converted;
mod decisions;
mod definitions;
mod explain;
mod extended;
mod faults;
mod files;
mod flattened;
mod focus;
mod history;
mod inference;
mod kafka;
mod kills;
mod labelled;
mod live;
mod maps;
mod maria;
mod on_call;
mod origins;
mod pg;
mod planned;
mod proven;
mod questioned;
mod readers;
mod retraining;
mod retry;
mod retyped;
mod secure_kafka;
mod semantic;
mod soak;
mod sources;
mod stocks;
mod support;
mod surface;
mod upkeep;
mod view_tables;
mod views;
mod vocabularies;
mod work_dir;
