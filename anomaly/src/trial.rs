//! A value that somebody asks about: what would be said of it, by the model that judges.
//!
//! # Guarantees
//! - Nothing is kept or learned: the model is taught for the question from the cells before the bucket, and forgotten.
//! - A cell from the bucket on, or of one that may still change, teaches nothing.
//!
//! # Non-guarantees
//! - It is taught from the cells as they are now. What a running detector learned before they were corrected, and how
//!   late it knows a series to be, is not asked.

use std::cmp::Reverse;
use std::sync::Arc;

use schemas::{
    Calendar, CellValue, Cells, Found, Grain, KpiInfo, Micros, Scored, SeriesId, Status, Trial,
};

use crate::bands::{shown, was_below_zero};
use crate::entry::{Entry, Name};
use crate::lateness::LATENESS;
use crate::number::float;
use crate::outlook::Outlook;
use crate::reason;
use crate::replay::in_force;
use crate::rules::{Bucket, REGISTRY, Verdict, deviation, name_of};

const OWN: SeriesId = SeriesId { kpi: 0, series: 0 };
const BUDGET: SeriesId = SeriesId { kpi: 1, series: 0 };

/// The cells of a series, with the value that is asked about.
struct Given<'a> {
    trial: &'a Trial<'a>,
    asked: CellValue,
}

impl Cells for Given<'_> {
    fn series(&self, kpi: &str, _tenant: &str, _dims: &str) -> Option<SeriesId> {
        match kpi == self.trial.kpi {
            true => Some(OWN),
            false => self.trial.budget.map(|_| BUDGET),
        }
    }

    fn value(&self, series: SeriesId, _grain: Grain, start: Micros) -> Option<CellValue> {
        let is_asked = start == self.trial.start;
        if series == BUDGET {
            return self.trial.budget.filter(|_| is_asked);
        }
        if is_asked {
            return Some(self.asked);
        }
        let points = self.trial.points;
        let place = points.binary_search_by_key(&start, |(at, _)| *at).ok()?;
        points.get(place).map(|(_, cell)| *cell)
    }
}

/// What would be said of a value.
pub(crate) fn score(kpi: &KpiInfo, calendar: &Calendar, trial: &Trial<'_>) -> Scored {
    let Some((first, _)) = trial.points.first() else {
        return unknown("the series has no cells at this grain");
    };
    let name = Name {
        kpi: Arc::clone(&kpi.key),
        tenant: trial.tenant.into(),
        dims: trial.dims.into(),
        grain: trial.grain,
    };
    let Some(mut entry) = Entry::new(std::slice::from_ref(kpi), calendar, name, *first) else {
        return unknown("the KPI is not watched: `enabled` is false in [anomaly] of its file");
    };
    entry.id = Some(OWN);
    entry.learner.put_in_force(in_force(trial.model));
    // A quotient's denominator is not asked about: it is taken to be large enough.
    let denominator = (!entry.shape.flow).then_some(i128::MAX);
    let (value, status) = (Some(trial.value), Status::Ok);
    let asked = CellValue { value, numerator: None, denominator, status };
    let cells = Given { trial, asked };
    let over = entry.frontier(trial.as_of.plus(-LATENESS));
    entry.learn_before(over.min(trial.start), &cells);
    let outlook = entry.outlook(trial.start).or_else(|| entry.outlook_far(trial.start, &cells));
    let (found, is_judged) = judge(kpi, &entry, (trial.start, outlook), &cells);
    let why = match (is_judged, found.is_empty()) {
        (false, _) => why(&entry, trial.start),
        (true, true) => "no rule that watches it finds it wrong".to_owned(),
        (true, false) => String::new(),
    };
    let value = float(trial.value);
    let was_below = trial.value < 0 || was_below_zero(trial.points);
    Scored {
        band: outlook.and_then(|own| shown(&own, was_below)),
        statistics: outlook.map(|own| {
            let far = deviation(entry.shape, value, own.expected);
            [far, own.z(value), own.p(entry.shape, value)]
        }),
        found,
        is_judged,
        why: why.into(),
    }
}

fn unknown(why: &str) -> Scored {
    let found = Vec::new();
    Scored { band: None, statistics: None, found, is_judged: false, why: why.into() }
}

/// What each rule finds, the worst first, and whether any could judge it.
fn judge(
    kpi: &KpiInfo,
    entry: &Entry,
    (start, outlook): (Micros, Option<Outlook>),
    cells: &dyn Cells,
) -> (Vec<Found>, bool) {
    let (mut all, mut is_judged) = (Vec::new(), false);
    for (rule, _) in REGISTRY.iter().zip(entry.watched).filter(|(_, is_watched)| *is_watched) {
        let bucket = Bucket::whole(entry, (*rule, kpi), (start, outlook), cells);
        let verdict = match entry.is_planned(start) {
            true => Verdict::Unknown,
            false => rule.judge(&bucket).toward(kpi.watching.direction),
        };
        is_judged |= verdict != Verdict::Unknown;
        let Verdict::Anomalous(finding) = verdict else { continue };
        let key = entry.name.cell(start);
        let text = reason::reason(kpi, &key, &entry.periods, &finding, rule.against());
        all.push(Found {
            rule: name_of(*rule, kpi).into(),
            anomaly_type: finding.kind.name(),
            severity: finding.severity,
            expected: finding.expected,
            lower: finding.lower,
            upper: finding.upper,
            deviation: finding.deviation,
            reason: text.into(),
        });
    }
    all.sort_by_key(|own| Reverse(own.severity));
    (all, is_judged)
}

/// Why no rule could judge it.
fn why(entry: &Entry, start: Micros) -> String {
    let unit = if entry.name.grain == Grain::Hour { "hours" } else { "days" };
    if let Some(name) = entry.periods.planned(entry.name.grain, start) {
        return format!("`{name}` is planned in this period: nothing is said of it");
    }
    if start <= entry.first {
        return "nothing is known of the series before this period".to_owned();
    }
    if entry.is_far(start) {
        return format!("the period is too far ahead of the last {unit} that are over");
    }
    let (seen, warm) = (entry.learner.seen, entry.shape.warm);
    match seen < warm {
        true => format!("not learned yet: {seen} of the {warm} {unit} that it takes are over"),
        false => "the series is nothing in most of its periods, too sparse to forecast".to_owned(),
    }
}

#[cfg(test)]
mod tests;
