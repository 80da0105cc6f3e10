//! The Arrow form of `gold/anomalies`: one row per alert, and alerts read back from it.
//!
//! # Guarantees
//! - What is written and read back is the same alert, bit for bit.

use std::sync::Arc;

use arrow::array::{
    Array, Decimal128Array, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use lake::keyed::{Cluster, FrozenRows, RowsError};
use rows::{ColumnError, columns};
use schemas::{Alert, CellKey, Contribution, FrozenObserver, Grain, Micros, Severity, decimal};
use serde::{Deserialize, Serialize};

use crate::table::NUMBER;

/// The columns of `gold/anomalies`.
pub fn anomalies_schema() -> SchemaRef {
    let number = rows::decimal(NUMBER.0, NUMBER.1);
    let instant = rows::instant();
    let text = |name: &str| Field::new(name, DataType::Utf8, false);
    let float = |name: &str| Field::new(name, DataType::Float64, false);
    Arc::new(Schema::new(vec![
        text("id"),
        text("kpi"),
        text("tenant_id"),
        text("dims"),
        text("grain"),
        Field::new("period_start", instant.clone(), false),
        Field::new("detected_at", instant.clone(), false),
        Field::new("value", number.clone(), true),
        Field::new("expected_value", number.clone(), true),
        Field::new("lower", number.clone(), true),
        Field::new("upper", number, true),
        float("deviation"),
        float("z_score"),
        float("p_value"),
        text("severity"),
        text("anomaly_type"),
        float("confidence_score"),
        text("description"),
        text("context"),
        Field::new("is_resolved", DataType::Boolean, false),
        Field::new("resolved_at", instant, true),
        Field::new("epoch", DataType::Int64, false),
    ]))
}

/// What the column `context` holds, as JSON.
#[derive(Serialize, Deserialize)]
struct Context {
    rule: Arc<str>,
    /// None in rows of before there were incidents.
    #[serde(default)]
    incident: Option<Arc<str>>,
    resolution: Option<Arc<str>>,
    contributions: Vec<Part>,
}

/// A contribution with its numbers as decimal text.
#[derive(Serialize, Deserialize)]
struct Part {
    kpi: Arc<str>,
    dims: Arc<str>,
    value: String,
    expected: String,
}

fn context(alert: &Alert) -> Result<String, ArrowError> {
    let text = |mantissa| decimal::format(mantissa, decimal::VALUE_SCALE);
    let part = |c: &Contribution| Part {
        kpi: Arc::clone(&c.kpi),
        dims: Arc::clone(&c.dims),
        value: text(c.value),
        expected: text(c.expected),
    };
    let context = Context {
        rule: Arc::clone(&alert.rule),
        incident: Some(Arc::clone(&alert.incident)),
        resolution: alert.resolution.clone(),
        contributions: alert.contributions.iter().map(part).collect(),
    };
    serde_json::to_string(&context).map_err(|e| ArrowError::ExternalError(Box::new(e)))
}

/// Rows of `gold/anomalies`, in the order given.
///
/// # Errors
/// When Arrow refuses the arrays, which would be a defect of this module.
pub fn anomalies_batch(alerts: &[&Alert]) -> Result<RecordBatch, ArrowError> {
    let alerts = || alerts.iter().copied();
    let text = |of: fn(&Alert) -> &str| columns::texts(alerts().map(of));
    let number = |of: fn(&Alert) -> Option<i128>| columns::numbers(alerts().map(of), NUMBER);
    let float = |of: fn(&Alert) -> f64| columns::doubles(alerts().map(of));
    let instant = |of: fn(&Alert) -> Option<Micros>| columns::timestamps(alerts().map(of));
    let contexts = alerts().map(context).collect::<Result<Vec<_>, _>>()?;
    let arrays = vec![
        text(|a| &a.id),
        text(|a| &a.key.kpi),
        text(|a| &a.key.tenant),
        text(|a| &a.key.dims),
        text(|a| a.key.grain.name()),
        instant(|a| Some(a.key.period_start)),
        instant(|a| Some(a.opened_at)),
        number(|a| a.value)?,
        number(|a| a.expected)?,
        number(|a| a.lower)?,
        number(|a| a.upper)?,
        float(|a| a.deviation),
        float(|a| a.z_score),
        float(|a| a.p_value),
        text(|a| a.severity.name()),
        text(|a| &a.anomaly_type),
        float(|a| a.confidence),
        text(|a| &a.reason),
        columns::texts(contexts.iter().map(String::as_str)),
        columns::booleans(alerts().map(|a| !a.is_open())),
        instant(|a| a.resolved_at),
        columns::epochs(alerts().map(|a| a.epoch)),
    ];
    RecordBatch::try_new(anomalies_schema(), arrays)
}

/// Alerts as they were at one epoch, as rows. Open ones change again and again; those that are forgotten
/// stay for ever.
#[derive(Debug)]
pub struct FrozenAlerts<'a>(pub &'a dyn FrozenObserver);

