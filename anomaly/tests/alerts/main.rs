//! The scorer as the binary drives it: epochs, ticks, updates and cells in, alerts out.
#![allow(clippy::unwrap_used, clippy::clone_on_ref_ptr, reason = "a test fails by panicking")]
#![allow(clippy::cast_possible_truncation, clippy::type_complexity, reason = "numbers of tests")]
#![expect(clippy::unwrap_used, reason = "tests may")]
#![expect(clippy::cast_possible_truncation, reason = "the numbers of these tests are small")]

mod calibration;
mod charts;
mod episodes;
mod planned;
mod replay;
mod rules;
mod settings;
mod taught;
mod world;
