//! The nine first KPIs, computed from silver rows by their definitions in words.
//!
//! # Guarantees
//! - Sums are exact; quotients come from [`numbers::quotient`]; a float is never used.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use schemas::Grain;

use crate::event::{self, Cell, Row};
use crate::{numbers, periods};

/// What names a cell.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CellId {
    /// The KPI.
    pub kpi: &'static str,
    /// The tenant.
    pub tenant: Rc<str>,
    /// Canonical JSON text.
    pub dims: Rc<str>,
    /// The grain.
    pub grain: Grain,
    /// Start of the period in microseconds.
    pub start: i64,
}

impl CellId {
    /// End of the period in microseconds.
    pub fn end(&self) -> i64 {
        periods::end(self.grain, self.start)
    }
}

/// What a cell says, in units of `10^-10`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CellValue {
    /// The value.
    pub value: Option<i128>,
    /// The numerator of a ratio.
    pub numerator: Option<i128>,
    /// The denominator of a ratio.
    pub denominator: Option<i128>,
    /// `ok`, `in_doubt`, `no_data` or `error`.
    pub status: &'static str,
}

/// What a cell without rows says in history.
pub const GONE: CellValue =
    CellValue { value: None, numerator: None, denominator: None, status: "no_data" };

/// Every KPI and its unit.
pub const UNITS: [(&str, &str); 9] = [
    ("average_order_value", "currency"),
    ("cost_by_service", "currency"),
    ("gross_margin", "ratio"),
    ("orders", "count"),
    ("revenue_booked", "currency"),
    ("revenue_by_channel", "currency"),
    ("revenue_recognized", "currency"),
    ("roi", "ratio"),
    ("total_cost", "currency"),
];

/// KPIs of the same tables that the oracle leaves alone; `gold/tests/catalogue.rs` judges them.
pub const LEFT_ALONE: [&str; 3] = ["backlog", "book_to_bill", "coverage_months"];

/// Ratio, what its numerator adds, what it subtracts, its denominator.
const RATIOS: [(&str, &str, Option<&str>, &str); 3] = [
    ("average_order_value", "revenue_booked", None, "orders"),
    ("gross_margin", "revenue_recognized", Some("total_cost"), "revenue_recognized"),
    ("roi", "revenue_recognized", Some("total_cost"), "total_cost"),
];

/// The contracts whose rows a KPI is of.
pub fn reads(kpi: &str) -> &'static [&'static str] {
    match kpi {
        "cost_by_service" | "total_cost" => &["costs"],
        "gross_margin" | "roi" => &["costs", "orders"],
        _ => &["orders"],
    }
}

/// The cells that a row changes which was `before` and is `after`: by KPI those that it is in, if it counts
/// otherwise in any.
pub fn changed(contract: &str, before: Option<&Row>, after: Option<&Row>) -> BTreeSet<CellId> {
    let parts = |row: Option<&Row>| {
        let parts = row.into_iter().flat_map(|row| {
            let is_doubtful = event::is_in_doubt(row);
            parts(contract, row).into_iter().map(move |(id, amount)| (id, (amount, is_doubtful)))
        });
        parts.collect::<BTreeMap<_, _>>()
    };
    let (before, after) = (parts(before), parts(after));
    let of = |parts: &BTreeMap<CellId, (Option<i128>, bool)>, kpi: &str| {
        let own = parts.iter().filter(|(id, _)| id.kpi == kpi);
        own.map(|(id, counts)| (id.clone(), *counts)).collect::<BTreeMap<_, _>>()
    };
    let mut changed = BTreeSet::new();
    for (kpi, _) in UNITS {
        let (before, after) = (of(&before, kpi), of(&after, kpi));
        if before != after {
            for id in before.into_keys().chain(after.into_keys()) {
                changed.extend(dependents(&id));
                changed.insert(id);
            }
        }
    }
    changed
}

/// The KPI with this name.
pub fn kpi(name: &str) -> Option<&'static str> {
    UNITS.iter().find(|(kpi, _)| *kpi == name).map(|(kpi, _)| *kpi)
}

/// The unit of a KPI.
pub fn unit(name: &str) -> Option<&'static str> {
    UNITS.iter().find(|(kpi, _)| *kpi == name).map(|(_, unit)| *unit)
}

