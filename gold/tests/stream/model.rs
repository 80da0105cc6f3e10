//! A second, simple implementation of the KPIs and of their history: everything is recomputed from
//! all rows at every epoch, and the rules of the history are written down one cell at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, NaiveTime, TimeZone, Utc};
use chrono_tz::Tz;
use gold::{HistoryRow, Unit};
use schemas::{
    CellKey, CellValue, EpochStamp, Grain, KpiUpdate, Micros, SeriesId, Status, decimal,
};

pub(crate) const ORDERS: usize = 0;
/// The status of an order whose status was never sent.
pub(crate) const UNKNOWN: &str = "?";

/// A row of either table; `amount` has 4 digits after the point for orders, 10 for costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) tenant: Option<&'static str>,
    /// Status of an order; unused for costs.
    pub(crate) status: &'static str,
    pub(crate) amount: Option<i128>,
    pub(crate) currency: &'static str,
    /// Channel of an order, service of a charge.
    pub(crate) group: Option<&'static str>,
    pub(crate) placed_at: Option<i64>,
    pub(crate) recognized_at: Option<i64>,
}

#[derive(Debug, Clone, Default)]
struct Memory {
    last_row: Option<i64>,
    closed: bool,
    dirty: bool,
    /// Changed too soon after its last row.
    behind: bool,
    close_due: Option<i64>,
}

#[derive(Debug, Default)]
pub(crate) struct Model {
    zones: Zones,
    pub(crate) rows: BTreeMap<(usize, u8), Row>,
    pub(crate) cells: BTreeMap<CellKey, CellValue>,
    pub(crate) changed_at: BTreeMap<CellKey, (u64, Micros)>,
    memory: BTreeMap<CellKey, Memory>,
    /// By KPI.
    settle_due: BTreeMap<String, i64>,
    last_data: u64,
}

impl Model {
    pub(crate) fn in_zones(zones: Zones) -> Model {
        Model { zones, ..Model::default() }
    }

    pub(crate) fn advance(&mut self, clock: i64) -> Vec<HistoryRow> {
        let mut out = Vec::new();
        loop {
            let mut due: Vec<(i64, u8, CellKey)> = Vec::new();
            for (key, memory) in &self.memory {
                if let Some(at) = self.settle_due.get(&*key.kpi).filter(|_| memory.dirty) {
                    due.push((*at, 0, key.clone()));
                }
                due.extend(memory.close_due.map(|at| (at, 1, key.clone())));
                let follow = memory.last_row.filter(|_| memory.behind);
                let pause = if memory.closed { 5_000_000 } else { 60_000_000 };
                due.extend(follow.map(|at| (at + pause, 2, key.clone())));
            }
            let Some((at, kind, key)) = due.into_iter().filter(|d| d.0 <= clock).min() else {
                return out;
            };
            let exists = self.cells.contains_key(&key);
            let memory = self.memory.get_mut(&key).unwrap();
            match kind {
                0 => out.extend(self.changed(&key, self.last_data, at)),
                1 => {
                    memory.close_due = None;
                    if exists && !memory.closed {
                        out.push(self.write(&key, self.last_data, at));
                    }
                }
                _ => out.push(self.write(&key, self.last_data, at)),
            }
        }
    }

    /// The end of a batch run: whatever waits is written.
    pub(crate) fn end_batch(&mut self, clock: i64) -> Vec<HistoryRow> {
        let mut out = self.advance(clock);
        let waits = |m: &Memory| m.dirty || m.behind;
        let waiting: Vec<CellKey> =
            self.memory.iter().filter(|(_, m)| waits(m)).map(|(key, _)| key.clone()).collect();
        out.extend(waiting.iter().map(|key| self.write(key, self.last_data, clock)));
        out
    }

    /// Whether the newest row of a cell is not what it says.
    pub(crate) fn is_behind(&self) -> bool {
        self.memory.values().any(|m| m.dirty || m.behind)
    }

