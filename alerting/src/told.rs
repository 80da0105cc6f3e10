//! What is to be told: a pure comparison of what people know of an alert and how it stands.
//!
//! # Guarantees
//! - What is known only grows: an alert that is as it was told gives nothing, so that a start, a replay or an epoch
//!   that is heard twice tells nobody anything twice.
//! - Nobody hears that an alert is over who did not hear that it opened.

use std::collections::BTreeSet;

use schemas::{Alert, Severity};
use serde::{Deserialize, Serialize};

use crate::notice::Kind;

/// What people were told of an alert, or are about to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Told {
    pub(crate) is_open: bool,
    /// The most that was told since it opened.
    pub(crate) severity: Severity,
    /// How often it opened.
    pub(crate) round: u32,
    /// Who was told since it opened: they hear what follows, whatever they take.
    pub(crate) routes: BTreeSet<String>,
}

impl Told {
    /// Nobody was told yet of the alert that opens for the `round`th time.
    pub(crate) fn begin(severity: Severity, round: u32) -> Told {
        Told { is_open: true, severity, round, routes: BTreeSet::new() }
    }
}

/// What is to be told of an alert, in order, and what people know then. They were `told` before, or never.
pub(crate) fn news(told: Option<&Told>, alert: &Alert) -> (Vec<Kind>, Told) {
    let severity = alert.severity;
    let (mut kinds, mut known) = match told {
        Some(told) if told.is_open && severity > told.severity => {
            (vec![Kind::Updated], Told { severity, ..told.clone() })
        }
        Some(told) if told.is_open || !alert.is_open() => (Vec::new(), told.clone()),
        before => {
            let round = before.map_or(1, |told| told.round.saturating_add(1));
            (vec![Kind::Opened], Told::begin(severity, round))
        }
    };
    if known.is_open && !alert.is_open() {
        kinds.push(Kind::Resolved);
        known.is_open = false;
    }
    (kinds, known)
}

#[cfg(test)]
mod tests {
    use Severity::{Critical, Error, Warning};

    use super::*;
    use crate::samples::alert;

    /// The kinds that these states of one alert give, one after another.
    fn heard(states: &[(Severity, bool)]) -> Vec<Vec<Kind>> {
        let mut told = None;
        let heard = states.iter().map(|(severity, is_open)| {
            let (kinds, now) = news(told.as_ref(), &alert("a", *severity, *is_open));
            told = Some(now);
            kinds
        });
        heard.collect()
    }

    #[test]
    fn an_alert_is_told_once_and_ends_once() {
        let states = [(Warning, true), (Warning, true), (Warning, false), (Warning, false)];
        assert_eq!(heard(&states), [vec![Kind::Opened], vec![], vec![Kind::Resolved], vec![]]);
    }

    #[test]
    fn what_rises_is_told_and_what_falls_is_not() {
        let states = [(Warning, true), (Critical, true), (Error, true), (Critical, true)];
        assert_eq!(heard(&states), [vec![Kind::Opened], vec![Kind::Updated], vec![], vec![]]);
    }

    #[test]
    fn one_that_was_over_before_it_was_told_opens_first() {
        assert_eq!(heard(&[(Warning, false)]), [vec![Kind::Opened, Kind::Resolved]]);
    }

    #[test]
    fn one_that_rose_unheard_and_ended_says_both() {
        let states = [(Warning, true), (Critical, false)];
        assert_eq!(heard(&states)[1], [Kind::Updated, Kind::Resolved]);
    }

    #[test]
    fn one_that_opens_again_is_told_as_the_second_time() {
        let (_, over) = news(None, &alert("a", Warning, false));
        let (kinds, now) = news(Some(&over), &alert("a", Warning, true));
        assert_eq!((kinds, now.round, now.is_open), (vec![Kind::Opened], 2, true));
    }
}
