//! The running pipeline: threads and queues around the deterministic core.
//!
//! ```text
//! source threads -> core (this thread) -> ledger thread ---> publish thread
//!                                      \-> bronze thread -> flusher thread (barriers)
//! ```
//!
//! # Guarantees
//! - An epoch is published only after the ledger holds it, committed to bronze only after that, and
//!   flushed to silver and gold only after bronze holds it.
//! - Every queue is bounded. Polling pauses while `max_unflushed` bytes are not in bronze.
//! - A thread that cannot go on ends the run with a reason; nothing that was acknowledged is lost.

pub(crate) mod barrier;
mod contact;
pub(crate) mod contracts;
pub(crate) mod core;
pub(crate) mod decoding;
mod halts;
mod live;
mod loops;
pub(crate) mod meters;
mod outcome;
mod pace;
pub(crate) mod publish;
pub(crate) mod recover;
pub(crate) mod stop;
pub(crate) mod tables;
mod tail;
mod threads;
pub(crate) mod troubles;
mod watch;

use gold::Catalog;
use schemas::Observer;

pub(crate) use live::{Run, run};
pub(crate) use outcome::{Outcome, Stopped};
pub(crate) use publish::{Nobody, Subscriber};

/// The detector over a catalog's KPIs.
pub(crate) fn observer(catalog: &Catalog) -> Box<dyn Observer> {
    Box::new(anomaly::Scorer::new(catalog.infos()))
}
