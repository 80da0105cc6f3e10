//! Tests of what the tables of the demo say together.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::OnceLock;

use super::*;

/// Ten-thousandths.
fn ones(value: &Value, field: &str) -> i128 {
    schemas::decimal::parse(text(value, field).as_bytes(), 4).unwrap()
}

/// What is there at some record of the sequence.
#[derive(Default)]
struct Database {
    rows: BTreeMap<&'static str, BTreeMap<Vec<u8>, Value>>,
    lines: BTreeMap<i64, BTreeMap<Vec<u8>, i128>>,
}

impl Database {
    /// Applies one record; gives the order that it is about.
    fn apply(&mut self, record: &Owned) -> Option<i64> {
        let after = record.value.as_ref().map(|value| json(value)["after"].clone());
        let after = after.filter(|after| !after.is_null());
        let topic = record.lane.0;
        let about = json(&record.key);
        let order = about["order_id"].as_i64().or_else(|| {
            let line = about["order_item_id"].as_str()?;
            line.split('-').next()?.parse().ok()
        });
        if let (Table::OrderItems, Some(order)) = (table_of(topic), order) {
            let lines = self.lines.entry(order).or_default();
            match &after {
                Some(line) => {
                    let sum = ones(line, "quantity") * ones(line, "unit_price");
                    assert!(ones(line, "unit_price") > 0 && sum % 10_000 == 0, "{line}");
                    lines.insert(record.key.clone(), sum / 10_000)
                }
                None => lines.remove(&record.key),
            };
        }
        let rows = self.rows.entry(topic).or_default();
        match after {
            Some(after) => rows.insert(record.key.clone(), after),
            None => rows.remove(&record.key),
        };
        order
    }

    /// The amount of an order and what its lines add up to; nothing where it is gone with them.
    fn sums(&self, order: i64) -> (Option<i128>, i128) {
        let key = format!("{{\"order_id\":{order}}}").into_bytes();
        let row = self.rows.get(Table::Orders.topic()).and_then(|rows| rows.get(&key));
        let lines = self.lines.get(&order).map_or(0, |lines| lines.values().sum());
        (row.map(|row| ones(row, "amount")), lines)
    }

    fn all(&self, table: Table) -> impl Iterator<Item = &Value> {
        self.rows.get(table.topic()).into_iter().flat_map(BTreeMap::values)
    }
}

fn table_of(topic: &str) -> Table {
    Table::ALL.into_iter().find(|table| table.topic() == topic).unwrap()
}

#[test]
fn lines_add_up_to_their_order_and_what_is_named_exists() {
    let mut generator = Generator::new(config(4));
    let mut database = Database::default();
    let mut customers = HashSet::new();
    let (mut open, mut live, mut checked) = (None, 0, 0);
    while live < 30_000 {
        let record = own(generator.next());
        live += usize::from(record.timestamp >= start());
        let table = table_of(record.lane.0);
        // A transaction is over when the next one begins, which no tombstone does.
        if table != Table::OrderItems
            && record.value.is_some()
            && let Some(order) = open.take()
        {
            let (amount, lines) = database.sums(order);
            assert_eq!(amount.unwrap_or(0), lines, "order {order}");
            checked += 1;
        }
        open = database.apply(&record).or(open);
        let after = record.value.map(|value| json(&value)["after"].clone()).unwrap_or_default();
        match table {
            Table::Customers => {
                customers.insert(text(&after, "customer_id").to_owned());
                assert!(micros(&after, "signed_up_at") <= micros(&after, "updated_at"));
            }
            Table::Orders | Table::Subscriptions | Table::Opportunities => {
                let customer = text(&after, "customer_id");
                assert!(customer.is_empty() || customers.contains(customer), "{after}");
            }
            Table::Activity | Table::Runs => {
                assert!(customers.contains(text(&after, "user_id")), "{after}");
            }
            _ => {}
        }
    }
    assert!(checked > 10_000, "{checked}");
    let with_several = database.lines.values().filter(|lines| lines.len() > 1).count();
    assert!(with_several * 10 > database.lines.len(), "{with_several}");
    let orders = database.all(Table::Orders);
    let gone = database.lines.iter().filter(|(_, lines)| lines.is_empty()).count();
    assert!(gone > 0 && orders.count() + gone == database.lines.len());
}

