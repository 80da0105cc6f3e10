//! Starting threads, with what each of them may take from the others.
//!
//! # Guarantees
//! - The thread that writes barriers yields to those between a record and a client when both want a core.
//!
//! # Non-guarantees
//! - An operating system that refuses runs them like all others.

use std::thread::Scope;

use thread_priority::{ThreadPriority, ThreadPriorityValue, set_current_thread_priority};

/// Whose turn it is when there are fewer cores than work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Somebody waits for it: polling, the core, the ledger, publication; and bronze, because what it has
    /// not written yet is held in memory.
    Live,
    /// Nobody does: barriers, which take a core for seconds. About a tenth of a live
    /// thread's share (a nice value of 9) while live threads want it all, and everything otherwise.
    Background,
}

/// Starts a thread that tools show by `name`.
pub(super) fn spawn<'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &str,
    turn: Turn,
    work: impl FnOnce() + Send + 'scope,
) -> Result<(), String> {
    let own = name.to_owned();
    let started =
        std::thread::Builder::new().name(name.to_owned()).spawn_scoped(scope, move || {
            if turn == Turn::Background {
                stand_back(&own);
            }
            work();
        });
    started.map(drop).map_err(|e| format!("could not start the {name} thread: {e}"))
}

fn stand_back(name: &str) {
    // On a scale from 0, the least, to 99.
    let Ok(quarter) = ThreadPriorityValue::try_from(25_u8) else { return };
    if let Err(error) = set_current_thread_priority(ThreadPriority::Crossplatform(quarter)) {
        tracing::debug!("the {name} thread runs at the usual priority: {error:?}");
    }
}
