//! The same of KPIs over views: joins with their matches, runs of a window function, what is alive at the end of days.

use std::collections::{BTreeMap, BTreeSet};

use rand::Rng;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use super::{as_printed, hundredths, short};
use crate::support::{Place, seeded};

const TABLES: [&str; 4] = ["orders", "order_items", "customers", "subscriptions"];
const KEYS: [&str; 4] = ["order_id", "order_item_id", "customer_id", "subscription_id"];
const TENANTS: [&str; 2] = ["a", "b"];
const DAYS: i64 = 3;

/// A row as it is now: its columns, and the offset of its record.
type Row = (Value, usize);

#[derive(Default)]
struct Shop {
    /// By table and key.
    rows: [BTreeMap<String, Row>; 4],
    offsets: [usize; 4],
}

fn one(random: &mut StdRng, of: [&'static str; 2]) -> &'static str {
    of[random.random_range(0..2)]
}

fn date(day: i64) -> String {
    format!("2026-01-{:02}", 10 + day)
}

impl Shop {
    fn row(&self, table: usize, key: &str, random: &mut StdRng) -> Value {
        let instant = |random: &mut StdRng| {
            format!(
                "{}T{:02}:30:00Z",
                date(random.random_range(0..DAYS)),
                random.random_range(0..24)
            )
        };
        let mut row = json!({
            KEYS[table]: key, "tenant_id": one(random, TENANTS), "updated_at": "2026-01-20T00:00:00Z",
        });
        let own = match table {
            0 => json!({
                "customer_id": format!("c{}", random.random_range(0..12)), "currency": "EUR",
                "status": if random.random_range(0..5) == 0 { "cancelled" } else { "paid" },
                "amount": hundredths(random.random_range(1..9_000)), "placed_at": instant(random),
            }),
            1 => json!({
                "order_id": format!("o{}", random.random_range(0..30)), "currency": "EUR",
                "category": one(random, ["toys", "books"]),
                "quantity": random.random_range(1..4).to_string(),
                "unit_price": hundredths(random.random_range(1..5_000)),
            }),
            2 => {
                json!({ "country": one(random, ["DE", "FR"]), "signed_up_at": instant(random) })
            }
            _ => json!({
                "customer_id": format!("c{}", random.random_range(0..6)), "currency": "EUR", "status": "active",
                "mrr": hundredths(random.random_range(1..900) * 100), "started_at": instant(random),
                "ended_at": (random.random_range(0..2) == 0).then(|| format!("{}T23:45:00Z", date(DAYS))),
            }),
        };
        row.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
        row
    }

    /// Some records of a table as lines of the file source: rows that come, change and go.
    fn lines(&mut self, table: usize, random: &mut StdRng) -> String {
        let mut lines = String::new();
        let (keys, letter) = [(30, "o"), (60, "i"), (9, "c"), (20, "s")][table];
        for _ in 0..50 {
            let key = format!("{letter}{}", random.random_range(0..keys));
            let goes = self.rows[table].contains_key(&key) && random.random_range(0..8) == 0;
            let after = if goes { Value::Null } else { self.row(table, &key, random) };
            let before = if goes { json!({ KEYS[table]: key }) } else { Value::Null };
            let offset = self.offsets[table];
            let source = json!({"lsn": 100 + offset, "ts_ms": 1_000});
            let op = if goes { "d" } else { "u" };
            let value =
                json!({"op": op, "before": before, "after": after, "source": source}).to_string();
            let record = json!({
                "topic": topic(table), "partition": 0, "offset": offset,
                "key": json!({ KEYS[table]: key }).to_string(), "value": value,
            });
            lines.push_str(&format!("{record}\n"));
            self.offsets[table] += 1;
            match goes {
                true => drop(self.rows[table].remove(&key)),
                false => drop(self.rows[table].insert(key, (after, offset))),
            }
        }
        lines
    }

    fn all(&self, table: usize) -> impl Iterator<Item = (&String, &Row)> {
        self.rows[table].iter()
    }

    /// A row in the words of an answer.
    fn input(&self, table: usize, key: &str) -> Input {
        (TABLES[table].to_owned(), key.to_owned(), self.rows[table][key].1 as u64)
    }
}

fn topic(table: usize) -> String {
    format!("shop.public.{}", TABLES[table])
}

/// Contract, key and offset.
type Input = (String, String, u64);
/// What is brought, and by what.
type Told = Vec<(String, BTreeSet<Input>)>;

fn told(part: &Value) -> Told {
    let rows = part["rows"].as_array().unwrap();
    assert_eq!(part["rows_total"], rows.len(), "{part}");
    let input = |input: &Value| {
        let contract = input["contract"].as_str().unwrap();
        let table = TABLES.iter().position(|own| *own == contract).unwrap();
        let key = input["key"][KEYS[table]].as_str().unwrap().to_owned();
        let record = &input["records"][0];
        assert_eq!((&record["topic"], &record["source"]), (&json!(topic(table)), &json!("input")));
        assert_eq!(input["origin"], topic(table));
        (contract.to_owned(), key, record["offset"].as_u64().unwrap())
    };
    let one = |row: &Value| {
        let inputs = row["inputs"].as_array().unwrap();
        assert_eq!((&row["key"], &row["records"]), (&inputs[0]["key"], &inputs[0]["records"]));
        assert_eq!((&row["more_inputs"], &row["withheld"]), (&json!(false), &json!(0)));
        let amount = row["amount"].as_str().unwrap().to_owned();
        (amount, inputs.iter().map(input).collect())
    };
    let mut all: Told = rows.iter().map(one).collect();
    all.sort();
    all
}

fn text<'r>(row: &'r Value, name: &str) -> &'r str {
    row[name].as_str().unwrap()
}

