//! Waiting for a running Weir to do what a decision wants of its next run.
//!
//! # Guarantees
//! - A state is read only when there is a barrier that it was not read for, and not more than twice a second.

use std::time::{Duration, Instant};

use lake::{Lake, LakeError};
use schemas::EpochId;

use super::decisions::is_written;
use crate::failure::Failure;

/// How long a command waits for that.
const WAIT: Duration = Duration::from_secs(60);
/// Between looks.
const LOOK: Duration = Duration::from_millis(500);

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Obeyed {
    /// It is done, as of the barrier at this epoch.
    Done(EpochId),
    /// It was not within the wait.
    NotYet,
    /// Nobody writes the lake any longer.
    Ended,
}

/// Waits for a barrier, at `since` or later, at which `is_done`.
///
/// # Errors
/// When the lake cannot be read.
pub(super) fn wait(
    lake: &Lake,
    since: EpochId,
    is_done: impl Fn() -> Result<bool, LakeError>,
) -> Result<Obeyed, Failure> {
    let (begin, mut looked_at) = (Instant::now(), 0);
    while begin.elapsed() < WAIT {
        let runs = is_written(lake);
        let barrier = engine::definitions::last_barrier(lake)?.unwrap_or(0);
        if barrier >= since && barrier > looked_at {
            looked_at = barrier;
            if is_done()? {
                return Ok(Obeyed::Done(barrier));
            }
        }
        if !runs {
            return Ok(Obeyed::Ended);
        }
        std::thread::sleep(LOOK);
    }
    Ok(Obeyed::NotYet)
}

impl Obeyed {
    /// What is said of `what` that was waited for.
    pub(super) fn said(self, what: &str) -> String {
        match self {
            Obeyed::Done(barrier) => format!("{what}, as of the barrier at epoch {barrier}"),
            Obeyed::Ended => format!("the weir that ran has ended: after the next start {what}"),
            Obeyed::NotYet => format!(
                "not done within {} s: tables may have to be built, or the running weir says in its log and in \
                 `degraded` of its answers what hinders it",
                WAIT.as_secs()
            ),
        }
    }
}