    /// One epoch whose changes are in `rows` already; `was` are the rows before it, and `quiet_tables` have
    /// quiet rows in it.
    pub(crate) fn epoch(
        &mut self,
        stamp: &EpochStamp,
        was: &BTreeMap<(usize, u8), Row>,
        is_quiet: &dyn Fn((usize, u8)) -> bool,
        quiet_tables: &BTreeSet<usize>,
    ) -> (Vec<KpiUpdate>, Vec<HistoryRow>) {
        let keys: BTreeSet<(usize, u8)> = was.keys().chain(self.rows.keys()).copied().collect();
        let loud = keys.into_iter().filter(|key| !is_quiet(*key));
        let loud: BTreeSet<CellKey> = loud
            .flat_map(|key| touched(key, was.get(&key), self.rows.get(&key), self.zones))
            .collect();
        let mut history = self.advance(stamp.clock.0);
        let after = recompute(&self.rows, self.zones);
        let before = std::mem::replace(&mut self.cells, after);
        let keys: BTreeSet<CellKey> = before.keys().chain(self.cells.keys()).cloned().collect();
        let mut updates = Vec::new();
        let mut changed = BTreeSet::new();
        for key in keys {
            let value = self.cells.get(&key).copied();
            if before.get(&key).copied() != value {
                let (epoch, as_of) = (stamp.id, stamp.clock);
                let series = SeriesId::default();
                let own = key.clone();
                updates.push(KpiUpdate { key: own, series, value, epoch, as_of, window: None });
                self.changed_at.insert(key.clone(), (epoch, as_of));
                changed.insert(key);
            }
        }
        let clock = stamp.clock.0;
        for key in &changed {
            let end = self.zones.end(key);
            let close_due = (end > clock).then_some(end);
            let fresh = Memory { close_due, ..Memory::default() };
            self.memory.entry(key.clone()).or_insert(fresh);
        }
        let candidates: Vec<CellKey> = self.memory.keys().cloned().collect();
        for key in candidates {
            let is_loud = loud.contains(&key);
            if let Some(row) = self.after_epoch(stamp, &key, changed.contains(&key), is_loud) {
                history.push(row);
            }
        }
        for kpi in KPIS {
            if reads(kpi).iter().any(|table| quiet_tables.contains(table)) {
                self.settle_due.insert(kpi.to_owned(), clock + 1_000_000);
            }
        }
        self.last_data = stamp.id;
        (updates, history)
    }

    fn after_epoch(
        &mut self,
        stamp: &EpochStamp,
        key: &CellKey,
        changed: bool,
        is_loud: bool,
    ) -> Option<HistoryRow> {
        let memory = self.memory.get_mut(key).unwrap();
        if !changed || !is_loud {
            memory.dirty |= changed;
            return None;
        }
        self.changed(key, stamp.id, stamp.clock.0)
    }

    /// What a change gets now, one of a backlog that is over included.
    fn changed(&mut self, key: &CellKey, epoch: u64, at: i64) -> Option<HistoryRow> {
        let over = self.zones.end(key) <= at;
        let exists = self.cells.contains_key(key);
        let memory = self.memory.get_mut(key).unwrap();
        memory.dirty = false;
        let since = memory.last_row.map(|last| at - last);
        let writes = match since {
            None => true,
            Some(since) if memory.closed => since >= 5_000_000,
            Some(since) => over || !exists || since >= 60_000_000,
        };
        if writes {
            return Some(self.write(key, epoch, at));
        }
        memory.behind = true;
        None
    }

    fn write(&mut self, key: &CellKey, epoch: u64, at: i64) -> HistoryRow {
        let memory = self.memory.get_mut(key).unwrap();
        let restatement = memory.closed;
        let closed = self.zones.end(key) <= at;
        let Memory { close_due, closed: was_closed, .. } = *memory;
        *memory = Memory {
            last_row: Some(at),
            closed: closed || was_closed,
            close_due,
            ..Memory::default()
        };
        let nothing =
            CellValue { value: None, numerator: None, denominator: None, status: Status::NoData };
        let value = self.cells.get(key).copied().unwrap_or(nothing);
        let unit = match &*key.kpi {
            "orders" => Unit::Count,
            "roi" | "gross_margin" | "book_to_bill" => Unit::Ratio,
            _ => Unit::Currency,
        };
        HistoryRow { key: key.clone(), value, unit, epoch, as_of: Micros(at), closed, restatement }
    }
}

const KPIS: [&str; 10] = [
    "average_order_value",
    "book_to_bill",
    "cost_by_service",
    "gross_margin",
    "orders",
    "revenue_booked",
    "revenue_by_channel",
    "revenue_recognized",
    "roi",
    "total_cost",
];

/// The tables that a KPI reads.
fn reads(kpi: &str) -> &'static [usize] {
    match kpi {
        "cost_by_service" | "total_cost" => &[1],
        "gross_margin" | "roi" => &[0, 1],
        _ => &[0],
    }
}

