//! The JSON forms of cells and alerts, the same for REST and for the stream.
//!
//! # Guarantees
//! - Numbers of KPIs are decimal strings, instants RFC 3339 with `Z`; dimensions are an object.
//! - A field that has no value is `null`, never left out; `period_end` is there of windows alone.
//!
//! # Non-guarantees
//! - Field order means nothing. Fields may be added.

use schemas::answer::{Said, Verdict};
use schemas::decimal::{VALUE_SCALE, format};
use schemas::{Alert, Answer, CellKey, CellValue, Contribution, KpiInfo, Unit};
use serde::ser::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::compare::Compared;
use crate::store::ServedCell;

/// Dimensions, held as canonical JSON text, written as the object that the text says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dims<'a>(pub &'a str);

impl Serialize for Dims<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match serde_json::from_str::<&RawValue>(self.0) {
            Ok(raw) => raw.serialize(serializer),
            // Never by the KPI engine; better a text than no answer.
            Err(_) => serializer.serialize_str(self.0),
        }
    }
}

/// What names a cell.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct CellName<'a> {
    /// The KPI.
    pub kpi: &'a str,
    /// The tenant.
    pub tenant: &'a str,
    /// The dimensions.
    pub dims: Dims<'a>,
    /// `hour`, `day`, ... or a window.
    pub grain: &'static str,
    /// Where the period starts; of a window that is gone `null`: it names nothing.
    pub period_start: Option<String>,
}

impl<'a> CellName<'a> {
    /// The name of this cell.
    pub fn served(cell: ServedCell<'a>) -> CellName<'a> {
        CellName {
            kpi: &cell.series.kpi,
            tenant: &cell.series.tenant,
            dims: Dims(&cell.series.dims),
            grain: cell.grain.name(),
            period_start: Some(cell.period_start.to_string()),
        }
    }

    /// The name of the cell with this key.
    pub fn new(key: &'a CellKey) -> CellName<'a> {
        CellName {
            kpi: &key.kpi,
            tenant: &key.tenant,
            dims: Dims(&key.dims),
            grain: key.grain.name(),
            period_start: (!key.grain.is_window()).then(|| key.period_start.to_string()),
        }
    }
}

/// A cell with what it says.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Cell<'a> {
    /// Which one.
    #[serde(flatten)]
    pub name: CellName<'a>,
    /// Where a window's period ends; of no other cell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period_end: Option<String>,
    /// The value; `null` when the status is not `ok`.
    pub value: Option<String>,
    /// `currency`, `count` or `ratio`.
    pub unit: &'static str,
    /// `ok`, `no_data` or `error`.
    pub status: &'static str,
}

impl<'a> Cell<'a> {
    /// This cell; `unit` is [`unit_of`] its KPI.
    pub fn served(cell: ServedCell<'a>, unit: Unit) -> Cell<'a> {
        let period_end = cell.window.map(|window| window.end.to_string());
        Cell { period_end, ..Cell::new(CellName::served(cell), &cell.value, unit) }
    }

    /// The cell of this name; `unit` is [`unit_of`] its KPI.
    pub fn new(name: CellName<'a>, value: &CellValue, unit: Unit) -> Cell<'a> {
        Cell {
            name,
            period_end: None,
            value: value.value.map(decimal),
            unit: unit.name(),
            status: value.status.name(),
        }
    }
}

/// How a cell differs from its counterpart.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(crate) struct ComparedView {
    /// The counterpart; `null` when the calendar has none.
    pub(crate) previous: Option<PreviousView>,
    /// The cell less its counterpart.
    pub(crate) change: Option<String>,
    /// That as a part of the counterpart, when that is above 0.
    pub(crate) change_ratio: Option<String>,
}

/// What a cell is compared with.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(crate) struct PreviousView {
    pub(crate) period_start: String,
    pub(crate) period_end: String,
    pub(crate) value: Option<String>,
}

impl ComparedView {
    /// This comparison.
    pub(crate) fn new(compared: Option<Compared>) -> ComparedView {
        let previous = |compared: Compared| PreviousView {
            period_start: compared.start.to_string(),
            period_end: compared.end.to_string(),
            value: compared.value.map(decimal),
        };
        ComparedView {
            previous: compared.map(previous),
            change: compared.and_then(|compared| compared.change).map(decimal),
            change_ratio: compared.and_then(|compared| compared.change_ratio).map(decimal),
        }
    }
}

/// A part of an alert's deviation.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ContributionView<'a> {
    /// The KPI that breaks the cell down.
    pub kpi: &'a str,
    /// Its dimensions.
    pub dims: Dims<'a>,
    /// What it was.
    pub value: String,
    /// What was expected of it.
    pub expected: String,
}