impl FrozenRows for FrozenAlerts<'_> {
    fn has_row(&self, slot: u32) -> bool {
        self.0.alert(slot).is_some()
    }

    fn live_slots(&self) -> Box<dyn Iterator<Item = u32> + '_> {
        Box::new((0..self.0.alerts_end()).filter(|slot| self.has_row(*slot)))
    }

    fn cluster(&self, slot: u32) -> Cluster {
        let is_open = self.0.alert(slot).is_some_and(Alert::is_open);
        if is_open { Cluster::Running } else { Cluster::Settled }
    }

    fn lasting(&self) -> &[u32] {
        self.0.forgotten_alerts()
    }

    fn batch(&self, slots: &[u32]) -> Result<RecordBatch, RowsError> {
        let alerts: Vec<_> = slots.iter().filter_map(|slot| self.0.alert(*slot)).collect();
        Ok(anomalies_batch(&alerts)?)
    }
}

/// Alerts from rows of `gold/anomalies`.
///
/// # Errors
/// When the rows are not what [`anomalies_batch`] writes.
pub fn read_anomalies(batch: &RecordBatch) -> Result<Vec<Alert>, String> {
    if batch.schema().fields().len() != anomalies_schema().fields().len() {
        return Err("gold/anomalies has other columns than weir writes".into());
    }
    let columns = Columns::new(batch).map_err(|e| format!("gold/anomalies: {e}"))?;
    (0..batch.num_rows()).map(|row| columns.alert(row)).collect()
}

/// The columns of a batch.
struct Columns {
    id: StringArray,
    kpi: StringArray,
    tenant: StringArray,
    dims: StringArray,
    grain: StringArray,
    period_start: TimestampMicrosecondArray,
    detected_at: TimestampMicrosecondArray,
    value: Decimal128Array,
    expected: Decimal128Array,
    lower: Decimal128Array,
    upper: Decimal128Array,
    deviation: Float64Array,
    z_score: Float64Array,
    p_value: Float64Array,
    severity: StringArray,
    anomaly_type: StringArray,
    confidence: Float64Array,
    description: StringArray,
    context: StringArray,
    resolved_at: TimestampMicrosecondArray,
    epoch: Int64Array,
}

impl Columns {
    fn new(batch: &RecordBatch) -> Result<Columns, ColumnError> {
        let text = |name: &str| columns::text(batch, name);
        let instant = |name: &str| columns::timestamp(batch, name);
        let number = |name: &str| columns::number(batch, name, NUMBER);
        let float = |name: &str| columns::double(batch, name);
        Ok(Columns {
            id: text("id")?,
            kpi: text("kpi")?,
            tenant: text("tenant_id")?,
            dims: text("dims")?,
            grain: text("grain")?,
            period_start: instant("period_start")?,
            detected_at: instant("detected_at")?,
            value: number("value")?,
            expected: number("expected_value")?,
            lower: number("lower")?,
            upper: number("upper")?,
            deviation: float("deviation")?,
            z_score: float("z_score")?,
            p_value: float("p_value")?,
            severity: text("severity")?,
            anomaly_type: text("anomaly_type")?,
            confidence: float("confidence_score")?,
            description: text("description")?,
            context: text("context")?,
            resolved_at: instant("resolved_at")?,
            epoch: columns::bigint(batch, "epoch")?,
        })
    }

