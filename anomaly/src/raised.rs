//! Alerts as rows: what policy decided, with its figures, sentence and parts.
//!
//! # Guarantees
//! - A row that was resolved and opens again keeps its id and the instant at which it first opened.
//! - Parts are looked up only when an alert opens or changes.

use std::sync::Arc;

use schemas::{
    Against, Alert, Cells, Contribution, EpochId, Grain, KpiInfo, Micros, Severity, alert_id,
};

use crate::alert_book::AlertBook;
use crate::entry::{Entry, Name};
use crate::number::mantissa;
use crate::parts::{Part, largest, parts};
use crate::policy::{Step, Why};
use crate::reason;
use crate::rules::{Finding, REGISTRY, name_of, value_of};
use crate::series_book::SeriesBook;

/// Series that are looked at for parts.
const PARTS_SEEN: usize = 10_000;

/// The instant and epoch of a judgement.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stamp {
    pub(crate) at: Micros,
    pub(crate) epoch: EpochId,
}

/// What alerts are made of, and the book that they go into.
pub(crate) struct Raiser<'a> {
    pub(crate) kpis: &'a [KpiInfo],
    pub(crate) series: &'a SeriesBook,
    pub(crate) cells: &'a dyn Cells,
    pub(crate) alerts: &'a mut AlertBook,
}

impl Raiser<'_> {
    /// Does what the policy of rule `number` decided for the series at `place`.
    pub(crate) fn take(&mut self, place: usize, number: usize, step: Step, stamp: Stamp) {
        let (series, cells) = (self.series, self.cells);
        let (Some(entry), Some(rule)) = (series.get(place), REGISTRY.get(number)) else {
            return;
        };
        let Some(kpi) = self.kpis.get(entry.kpi) else { return };
        let name = |first: Micros| alert_id(&entry.name.cell(first), name_of(*rule, kpi));
        let against = rule.against();
        match step {
            Step::Nothing | Step::Later(_) => {}
            Step::Open(bucket, figures) => {
                let id = name(bucket);
                let parts = self.parts(entry, kpi, bucket, &figures, against);
                let text = told(entry, kpi, bucket, &figures, against);
                let key = entry.name.cell(bucket);
                let alert = self.alerts.get_or_insert_with(&id, || Alert {
                    id: Arc::clone(&id),
                    key: key.clone(),
                    incident: "".into(),
                    rule: name_of(*rule, kpi).into(),
                    anomaly_type: figures.kind.name().into(),
                    severity: Severity::Info,
                    opened_at: stamp.at,
                    resolved_at: None,
                    resolution: None,
                    value: None,
                    expected: None,
                    lower: None,
                    upper: None,
                    deviation: 0.0,
                    z_score: 0.0,
                    p_value: 1.0,
                    confidence: 0.0,
                    reason: "".into(),
                    contributions: Vec::new(),
                    epoch: stamp.epoch,
                });
                let Some(alert) = alert else { return };
                (alert.resolved_at, alert.resolution) = (None, None);
                alert.key = key;
                show(alert, &figures, text, parts, stamp);
                self.alerts.opens(id);
            }
            Step::Show { first, bucket, figures } => {
                let id = name(first);
                let parts = self.parts(entry, kpi, bucket, &figures, against);
                let text = told(entry, kpi, bucket, &figures, against);
                let key = entry.name.cell(bucket);
                let Some(alert) = self.alerts.get_mut(&id) else { return };
                alert.key = key;
                show(alert, &figures, text, parts, stamp);
            }
            Step::Resolve { first, why } => {
                let id = name(first);
                let value = match why {
                    Why::Returned(bucket) | Why::Corrected(bucket) | Why::Removed(bucket) => {
                        let nothing = entry.shape.flow.then_some(0);
                        entry.cell(bucket, cells).map_or(nothing, |cell| value_of(Some(cell)))
                    }
                    Why::Unjudged => None,
                };
                let of = (&*entry.periods, entry.name.grain);
                let text = reason::resolution(kpi, of, why, value);
                let Some(alert) = self.alerts.get_mut(&id) else { return };
                alert.resolved_at = Some(stamp.at);
                alert.resolution = Some(text.into());
                alert.epoch = stamp.epoch;
            }
        }
    }

    /// The largest parts of a deviation that have its direction: series of KPIs that break this one down, or elements of
    /// them, against what was expected of each.
    fn parts(
        &self,
        of: &Entry,
        kpi: &KpiInfo,
        bucket: Micros,
        figures: &Finding,
        against: Option<Against>,
    ) -> Vec<Contribution> {
        let cells = self.cells;
        let is_child = |own: &&KpiInfo| own.breakdown_of.as_deref() == Some(&*kpi.key);
        let dims = reason::dims(&of.name.dims);
        let mut found: Vec<Contribution> = Vec::new();
        for child in self.kpis.iter().filter(is_child) {
            let mut series = Vec::new();
            for entry in children(self.series, child, of).take(PARTS_SEEN) {
                let own = reason::dims(&entry.name.dims);
                if !dims.iter().all(|(name, value)| own.get(name) == Some(value)) {
                    continue;
                }
                // One in doubt is what it says: it has a part in what its sum says.
                let shown = |at: Micros| entry.cell(at, cells).and_then(|cell| cell.value);
                let value = shown(bucket).unwrap_or(0);
                let day = against.filter(|own| *own != Against::Budget);
                let outlook = entry.outlook(bucket).filter(|_| day.is_none());
                let expected = match outlook {
                    Some(outlook) => mantissa(outlook.expected),
                    None => shown(entry.before(day.unwrap_or(Against::WeekBefore), bucket)),
                };
                let (expected, dims) = (expected.unwrap_or(0), Arc::clone(&entry.name.dims));
                series.push(Part { dims, value, expected });
            }
            found.extend(parts(kpi, child, series, figures.deviation < 0.0));
        }
        largest(found)
    }
}

/// Why an alert is open.
fn told(
    entry: &Entry,
    kpi: &KpiInfo,
    bucket: Micros,
    figures: &Finding,
    against: Option<Against>,
) -> String {
    reason::reason(kpi, &entry.name.cell(bucket), &entry.periods, figures, against)
}

fn show(
    alert: &mut Alert,
    figures: &Finding,
    text: String,
    parts: Vec<Contribution>,
    stamp: Stamp,
) {
    alert.anomaly_type = figures.kind.name().into();
    alert.severity = alert.severity.max(figures.severity);
    alert.value = figures.value;
    alert.expected = figures.expected;
    alert.lower = figures.lower;
    alert.upper = figures.upper;
    alert.deviation = figures.deviation;
    alert.z_score = figures.z;
    alert.p_value = figures.p;
    alert.confidence = 1.0 - figures.p;
    alert.reason = text.into();
    alert.contributions = parts;
    alert.epoch = stamp.epoch;
}

/// Series of `child` with the tenant and grain of `of`, in key order.
fn children<'a>(
    series: &'a SeriesBook,
    child: &KpiInfo,
    of: &'a Entry,
) -> impl Iterator<Item = &'a Entry> {
    let from = Name {
        kpi: Arc::clone(&child.key),
        tenant: Arc::clone(&of.name.tenant),
        dims: "".into(),
        grain: Grain::Hour,
    };
    let key = Arc::clone(&child.key);
    let in_range = move |name: &Name| name.kpi == key && name.tenant == of.name.tenant;
    series
        .starting_at(from)
        .take_while(move |entry| in_range(&entry.name))
        .filter(|entry| entry.name.grain == of.name.grain)
}