fn cents(row: &Value, name: &str) -> i64 {
    text(row, name).replace('.', "").parse().unwrap()
}

/// The orders of a tenant and a day that were not cancelled.
fn orders<'s>(shop: &'s Shop, tenant: &str, day: i64) -> Vec<(&'s String, &'s Value)> {
    let all = shop.all(0).map(|(key, (row, _))| (key, row));
    let is_own = |(_, row): &(&String, &Value)| {
        let is_then = text(row, "placed_at").starts_with(&date(day));
        row["tenant_id"] == tenant && row["status"] != "cancelled" && is_then
    };
    all.filter(is_own).collect()
}

fn by_category(shop: &Shop, tenant: &str, day: i64, category: &str) -> Told {
    let mut all = Told::new();
    for (order, _) in orders(shop, tenant, day) {
        for (item, (row, _)) in shop.all(1) {
            if row["order_id"] == **order && row["category"] == category {
                let amount =
                    cents(row, "unit_price") * text(row, "quantity").parse::<i64>().unwrap();
                all.push((short(amount), [shop.input(0, order), shop.input(1, item)].into()));
            }
        }
    }
    all.sort();
    all
}

fn buyers(shop: &Shop, tenant: &str, day: i64) -> Told {
    let mut all = Told::new();
    for (order, row) in orders(shop, tenant, day) {
        let customer = text(row, "customer_id");
        let mut inputs = BTreeSet::from([shop.input(0, order)]);
        inputs.extend(shop.rows[2].contains_key(customer).then(|| shop.input(2, customer)));
        all.push((customer.to_owned(), inputs));
    }
    all.sort();
    all
}

fn alive(shop: &Shop, tenant: &str, day: i64) -> Told {
    let is_alive = |row: &Value| {
        row["tenant_id"] == tenant
            && text(row, "started_at") < date(day + 1).as_str()
            && row["ended_at"].as_str().is_none_or(|at| at >= date(day + 1).as_str())
    };
    let own = shop.all(3).filter(|(_, (row, _))| is_alive(row));
    let one =
        |(key, (row, _)): (&String, &Row)| (short(cents(row, "mrr")), [shop.input(3, key)].into());
    let mut all: Told = own.map(one).collect();
    all.sort();
    all
}

/// Every cell of a tenant's day; gives how many rows there are.
fn a_day_is_explained(place: &Place, shop: &Shop, tenant: &str, day: i64) -> usize {
    let period = date(day);
    let groups = |kpi: &str| {
        let asked =
            ["explain", kpi, "--tenant", tenant, "--period", &period, "--limit", "1000", "--json"];
        place.succeeds(&asked).json()["groups"].as_array().unwrap().clone()
    };
    let mut rows = 0;
    let mut is = |group: &Value, expected: Told, lineage: &str, contracts: Value| {
        let part = &group["parts"][0];
        assert_eq!(told(part), expected, "{tenant} {period}: {}", group["dims"]);
        assert_eq!((&part["lineage"], &part["contracts"]), (&json!(lineage), &contracts));
        if !part["sum"].is_null() {
            assert_eq!(part["sum"], group["value"], "{tenant} {period}: {group}");
        }
        rows += expected.len();
    };
    let mut found = BTreeSet::new();
    for group in groups("revenue_by_category") {
        let category = text(&group["dims"], "category").to_owned();
        let expected = by_category(shop, tenant, day, &category);
        is(&group, expected, "exact", json!(["order_items", "orders"]));
        found.insert(category);
    }
    for category in ["toys", "books"].into_iter().filter(|own| !found.contains(*own)) {
        assert_eq!(by_category(shop, tenant, day, category), []);
    }
    for group in groups("buyers") {
        let expected = buyers(shop, tenant, day);
        let different: BTreeSet<&String> = expected.iter().map(|(own, _)| own).collect();
        assert_eq!(group["value"], different.len().to_string());
        is(&group, expected, "exact", json!(["customers", "orders"]));
    }
    for group in groups("mrr") {
        is(&group, alive(shop, tenant, day), "exact", json!(["subscriptions"]));
    }
    for group in groups("mrr_change") {
        let part = &group["parts"][0];
        assert_eq!((&part["lineage"], &part["sum"]), (&json!("partition"), &group["value"]));
        rows += told(part).len();
    }
    rows
}

