//! When a source is polled again: once subscribers have what it gave, or after a while.
//!
//! # Guarantees
//! - After a poll of few records the next one waits until their epoch is published. So epochs grow by
//!   themselves with the work that one costs.
//! - It waits no longer than [`LONGEST`], and than `linger`: where stages take longer than that they go side
//!   by side.
//! - Whoever reads a backlog is not held up: after many records the next poll follows at once.

use std::convert::Infallible;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

/// After this many records the next poll waits for nothing: reading and folding go side by side.
const MANY: usize = 1 << 10;

/// The longest wait: epochs are not more than five hundred a second then.
const LONGEST: Duration = Duration::from_millis(2);

/// Goes with a poll until subscribers have it: its source's turn comes when it is dropped.
#[derive(Debug)]
pub(super) struct InTurn {
    _held: SyncSender<Infallible>,
}

/// The next turn of a source.
#[derive(Debug)]
pub(super) struct NextTurn {
    passed: Receiver<Infallible>,
}

impl NextTurn {
    /// The turn after a poll of so many records, and what goes with that poll; none after many.
    pub(super) fn after(records: usize) -> Option<(InTurn, NextTurn)> {
        (1..MANY).contains(&records).then(|| {
            let (held, passed) = sync_channel(0);
            (InTurn { _held: held }, NextTurn { passed })
        })
    }

    /// Waits for it, at most `linger`.
    pub(super) fn wait(&self, linger: Duration) {
        // Nothing is ever sent: it ends by the drop of the other side, or by the time.
        let _ended = self.passed.recv_timeout(linger.min(LONGEST));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn the_turn_comes_when_the_poll_is_done_with_or_after_a_while() {
        let (poll, next) = NextTurn::after(1).unwrap();
        let waits = |linger| {
            let begun = Instant::now();
            next.wait(linger);
            begun.elapsed()
        };
        assert!(waits(Duration::from_secs(60)) >= LONGEST, "the poll is still on its way");
        drop(poll);
        // Of many waits one at least is not held up by a busy machine.
        assert!(
            (0..100).any(|_| waits(Duration::from_secs(60)) < LONGEST),
            "the poll is done with"
        );
    }

    #[test]
    fn after_nothing_and_in_a_backlog_nobody_waits() {
        assert!(NextTurn::after(0).is_none());
        assert!(NextTurn::after(MANY - 1).is_some());
        assert!(NextTurn::after(MANY).is_none());
    }
}
