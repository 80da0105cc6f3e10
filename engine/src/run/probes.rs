//! What the probes are told of the tables: a copy, so that nobody who asks waits for the core.

use std::time::{Duration, Instant};

use super::meters::Meters;
use crate::core::Core;

/// They are told this often.
const TOLD: Duration = Duration::from_secs(1);

/// Origins of a table that they are told of.
const ORIGINS_MAX: usize = 200;

/// When they were told last.
#[derive(Debug, Default)]
pub(super) struct Probes(Option<Instant>);

impl Probes {
    /// Tells them what is in the tables, if it is time.
    pub(super) fn tell(&mut self, core: &Core, meters: &Meters) {
        if self.0.is_none_or(|told| told.elapsed() >= TOLD) {
            *meters.contents.lock() = core.contents(ORIGINS_MAX).into();
            self.0 = Some(Instant::now());
        }
    }
}
