//! Between memory and the lake: barriers out, recovery in.

mod alerts;
pub(crate) mod barrier;
mod error;
mod generation;
mod inputs;
mod last_barrier;
mod preview;
pub(crate) mod recover;
mod replay;
mod silver;
pub(crate) mod tail;
mod views;
