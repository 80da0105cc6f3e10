//! What the tables say against what the SQL says.

use std::collections::BTreeMap;
use std::fmt;

use arrow::array::{Array, Decimal128Array, RecordBatch, StringArray};
use arrow::datatypes::i256;
use datafusion::prelude::SessionContext;
use rows::{ColumnError, columns};
use schemas::{Grain, Micros, decimal};

use super::converted::{EXACT_SCALE, rounded};
use super::sql::period_end;
use super::{AuditError, recompute_sql};
use crate::catalog::Catalog;
use crate::definition::{Definition, Formula, Unit};
use crate::table::NUMBER;

/// Digits after the point of what is recomputed: no fewer than those of any value.
const WIDE_SCALE: i8 = 10;

/// A cell without its KPI and grain.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cell {
    tenant: String,
    dims: String,
    period_start: Micros,
}

impl Cell {
    /// Its dimensions, JSON.
    pub(super) fn dims(&self) -> &str {
        &self.dims
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.tenant, self.dims, self.period_start)
    }
}

/// What the recompute says of a cell.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected {
    /// Where its period ends.
    period_end: Micros,
    /// Whether a row feeds it: if not, one might.
    is_fed: bool,
    above: Part,
    /// A ratio's denominator, when a row feeds it.
    below: Option<Part>,
    /// The numerator and the denominator of the ratio that it is divided by.
    over: Option<[i256; 2]>,
    /// Whether a row that feeds it, or might, is in doubt; `None` where SQL does not know.
    in_doubt: Option<bool>,
}

impl Expected {
    /// In words: the value, or what it is the quotient of.
    pub(super) fn told(&self) -> String {
        let part = |part: Part| part.number().map_or("beyond decimal(38,10)".into(), formatted);
        match (self.below, self.is_fed) {
            (Some(below), _) => format!("{} / {}", part(self.above), part(below)),
            (None, true) => part(self.above),
            (None, false) => "no_data".to_owned(),
        }
    }
}

fn formatted(number: i128) -> String {
    decimal::format(number, decimal::VALUE_SCALE)
}

/// A recomputed number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Exact(i128),
    /// It does not fit into `decimal(38,10)`.
    Beyond,
}

impl Part {
    fn new(number: i256) -> Part {
        let fits = |n: &i128| n.unsigned_abs() <= decimal::MANTISSA_MAX.unsigned_abs();
        number.to_i128().filter(fits).map_or(Part::Beyond, Part::Exact)
    }

    fn number(self) -> Option<i128> {
        match self {
            Part::Exact(number) => Some(number),
            Part::Beyond => None,
        }
    }
}

/// What the table says of a cell.
#[derive(Debug, Clone)]
pub(super) struct Held {
    period_end: Micros,
    value: Option<i128>,
    numerator: Option<i128>,
    denominator: Option<i128>,
    unit: String,
    status: String,
}

impl Held {
    /// Whether it says that it may be wrong.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.status == "in_doubt"
    }

    /// In words: the value, with what it is the quotient of, or the status where there is none.
    pub(super) fn told(&self) -> String {
        let value = self.value.map_or_else(|| self.status.clone(), formatted);
        match (self.numerator, self.denominator) {
            (None, None) => value,
            (above, below) => {
                let part = |part: Option<i128>| part.map_or("null".into(), formatted);
                format!("{} / {} = {value}", part(above), part(below))
            }
        }
    }
}

/// What is wrong with a cell, in words.
#[derive(Debug)]
pub(super) struct Problem(String);

