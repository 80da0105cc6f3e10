//! What is to be told: a pure comparison of what people know of an alert and how it stands.
//!
//! # Guarantees
//! - What is known only grows: an alert that is as it was told gives nothing, so that a start, a replay or an epoch
//!   that is heard twice tells nobody anything twice.
//! - Nobody hears that an alert is over who did not hear that it opened.
//! - Nobody hears of a muted alert that it opens or rises. What still goes on when the mute ends is told then. Who
//!   heard of it before hears its end, muted or not.
//! - Nobody hears again that an alert opened that somebody looks after, unless it is worse.
//! - Nobody hears of an alert whose incident they were told of, unless it is worse; and that incident is over, to
//!   them, when all of its alerts are.
//! - An alert that opens for the [`FLAPS_FROM`]th time within [`WINDOW_US`] flaps: that is told with the opening, and
//!   what it does next is not, until it has been the same for [`CALM_US`].

use std::collections::BTreeSet;

use schemas::{Alert, Answer, Micros, Severity};
use serde::{Deserialize, Serialize};

use crate::notice::Kind;

/// As many openings make an alert one that flaps.
pub(crate) const FLAPS_FROM: usize = 3;
/// Within so much time, in microseconds.
pub(crate) const WINDOW_US: i64 = 20 * 60 * 1_000_000;
/// How long one that flaps has to be the same before it is believed, in microseconds.
pub(crate) const CALM_US: i64 = 20 * 60 * 1_000_000;

/// What people were told of an alert, or are about to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Told {
    pub(crate) is_open: bool,
    /// The alert that leads those of the same cause.
    #[serde(default)]
    pub(crate) incident: String,
    /// The most that was told since it opened.
    pub(crate) severity: Severity,
    /// How often it opened, as far as that was told.
    pub(crate) round: u32,
    /// Who was told since it opened: they hear what follows, whatever they take.
    pub(crate) routes: BTreeSet<String>,
    /// Whether it went on when it was seen last, told or not, and since when it is so.
    #[serde(default)]
    pub(crate) goes_on: bool,
    #[serde(default)]
    pub(crate) turned: Micros,
    /// When it opened lately, told or not.
    #[serde(default)]
    pub(crate) openings: Vec<Micros>,
    /// Whether it flaps, as was told with its last opening.
    #[serde(default)]
    pub(crate) flaps: bool,
}

impl Told {
    /// Nobody was told yet of the alert that opens for the `round`th time.
    pub(crate) fn begin(severity: Severity, round: u32) -> Told {
        Told {
            is_open: true,
            incident: String::new(),
            severity,
            round,
            routes: BTreeSet::new(),
            goes_on: false,
            turned: Micros(0),
            openings: Vec::new(),
            flaps: false,
        }
    }

    /// Sees how the alert stands.
    fn see(&mut self, goes_on: bool, now: Micros) {
        let ago = |at: Micros| now.0.saturating_sub(at.0);
        if self.flaps && ago(self.turned) >= CALM_US {
            self.flaps = false;
            self.openings.clear();
        }
        if goes_on == self.goes_on {
            return;
        }
        (self.goes_on, self.turned) = (goes_on, now);
        if goes_on {
            self.openings.retain(|at| ago(*at) < WINDOW_US);
            self.openings.push(now);
            let surplus = self.openings.len().saturating_sub(FLAPS_FROM);
            self.openings.drain(..surplus);
        }
    }

    /// It is told that it opened, perhaps again.
    fn open(&mut self, severity: Severity) {
        (self.is_open, self.severity) = (true, severity);
        self.round = self.round.saturating_add(1);
        self.routes.clear();
        self.flaps = self.openings.len() >= FLAPS_FROM;
    }
}

/// What the other alerts of its incident are to an alert.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Company {
    /// Whether everybody who would hear of it was told of another one that matters as much.
    pub(crate) is_told: bool,
    /// Whether one goes on of which people know by this one only.
    pub(crate) goes_on: bool,
}

/// What is new of an alert to people.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct News {
    /// What is to be told, in order.
    pub(crate) kinds: Vec<Kind>,
    /// What people know then.
    pub(crate) known: Told,
    /// Whether there is more to tell when time has passed, or a mute is over.
    pub(crate) waits: bool,
}

/// What is to be told of an alert at `now`, and what people know then. They were `told` before, or never.
pub(crate) fn news(
    told: Option<&Told>,
    alert: &Alert,
    (answer, company): (&Answer, Company),
    now: Micros,
) -> News {
    let (severity, is_open) = (alert.severity, alert.is_open());
    let is_muted = answer.muted_until.is_some() || company.is_told;
    let nothing = || Told { is_open: false, ..Told::begin(severity, 0) };
    let mut known = told.cloned().unwrap_or_else(nothing);
    known.see(is_open, now);
    known.incident = alert.incident.to_string();
    let (mut kinds, mut waits) = (Vec::new(), false);
    if known.is_open {
        match severity > known.severity {
            true if is_muted => waits = is_open,
            true => {
                known.severity = severity;
                kinds.push(Kind::Updated);
            }
            false => {}
        }
    } else if is_open || told.is_none() {
        let is_worse = known.round == 0 || severity > known.severity;
        if is_muted {
            waits = is_open;
        } else if answer.acknowledged.is_none() || is_worse {
            known.open(severity);
            kinds.push(Kind::Opened);
        }
    }
    if known.is_open && !is_open {
        match known.flaps || company.goes_on {
            true => waits = true,
            false => {
                known.is_open = false;
                kinds.push(Kind::Resolved);
            }
        }
    }
    News { kinds, known, waits }
}

#[cfg(test)]
mod tests;
