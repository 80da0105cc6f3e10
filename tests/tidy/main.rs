//! Checks of the repository itself: who depends on whom, licences, sizes, and that documents and
//! deployment files say what the code does.
//!
//! # Guarantees
//! - Nothing here uses the product's crates: what is compared is files, Cargo's answers, and the
//!   binary's own `--help`.
//!
//! # Non-guarantees
//! - Containers are not built or started.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a check that cannot read what it checks has failed"
)]

mod crates;
mod deployment;
mod documents;
mod licences;
mod repository;
mod sources;
