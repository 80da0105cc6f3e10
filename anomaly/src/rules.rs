//! What makes a bucket anomalous: one file for each rule, one line for each in [`REGISTRY`].
//!
//! # Guarantees
//! - A rule is a pure function of one bucket, what was expected of it and what it is compared with.

mod change;
mod seasonal;

use schemas::{
    Against, CellValue, Cells, Direction, Good, Grain, KpiInfo, Micros, Severity, Status, Watching,
};
use serde::{Deserialize, Serialize};

use crate::entry::Entry;
use crate::number::{float, mantissa};
use crate::outlook::Outlook;
use crate::shape::Shape;

/// Every rule.
pub(crate) static REGISTRY: [&dyn Rule; 4] = [
    &seasonal::Seasonal,
    &change::Change(Against::WeekBefore),
    &change::Change(Against::DayBefore),
    &change::Change(Against::Budget),
];

/// A way to find anomalies.
pub(crate) trait Rule: Sync {
    /// Its name in the files of KPIs, and, unless such a file gives another, in tables, in alert ids and in saved
    /// state: never changed.
    fn name(&self) -> &'static str;

    /// Whether it watches the KPI at the grain.
    fn watches(&self, kpi: &KpiInfo, grain: Grain) -> bool;

    /// What it compares with, beside the forecast.
    fn against(&self) -> Option<Against>;

    /// Judges a bucket.
    fn judge(&self, bucket: &Bucket<'_>) -> Verdict;
}

/// What alerts of a rule are called where the KPI's file gives it a name.
pub(crate) fn name_of<'a>(rule: &dyn Rule, kpi: &'a KpiInfo) -> &'a str {
    let own = rule.against().and_then(|against| kpi.watching.steps(against).next());
    own.map_or(rule.name(), |step| &step.name)
}

/// A bucket to judge.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bucket<'a> {
    pub(crate) shape: Shape,
    /// How its KPI is watched.
    pub(crate) watching: &'a Watching,
    /// Whether it is a ratio above whose line what is below is taken away.
    pub(crate) is_net: bool,
    /// Which way is good.
    pub(crate) good: Good,
    /// Whether more may still arrive.
    pub(crate) running: bool,
    /// What it says; `None` when nothing feeds it.
    pub(crate) cell: Option<CellValue>,
    /// What the model expected of it.
    pub(crate) outlook: Option<Outlook>,
    /// What it is compared with, for rules that do: another bucket only if that was whole and not anomalous itself.
    pub(crate) baseline: Option<CellValue>,
    /// The least and the most of the buckets since then, for the same rules while nothing is expected.
    pub(crate) since: Option<(i128, i128)>,
    /// Whether it is anomalous as it was judged last: a value at the edge stays on its side.
    pub(crate) held: bool,
    /// Whether it may be called too low: it is known how late its series is.
    pub(crate) is_whole: bool,
}

/// The share of the surprise of an alert that a deviation from another day must be to the forecast, too.
const UNUSUAL: f64 = 0.9;

impl<'a> Bucket<'a> {
    /// A bucket of a series that is over, as a rule sees it.
    pub(crate) fn whole(
        entry: &Entry,
        (rule, kpi): (&dyn Rule, &'a KpiInfo),
        (start, outlook): (Micros, Option<Outlook>),
        cells: &dyn Cells,
    ) -> Bucket<'a> {
        let (against, watching) = (rule.against(), &kpi.watching);
        let unforeseen = against.filter(|_| outlook.is_none());
        Bucket {
            shape: entry.shape,
            watching,
            is_net: kpi.is_net,
            good: kpi.good,
            running: false,
            cell: entry.cell(start, cells),
            outlook,
            baseline: against.and_then(|own| entry.baseline(own, watching, start, cells)),
            since: unforeseen.and_then(|own| entry.beside(own, start, cells)),
            held: false,
            is_whole: true,
        }
    }
}

impl Bucket<'_> {
    /// The least deviation that is worth an alert, as a mantissa.
    fn least_impact(&self) -> u128 {
        self.watching.least_impact.map_or(0, i128::unsigned_abs)
    }

    /// Whether the forecast finds a value unusual, too, on the side of `sign`; before there is one, whether it
    /// is that far from every bucket of the week beside the other day, by `is_far`, and by as much as they differ.
    fn is_unusual(&self, value: i128, sign: f64, is_far: impl Fn(i128) -> bool) -> bool {
        match (self.outlook, self.since) {
            (Some(outlook), _) => {
                let value = float(value);
                let is_known = outlook.wide && !outlook.is_anomalous(value);
                let need = outlook.needs[usize::from(sign > 0.0)] * UNUSUAL;
                sign * outlook.z(value) > 0.0 && outlook.surprise(value) >= need && !is_known
            }
            (None, Some((least, most))) => {
                let (edge, beyond) = match sign < 0.0 {
                    true => (least, least.saturating_sub(value)),
                    false => (most, value.saturating_sub(most)),
                };
                is_far(edge) && beyond >= most.saturating_sub(least)
            }
            (None, None) => true,
        }
    }
}

/// What a rule says of a bucket.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Verdict {
    /// There is nothing to compare with, or not enough of the bucket.
    Unknown,
    /// Nothing is wrong with it.
    Normal,
    /// It is anomalous.
    Anomalous(Finding),
}

impl Verdict {
    /// The same where only one direction is watched.
    pub(crate) fn toward(self, direction: Direction) -> Verdict {
        match self {
            Verdict::Anomalous(found) if !found.kind.is_of(direction) => Verdict::Normal,
            _ => self,
        }
    }
}

/// What is wrong with a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Finding {
    pub(crate) kind: Kind,
    pub(crate) severity: Severity,
    pub(crate) value: Option<i128>,
    pub(crate) expected: Option<i128>,
    pub(crate) lower: Option<i128>,
    pub(crate) upper: Option<i128>,
    pub(crate) deviation: f64,
    pub(crate) z: f64,
    pub(crate) p: f64,
}

/// The kinds of anomalies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    Spike,
    Drop,
    Missing,
}

impl Kind {
    /// Whether it is a deviation in this direction.
    fn is_of(self, direction: Direction) -> bool {
        match direction {
            Direction::Both => true,
            Direction::Up => self == Kind::Spike,
            Direction::Down => self != Kind::Spike,
        }
    }

    /// The word used in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Spike => "spike",
            Kind::Drop => "drop",
            Kind::Missing => "missing",
        }
    }
}

/// The value of a cell that has one.
pub(crate) fn value_of(cell: Option<CellValue>) -> Option<i128> {
    cell.filter(|cell| cell.status == Status::Ok)?.value
}

/// `(value - expected) / |expected|` for flows, `value - expected` for numbers without a unit.
pub(crate) fn deviation(shape: Shape, value: f64, expected: f64) -> f64 {
    if !shape.log {
        value - expected
    } else if expected.abs() > 0.0 {
        (value - expected) / expected.abs()
    } else {
        0.0
    }
}

/// Distance and p-value as the model sees them; 0 and 1 where it expects nothing yet, because then
/// nothing is known of chance.
fn statistics(bucket: &Bucket<'_>, value: i128) -> (f64, f64) {
    bucket.outlook.map_or((0.0, 1.0), |outlook| {
        let value = float(value);
        (outlook.z(value), outlook.p(bucket.shape, value))
    })
}

/// A statistic for people and tables.
fn shown(value: f64) -> Option<i128> {
    mantissa(value)
}

#[cfg(test)]
mod tests;