/// Sums, row counts and counts of rows in doubt of the KPIs that are sums. A row of which it is not known
/// whether it counts is one in doubt, and counts for nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sums(HashMap<CellId, (i128, u64, u64)>);

impl Sums {
    /// Adds a row; returns the cells that it may change.
    pub fn add(&mut self, contract: &str, row: &Row) -> BTreeSet<CellId> {
        let mut touched = BTreeSet::new();
        for (id, amount) in parts(contract, row) {
            self.count(&id, amount, row);
            touched.extend(dependents(&id));
            touched.insert(id);
        }
        touched
    }

    fn count(&mut self, id: &CellId, amount: Option<i128>, row: &Row) {
        let (sum, rows, doubted) = self.0.entry(id.clone()).or_insert((0, 0, 0));
        *sum += amount.unwrap_or(0);
        *rows += u64::from(amount.is_some());
        *doubted += u64::from(event::is_in_doubt(row));
    }

    /// Takes a row away again; returns the cells that it may change.
    pub fn take(&mut self, contract: &str, row: &Row) -> BTreeSet<CellId> {
        let mut touched = BTreeSet::new();
        for (id, amount) in parts(contract, row) {
            if let Some((sum, rows, doubted)) = self.0.get_mut(&id) {
                *sum -= amount.unwrap_or(0);
                *rows -= u64::from(amount.is_some());
                *doubted -= u64::from(event::is_in_doubt(row));
                if (*rows, *doubted) == (0, 0) {
                    self.0.remove(&id);
                }
            }
            touched.extend(dependents(&id));
            touched.insert(id);
        }
        touched
    }

    /// What a cell says; `None` when no row feeds it nor might.
    pub fn value(&self, id: &CellId) -> Option<CellValue> {
        let Some((_, plus, minus, below)) = RATIOS.iter().find(|ratio| ratio.0 == id.kpi) else {
            let (sum, rows, doubted) = *self.0.get(id)?;
            let value = if rows > 0 { whole(sum) } else { GONE };
            return Some(doubtful(value, doubted > 0));
        };
        let part = |kpi| self.0.get(&CellId { kpi, ..id.clone() });
        let sum = |kpi| part(kpi).filter(|(_, rows, _)| *rows > 0).map(|(sum, ..)| *sum);
        let all = [Some(*plus), *minus, Some(*below)].into_iter().flatten();
        let is_doubtful = all.filter_map(part).any(|(_, _, doubted)| *doubted > 0);
        let (plus, minus, below) = (sum(*plus), minus.and_then(sum), sum(*below));
        if plus.is_none() && minus.is_none() && below.is_none() && !is_doubtful {
            return None;
        }
        Some(doubtful(ratio(plus.unwrap_or(0) - minus.unwrap_or(0), below), is_doubtful))
    }

    /// Every cell there is.
    pub fn cells(&self) -> BTreeMap<CellId, CellValue> {
        let ids = self.0.keys().flat_map(|id| dependents(id).into_iter().chain([id.clone()]));
        let ids: BTreeSet<CellId> = ids.collect();
        ids.into_iter().filter_map(|id| Some((id.clone(), self.value(&id)?))).collect()
    }
}

/// The cells of these silver rows: (contract, row).
pub fn cells<'a>(rows: impl Iterator<Item = (&'a str, &'a Row)>) -> BTreeMap<CellId, CellValue> {
    let mut sums = Sums::default();
    for (contract, row) in rows {
        sums.add(contract, row);
    }
    sums.cells()
}

/// The windows of these silver rows at an instant: (contract, row). Every KPI has every one.
pub fn windows<'a>(
    rows: impl Iterator<Item = (&'a str, &'a Row)>,
    now: i64,
) -> BTreeMap<CellId, CellValue> {
    let mut sums = Sums::default();
    for (contract, row) in rows {
        // Windows begin and end with an hour, and so the hour of a row says whether it is in one.
        let hours = parts(contract, row).into_iter().filter(|(id, _)| id.grain == Grain::Hour);
        for (id, amount) in hours {
            for grain in Grain::WINDOWS {
                let (start, end) = periods::window(grain, now);
                if (start..end).contains(&id.start) {
                    sums.count(&CellId { grain, start, ..id.clone() }, amount, row);
                }
            }
        }
    }
    sums.cells()
}