impl<'a> ContributionView<'a> {
    fn new(part: &'a Contribution) -> ContributionView<'a> {
        ContributionView {
            kpi: &part.kpi,
            dims: Dims(&part.dims),
            value: decimal(part.value),
            expected: decimal(part.expected),
        }
    }
}

/// What somebody thinks of an alert.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct FeedbackView<'a> {
    /// `yes`, `no` or `planned`.
    pub verdict: &'static str,
    /// Who said so.
    pub by: &'a str,
    /// When.
    pub at: String,
    /// With which words.
    pub comment: Option<&'a str>,
}

/// An alert as it stands.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct AlertView<'a> {
    /// Its id, the same for as long as it exists.
    pub id: &'a str,
    /// The cell that is anomalous.
    #[serde(flatten)]
    pub name: CellName<'a>,
    /// `info`, `warning`, `error` or `critical`.
    pub severity: &'static str,
    /// `firing` or `resolved`.
    pub state: &'static str,
    /// The alert that leads those of the same cause, by its id; this one, if it leads.
    pub incident: &'a str,
    /// Who looks after it; the newest of those who said so.
    pub acknowledged_by: Option<&'a str>,
    /// When they said so.
    pub acknowledged_at: Option<String>,
    /// With which words.
    pub acknowledged_comment: Option<&'a str>,
    /// Whether it was right, in somebody's opinion.
    pub feedback: Option<FeedbackView<'a>>,
    /// Whether nobody is told of it for a while.
    pub muted: bool,
    /// Until when.
    pub muted_until: Option<String>,
    /// What the cell says; `null` when nothing arrived.
    pub value: Option<String>,
    /// What was expected.
    pub expected: Option<String>,
    /// The least that would have been normal.
    pub lower: Option<String>,
    /// The most that would have been normal.
    pub upper: Option<String>,
    /// One plain sentence.
    pub reason: &'a str,
    /// When it opened.
    pub opened_at: String,
    /// When it was resolved.
    pub resolved_at: Option<String>,
    /// Why it was resolved.
    pub resolution: Option<&'a str>,
    /// The rule that found it.
    pub rule: &'a str,
    /// `spike`, `drop` or `missing`.
    pub anomaly_type: &'a str,
    /// (value - expected) / |expected|; of a ratio KPI value - expected.
    pub deviation: f64,
    /// The largest parts of the deviation, largest first.
    pub contributions: Vec<ContributionView<'a>>,
}

impl<'a> AlertView<'a> {
    /// This alert, of which people said that.
    pub fn new(alert: &'a Alert, answer: &'a Answer) -> AlertView<'a> {
        let acknowledged = answer.acknowledged.as_ref();
        let feedback = |(verdict, said): &'a (Verdict, Said)| FeedbackView {
            verdict: verdict.name(),
            by: &said.by,
            at: said.at.to_string(),
            comment: said.comment.as_deref(),
        };
        AlertView {
            acknowledged_by: acknowledged.map(|said| &*said.by),
            acknowledged_at: acknowledged.map(|said| said.at.to_string()),
            acknowledged_comment: acknowledged.and_then(|said| said.comment.as_deref()),
            feedback: answer.feedback.as_ref().map(feedback),
            muted: answer.muted_until.is_some(),
            muted_until: answer.muted_until.map(|until| until.to_string()),
            id: &alert.id,
            name: CellName::new(&alert.key),
            severity: alert.severity.name(),
            state: alert.state(),
            incident: &alert.incident,
            value: alert.value.map(decimal),
            expected: alert.expected.map(decimal),
            lower: alert.lower.map(decimal),
            upper: alert.upper.map(decimal),
            reason: &alert.reason,
            opened_at: alert.opened_at.to_string(),
            resolved_at: alert.resolved_at.map(|at| at.to_string()),
            resolution: alert.resolution.as_deref(),
            rule: &alert.rule,
            anomaly_type: &alert.anomaly_type,
            deviation: alert.deviation,
            contributions: alert.contributions.iter().map(ContributionView::new).collect(),
        }
    }
}

/// The JSON text of one of the forms above, which cannot fail: they have no maps and no foreign
/// serializers.
pub fn json(form: &impl Serialize) -> String {
    serde_json::to_string(form).unwrap_or_else(|_| "null".to_owned())
}