    fn alert(&self, row: usize) -> Result<Alert, String> {
        let number = |of: &Decimal128Array| of.is_valid(row).then(|| of.value(row));
        let instant =
            |of: &TimestampMicrosecondArray| of.is_valid(row).then(|| Micros(of.value(row)));
        let grain = self.grain.value(row);
        let severity = self.severity.value(row);
        let context: Context = serde_json::from_str(self.context.value(row))
            .map_err(|e| format!("gold/anomalies: column context: {e}"))?;
        let contributions = context.contributions.into_iter().map(contribution);
        Ok(Alert {
            id: self.id.value(row).into(),
            key: CellKey {
                kpi: self.kpi.value(row).into(),
                tenant: self.tenant.value(row).into(),
                dims: self.dims.value(row).into(),
                grain: Grain::parse(grain).ok_or_else(|| wrong("grain", grain))?,
                period_start: instant(&self.period_start).ok_or("period_start is null")?,
            },
            incident: context.incident.unwrap_or_else(|| self.id.value(row).into()),
            rule: context.rule,
            anomaly_type: self.anomaly_type.value(row).into(),
            severity: Severity::parse(severity).ok_or_else(|| wrong("severity", severity))?,
            opened_at: instant(&self.detected_at).ok_or("detected_at is null")?,
            resolved_at: instant(&self.resolved_at),
            resolution: context.resolution,
            value: number(&self.value),
            expected: number(&self.expected),
            lower: number(&self.lower),
            upper: number(&self.upper),
            deviation: self.deviation.value(row),
            z_score: self.z_score.value(row),
            p_value: self.p_value.value(row),
            confidence: self.confidence.value(row),
            reason: self.description.value(row).into(),
            contributions: contributions.collect::<Result<_, _>>()?,
            epoch: u64::try_from(self.epoch.value(row))
                .map_err(|_| wrong("epoch", "a negative number"))?,
        })
    }
}

fn contribution(part: Part) -> Result<Contribution, String> {
    let number = |text: &str| {
        decimal::parse(text.as_bytes(), decimal::VALUE_SCALE).ok_or_else(|| wrong("context", text))
    };
    let (value, expected) = (number(&part.value)?, number(&part.expected)?);
    Ok(Contribution { kpi: part.kpi, dims: part.dims, value, expected })
}

fn wrong(column: &str, found: &str) -> String {
    format!("gold/anomalies: column {column} holds `{found}`, which weir does not write")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(id: &str, resolved_at: Option<Micros>) -> Alert {
        let key = CellKey {
            kpi: "total_cost".into(),
            tenant: "t".into(),
            dims: r#"{"currency":"USD"}"#.into(),
            grain: Grain::Day,
            period_start: Micros(86_400_000_000),
        };
        let part = Contribution {
            kpi: "cost_by_service".into(),
            dims: r#"{"currency":"USD","service_name":"db"}"#.into(),
            value: -15,
            expected: 10_000_000_001,
        };
        Alert {
            id: id.into(),
            key,
            incident: "a".into(),
            rule: "cost_spike".into(),
            anomaly_type: "spike".into(),
            severity: Severity::Error,
            opened_at: Micros(5),
            resolved_at,
            resolution: resolved_at.map(|_| "it went back".into()),
            value: Some(7),
            expected: None,
            lower: Some(-1),
            upper: Some(i128::from(i64::MAX)),
            deviation: 0.1 + 0.2,
            z_score: -1e-300,
            p_value: f64::MIN_POSITIVE,
            confidence: 0.999,
            reason: "a \"quoted\" reason".into(),
            contributions: vec![part],
            epoch: 42,
        }
    }

    #[test]
    fn alerts_are_read_back_as_they_were() {
        let alerts = [alert("a", None), alert("b", Some(Micros(9)))];
        let batch = anomalies_batch(&alerts.each_ref()).unwrap();
        assert_eq!(batch.num_rows(), 2);
        assert_eq!(read_anomalies(&batch).unwrap(), alerts);
        assert_eq!(read_anomalies(&anomalies_batch(&[]).unwrap()).unwrap(), []);
    }
}
