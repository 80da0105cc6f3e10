//! Between memory and the lake: barriers out, recovery in.

mod alerts;
pub(crate) mod barrier;
mod preview;
pub(crate) mod recover;
pub(crate) mod tail;
