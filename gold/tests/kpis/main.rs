//! KPIs asked two ways: what the engine keeps up to date, and what DataFusion, or a loop over all rows, says of the rows.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod catalogue;
mod converted;
mod explained;
mod groups;
mod kept;
mod overlaps;
mod pages;
mod running;
mod semantic;
mod stocks;
mod timeless;
mod told;
mod view_tables;
mod views;
mod windows;
mod zones;
