//! The present of a run: the instant at which epochs are cut, and what is wrong with it.
//!
//! # Guarantees
//! - A lake that is ahead of the machine's clock stands still, and says so, until the clock has caught up
//!   or somebody decides that its time goes on from where it stands.
//! - A wall clock that jumped is not followed, and that is said, until it is right again or somebody decides
//!   that it is.

use schemas::clock_guard::JUMP_US;
use schemas::{Clock, Decision, Micros};

use super::troubles::Troubles;
use crate::core::Core;
use crate::core::epoch::Epoch;

/// The keys of its troubles.
const JUMPED: &str = "clock";
const AHEAD: &str = "lake clock";

/// What is wrong with time, as it was said last.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Wrong {
    has_jumped: bool,
    is_ahead: bool,
}

/// The clocks of a run.
pub(super) struct Present<'a> {
    clock: &'a dyn Clock,
    said: Wrong,
}

/// The instants at which an epoch is cut.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    /// What its clock is, unless the epoch before has that already.
    pub(super) clock: Micros,
    /// What the machine says: how old records are is judged by it.
    pub(super) wall: Micros,
}

impl<'a> Present<'a> {
    pub(super) fn new(clock: &'a dyn Clock) -> Present<'a> {
        Present { clock, said: Wrong::default() }
    }

    /// The machine's clock.
    pub(super) fn clock(&self) -> &'a dyn Clock {
        self.clock
    }

    /// The present.
    pub(super) fn now(&self, core: &Core) -> Now {
        let wall = self.clock.now();
        Now { clock: wall.plus(core.clock_ahead()), wall }
    }

    /// Follows a decision in an epoch that is to be folded.
    pub(super) fn decide(&self, epoch: &Epoch) {
        if epoch.decisions.iter().any(|record| record.decision == Decision::AcceptClock) {
            self.clock.accept();
        }
    }

    /// Says what is wrong, and that it is over.
    pub(super) fn say(&mut self, core: &Core, troubles: &Troubles) {
        let jump = self.clock.jump();
        let lake = core.last().map(|last| last.clock.0.saturating_sub(self.now(core).clock.0));
        let ahead = lake.filter(|ahead| *ahead > JUMP_US);
        let wrong = Wrong { has_jumped: jump.is_some(), is_ahead: ahead.is_some() };
        if wrong == self.said {
            return;
        }
        self.said = wrong;
        let jump = jump.map(|jump| {
            let way = if jump > 0 { "ahead" } else { "back" };
            format!(
                "the machine's clock was set {way} by {} s at once and is not followed: set it right, or run \
                 `weir clock accept` if it is right now",
                jump.saturating_abs() / 1_000_000
            )
        });
        let ahead = ahead.map(|ahead| {
            format!(
                "the lake's time is {} s ahead of the machine's clock and stands still until that has caught \
                 up: set the clock right, or run `weir clock accept` to let time go on from there",
                ahead / 1_000_000
            )
        });
        for (key, text) in [(JUMPED, jump), (AHEAD, ahead)] {
            match text {
                Some(text) => {
                    tracing::error!("{text}");
                    troubles.set(key, &text);
                }
                None => troubles.clear(key),
            }
        }
    }
}
