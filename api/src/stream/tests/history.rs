//! Every value of every cell, kept the plain way: what a client must have at any offset.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use rand::Rng;
use rand::rngs::StdRng;
use schemas::window::NO_START;
use schemas::{
    CellKey, CellValue, EpochStamp, Good, Grain, KpiInfo, KpiUpdate, Micros, SeriesId, Status,
    Unit, Window,
};
use serde_json::{Value, json};

use crate::store::{CellFilter, Store};

pub(super) const KPIS: [&str; 3] = ["margin", "orders", "revenue"];
pub(super) const TENANTS: [&str; 3] = ["t0", "t1", "t2"];

/// Values of cells by epoch; `None` is gone.
#[derive(Debug, Default)]
pub(super) struct History {
    /// By the name that frames give them.
    cells: BTreeMap<String, Cell>,
    pub(super) last: u64,
}

#[derive(Debug)]
struct Cell {
    key: CellKey,
    changes: Vec<(u64, Option<CellValue>)>,
}

pub(super) type Shared = Arc<Mutex<History>>;

pub(super) fn kpis() -> Vec<KpiInfo> {
    let kpi = |key: &str, unit| KpiInfo {
        key: key.into(),
        title: key.into(),
        description: None,
        unit,
        good: Good::Up,
        group: None,
        kind: if unit == Unit::Ratio { schemas::KpiKind::Ratio } else { schemas::KpiKind::Flow },
        dims: vec!["currency".into()],
        grains: schemas::Grains::ALL,
        windows: schemas::Grains::WINDOWS,
        breakdown_of: None,
        parts: Vec::new(),
        is_net: false,
        currency: None,
        watching: schemas::Watching::default(),
    };
    vec![kpi("margin", Unit::Ratio), kpi("orders", Unit::Count), kpi("revenue", Unit::Currency)]
}

pub(super) fn clock(epoch: u64) -> Micros {
    Micros(1_795_000_000_000_000 + i64::try_from(epoch).unwrap() * 50_000)
}

pub(super) fn value(number: i128) -> CellValue {
    let status = if number % 7 == 0 { Status::NoData } else { Status::Ok };
    let value = (status == Status::Ok).then_some(number * 5_000_000_000);
    CellValue { value, numerator: None, denominator: None, status }
}

pub(super) fn key(kpi: &str, tenant: &str, currency: &str, grain: Grain, period: i64) -> CellKey {
    let start = match grain.is_window() {
        true => NO_START,
        false => grain.start(Micros(1_795_000_000_000_000 - period * 86_400_000_000)),
    };
    CellKey {
        kpi: kpi.into(),
        tenant: tenant.into(),
        dims: format!("{{\"currency\":\"{currency}\"}}").into(),
        grain,
        period_start: start,
    }
}

fn random_key(rng: &mut StdRng) -> CellKey {
    let grain = [Grain::Day, Grain::Day, Grain::Hour, Grain::Hour, Grain::Last7Days];
    let grain = grain[rng.random_range(0..grain.len())];
    let currency = if rng.random_bool(0.7) { "EUR" } else { "USD" };
    let (kpi, tenant) = (rng.random_range(0..3), rng.random_range(0..3));
    key(KPIS[kpi], TENANTS[tenant], currency, grain, rng.random_range(0..3))
}

/// A cell's name as frames write it. The period of a window is no part of it.
pub(super) fn name(key: &CellKey) -> Value {
    let start = (!key.grain.is_window()).then(|| key.period_start.to_string());
    json!({
        "kpi": &*key.kpi, "tenant": &*key.tenant, "grain": key.grain.name(),
        "dims": serde_json::from_str::<Value>(&key.dims).unwrap(),
        "period_start": start,
    })
}

/// What a frame says of a cell, as text: number times a half, or none.
fn shown(value: &CellValue) -> String {
    match value.value {
        Some(mantissa) => {
            let halves = mantissa / 5_000_000_000;
            let sign = if halves < 0 { "-" } else { "" };
            let (whole, rest) = (halves.abs() / 2, halves.abs() % 2);
            format!("{sign}{whole}{}", if rest == 1 { ".5" } else { "" })
        }
        None => "null".into(),
    }
}

