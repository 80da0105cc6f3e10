//! Reloads: what decisions ask another run for, told to whoever can begin one in the same process.
//!
//! # Guarantees
//! - What is asked for is kept until somebody takes it.
//!
//! # Non-guarantees
//! - Nobody has to listen: what was decided takes effect at the next start then.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::core::wish::Wish;

/// What the runs of a process were asked for.
#[derive(Debug, Clone, Default)]
pub struct Reloads(Arc<Mutex<Wish>>);

impl Reloads {
    /// Asks for another run.
    pub(super) fn ask(&self, wish: Wish) {
        if !wish.is_nothing() {
            let mut held = self.0.lock();
            *held = held.and(wish);
        }
    }

    /// What was asked for since this was asked last.
    pub fn take(&self) -> Wish {
        std::mem::take(&mut self.0.lock())
    }
}
