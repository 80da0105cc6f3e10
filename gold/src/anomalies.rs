//! The Arrow form of `gold/anomalies`: one row per alert, and alerts read back from it.
//!
//! # Guarantees
//! - What is written and read back is the same alert, bit for bit.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, Float64Array, Int64Array, RecordBatch,
    StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{
    DataType, Decimal128Type, Field, Float64Type, Int64Type, Schema, SchemaRef, TimeUnit,
    TimestampMicrosecondType,
};
use arrow::error::ArrowError;
use lake::keyed::{FrozenRows, RowsError};
use schemas::{Alert, CellKey, Contribution, Grain, Micros, Severity, decimal};
use serde::{Deserialize, Serialize};

const PRECISION: u8 = 38;
const SCALE: i8 = 10;
const _: () = assert!(SCALE as u32 == decimal::VALUE_SCALE);

/// The columns of `gold/anomalies`.
pub fn anomalies_schema() -> SchemaRef {
    let number = DataType::Decimal128(PRECISION, SCALE);
    let instant = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
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
        resolution: alert.resolution.clone(),
        contributions: alert.contributions.iter().map(part).collect(),
    };
    serde_json::to_string(&context).map_err(|e| ArrowError::ExternalError(Box::new(e)))
}

/// Rows of `gold/anomalies`, in the order given.
///
/// # Errors
/// When Arrow refuses the arrays, which would be a defect of this module.
pub fn anomalies_batch(alerts: &[Alert]) -> Result<RecordBatch, ArrowError> {
    let text = |of: fn(&Alert) -> &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(alerts.iter().map(of)))
    };
    let number = |of: fn(&Alert) -> Option<i128>| -> Result<ArrayRef, ArrowError> {
        let array = Decimal128Array::from_iter(alerts.iter().map(of));
        Ok(Arc::new(array.with_precision_and_scale(PRECISION, SCALE)?))
    };
    let float = |of: fn(&Alert) -> f64| -> ArrayRef {
        Arc::new(Float64Array::from_iter_values(alerts.iter().map(of)))
    };
    let instant = |of: fn(&Alert) -> Option<Micros>| -> ArrayRef {
        let array = TimestampMicrosecondArray::from_iter(alerts.iter().map(|a| Some(of(a)?.0)));
        Arc::new(array.with_timezone("UTC"))
    };
    let contexts = alerts.iter().map(context).collect::<Result<Vec<_>, _>>()?;
    let epochs = alerts.iter().map(|alert| i64::try_from(alert.epoch).unwrap_or(i64::MAX));
    let columns = vec![
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
        Arc::new(StringArray::from(contexts)),
        Arc::new(BooleanArray::from_iter(alerts.iter().map(|a| Some(!a.is_open())))),
        instant(|a| a.resolved_at),
        Arc::new(Int64Array::from_iter_values(epochs)),
    ];
    RecordBatch::try_new(anomalies_schema(), columns)
}

/// Alerts as they were at one epoch; the slot of an alert is its place in the list.
#[derive(Debug)]
pub struct FrozenAlerts(pub Vec<Alert>);

impl FrozenRows for FrozenAlerts {
    fn has_row(&self, slot: u32) -> bool {
        (slot as usize) < self.0.len()
    }

    fn live_slots(&self) -> Box<dyn Iterator<Item = u32> + '_> {
        Box::new((0_u32..).zip(&self.0).map(|(slot, _)| slot))
    }

    fn batch(&self, slots: &[u32]) -> Result<RecordBatch, RowsError> {
        let alerts = slots.iter().filter_map(|&slot| self.0.get(slot as usize));
        Ok(anomalies_batch(&alerts.cloned().collect::<Vec<_>>())?)
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
    (0..batch.num_rows()).map(|row| read_row(batch, row)).collect()
}

fn read_row(batch: &RecordBatch, row: usize) -> Result<Alert, String> {
    let cells = Row { batch, row };
    let grain = cells.text("grain")?;
    let context: Context = serde_json::from_str(cells.text("context")?)
        .map_err(|e| format!("gold/anomalies: column context: {e}"))?;
    let severity = cells.text("severity")?;
    Ok(Alert {
        id: cells.text("id")?.into(),
        key: CellKey {
            kpi: cells.text("kpi")?.into(),
            tenant: cells.text("tenant_id")?.into(),
            dims: cells.text("dims")?.into(),
            grain: Grain::parse(grain).ok_or_else(|| wrong("grain", grain))?,
            period_start: cells.instant("period_start")?.ok_or("period_start is null")?,
        },
        rule: context.rule,
        anomaly_type: cells.text("anomaly_type")?.into(),
        severity: Severity::parse(severity).ok_or_else(|| wrong("severity", severity))?,
        opened_at: cells.instant("detected_at")?.ok_or("detected_at is null")?,
        resolved_at: cells.instant("resolved_at")?,
        resolution: context.resolution,
        value: cells.number("value")?,
        expected: cells.number("expected_value")?,
        lower: cells.number("lower")?,
        upper: cells.number("upper")?,
        deviation: cells.float("deviation")?,
        z_score: cells.float("z_score")?,
        p_value: cells.float("p_value")?,
        confidence: cells.float("confidence_score")?,
        reason: cells.text("description")?.into(),
        contributions: context
            .contributions
            .into_iter()
            .map(contribution)
            .collect::<Result<_, _>>()?,
        epoch: cells.epoch()?,
    })
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

struct Row<'a> {
    batch: &'a RecordBatch,
    row: usize,
}

impl<'a> Row<'a> {
    fn column(&self, name: &str) -> Result<&'a ArrayRef, String> {
        let found = self.batch.column_by_name(name);
        found.ok_or_else(|| format!("gold/anomalies has no column {name}"))
    }

    fn text(&self, name: &str) -> Result<&'a str, String> {
        let array = self.column(name)?.as_string_opt::<i32>();
        array.map(|array| array.value(self.row)).ok_or_else(|| wrong(name, "another type"))
    }

    fn float(&self, name: &str) -> Result<f64, String> {
        let array = self.column(name)?.as_primitive_opt::<Float64Type>();
        array.map(|array| array.value(self.row)).ok_or_else(|| wrong(name, "another type"))
    }

    fn number(&self, name: &str) -> Result<Option<i128>, String> {
        let array = self.column(name)?.as_primitive_opt::<Decimal128Type>();
        let array = array.ok_or_else(|| wrong(name, "another type"))?;
        Ok(array.is_valid(self.row).then(|| array.value(self.row)))
    }

    fn instant(&self, name: &str) -> Result<Option<Micros>, String> {
        let array = self.column(name)?.as_primitive_opt::<TimestampMicrosecondType>();
        let array = array.ok_or_else(|| wrong(name, "another type"))?;
        Ok(array.is_valid(self.row).then(|| Micros(array.value(self.row))))
    }

    fn epoch(&self) -> Result<u64, String> {
        let array = self.column("epoch")?.as_primitive_opt::<Int64Type>();
        let array = array.ok_or_else(|| wrong("epoch", "another type"))?;
        u64::try_from(array.value(self.row)).map_err(|_| wrong("epoch", "a negative number"))
    }
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
        let batch = anomalies_batch(&alerts).unwrap();
        assert_eq!(batch.num_rows(), 2);
        assert_eq!(read_anomalies(&batch).unwrap(), alerts);
        assert_eq!(read_anomalies(&anomalies_batch(&[]).unwrap()).unwrap(), []);
    }
}