impl Problem {
    pub(super) fn new(text: &str) -> Problem {
        Problem(text.into())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Compares one cell.
pub(super) fn check(ratio: bool, unit: Unit, expected: &Expected, held: &Held) -> Option<Problem> {
    let text = |number: Option<i128>| number.map_or("null".into(), formatted);
    let differs = |what: &str, is: Option<i128>, should: Option<i128>| {
        (is != should)
            .then(|| Problem(format!("{what} is {}, should be {}", text(is), text(should))))
    };
    if held.period_end != expected.period_end {
        let (is, should) = (held.period_end, expected.period_end);
        return Some(Problem(format!("period_end is {is}, should be {should}")));
    }
    if held.unit != unit.name() {
        return Some(Problem(format!("unit is {}, should be {}", held.unit, unit.name())));
    }
    let wrong_status = |should: &str| {
        let is_doubted = expected.in_doubt.unwrap_or(held.status == "in_doubt");
        let should = if is_doubted && should != "error" { "in_doubt" } else { should };
        (held.status != should)
            .then(|| Problem(format!("status is {}, should be {should}", held.status)))
    };
    let above = expected.above.number();
    if let Some(over) = expected.over {
        return differs("numerator", held.numerator, None)
            .or_else(|| differs("denominator", held.denominator, None))
            .or_else(|| check_double(expected, over, held, wrong_status));
    }
    if !ratio && !expected.is_fed {
        return wrong_status("no_data")
            .or_else(|| differs("value", held.value, None))
            .or_else(|| differs("numerator", held.numerator, None))
            .or_else(|| differs("denominator", held.denominator, None));
    }
    if !ratio {
        return wrong_status(if above.is_some() { "ok" } else { "error" })
            .or_else(|| differs("value", held.value, above))
            .or_else(|| differs("numerator", held.numerator, None))
            .or_else(|| differs("denominator", held.denominator, None));
    }
    let below = expected.below.and_then(Part::number);
    let parts = differs("numerator", held.numerator, above)
        .or_else(|| differs("denominator", held.denominator, below));
    let (Some(above), false) = (above, expected.below == Some(Part::Beyond)) else {
        let rest = || wrong_status("error").or_else(|| differs("value", held.value, None));
        return parts.or_else(rest);
    };
    parts.or_else(|| match (below, held.value) {
        (None | Some(0), _) => {
            wrong_status("no_data").or_else(|| differs("value", held.value, None))
        }
        (Some(below), None) => wrong_status("error").or_else(|| {
            let fits = !beyond_range(above, below);
            fits.then(|| Problem::new("status is error, but the quotient fits"))
        }),
        (Some(below), Some(value)) => wrong_status("ok").or_else(|| {
            let wrong = !is_quotient(value, above, below);
            wrong.then(|| {
                Problem(format!("value {} is not the quotient of its parts", text(Some(value))))
            })
        }),
    })
}

/// Compares a ratio that is divided by another one, by multiplying back: `value * below * over = above * last`.
fn check_double(
    expected: &Expected,
    [over, last]: [i256; 2],
    held: &Held,
    wrong_status: impl Fn(&str) -> Option<Problem>,
) -> Option<Problem> {
    let below = expected.below.unwrap_or(Part::Exact(0));
    let all = (expected.above.number(), below.number(), Part::new(over).number());
    let ((Some(above), Some(below), Some(over)), Some(last)) = (all, Part::new(last).number())
    else {
        return wrong_status("error");
    };
    if below == 0 || over == 0 || last == 0 {
        let has_value = held.value.is_some();
        return wrong_status("no_data")
            .or_else(|| has_value.then(|| Problem::new("no value can be")));
    }
    let wide = |number| i256::from_i128(number);
    let unit = wide(10_i128.pow(decimal::VALUE_SCALE));
    let exact = wide(above).checked_mul(wide(last)).and_then(|own| own.checked_mul(unit));
    let by = wide(below).checked_mul(wide(over));
    let Some(value) = held.value else {
        // What leaves 256 bits on the way, or 38 digits, has none.
        let most = by.and_then(|by| by.checked_mul(wide(decimal::MANTISSA_MAX)));
        let is_beyond = exact.zip(most).is_none_or(|(e, m)| e.wrapping_abs() > m.wrapping_abs());
        let fits = || Problem::new("status is error, but the quotient fits");
        return wrong_status("error").or_else(|| (!is_beyond).then(fits));
    };
    let error = by.and_then(|by| wide(value).checked_mul(by)).zip(exact);
    let error = error.and_then(|(back, exact)| back.checked_sub(exact));
    let twice = error.and_then(|error| error.wrapping_abs().checked_mul(wide(2)));
    let is_it = twice.zip(by).is_some_and(|(twice, by)| {
        twice < by.wrapping_abs() || (twice == by.wrapping_abs() && value % 2 == 0)
    });
    let wrong = || Problem::new("the value is not the quotient of its quotients");
    wrong_status("ok").or_else(|| (!is_it).then(wrong))
}

/// Whether `value` is `above / below` rounded half to even, by multiplying back: the error is at most
/// half a unit of the last digit, and exactly half only where the value is even.
fn is_quotient(value: i128, above: i128, below: i128) -> bool {
    let wide = |number| i256::from_i128(number);
    let unit = wide(10_i128.pow(decimal::VALUE_SCALE));
    let error = wide(value)
        .checked_mul(wide(below))
        .zip(wide(above).checked_mul(unit))
        .and_then(|(back, exact)| back.checked_sub(exact))
        .and_then(|error| error.checked_mul(wide(2)));
    let Some(error) = error else { return false };
    let (error, below) = (error.wrapping_abs(), wide(below).wrapping_abs());
    error < below || (error == below && value % 2 == 0)
}

/// Whether the rounded quotient needs more than 38 digits.
fn beyond_range(above: i128, below: i128) -> bool {
    let wide = |number| i256::from_i128(number).wrapping_abs();
    let twice = |number| wide(number).checked_add(wide(number));
    // 2 * |above| * 10^10 >= (2 * MAX + 1) * |below|
    let least = twice(decimal::MANTISSA_MAX).and_then(|l| l.checked_add(i256::ONE));
    let least = least.and_then(|least| least.checked_mul(wide(below)));
    let scaled = twice(above).and_then(|t| t.checked_mul(wide(10_i128.pow(decimal::VALUE_SCALE))));
    scaled.zip(least).is_none_or(|(scaled, least)| scaled >= least)
}

/// The rows of a query.
pub(super) async fn rows(
    context: &SessionContext,
    what: &str,
    sql: &str,
) -> Result<Vec<RecordBatch>, AuditError> {
    let failed = |source| AuditError::Query { what: what.into(), source: Box::new(source) };
    context.sql(sql).await.map_err(failed)?.collect().await.map_err(failed)
}

/// Recomputes a KPI at a grain; where there is a condition, those of its cells that it holds for.
pub(super) async fn expected(
    context: &SessionContext,
    catalog: &Catalog,
    definition: &Definition,
    grain: Grain,
    condition: Option<&str>,
) -> Result<BTreeMap<Cell, Expected>, AuditError> {
    let what = format!("{} by {grain}", definition.key);
    let dims = catalog.dims(definition);
    let made_of = catalog.converts(definition).unwrap_or(definition);
    let knows_doubt = !matches!(made_of.formula, Formula::OfView { .. });
    let mut cells = BTreeMap::new();
    let cells_sql = recompute_sql(catalog, definition, grain);
    let end = period_end(catalog.calendar(), grain);
    let only = condition.map(|own| format!(" WHERE {own}")).unwrap_or_default();
    let sql = format!("SELECT *, {end} AS period_end FROM ({cells_sql}) AS cells{only}");
    for batch in rows(context, &what, &sql).await? {
        let shape = |e: ColumnError| AuditError::Shape { what: what.clone(), column: e.column };
        let text = |name: &str| columns::text(&batch, name).map_err(shape);
        let wide = |name: &str| columns::wide(&batch, name, WIDE_SCALE).map_err(shape);
        let count = |name: &str| columns::bigint(&batch, name).map_err(shape);
        let instant = |name: &str| columns::timestamp(&batch, name).map_err(shape);
        let (starts, ends) = (instant("period_start")?, instant("period_end")?);
        let tenants = text("tenant_id")?;
        let (above, below) = (wide("above")?, wide("below")?);
        let (beyond, below_count) = (count("beyond")?, count("below_cnt")?);
        let (fed, doubt) = (count("cnt")?, count("doubt")?);
        let over = match batch.column_by_name("over_above") {
            Some(_) => Some((wide("over_above")?, wide("over_below")?)),
            None => None,
        };
        let exact = batch.column_by_name("exact");
        let exact = exact.map(|_| columns::wide(&batch, "exact", EXACT_SCALE)).transpose();
        let exact = exact.map_err(shape)?;
        let mut values = Vec::with_capacity(dims.len());
        for name in &dims {
            values.push((name, text(&format!("dim_{name}"))?));
        }
        for row in 0..batch.num_rows() {
            let cell = Cell {
                tenant: tenants.value(row).into(),
                dims: canonical_json(&values, row),
                period_start: Micros(starts.value(row)),
            };
            let above = match (beyond.value(row), &exact) {
                (0, None) => Part::new(above.value(row)),
                (0, Some(exact)) => Part::new(rounded(exact.value(row))),
                _ => Part::Beyond,
            };
            let below = (below_count.value(row) > 0).then(|| Part::new(below.value(row)));
            let in_doubt = knows_doubt.then(|| doubt.value(row) > 0);
            let is_fed = fed.value(row) > 0;
            let period_end = Micros(ends.value(row));
            let over = over.as_ref().map(|(above, below)| [above.value(row), below.value(row)]);
            cells.insert(cell, Expected { period_end, is_fed, above, below, over, in_doubt });
        }
    }
    Ok(cells)
}

pub(super) fn canonical_json(values: &[(&String, StringArray)], row: usize) -> String {
    let pairs = values.iter().map(|(name, column)| {
        let value = column.is_valid(row).then(|| column.value(row));
        format!("{}:{}", serde_json::json!(name), serde_json::json!(value))
    });
    format!("{{{}}}", pairs.collect::<Vec<_>>().join(","))
}

/// Per KPI and grain, the rows of each cell; more than one is a defect.
pub(super) type HeldCells = BTreeMap<(String, Grain), BTreeMap<Cell, Vec<Held>>>;

/// Reads the table of current values; where there is a condition, the rows that it holds for.
pub(super) async fn held(
    context: &SessionContext,
    condition: Option<&str>,
) -> Result<HeldCells, AuditError> {
    let what = "kpi_current";
    let only = condition.map(|own| format!(" WHERE {own}")).unwrap_or_default();
    let sql = format!(
        "SELECT kpi, tenant_id, dims, grain, period_start, period_end, value, numerator, \
         denominator, unit, status FROM kpi_current{only}"
    );
    let mut cells = HeldCells::new();
    for batch in rows(context, what, &sql).await? {
        let shape = |e: ColumnError| AuditError::Shape { what: what.into(), column: e.column };
        let text = |name: &str| columns::text(&batch, name).map_err(shape);
        let numbers = |name: &str| columns::number(&batch, name, NUMBER).map_err(shape);
        let (kpis, grains) = (text("kpi")?, text("grain")?);
        let (tenants, dims) = (text("tenant_id")?, text("dims")?);
        let instant = |name: &str| columns::timestamp(&batch, name).map_err(shape);
        let (starts, ends) = (instant("period_start")?, instant("period_end")?);
        let values = numbers("value")?;
        let (above, below) = (numbers("numerator")?, numbers("denominator")?);
        let (units, statuses) = (text("unit")?, text("status")?);
        let number = |of: &Decimal128Array, row| of.is_valid(row).then(|| of.value(row));
        for row in 0..batch.num_rows() {
            let grain = Grain::parse(grains.value(row));
            let grain = grain.ok_or_else(|| shape(ColumnError::new("grain", "is no grain")))?;
            let cell = Cell {
                tenant: tenants.value(row).into(),
                dims: dims.value(row).into(),
                period_start: Micros(starts.value(row)),
            };
            let held = Held {
                period_end: Micros(ends.value(row)),
                value: number(&values, row),
                numerator: number(&above, row),
                denominator: number(&below, row),
                unit: units.value(row).into(),
                status: statuses.value(row).into(),
            };
            let kpi = cells.entry((kpis.value(row).to_owned(), grain)).or_default();
            kpi.entry(cell).or_default().push(held);
        }
    }
    Ok(cells)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotients_are_checked_by_multiplying_back() {
        for (above, below) in [(1, 3), (2, 3), (-1, 3), (1, 20_000_000_000), (3, 20_000_000_000)] {
            let value = decimal::quotient(above, below).unwrap();
            assert!(is_quotient(value, above, below), "{above} / {below}");
            assert!(!is_quotient(value + 1, above, below), "{above} / {below}");
            assert!(!is_quotient(value - 1, above, below), "{above} / {below}");
        }
        assert!(is_quotient(decimal::MANTISSA_MAX, decimal::MANTISSA_MAX, 10_i128.pow(10)));
    }

    #[test]
    fn range_errors_are_checked_too() {
        assert!(beyond_range(decimal::MANTISSA_MAX, 1));
        assert!(!beyond_range(1, decimal::MANTISSA_MAX));
        assert!(!beyond_range(decimal::MANTISSA_MAX, 10_i128.pow(10)));
    }
}