#[test]
fn cells_over_views_lead_back_to_the_rows_of_all_tables() {
    let place = Place::new();
    let input = place.path("input");
    std::fs::create_dir_all(&input).unwrap();
    let topics = (0..4).map(|table| format!("\"{}\" = \"{}\"\n", topic(table), TABLES[table]));
    place.configure(&format!(
        "[[sources]]\nkind = \"file\"\nname = \"input\"\npath = \"{}\"\n[sources.topics]\n{}",
        input.display(),
        topics.collect::<String>(),
    ));
    let mut random = seeded("explain views");
    let mut shop = Shop::default();
    for file in 0..3 {
        for table in 0..4 {
            let lines = shop.lines(table, &mut random);
            std::fs::write(place.path(&format!("input/{file}{table}.ndjson")), lines).unwrap();
        }
        place.succeeds(&["run", "--until-end"]);
    }
    place.succeeds(&["verify"]);
    let all = TENANTS.into_iter().flat_map(|tenant| (0..DAYS).map(move |day| (tenant, day)));
    let rows: usize = all.map(|(tenant, day)| a_day_is_explained(&place, &shop, tenant, day)).sum();
    assert!(rows > 50, "{rows}");
    // A day may have nothing of it.
    let said = |kpi: &str| {
        let all = TENANTS.into_iter().flat_map(|tenant| (0..DAYS).map(move |day| (tenant, day)));
        let one = |(tenant, day)| {
            let period = date(day);
            place.succeeds(&["explain", kpi, "--tenant", tenant, "--period", &period]).stdout
        };
        all.map(one).collect::<String>()
    };
    let told = said("revenue_by_category");
    for word in
        ["rows of the view item_sales, which add up to", "shop.public.order_items", "contract"]
    {
        assert!(told.contains(word), "`{word}` is not in {told}");
    }
    assert!(said("mrr_change").contains("more than decide each"));
    over_http(&place, &shop);
}

/// Over HTTP it is the same to who may see all tenants. A token of one sees nothing of the others.
fn over_http(place: &Place, shop: &Shop) {
    let mut run = place.start(&["run"]);
    let port = crate::live::port(&mut run);
    crate::live::ready(port);
    let token = crate::live::mint(place, &[]);
    let own = crate::live::mint(place, &["--tenant", "a"]);
    let (mut withheld, mut compared) = (0, 0);
    for kpi in ["revenue_by_category", "buyers", "mrr", "mrr_change"] {
        for day in 0..DAYS {
            let period = date(day);
            let asked =
                ["explain", kpi, "--tenant", "a", "--period", &period, "--limit", "1000", "--json"];
            let printed = place.succeeds(&asked).json();
            let path = format!("/api/v1/kpis/{kpi}/explain?period_start={period}&tenant=a&limit=");
            let (mut rows, mut cursor) = (Vec::new(), String::new());
            let answer = loop {
                let page = crate::live::get(port, &format!("{path}7{cursor}"), &token);
                rows.extend(page["rows"].as_array().unwrap().iter().cloned());
                let Some(next) = page["next"].as_str() else { break page };
                cursor = format!("&cursor={next}");
            };
            assert_eq!(as_printed(&answer, &rows), printed["groups"], "{kpi} {period}");
            compared += rows.len();
            let bounded = crate::live::get(port, &format!("{path}1000"), &own);
            assert_eq!(bounded["groups"], answer["groups"]);
            for row in bounded["rows"].as_array().unwrap() {
                for input in row["inputs"].as_array().unwrap() {
                    let table = TABLES.iter().position(|own| input["contract"] == **own).unwrap();
                    let (row, _) = &shop.rows[table][text(&input["key"], KEYS[table])];
                    assert_eq!(row["tenant_id"], "a", "{input}");
                }
                withheld += row["withheld"].as_u64().unwrap();
            }
        }
    }
    assert!(compared > 25 && withheld > 0, "{compared} {withheld}");
    let path = "/api/v1/kpis/buyers/explain?tenant=b";
    let refused = crate::support::http::request("GET", port, path, Some(&own));
    assert_eq!(refused.status, 403, "{refused:?}");
    run.stops();
}
