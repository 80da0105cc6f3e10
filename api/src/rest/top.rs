//! The greatest values of a dimension, and the others together: `by` and `top`. Pure.
//!
//! # Guarantees
//! - Values are ranked against those of the same tenant, KPI, period and other dimensions only: never against another
//!   currency's.
//! - The others are the exact sum of the values that are not among the greatest. Of kinds that do not add up there is
//!   no such sum: it is null, and `adds_up` says so.
//! - What the others are compared with is the sum over the same values.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use schemas::decimal::MANTISSA_MAX;
use schemas::{CellValue, Grain, KpiInfo, KpiKind, Micros, Status};
use serde::Serialize;

use crate::compare::Compared;
use crate::problem::Problem;
use crate::query::{Query, nearest, shown};
use crate::store::{CellFilter, Periods, SeriesName, ServedCell};

/// Values of a dimension in an answer, when nothing is said.
const TOP: usize = 10;
/// The most.
const TOP_MAX: usize = 1_000;

/// Of which dimension how many values are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Top {
    by: String,
    count: usize,
}

/// What a row of such an answer says beside its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Part {
    /// Whether it is of all the others together.
    pub(super) others: bool,
    /// Of how many values it is made.
    pub(super) parts: usize,
    /// Whether the KPI's values add up.
    pub(super) adds_up: bool,
}

/// A value of the dimension, or the others.
#[derive(Debug)]
pub(super) struct Row<'a> {
    /// The cell; of the others with the first one's window.
    pub(super) cell: ServedCell<'a>,
    pub(super) part: Part,
    /// Of the others: the dimensions that they share, and who they are.
    pub(super) others: Option<(SeriesName, Vec<ServedCell<'a>>)>,
}

impl<'a> Row<'a> {
    /// A cell as it is.
    pub(super) fn plain(cell: ServedCell<'a>) -> Row<'a> {
        Row { cell, part: Part { others: false, parts: 1, adds_up: true }, others: None }
    }
}

impl Top {
    /// What a query asks for, and the KPIs that have it.
    pub(super) fn of(
        query: &Query,
        known: &[KpiInfo],
        filter: &mut CellFilter,
    ) -> Result<Option<Top>, Problem> {
        let count = query.count("top", TOP_MAX)?;
        let Some(by) = query.text("by") else {
            let detail =
                "`top` needs `by`, the dimension whose greatest values are wanted: `by=channel`";
            let refused = Problem::bad_parameter("top", detail);
            return count.map_or(Ok(None), |_| Err(refused));
        };
        let has = |kpi: &&KpiInfo| kpi.dims.iter().any(|own| own == by);
        if by == "currency" {
            let detail = "`by` is `currency`, and money of different currencies is neither ranked nor added; \
                          every currency has its own greatest values of another dimension";
            return Err(Problem::bad_parameter("by", detail));
        }
        if !known.iter().any(|kpi| has(&kpi)) {
            let names = known.iter().flat_map(|kpi| kpi.dims.iter().map(String::as_str));
            let hint = nearest(by, names);
            let detail = format!("no KPI has a dimension `{}`{hint}", shown(by));
            return Err(Problem::bad_parameter("by", detail));
        }
        for other in ["sort", "limit", "cursor"] {
            if query.text(other).is_some() {
                let detail = format!(
                    "`{other}` does not go with `by`, which answers the greatest first and the others last"
                );
                return Err(Problem::bad_parameter(other, detail));
            }
        }
        let named = |kpi: &&KpiInfo| filter.takes_kpi(&kpi.key);
        if let Some(kpi) = known.iter().filter(named).find(|kpi| filter.kpis.is_some() && !has(kpi))
        {
            let detail = format!(
                "`{}` has no dimension `{}`; it has {}",
                kpi.key,
                shown(by),
                listed(&kpi.dims)
            );
            return Err(Problem::bad_parameter("by", detail));
        }
        let own: BTreeSet<Arc<str>> =
            known.iter().filter(named).filter(has).map(|kpi| Arc::clone(&kpi.key)).collect();
        filter.kpis = Some(own);
        Ok(Some(Top { by: by.to_owned(), count: count.unwrap_or(TOP) }))
    }

