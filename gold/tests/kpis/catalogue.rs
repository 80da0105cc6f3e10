//! KPIs that come with Weir and look back twelve months, six or thirty days, against their definitions in words: random
//! changes of subscriptions, orders and activity, each cell worked out anew from all rows, restarts, and the audit.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::told::is_same;

use arrow::array::{
    Array, Decimal128Array, RecordBatch, StringArray, TimestampMicrosecondArray, new_null_array,
};
use arrow::datatypes::{Field, Schema};
use chrono::{DateTime, Datelike, Days, Months, NaiveTime, Utc};
use gold::view_file::{accept, built_in};
use gold::{Catalog, CellRow, Engine};
use schemas::{
    Contract, Delta, EpochStamp, Grain, Micros, RowBuilder, RowKey, RowLayout, Saved, Status,
};

const DAY_US: i64 = 86_400_000_000;
const TABLES: [&str; 3] = ["subscriptions", "orders", "activity"];
const KPIS: [&str; 10] = [
    "active_rate",
    "arr",
    "backlog",
    "churned_users",
    "coverage_months",
    "grr",
    "logo_churn",
    "ltv",
    "nrr",
    "revenue_churn",
];
/// Short months, a leap day, and the end of a year lie around it.
const START: &str = "2024-03-01";

type At = DateTime<Utc>;
type Values = BTreeMap<String, Option<i128>>;

/// What a row holds, by the name of its column.
#[derive(Debug, Clone, PartialEq)]
enum Value {
    Text(&'static str),
    /// In ten-thousandths.
    Money(i128),
    At(i64),
}

type Row = BTreeMap<&'static str, Value>;

/// Numbers that follow from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: i64) -> i64 {
        crate::told::below(&mut self.0, end.unsigned_abs())
    }

    fn one(&mut self, of: &[&'static str]) -> Value {
        Value::Text(of[usize::try_from(self.below(i64::try_from(of.len()).unwrap())).unwrap()])
    }

    /// An instant up to so many days before another, often where a day begins.
    fn before(&mut self, now: i64, days: i64) -> i64 {
        let at = now - self.below(days * DAY_US);
        if self.below(3) == 0 { at - at.rem_euclid(DAY_US) } else { at }
    }

    fn row(&mut self, table: usize, now: i64) -> Row {
        let mut row = Row::new();
        if self.below(4) > 0 {
            row.insert("tenant_id", self.one(&["a", "b"]));
        }
        if self.below(10) > 0 || table == 0 {
            row.insert(
                ["customer_id", "customer_id", "user_id"][table],
                self.one(&["x", "y", "z"]),
            );
        }
        row.insert("currency", self.one(&["EUR", "EUR", "USD"]));
        let money = Value::Money(i128::from(1 + self.below(4)) * 25_000);
        match table {
            0 => {
                let at = self.before(now, 800);
                row.extend([("mrr", money), ("started_at", Value::At(at))]);
                row.insert("status", self.one(&["active", "active", "trial"]));
                if self.below(3) > 0 {
                    // As long as one that begins when it ends may begin.
                    let ended = at + DAY_US * (1 + self.below(500));
                    row.insert("ended_at", Value::At(ended));
                }
            }
            1 => {
                let at = self.before(now, 500);
                row.extend([("amount", money), ("placed_at", Value::At(at))]);
                row.insert("status", self.one(&["paid", "recognized", "recognized", "refunded"]));
                if self.below(5) > 0 {
                    row.insert("recognized_at", Value::At(at + DAY_US * self.below(90)));
                }
            }
            _ => drop(row.insert("occurred_at", Value::At(self.before(now, 120)))),
        }
        row
    }
}

fn text<'a>(row: &'a Row, name: &str) -> Option<&'a str> {
    match row.get(name) {
        Some(Value::Text(text)) => Some(text),
        _ => None,
    }
}

fn money(row: &Row, name: &str) -> i128 {
    match row.get(name) {
        Some(Value::Money(money)) => *money,
        _ => 0,
    }
}