/// What a cell says that a row in doubt feeds: the same, but for its status.
fn doubtful(value: CellValue, is_doubtful: bool) -> CellValue {
    let status = if value.status == "error" { "error" } else { "in_doubt" };
    if is_doubtful { CellValue { status, ..value } } else { value }
}

fn whole(sum: i128) -> CellValue {
    let fits = sum.abs() <= numbers::LARGEST;
    let (value, status) = if fits { (Some(sum), "ok") } else { (None, "error") };
    CellValue { value, numerator: None, denominator: None, status }
}

fn ratio(above: i128, below: Option<i128>) -> CellValue {
    let (numerator, denominator) = (Some(above), below);
    let (value, status) = match below {
        None | Some(0) => (None, "no_data"),
        Some(below) => match numbers::quotient(above, below) {
            Some(value) => (Some(value), "ok"),
            None => (None, "error"),
        },
    };
    CellValue { value, numerator, denominator, status }
}

/// The ratios that use a sum.
fn dependents(id: &CellId) -> Vec<CellId> {
    let uses = RATIOS.iter().filter(|(_, plus, minus, below)| {
        *plus == id.kpi || *minus == Some(id.kpi) || *below == id.kpi
    });
    uses.map(|(kpi, ..)| CellId { kpi, ..id.clone() }).collect()
}

/// What a row adds to which sums; `None` where it is not known whether it counts.
fn parts(contract: &str, row: &Row) -> Vec<(CellId, Option<i128>)> {
    match contract {
        "orders" => order_parts(row),
        "costs" => cost_parts(row),
        _ => Vec::new(),
    }
}

/// Columns: order_id 0, tenant_id 1, customer_id 2, status 3, amount 4, currency 5, channel 6,
/// campaign 7, placed_at 8, recognized_at 9, updated_at 10.
fn order_parts(row: &Row) -> Vec<(CellId, Option<i128>)> {
    let (status, amount) = (text(row, 3), decimal(row, 4) * 1_000_000);
    let currency = dims(&[("currency", text(row, 5))]);
    let by_channel = dims(&[("channel", text(row, 6)), ("currency", text(row, 5))]);
    let is_unknown = row.get(3) == Some(&Cell::Unknown);
    let known = |amount: i128| (!is_unknown).then_some(amount);
    let mut parts = Vec::new();
    if status != Some("cancelled") {
        let placed = time(row, 8);
        in_periods(&mut parts, "revenue_booked", row, &currency, placed, known(amount));
        in_periods(&mut parts, "orders", row, &currency, placed, known(numbers::ONE));
        in_periods(&mut parts, "revenue_by_channel", row, &by_channel, placed, known(amount));
    }
    if status == Some("recognized") || is_unknown {
        in_periods(&mut parts, "revenue_recognized", row, &currency, time(row, 9), known(amount));
    }
    parts
}

/// Columns: charge_id 0, tenant_id 1, service_name 2, charge_category 3, billed_cost 4,
/// effective_cost 5, billing_currency 6, resource_id 7, charge_period_start 8, ...
fn cost_parts(row: &Row) -> Vec<(CellId, Option<i128>)> {
    let (cost, start) = (decimal(row, 5), time(row, 8));
    let currency = dims(&[("currency", text(row, 6))]);
    let by_service = dims(&[("currency", text(row, 6)), ("service_name", text(row, 2))]);
    let mut parts = Vec::new();
    in_periods(&mut parts, "total_cost", row, &currency, start, Some(cost));
    in_periods(&mut parts, "cost_by_service", row, &by_service, start, Some(cost));
    parts
}

fn in_periods(
    parts: &mut Vec<(CellId, Option<i128>)>,
    kpi: &'static str,
    row: &Row,
    dims: &Rc<str>,
    at: Option<i64>,
    amount: Option<i128>,
) {
    let Some(at) = at else { return };
    let tenant: Rc<str> =
        text(row, 1).filter(|tenant| !tenant.is_empty()).unwrap_or("default").into();
    for grain in Grain::ALL {
        let (tenant, dims) = (Rc::clone(&tenant), Rc::clone(dims));
        let start = periods::start(grain, at);
        parts.push((CellId { kpi, tenant, dims, grain, start }, amount));
    }
}

