//! Which alerts were right: openings against what is true of a plan.
//!
//! # Guarantees
//! - An opening belongs to a cause when it is about a KPI that the cause moves, and about a bucket that it
//!   touches. What belongs to none is false, and an alert that opens again counts again.

use schemas::{Grain, Micros};

use super::plan::{Cause, HOUR, Plan, SECOND};
use super::play::{Opening, play};

/// What came of one plan.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Tally {
    pub(super) series: usize,
    pub(super) series_weeks: f64,
    pub(super) alerts: usize,
    pub(super) wrong: Vec<String>,
    /// Alerts at hours and at days, and those of them that are false.
    pub(super) by_grain: [[usize; 2]; 2],
    pub(super) causes: usize,
    pub(super) missed: usize,
    /// Alerts of causes that must be found, of each incident the one that leads it.
    pub(super) due: usize,
    /// Minutes from the start of a cause to its first alert.
    pub(super) minutes: Vec<f64>,
}

/// Plays a plan and judges what it gives.
pub(super) fn tally(plan: &Plan) -> Tally {
    let openings = play(plan);
    let series = plan.lines.len() + usize::from(plan.lines.len() == 3);
    let weeks = (plan.hours - plan.live) as f64 / 168.0;
    let mut tally = Tally {
        series,
        series_weeks: series as f64 * weeks,
        alerts: openings.len(),
        ..Tally::default()
    };
    for opening in &openings {
        let mut own = plan.causes.iter().filter(|cause| belongs(plan, cause, opening)).peekable();
        let [alerts, wrong] = &mut tally.by_grain[usize::from(opening.grain != Grain::Hour)];
        *alerts += 1;
        *wrong += usize::from(own.peek().is_none());
        match own.peek() {
            None => tally.wrong.push(said(plan, opening)),
            Some(_) => tally.due += usize::from(opening.leads && own.any(|cause| cause.must)),
        }
    }
    for cause in plan.causes.iter().filter(|cause| cause.must) {
        tally.causes += 1;
        let of_it = openings.iter().filter(|own| belongs(plan, cause, own));
        match of_it.map(|own| own.at).min() {
            None => tally.missed += 1,
            Some(at) => tally.minutes.push(minutes(at, plan.at(cause.hours.start))),
        }
    }
    tally
}

fn minutes(at: Micros, from: Micros) -> f64 {
    (at.0 - from.0).max(0) as f64 / (60 * SECOND) as f64
}

fn belongs(plan: &Plan, cause: &Cause, opening: &Opening) -> bool {
    if !cause.kpis.contains(&&*opening.kpi) {
        return false;
    }
    let end = match opening.grain {
        Grain::Hour => opening.bucket.plus(HOUR),
        grain => plan.periods().end(grain, opening.bucket),
    };
    opening.bucket < plan.at(cause.hours.end) && end > plan.at(cause.hours.start)
}

/// An alert in a line.
fn said(plan: &Plan, opening: &Opening) -> String {
    let local = opening.bucket.plus(plan.periods().offset(opening.bucket));
    format!(
        "{} {} {} {} {:02}:00 by {}, day {}",
        opening.kpi,
        opening.dims,
        opening.grain,
        local.date(),
        local.0.div_euclid(HOUR).rem_euclid(24),
        opening.rule,
        plan.hour(opening.bucket) / 24,
    )
}