    /// The rows of an answer.
    pub(super) fn rows<'a>(
        &self,
        cells: impl Iterator<Item = ServedCell<'a>>,
        periods: Periods,
        kind: impl Fn(&str) -> Option<KpiKind>,
    ) -> Vec<Row<'a>> {
        type Place<'a> = (&'a str, &'a str, String, Grain, Option<Micros>);
        let mut groups: BTreeMap<Place<'a>, Vec<ServedCell<'a>>> = BTreeMap::new();
        for cell in cells {
            let name = cell.series;
            let start = (periods == Periods::All).then_some(cell.period_start);
            let rest = without(&name.dims, &self.by);
            let place = (&*name.tenant, &*name.kpi, rest, cell.grain, start);
            groups.entry(place).or_default().push(cell);
        }
        let mut rows = Vec::new();
        for ((tenant, kpi, rest, grain, _), mut group) in groups {
            // The newest period that any of them has: older ones are not ranked with it. A window is one period, also
            // while it moves.
            let newest = group.iter().map(|cell| cell.period_start).max();
            group.retain(|cell| grain.is_window() || Some(cell.period_start) == newest);
            // It is stable: equal ones stay in the order of their names.
            group.sort_by_key(|cell| {
                let number = cell.value.value;
                (number.is_none(), number.map_or(0, i128::saturating_neg))
            });
            let adds_up = kind(kpi) == Some(KpiKind::Flow);
            let others = group.split_off(self.count.min(group.len()));
            let part = Part { others: false, parts: 1, adds_up };
            rows.extend(group.into_iter().map(|cell| Row { cell, part, others: None }));
            let Some(first) = others.first() else { continue };
            let name = SeriesName { tenant: tenant.into(), kpi: kpi.into(), dims: rest.into() };
            let value = if adds_up { total(&others) } else { NOTHING };
            let cell = ServedCell { value, ..*first };
            let part = Part { others: true, parts: others.len(), adds_up };
            rows.push(Row { cell, part, others: Some((name, others)) });
        }
        rows
    }
}

const NOTHING: CellValue =
    CellValue { value: None, numerator: None, denominator: None, status: Status::NoData };

/// The sum of some cells.
fn total(cells: &[ServedCell<'_>]) -> CellValue {
    let has = |status: Status| cells.iter().any(|cell| cell.value.status == status);
    let numbers = cells.iter().filter_map(|cell| cell.value.value);
    let sum = sum(numbers);
    let (value, status) = match (sum, has(Status::Error)) {
        (_, true) | (Err(TooLarge), _) => (None, Status::Error),
        (Ok(sum), _) if has(Status::InDoubt) => (sum, Status::InDoubt),
        (Ok(Some(sum)), _) => (Some(sum), Status::Ok),
        (Ok(None), _) => (None, Status::NoData),
    };
    CellValue { value, status, ..NOTHING }
}

/// A sum is no `decimal(38, 10)`.
#[derive(Debug)]
struct TooLarge;

fn sum(mut numbers: impl Iterator<Item = i128>) -> Result<Option<i128>, TooLarge> {
    let Some(first) = numbers.next() else { return Ok(None) };
    let sum = numbers.try_fold(first, i128::checked_add).ok_or(TooLarge)?;
    let fits = sum.unsigned_abs() <= MANTISSA_MAX.unsigned_abs();
    if fits { Ok(Some(sum)) } else { Err(TooLarge) }
}

/// What the others are compared with: the sum of what each of them is, where all of them can be told. `known` says
/// whether a cell has a counterpart at all, which counts as nothing where it has none.
pub(super) fn compared(
    value: CellValue,
    adds_up: bool,
    parts: impl Iterator<Item = (Option<Compared>, bool)>,
) -> Option<Compared> {
    let (mut span, mut values, mut is_whole) = (None, Vec::new(), adds_up);
    for (compared, is_known) in parts {
        let compared = compared?;
        span = Some((compared.start, compared.end));
        is_whole &= compared.value.is_some() || !is_known;
        values.extend(compared.value);
    }
    let before = sum(values.into_iter()).ok().flatten().filter(|_| is_whole);
    Some(Compared::new(span?, value.value, before))
}

/// Canonical JSON of dimensions but for one of them.
fn without(dims: &str, name: &str) -> String {
    let mut own: BTreeMap<String, Option<String>> = serde_json::from_str(dims).unwrap_or_default();
    own.remove(name);
    serde_json::to_string(&own).unwrap_or_default()
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