impl History {
    /// What a filter takes at an offset: names and values.
    pub(super) fn at(&self, filter: &CellFilter, offset: u64) -> BTreeMap<String, String> {
        let wanted = self.cells.iter().filter(|(_, cell)| takes(filter, &cell.key));
        wanted.filter_map(|(name, cell)| Some((name.clone(), cell.shown_at(offset)?))).collect()
    }

    /// Whether a cell changed in `(after, to]`.
    pub(super) fn changed(&self, cell: &str, after: u64, to: u64) -> bool {
        let Some(cell) = self.cells.get(cell) else { return false };
        cell.changes.iter().any(|(epoch, _)| after < *epoch && *epoch <= to)
    }
}

impl Cell {
    fn shown_at(&self, offset: u64) -> Option<String> {
        let last = self.changes.iter().rev().find(|(epoch, _)| *epoch <= offset)?;
        last.1.as_ref().map(shown)
    }
}

/// Written out again, so that a fault of the product's filter shows.
fn takes(filter: &CellFilter, key: &CellKey) -> bool {
    if filter.tenant.as_ref().is_some_and(|tenant| *tenant != key.tenant) {
        return false;
    }
    if filter.kpis.as_ref().is_some_and(|kpis| !kpis.contains(&key.kpi)) {
        return false;
    }
    // In these tests one value is asked for.
    if filter.dims.names().next().is_some() && !key.dims.contains("EUR") {
        return false;
    }
    let early = filter.from.is_some_and(|from| key.period_start < from);
    let late = filter.to.is_some_and(|to| key.period_start >= to);
    !early && !late && filter.grain.map_or(!key.grain.is_window(), |grain| grain == key.grain)
}

/// Publishes one epoch of these values.
pub(super) fn publish(store: &Store, history: &Shared, values: Vec<(CellKey, Option<CellValue>)>) {
    let mut held = history.lock();
    held.last += 1;
    let epoch = held.last;
    let mut updates = Vec::new();
    for (key, value) in values {
        let fresh = || Cell { key: key.clone(), changes: Vec::new() };
        let changes = &mut held.cells.entry(name(&key).to_string()).or_insert_with(fresh).changes;
        let before = changes.last().and_then(|(_, value)| *value);
        if before == value || changes.last().is_some_and(|(last, _)| *last == epoch) {
            continue;
        }
        changes.push((epoch, value));
        let series = series(&key);
        let (start, end) = (clock(epoch).plus(-7 * 86_400_000_000), clock(epoch));
        let window = Window { start, end, previous: None, year: None };
        let window = value.filter(|_| key.grain.is_window()).map(|_| Box::new(window));
        updates.push(KpiUpdate { key, series, value, epoch, as_of: clock(epoch), window });
    }
    drop(held);
    store.apply(&EpochStamp { id: epoch, clock: clock(epoch), quiet: false }, &updates, &[]);
}

/// The same for the same KPI, tenant and dimensions.
fn series(key: &CellKey) -> SeriesId {
    let kpi = KPIS.iter().position(|kpi| **kpi == *key.kpi).unwrap();
    let tenant = TENANTS.iter().position(|tenant| **tenant == *key.tenant).unwrap();
    let text: u32 = key.dims.bytes().fold(7, |sum, byte| (sum * 31 + u32::from(byte)) % 1_000_003);
    SeriesId {
        kpi: kpi.try_into().unwrap(),
        series: u32::try_from(tenant).unwrap() * 1_000_003 + text,
    }
}

/// A few random changes, sometimes none.
pub(super) fn random_changes(rng: &mut StdRng) -> Vec<(CellKey, Option<CellValue>)> {
    let count = rng.random_range(0..6);
    let mut change = || {
        let gone = rng.random_bool(0.25);
        let number = i128::from(rng.random_range(-40..40));
        (random_key(rng), (!gone).then(|| value(number)))
    };
    (0..count).map(|_| change()).collect()
}

/// So many cells that an epoch of them is a large frame.
pub(super) fn many(count: u32, round: u32) -> Vec<(CellKey, Option<CellValue>)> {
    let cell = |n: u32| {
        let key = key("orders", "t0", &format!("currency-number-{n:08}"), Grain::Day, 0);
        (key, Some(value(i128::from(round) * 2 + 1)))
    };
    (0..count).map(cell).collect()
}