/// The calendar of a run: UTC, or tenants in zones with weeks from Sunday and years from May.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Zones(pub(crate) bool);

impl Zones {
    /// Tenants with a zone, and that of the others.
    pub(crate) const NAMED: [(&str, Tz); 2] =
        [("a", chrono_tz::Asia::Kolkata), ("b", chrono_tz::Europe::Berlin)];
    pub(crate) const OTHER: Tz = chrono_tz::America::New_York;
    pub(crate) const YEAR_FROM: u8 = 5;

    fn of(self, tenant: &str) -> Tz {
        let named = Zones::NAMED.into_iter().find(|(name, _)| *name == tenant);
        if self.0 { named.map_or(Zones::OTHER, |(_, zone)| zone) } else { Tz::UTC }
    }

    /// Where the period of a tenant starts that an instant is in, and where it ends: by chrono's calendar.
    fn period(self, tenant: &str, grain: Grain, at: i64) -> (i64, i64) {
        let zone = self.of(tenant);
        let date =
            DateTime::<Utc>::from_timestamp_micros(at).unwrap().with_timezone(&zone).date_naive();
        let months = |together: u32| {
            let from = if self.0 { u32::from(Zones::YEAR_FROM) } else { 1 };
            let into = (date.month() + 12 - from) % together;
            let first = date.with_day(1).unwrap() - Months::new(into);
            (first, first + Months::new(together))
        };
        let (first, next) = match grain {
            Grain::Hour => {
                let hour = at - at.rem_euclid(3_600_000_000);
                return (hour, hour + 3_600_000_000);
            }
            Grain::Day => (date, date + Days::new(1)),
            Grain::Week => {
                let weekday = date.weekday();
                let into = match self.0 {
                    true => weekday.num_days_from_sunday(),
                    false => weekday.num_days_from_monday(),
                };
                let first = date - Days::new(into.into());
                (first, first + Days::new(7))
            }
            Grain::Month => months(1),
            Grain::Quarter => months(3),
            Grain::Year => months(12),
            _ => unreachable!("windows are another test's"),
        };
        let midnight = |date: NaiveDate| {
            let local = zone.from_local_datetime(&date.and_time(NaiveTime::MIN));
            local.earliest().unwrap().timestamp_micros()
        };
        (midnight(first), midnight(next))
    }

    fn end(self, key: &CellKey) -> i64 {
        self.period(&key.tenant, key.grain, key.period_start.0).1
    }
}

/// The cells that a row changes: by KPI those that it is in before or after, if it counts otherwise in any.
fn touched(
    key: (usize, u8),
    was: Option<&Row>,
    is: Option<&Row>,
    zones: Zones,
) -> BTreeSet<CellKey> {
    let cells = |row: Option<&Row>| {
        let rows = row.into_iter().map(|row| (key, row.clone()));
        recompute(&rows.collect::<BTreeMap<_, _>>(), zones)
    };
    let (was, is) = (cells(was), cells(is));
    let of = |cells: &BTreeMap<CellKey, CellValue>, kpi: &str| {
        let own = cells.iter().filter(|(key, _)| *key.kpi == *kpi);
        own.map(|(key, value)| (key.clone(), *value)).collect::<BTreeMap<_, _>>()
    };
    let differing = KPIS.iter().filter(|kpi| of(&was, kpi) != of(&is, kpi));
    let cells = differing.flat_map(|kpi| of(&was, kpi).into_keys().chain(of(&is, kpi).into_keys()));
    cells.collect()
}

/// What feeds a cell: a sum, how many rows, and whether another row might.
#[derive(Debug, Clone, Copy, Default)]
struct Part {
    sum: i128,
    rows: u32,
    is_doubted: bool,
}

impl Part {
    fn sum(self) -> Option<i128> {
        (self.rows > 0).then_some(self.sum)
    }

    fn status(self, otherwise: Status) -> Status {
        if self.is_doubted { Status::InDoubt } else { otherwise }
    }
}

/// By calendar the sums of cells.
#[derive(Default)]
struct Sums(BTreeMap<CellKey, Part>, Zones);