/// A mantissa as decimal text.
pub fn decimal(mantissa: i128) -> String {
    format(mantissa, VALUE_SCALE)
}

/// What a KPI's numbers are; of one that is not defined any more, plain numbers.
pub fn unit_of(kpis: &[KpiInfo], kpi: &str) -> Unit {
    kpis.iter().find(|info| *info.key == *kpi).map_or(Unit::Ratio, |info| info.unit)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use schemas::{Grain, Micros, Severity, Status};
    use serde_json::json;

    use super::*;

    fn key() -> CellKey {
        CellKey {
            kpi: "revenue_booked".into(),
            tenant: "t1".into(),
            dims: r#"{"channel":null,"currency":"USD"}"#.into(),
            grain: Grain::Day,
            period_start: Micros::parse("2026-11-21").unwrap(),
        }
    }

    #[test]
    fn a_cell_has_the_published_names() {
        let value = CellValue {
            value: Some(-425_000_000_000),
            numerator: None,
            denominator: None,
            status: Status::Ok,
        };
        let expected = json!({
            "kpi": "revenue_booked", "tenant": "t1",
            "dims": {"channel": null, "currency": "USD"}, "grain": "day",
            "period_start": "2026-11-21T00:00:00Z", "value": "-42.5", "unit": "currency",
            "status": "ok",
        });
        let cell = serde_json::to_string(&Cell::new(CellName::new(&key()), &value, Unit::Currency))
            .unwrap();
        assert_eq!(serde_json::from_str::<serde_json::Value>(&cell).unwrap(), expected);
        let none = CellValue { value: None, status: Status::NoData, ..value };
        let cell =
            serde_json::to_string(&Cell::new(CellName::new(&key()), &none, Unit::Ratio)).unwrap();
        assert!(cell.ends_with(r#""value":null,"unit":"ratio","status":"no_data"}"#), "{cell}");
    }

    #[test]
    fn an_alert_has_the_published_names() {
        let alert = Alert {
            id: "a1".into(),
            key: key(),
            incident: "a0".into(),
            rule: "seasonal".into(),
            anomaly_type: "drop".into(),
            severity: Severity::Critical,
            opened_at: Micros::parse("2026-11-21T10:00:00.5Z").unwrap(),
            resolved_at: None,
            resolution: None,
            value: None,
            expected: Some(20_000_000_000),
            lower: Some(10_000_000_000),
            upper: None,
            deviation: -1.0,
            z_score: f64::INFINITY,
            p_value: 0.0,
            confidence: 1.0,
            reason: "nothing \"arrived\"".into(),
            contributions: vec![Contribution {
                kpi: Arc::from("revenue_by_channel"),
                dims: r#"{"channel":"web"}"#.into(),
                value: 0,
                expected: 15_000_000_000,
            }],
            epoch: 7,
        };
        let said = |by: &str| Said {
            by: by.into(),
            at: Micros::parse("2026-11-21T11:00:00Z").unwrap(),
            comment: Some("on it".into()),
        };
        let answer = Answer {
            acknowledged: Some(said("kim")),
            feedback: Some((Verdict::Planned, said("lee"))),
            muted_until: Micros::parse("2026-11-22T00:00:00Z"),
            epoch: 8,
        };
        let text = serde_json::to_string(&AlertView::new(&alert, &answer)).unwrap();
        let expected = json!({
            "id": "a1", "kpi": "revenue_booked", "tenant": "t1",
            "dims": {"channel": null, "currency": "USD"}, "grain": "day",
            "period_start": "2026-11-21T00:00:00Z", "severity": "critical", "state": "firing",
            "incident": "a0",
            "acknowledged_by": "kim", "acknowledged_at": "2026-11-21T11:00:00Z",
            "acknowledged_comment": "on it",
            "feedback": {"verdict": "planned", "by": "lee", "at": "2026-11-21T11:00:00Z", "comment": "on it"},
            "muted": true, "muted_until": "2026-11-22T00:00:00Z",
            "value": null, "expected": "2", "lower": "1", "upper": null,
            "reason": "nothing \"arrived\"", "opened_at": "2026-11-21T10:00:00.500Z",
            "resolved_at": null, "resolution": null, "rule": "seasonal", "anomaly_type": "drop",
            "deviation": -1.0,
            "contributions": [{
                "kpi": "revenue_by_channel", "dims": {"channel": "web"}, "value": "0",
                "expected": "1.5",
            }],
        });
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), expected);
    }
}