/// All that was there when the live part began, of the history that a demo has.
fn history() -> &'static (Database, usize) {
    static HISTORY: OnceLock<(Database, usize)> = OnceLock::new();
    HISTORY.get_or_init(read_history)
}

fn read_history() -> (Database, usize) {
    let mut generator = Generator::new(GeneratorConfig::new(7, start()));
    let mut database = Database::default();
    for records in 0.. {
        let record = own(generator.next());
        if record.timestamp >= start() {
            return (database, records);
        }
        database.apply(&record);
    }
    unreachable!("the live part begins");
}

#[test]
fn history_is_long_enough_to_compare_and_short_enough_to_read() {
    let (database, records) = history();
    // At the 50,000 records a second that the whole catalogue takes at least, it is there within ten seconds.
    assert!(*records < 290_000, "{records}");
    let days = |table: Table, column: &str| {
        let first = database.all(table).map(|row| micros(row, column)).min().unwrap();
        (start().0 - first) / world::DAY
    };
    for (table, column, least) in [
        (Table::Orders, "placed_at", 70),
        (Table::OrderItems, "updated_at", 70),
        (Table::Costs, "charge_period_start", 70),
        (Table::Activity, "occurred_at", 70),
        (Table::Runs, "started_at", 70),
        (Table::Uptime, "checked_at", 70),
        (Table::Customers, "signed_up_at", 400),
        (Table::Subscriptions, "started_at", 399),
        (Table::Opportunities, "opened_at", 398),
        (Table::Budgets, "period_start", 398),
    ] {
        assert!(days(table, column) >= least, "{table:?} {}", days(table, column));
    }
    assert!(database.all(Table::FxRates).count() >= 6 * 400);
}

/// When a subscription began, when it ended, and its status.
type Life<'a> = (i64, Option<i64>, &'a str);

#[test]
fn rows_have_lives() {
    let (database, _) = history();
    let words = |table: Table, column: &str| -> BTreeSet<String> {
        database.all(table).map(|row| text(row, column).to_owned()).collect()
    };
    let set = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<BTreeSet<_>>();
    let statuses = set(&["active", "cancelled", "changed", "paused", "trial"]);
    assert_eq!(words(Table::Subscriptions, "status"), statuses);
    let stages = set(&["lead", "lost", "proposal", "qualified", "won"]);
    assert_eq!(words(Table::Opportunities, "stage"), stages);
    let statuses = words(Table::Runs, "status");
    assert!(statuses.is_superset(&set(&["failed", "succeeded"])), "{statuses:?}");
    let kinds = set(&["click", "conversion", "engagement", "impression"]);
    assert_eq!(words(Table::Activity, "kind"), kinds);
    assert_eq!(words(Table::Orders, "type"), set(&["one_time", "recurring", "subscription"]));
    // A customer has one subscription at a time, and a change of plan leaves no gap.
    let mut lives: BTreeMap<&str, Vec<Life<'_>>> = BTreeMap::new();
    for row in database.all(Table::Subscriptions) {
        let ended = row["ended_at"].is_string().then(|| micros(row, "ended_at"));
        let life = lives.entry(text(row, "customer_id")).or_default();
        life.push((micros(row, "started_at"), ended, text(row, "status")));
    }
    let (mut changed, mut resumed) = (0, 0);
    for life in lives.values_mut() {
        life.sort_unstable();
        for pair in life.windows(2) {
            let (ended, next) = (pair[0].1.unwrap(), pair[1].0);
            assert!(ended <= next, "{life:?}");
            changed += usize::from(pair[0].2 == "changed" && ended == next);
            resumed += usize::from(pair[0].2 == "paused" && ended < next);
        }
    }
    assert!(changed > 100 && resumed > 30, "{changed} changed, {resumed} resumed");
    // Budgets are of calendar months, and one a service.
    for row in database.all(Table::Budgets) {
        let (from, to) = (text(row, "period_start"), text(row, "period_end"));
        assert!(from.contains("-01T00:00:00") && to.contains("-01T00:00:00"), "{row}");
    }
    let up = database.all(Table::Uptime).filter(|row| row["up"] == true).count();
    let checks = database.all(Table::Uptime).count();
    assert!(up < checks && up * 100 > checks * 97, "{up} of {checks}");
}
