//! The scorer as the binary drives it: epochs, ticks, updates and cells in, alerts out.

#![expect(clippy::unwrap_used, reason = "tests may")]
#![expect(clippy::cast_possible_truncation, reason = "the numbers of these tests are small")]

mod calibration;
mod charts;
mod episodes;
mod replay;
mod rules;
mod world;