fn instant(row: &Row, name: &str) -> Option<At> {
    match row.get(name) {
        Some(Value::At(at)) => DateTime::from_timestamp_micros(*at),
        _ => None,
    }
}

fn later(at: At, months: u32) -> At {
    at.checked_add_months(Months::new(months)).unwrap()
}

fn is_alive(from: At, to: Option<At>, end: At) -> bool {
    from < end && to.is_none_or(|to| to >= end)
}

/// The start of the period of so many months together that an instant is in, and that of the next.
fn period(months: u32, at: At) -> (At, At) {
    let first = at.date_naive().with_day(1).unwrap();
    let first = first - Months::new(first.month0() % months);
    let start = first.and_time(NaiveTime::MIN).and_utc();
    (start, later(start, months))
}

/// A quotient at ten digits, rounded half to even; none by nothing.
fn quotient(above: i128, below: i128) -> Option<i128> {
    let scaled = above * 10_i128.pow(10);
    let (whole, rest) = (scaled.checked_div_euclid(below)?, scaled.checked_rem_euclid(below)?);
    let is_up = match (rest * 2).cmp(&below) {
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Equal => whole % 2 != 0,
        std::cmp::Ordering::Greater => true,
    };
    Some(whole + i128::from(is_up))
}

/// What all rows of a tenant, and of a currency, say at the end of a period.
type Say = fn(&[&Row], At) -> Vec<(&'static str, Option<i128>)>;

fn of_subscriptions(rows: &[&Row], end: At) -> Vec<(&'static str, Option<i128>)> {
    let mut customers: BTreeMap<&str, (i128, i128)> = BTreeMap::new();
    for row in rows {
        let (now, before) = customers.entry(text(row, "customer_id").unwrap()).or_default();
        let (from, to) = (instant(row, "started_at").unwrap(), instant(row, "ended_at"));
        if is_alive(from, to, end) {
            *now += money(row, "mrr");
        }
        if is_alive(later(from, 12), to.map(|to| later(to, 12)), end) {
            *before += money(row, "mrr");
        }
    }
    let cohort = || customers.values().filter(|(_, before)| *before > 0);
    let then: i128 = cohort().map(|(_, before)| before).sum();
    let now: i128 = cohort().map(|(now, _)| now).sum();
    let kept: i128 = cohort().map(|(now, before)| now.min(before)).sum();
    let lost = i128::try_from(cohort().filter(|(now, _)| *now == 0).count()).unwrap();
    let all = i128::try_from(cohort().count()).unwrap();
    vec![
        ("nrr", quotient(now, then)),
        ("grr", quotient(kept, then)),
        ("revenue_churn", quotient(then - kept, then)),
        ("logo_churn", quotient(lost, all)),
        ("ltv", quotient(then * 12, lost * 10_000)),
    ]
}

fn of_orders(rows: &[&Row], end: At) -> Vec<(&'static str, Option<i128>)> {
    let (mut backlog, mut recognized) = (0, 0);
    for row in rows.iter().filter(|row| text(row, "status") != Some("refunded")) {
        let earned = instant(row, "recognized_at");
        let earned = earned.filter(|_| text(row, "status") == Some("recognized"));
        if is_alive(instant(row, "placed_at").unwrap(), earned, end) {
            backlog += money(row, "amount");
        }
        if earned.is_some_and(|at| is_alive(at, Some(later(at, 6)), end)) {
            recognized += money(row, "amount");
        }
    }
    let coverage = quotient(backlog * 6, recognized);
    vec![("backlog", Some(backlog * 1_000_000)), ("coverage_months", coverage)]
}

fn of_activity(rows: &[&Row], end: At) -> Vec<(&'static str, Option<i128>)> {
    let day = |row: &Row| instant(row, "occurred_at").unwrap().date_naive();
    let users = |is_one: &dyn Fn(At) -> bool| {
        let counted = rows.iter().filter(|row| is_one(day(row).and_time(NaiveTime::MIN).and_utc()));
        let users: BTreeSet<_> = counted.map(|row| text(row, "user_id").unwrap()).collect();
        i128::try_from(users.len()).unwrap()
    };
    let all = users(&|day| day < end);
    let active = users(&|day| day < end && day + Days::new(30) >= end);
    let last = rows.iter().map(|row| (text(row, "user_id").unwrap(), day(row)));
    let mut before: BTreeMap<&str, Option<chrono::NaiveDate>> = BTreeMap::new();
    for (user, day) in last.filter(|(_, day)| day.and_time(NaiveTime::MIN).and_utc() < end) {
        let held = before.entry(user).or_default();
        *held = (*held).max(Some(day));
    }
    let is_lost = |day: &&Option<chrono::NaiveDate>| {
        let start = day.unwrap().and_time(NaiveTime::MIN).and_utc();
        start + Days::new(30) < end && start + Days::new(60) >= end
    };
    let churned = i128::try_from(before.values().filter(is_lost).count()).unwrap();
    let churned = churned * 10_i128.pow(10);
    vec![("active_rate", quotient(active, all)), ("churned_users", Some(churned))]
}

/// When a row first counts in any cell.
fn first(table: usize, row: &Row) -> Option<At> {
    match table {
        0 => (text(row, "status") != Some("trial"))
            .then(|| later(instant(row, "started_at").unwrap(), 12)),
        1 => (text(row, "status") != Some("refunded")).then(|| instant(row, "placed_at").unwrap()),
        _ => row.contains_key("user_id").then(|| instant(row, "occurred_at").unwrap()),
    }
}

/// All cells, of all rows, by the words of the definitions alone.
fn expected(tables: &[BTreeMap<i64, Row>], now: At) -> Values {
    let says: [Say; 3] = [of_subscriptions, of_orders, of_activity];
    let mut cells = Values::new();
    for (table, say) in says.into_iter().enumerate() {
        let mut series: BTreeMap<(&str, String), Vec<&Row>> = BTreeMap::new();
        for row in tables[table].values().filter(|row| first(table, row).is_some()) {
            let tenant = text(row, "tenant_id").unwrap_or("default");
            let currency = text(row, "currency").unwrap_or_default();
            let dims = match table {
                2 => "{}".to_owned(),
                _ => format!("{{\"currency\":\"{currency}\"}}"),
            };
            series.entry((tenant, dims)).or_default().push(row);
        }
        for ((tenant, dims), rows) in series {
            let begin = rows.iter().filter_map(|row| first(table, row)).min().unwrap();
            for (grain, months) in [(Grain::Month, 1), (Grain::Quarter, 3), (Grain::Year, 12)] {
                let (mut start, mut end) = period(months, begin);
                while start <= now {
                    for (kpi, value) in say(&rows, end) {
                        let at = Micros(start.timestamp_micros());
                        cells.insert(format!("{kpi} {tenant} {dims} {grain} {at}"), value);
                    }
                    (start, end) = period(months, end);
                }
            }
        }
    }
    cells
}

/// What the engine says of them.
fn said(rows: &[CellRow]) -> Values {
    let long = [Grain::Month, Grain::Quarter, Grain::Year];
    let own = rows.iter().filter(|row| *row.key.kpi != *"arr" && long.contains(&row.key.grain));
    own.map(|row| {
        let status = if row.value.value.is_some() { Status::Ok } else { Status::NoData };
        assert_eq!(row.value.status, status);
        let key = &row.key;
        let name =
            format!("{} {} {} {} {}", key.kpi, key.tenant, key.dims, key.grain, key.period_start);
        (name, row.value.value)
    })
    .collect()
}

struct World {
    contracts: Vec<Contract>,
    layouts: Vec<Arc<RowLayout>>,
    tables: Vec<BTreeMap<i64, Row>>,
    catalog: Arc<Catalog>,
}

impl World {
    fn new() -> World {
        let texts = [schemas::contract::built_in(), schemas::contract::offered()].concat();
        let contract = |name: &&str| {
            let text = texts.iter().find(|(file, _)| file.trim_end_matches(".toml") == *name);
            Contract::parse(text.unwrap().1).unwrap()
        };
        let contracts: Vec<Contract> = TABLES.iter().map(contract).collect();
        let mut definitions = gold::definition::built_in().unwrap();
        definitions.retain(|own| KPIS.contains(&&*own.key));
        assert_eq!(definitions.len(), KPIS.len());
        let views = accept(&built_in(), &contracts).unwrap();
        let catalog = Arc::new(Catalog::new(definitions, &contracts, views).unwrap());
        let layouts = contracts.iter().map(|own| Arc::new(RowLayout::new(&own.columns)));
        let (layouts, tables) = (layouts.collect(), vec![BTreeMap::new(); TABLES.len()]);
        World { contracts, layouts, tables, catalog }
    }

    fn engine(&self) -> Engine {
        Engine::new(Arc::clone(&self.catalog), &self.contracts).unwrap()
    }

    fn bytes(&self, table: usize, key: i64, row: &Row) -> Vec<u8> {
        let (contract, layout) = (&self.contracts[table], &self.layouts[table]);
        let mut builder = RowBuilder::default();
        builder.reset(layout.len());
        for (at, column) in contract.columns.iter().enumerate() {
            match row.get(column.name.as_str()) {
                Some(Value::Text(text)) => builder.set_text(at, text),
                Some(Value::Money(money)) => builder.set_decimal(at, *money),
                Some(Value::At(instant)) => builder.set_timestamp(at, Micros(*instant)),
                None if contract.key == [at] => builder.set_text(at, &key.to_string()),
                None => {}
            }
        }
        let mut bytes = Vec::new();
        builder.finish(layout, &mut bytes);
        bytes
    }

    fn change(&mut self, dice: &mut Dice, now: i64) -> Vec<Delta> {
        let mut deltas = Vec::new();
        for table in 0..TABLES.len() {
            let layout = Arc::clone(&self.layouts[table]);
            let mut delta = Delta::new(layout, RowKey::new(self.contracts[table].key.clone()));
            for _ in 0..dice.below(4) {
                let key = dice.below(12);
                let new = (dice.below(5) > 0).then(|| dice.row(table, now));
                let old = match &new {
                    Some(new) => self.tables[table].insert(key, new.clone()),
                    None => self.tables[table].remove(&key),
                };
                let of = |row: &Option<Row>| row.as_ref().map(|row| self.bytes(table, key, row));
                let (old, new) = (of(&old), of(&new));
                let layout = &self.layouts[table];
                delta.change(
                    old.as_ref().map(|bytes| layout.row(bytes)),
                    new.as_ref().map(|bytes| layout.row(bytes)),
                );
            }
            delta.consolidate();
            deltas.push(delta);
        }
        deltas
    }

    /// A second engine made from the rows and the saved state of the first.
    fn restarted(&self, engine: &mut Engine) -> Engine {
        let saved = Saved::of(&engine.freeze().parts());
        let mut fresh = self.engine();
        fresh.load_state(&saved, &|_| true).unwrap();
        for (table, rows) in self.tables.iter().enumerate() {
            for (key, row) in rows {
                let bytes = self.bytes(table, *key, row);
                fresh.rebuild(table, self.layouts[table].row(&bytes)).unwrap();
            }
        }
        fresh.finish_load();
        assert!(fresh.take_refused().is_empty());
        assert_eq!(fresh.snapshot(), engine.snapshot(), "cells after a restart");
        fresh
    }

    /// The audit, which asks in SQL, finds nothing.
    async fn audited(&self, rows: &[CellRow], now: i64) -> usize {
        let context = gold::audit::session();
        for (table, contract) in self.contracts.iter().enumerate() {
            let batch = self.batch(table);
            context.register_batch(format!("silver_{}", contract.name), batch).unwrap();
        }
        let current = gold::table::current_batch(rows).unwrap();
        context.register_batch("kpi_current", current).unwrap();
        let found = gold::audit::audit(&context, &self.catalog, Micros(now)).await.unwrap();
        let bad: Vec<_> = found.iter().filter(|finding| finding.mismatches > 0).collect();
        assert!(bad.is_empty(), "{bad:#?}");
        let tables = self.contracts.iter().enumerate();
        let tables: Vec<_> =
            tables.map(|(table, contract)| (contract.name.as_str(), self.batch(table))).collect();
        crate::groups::are_as_computed(&self.catalog, &tables, rows, Micros(now), 12).await;
        found.iter().map(|finding| finding.cells).sum()
    }

    fn batch(&self, table: usize) -> RecordBatch {
        let rows = &self.tables[table];
        let column = |own: &schemas::Column| -> Arc<dyn Array> {
            let values = || rows.values().map(|row| row.get(own.name.as_str()));
            match own.kind {
                schemas::ColumnType::Text if own.name.ends_with("_id") => {
                    let is_key = self.contracts[table].key.iter().any(|at| {
                        self.contracts[table]
                            .columns
                            .get(*at)
                            .is_some_and(|key| key.name == own.name)
                    });
                    let keys = rows.iter().map(|(key, row)| match is_key {
                        true => Some(key.to_string()),
                        false => text(row, &own.name).map(str::to_owned),
                    });
                    Arc::new(StringArray::from_iter(keys))
                }
                schemas::ColumnType::Text => {
                    Arc::new(StringArray::from_iter(rows.values().map(|row| text(row, &own.name))))
                }
                schemas::ColumnType::Timestamp => {
                    let instants = values().map(|value| match value {
                        Some(Value::At(at)) => Some(*at),
                        _ => None,
                    });
                    Arc::new(TimestampMicrosecondArray::from_iter(instants).with_timezone("UTC"))
                }
                schemas::ColumnType::Decimal { precision, scale } => {
                    let numbers = values().map(|value| match value {
                        Some(Value::Money(money)) => Some(*money),
                        _ => None,
                    });
                    let numbers = Decimal128Array::from_iter(numbers);
                    let scale = i8::try_from(scale).unwrap();
                    Arc::new(numbers.with_precision_and_scale(precision, scale).unwrap())
                }
                kind => new_null_array(&rows::data_type(kind), rows.len()),
            }
        };
        let own = &self.contracts[table].columns;
        let columns: Vec<_> = own.iter().map(column).collect();
        let named = own.iter().zip(&columns);
        let fields =
            named.map(|(own, array)| Field::new(&own.name, array.data_type().clone(), true));
        RecordBatch::try_new(Arc::new(Schema::new(fields.collect::<Vec<_>>())), columns).unwrap()
    }
}

#[tokio::test]
async fn what_looks_back_is_what_all_rows_say() {
    let (mut compared, mut audited) = (0, 0);
    for seed in 1..=2_u64 {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut world = World::new();
        let mut engine = world.engine();
        let mut now = Micros::parse(START).unwrap().0;
        for id in 1..=40_u64 {
            let wait = [1, 3, 25][usize::try_from(dice.below(3)).unwrap()];
            now += 1 + dice.below(DAY_US * wait);
            let deltas = world.change(&mut dice, now);
            let stamp = EpochStamp { id, clock: Micros(now), quiet: false };
            engine.begin_epoch(&stamp);
            let wrong = engine.step_all(&stamp, &deltas.iter().collect::<Vec<_>>());
            assert!(wrong.is_empty(), "seed {seed}, epoch {id}: {wrong:?}");
            engine.finish_epoch(&stamp);
            let cells = said(&engine.snapshot());
            let clock = DateTime::from_timestamp_micros(now).unwrap();
            is_same(&cells, &expected(&world.tables, clock), &format!("seed {seed}, epoch {id}"));
            compared += cells.len();
            if dice.below(10) == 0 {
                engine = world.restarted(&mut engine);
            }
        }
        audited += world.audited(&engine.snapshot(), now).await;
    }
    assert!(compared > 10_000 && audited > 3_000, "only {compared} and {audited} cells");
}