/// Adds a row to its cells; `None`: whether it is one of theirs is not known.
fn add(
    sums: &mut Sums,
    kpi: &str,
    tenant: Option<&str>,
    dims: &str,
    at: Option<i64>,
    amount: Option<i128>,
) {
    let Some(at) = at else { return };
    let tenant = tenant.filter(|named| !named.is_empty()).unwrap_or("default");
    for grain in Grain::ALL {
        let key = CellKey {
            kpi: kpi.into(),
            tenant: tenant.into(),
            dims: dims.into(),
            grain,
            period_start: Micros(sums.1.period(tenant, grain, at).0),
        };
        let part = sums.0.entry(key).or_default();
        part.sum += amount.unwrap_or(0);
        part.rows += u32::from(amount.is_some());
        part.is_doubted |= amount.is_none();
    }
}

/// Every KPI from all rows.
pub(crate) fn recompute(
    rows: &BTreeMap<(usize, u8), Row>,
    zones: Zones,
) -> BTreeMap<CellKey, CellValue> {
    let mut sums = Sums(BTreeMap::new(), zones);
    for ((table, _), row) in rows {
        let currency = format!("{{\"currency\":\"{}\"}}", row.currency);
        let group = row.group.map_or("null".to_owned(), |group| format!("\"{group}\""));
        let amount = row.amount.unwrap_or(0);
        let (tenant, placed_at) = (row.tenant, row.placed_at);
        if *table == ORDERS {
            let amount = amount * 1_000_000;
            let is_unknown = row.status == UNKNOWN;
            let known = |amount: i128| (!is_unknown).then_some(amount);
            if row.status != "cancelled" {
                let by_channel =
                    format!("{{\"channel\":{group},\"currency\":\"{}\"}}", row.currency);
                for (kpi, dims, amount) in [
                    ("revenue_booked", &currency, amount),
                    ("orders", &currency, 10_000_000_000),
                    ("revenue_by_channel", &by_channel, amount),
                ] {
                    add(&mut sums, kpi, tenant, dims, placed_at, known(amount));
                }
            }
            if row.status == "recognized" || is_unknown {
                let at = row.recognized_at;
                add(&mut sums, "revenue_recognized", tenant, &currency, at, known(amount));
            }
        } else {
            let by_service =
                format!("{{\"currency\":\"{}\",\"service_name\":{group}}}", row.currency);
            add(&mut sums, "total_cost", tenant, &currency, placed_at, Some(amount));
            add(&mut sums, "cost_by_service", tenant, &by_service, placed_at, Some(amount));
        }
    }
    let flow = |part: &Part| CellValue {
        value: part.sum(),
        numerator: None,
        denominator: None,
        status: part.status(Status::Ok),
    };
    let mut cells: BTreeMap<_, _> =
        sums.0.iter().map(|(key, part)| (key.clone(), flow(part))).collect();
    ratio(&sums, &mut cells, "average_order_value", &["revenue_booked"], "orders");
    ratio(&sums, &mut cells, "book_to_bill", &["revenue_booked"], "revenue_recognized");
    ratio(&sums, &mut cells, "roi", &["revenue_recognized", "total_cost"], "total_cost");
    let margin = ["revenue_recognized", "total_cost"];
    ratio(&sums, &mut cells, "gross_margin", &margin, "revenue_recognized");
    cells
}

/// `above[0] - above[1] - ...` over `below`.
fn ratio(
    sums: &Sums,
    cells: &mut BTreeMap<CellKey, CellValue>,
    kpi: &str,
    above: &[&str],
    below: &str,
) {
    let named = |key: &CellKey, kpi: &str| CellKey { kpi: Arc::from(kpi), ..key.clone() };
    for key in sums.0.keys().filter(|key| above.contains(&&*key.kpi) || *key.kpi == *below) {
        let part = |kpi: &str| sums.0.get(&named(key, kpi)).copied().unwrap_or_default();
        let of = |kpi: &str| part(kpi).sum();
        let first = of(above[0]).unwrap_or(0);
        let numerator = above.iter().skip(1).fold(first, |sum, kpi| sum - of(kpi).unwrap_or(0));
        let denominator = of(below);
        let value = decimal::quotient(numerator, denominator.unwrap_or(0));
        let status = if value.is_some() { Status::Ok } else { Status::NoData };
        let mut parts = above.iter().chain([&below]).map(|kpi| part(kpi));
        let is_doubted = parts.any(|part| part.is_doubted);
        let status = Part { is_doubted, ..Part::default() }.status(status);
        let value = CellValue { value, numerator: Some(numerator), denominator, status };
        cells.insert(named(key, kpi), value);
    }
}