fn dims(pairs: &[(&str, Option<&str>)]) -> Rc<str> {
    let pairs = pairs.iter().map(|(name, value)| {
        let value = value.map_or(serde_json::Value::Null, serde_json::Value::from);
        format!("\"{name}\":{value}")
    });
    format!("{{{}}}", pairs.collect::<Vec<_>>().join(",")).into()
}

fn text(row: &Row, column: usize) -> Option<&str> {
    match row.get(column) {
        Some(Cell::Text(text)) => Some(text),
        _ => None,
    }
}

fn decimal(row: &Row, column: usize) -> i128 {
    match row.get(column) {
        Some(Cell::Decimal(units)) => *units,
        _ => 0,
    }
}

fn time(row: &Row, column: usize) -> Option<i64> {
    match row.get(column) {
        Some(Cell::Time(micros)) => Some(*micros),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use schemas::Micros;

    use super::*;

    fn at(text: &str) -> Cell {
        Cell::Time(Micros::parse(text).unwrap().0)
    }

    fn word(text: &str) -> Cell {
        Cell::Text(text.into())
    }

    fn order(status: &str, units: i128, channel: Cell, recognized: Cell) -> Row {
        let amount = Cell::Decimal(units);
        let placed = at("2026-11-01T10:30:00Z");
        let start =
            vec![word("o"), Cell::Null, Cell::Null, word(status), amount, word("USD"), channel];
        Rc::new([start, vec![Cell::Null, placed.clone(), recognized, placed]].concat())
    }

    fn cost(units: i128) -> Row {
        let (start, end) = (at("2026-11-01T00:00:00Z"), at("2026-11-02T00:00:00Z"));
        let (billed, effective) = (Cell::Decimal(1), Cell::Decimal(units));
        let words = vec![word("c"), word(""), word("EC\"2"), word("Usage")];
        let rest = vec![Cell::Null, start, end.clone(), Cell::Null, end];
        Rc::new([words, vec![billed, effective, word("USD")], rest].concat())
    }

    fn day(cells: &BTreeMap<CellId, CellValue>, kpi: &str, dims: &str) -> Option<CellValue> {
        let start = Micros::parse("2026-11-01T00:00:00Z").unwrap().0;
        let id = cells.keys().find(|id| {
            id.kpi == kpi && &*id.dims == dims && id.grain == Grain::Day && id.start == start
        });
        id.and_then(|id| cells.get(id)).copied()
    }

    #[test]
    fn computes_the_nine_by_hand() {
        let rows = [
            ("orders", order("paid", 100_000, word("web"), Cell::Null)),
            ("orders", order("recognized", 200_000, Cell::Null, at("2026-11-01T23:59:59Z"))),
            ("orders", order("cancelled", 990_000, word("web"), Cell::Null)),
            ("orders", order("recognized", 10_000, word("web"), Cell::Null)),
            ("costs", cost(5 * numbers::ONE)),
        ];
        let cells = cells(rows.iter().map(|(contract, row)| (*contract, row)));
        let usd = r#"{"currency":"USD"}"#;
        let value = |kpi, dims| day(&cells, kpi, dims).and_then(|cell| cell.value);
        let text = |kpi, dims| value(kpi, dims).map(|v| numbers::text(v, 10));
        assert_eq!(text("revenue_booked", usd).as_deref(), Some("31"));
        assert_eq!(text("orders", usd).as_deref(), Some("3"));
        assert_eq!(text("average_order_value", usd).as_deref(), Some("10.3333333333"));
        assert_eq!(text("revenue_recognized", usd).as_deref(), Some("20"));
        assert_eq!(text("total_cost", usd).as_deref(), Some("5"));
        assert_eq!(text("gross_margin", usd).as_deref(), Some("0.75"));
        assert_eq!(text("roi", usd).as_deref(), Some("3"));
        let service = r#"{"currency":"USD","service_name":"EC\"2"}"#;
        assert_eq!(text("cost_by_service", service).as_deref(), Some("5"));
        let (web, none) =
            (r#"{"channel":"web","currency":"USD"}"#, r#"{"channel":null,"currency":"USD"}"#);
        assert_eq!(text("revenue_by_channel", web).as_deref(), Some("11"));
        assert_eq!(text("revenue_by_channel", none).as_deref(), Some("20"));
        assert!(cells.keys().all(|id| &*id.tenant == "default"));
    }

    #[test]
    fn a_ratio_needs_a_denominator_and_nothing_else() {
        let usd = r#"{"currency":"USD"}"#;
        let only_cost = cells([("costs", &cost(5 * numbers::ONE))].into_iter());
        let roi = day(&only_cost, "roi", usd).unwrap();
        assert_eq!((roi.value, roi.status), (Some(-numbers::ONE), "ok"));
        let margin = day(&only_cost, "gross_margin", usd).unwrap();
        assert_eq!((margin.value, margin.denominator, margin.status), (None, None, "no_data"));
        assert_eq!(margin.numerator, Some(-5 * numbers::ONE));
        let zero = cells([("costs", &cost(0))].into_iter());
        let roi = day(&zero, "roi", usd).unwrap();
        assert_eq!((roi.denominator, roi.status), (Some(0), "no_data"));
        let recognized = order("recognized", 10_000, Cell::Null, at("2026-11-01T00:00:00Z"));
        let alone = cells([("orders", &recognized)].into_iter());
        assert_eq!(day(&alone, "gross_margin", usd).unwrap().value, Some(numbers::ONE));
    }

    #[test]
    fn one_row_in_doubt_is_enough_for_a_sum_and_for_a_ratio() {
        let usd = r#"{"currency":"USD"}"#;
        let recognized = order("recognized", 10_000, Cell::Null, at("2026-11-01T00:00:00Z"));
        let doubted: Row = Rc::new([cost(numbers::ONE).to_vec(), vec![Cell::Unknown]].concat());
        let mut sums = Sums::default();
        sums.add("orders", &recognized);
        sums.add("costs", &cost(numbers::ONE));
        sums.add("costs", &doubted);
        let cells = sums.cells();
        let status = |kpi| day(&cells, kpi, usd).map(|cell| (cell.status, cell.value.is_some()));
        assert_eq!(status("total_cost"), Some(("in_doubt", true)));
        assert_eq!(status("roi"), Some(("in_doubt", true)));
        assert_eq!(status("revenue_recognized"), Some(("ok", true)));
        sums.take("costs", &doubted);
        assert_eq!(day(&sums.cells(), "roi", usd).unwrap().status, "ok");
    }

    #[test]
    fn an_order_of_unknown_status_puts_every_cell_in_doubt_that_it_may_be_in() {
        let usd = r#"{"currency":"USD"}"#;
        let at = at("2026-11-01T23:00:00Z");
        let mut row = order("paid", 10_000, Cell::Null, at).to_vec();
        row[3] = Cell::Unknown;
        let mut sums = Sums::default();
        sums.add("orders", &Rc::new(row.clone()));
        let status = |sums: &Sums, kpi| {
            day(&sums.cells(), kpi, usd).map(|cell| (cell.status, cell.value.is_some()))
        };
        for kpi in ["revenue_booked", "orders", "revenue_recognized", "average_order_value", "roi"]
        {
            assert_eq!(status(&sums, kpi), Some(("in_doubt", false)), "{kpi}");
        }
        sums.add("orders", &order("paid", 10_000, Cell::Null, Cell::Null));
        assert_eq!(status(&sums, "revenue_booked"), Some(("in_doubt", true)));
        sums.take("orders", &Rc::new(row));
        assert_eq!(status(&sums, "revenue_booked"), Some(("ok", true)));
        assert_eq!(status(&sums, "revenue_recognized"), None);
    }

    #[test]
    fn rows_taken_away_leave_no_cell() {
        let mut sums = Sums::default();
        let row = order("paid", 1, Cell::Null, Cell::Null);
        let added = sums.add("orders", &row);
        assert_eq!(added, sums.take("orders", &row));
        assert_eq!(sums, Sums::default());
        assert!(sums.cells().is_empty());
    }
}
