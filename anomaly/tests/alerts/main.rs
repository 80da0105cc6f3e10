//! The scorer as the binary drives it: epochs, ticks, updates and cells in, alerts out.

mod calibration;
mod charts;
mod episodes;
mod replay;
mod rules;
mod world;
