//! `weir explain` from outside: every cell of some KPIs leads back to the rows and records that made it, against the
//! same kept by hand while the records were made.

mod views;

use std::collections::{BTreeMap, BTreeSet};

use rand::Rng;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use crate::support::{Place, seeded};

/// Tenants with the hour of UTC in which their days begin, all days of the test.
const TENANTS: [(&str, i64); 3] = [("utc", 0), ("kolkata", -5), ("new-york", 5)];
const SETTINGS: &str =
    "[time.zones]\nkolkata = \"Asia/Kolkata\"\nnew-york = \"America/New_York\"\n";
const CHANNELS: [Option<&str>; 3] = [Some("web"), Some("o'hare \"x\""), None];
const CURRENCIES: [&str; 2] = ["EUR", "USD"];
/// Topics on one contract, by their first letters.
const TOPICS: [&str; 2] = ["a.public.orders", "b.public.orders"];

/// An order as it is now, and the record that wrote it.
#[derive(Debug, Clone)]
struct Order {
    tenant: &'static str,
    currency: &'static str,
    channel: Option<&'static str>,
    cancelled: bool,
    /// In hundredths.
    amount: i64,
    /// Hours behind 2026-01-10.
    hour: i64,
    record: (usize, usize),
}

impl Order {
    fn new(random: &mut StdRng, record: (usize, usize)) -> Order {
        Order {
            tenant: TENANTS[random.random_range(0..3)].0,
            currency: CURRENCIES[random.random_range(0..2)],
            channel: CHANNELS[random.random_range(0..3)],
            cancelled: random.random_range(0..5) == 0,
            amount: random.random_range(-500..100_000),
            hour: random.random_range(0..72),
            record,
        }
    }

    /// The date at the tenant's, as a number of days behind 2026-01-09.
    fn day(&self) -> i64 {
        // In Kolkata a day begins half an hour before an hour of UTC does, and orders are placed at full hours.
        let begins = TENANTS.iter().find(|own| own.0 == self.tenant).unwrap().1;
        1 + (self.hour - begins).div_euclid(24)
    }
}

/// A line of the file source.
fn line(topic: usize, offset: usize, id: usize, order: Option<&Order>) -> String {
    let id = format!("o{id}");
    let after = order.map(|own| {
        let (day, hour) = (10 + own.hour / 24, own.hour % 24);
        json!({
            "order_id": id, "tenant_id": own.tenant, "currency": own.currency, "channel": own.channel,
            "status": if own.cancelled { "cancelled" } else { "paid" },
            "amount": hundredths(own.amount),
            "placed_at": format!("2026-01-{day}T{hour:02}:00:00Z"), "updated_at": "2026-01-20T00:00:00Z",
        })
    });
    let op = if after.is_some() { "u" } else { "d" };
    let before = after.is_none().then(|| json!({"order_id": id}));
    let source = json!({"lsn": 100 + offset, "ts_ms": 1_000});
    let value = json!({"op": op, "before": before, "after": after, "source": source}).to_string();
    let record = json!({
        "topic": TOPICS[topic], "partition": 0, "offset": offset,
        "key": json!({"order_id": id}).to_string(), "value": value,
    });
    format!("{record}\n")
}

fn hundredths(amount: i64) -> String {
    let sign = if amount < 0 { "-" } else { "" };
    format!("{sign}{}.{:02}", amount.abs() / 100, amount.abs() % 100)
}

/// A decimal without zeros at its end.
fn short(amount: i64) -> String {
    let text = hundredths(amount);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Orders that come, change and go; what is left, by topic and number.
fn written(place: &Place, random: &mut StdRng) -> BTreeMap<(usize, usize), Order> {
    let mut orders = BTreeMap::new();
    let mut offsets = [0; 2];
    for file in 0..3 {
        for (topic, offset) in offsets.iter_mut().enumerate() {
            let mut lines = String::new();
            for _ in 0..60 {
                let id = random.random_range(0..50);
                let key = (topic, id);
                let goes = orders.contains_key(&key) && random.random_range(0..6) == 0;
                let order = (!goes).then(|| Order::new(random, (topic, *offset)));
                lines.push_str(&line(topic, *offset, id, order.as_ref()));
                match order {
                    Some(order) => orders.insert(key, order),
                    None => orders.remove(&key),
                };
                *offset += 1;
            }
            std::fs::write(place.path(&format!("input/{file}{topic}.ndjson")), lines).unwrap();
        }
        place.succeeds(&["run", "--until-end"]);
    }
    orders
}

/// Topic and number of an order, what it brings, and the topic and offset of its record.
type Told = BTreeSet<(String, String, String, String, u64)>;

fn told(part: &Value) -> Told {
    let rows = part["rows"].as_array().unwrap();
    assert_eq!(part["rows_total"], rows.len(), "{part}");
    let one = |row: &Value| {
        let records = row["records"].as_array().unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let [record] = &records[..] else { panic!("{row}") };
        assert_eq!((&record["partition"], &record["source"]), (&0.into(), &"input".into()));
        let key = text(&row["key"]["order_id"]);
        let offset = record["offset"].as_u64().unwrap();
        (text(&row["origin"]), key, text(&row["amount"]), text(&record["topic"]), offset)
    };
    rows.iter().map(one).collect()
}

fn by_hand<'o>(
    orders: impl Iterator<Item = (&'o (usize, usize), &'o Order)>,
    amount: impl Fn(&Order) -> String,
) -> Told {
    let one = |((_, id), own): (&(usize, usize), &Order)| {
        let topic = TOPICS[own.record.0].to_owned();
        (topic.clone(), format!("o{id}"), amount(own), topic, own.record.1 as u64)
    };
    orders.map(one).collect()
}

/// Every cell of a tenant's day is the sum of the rows that are told; gives how many cells and rows there are.
fn a_day_is_explained(
    place: &Place,
    orders: &BTreeMap<(usize, usize), Order>,
    tenant: &str,
    day: i64,
) -> (usize, usize) {
    let (mut cells, mut rows) = (0, 0);
    let date = format!("2026-01-{:02}", 9 + day);
    let of = |kpi: &str| {
        let asked = ["explain", kpi, "--tenant", tenant, "--period", &date, "--json"];
        let answer = place.succeeds(&[&asked[..], &["--limit", "1000"]].concat()).json();
        answer["groups"].as_array().unwrap().clone()
    };
    let taken = |dims: &Value, with_channel: bool| {
        let (currency, channel) = (dims["currency"].clone(), dims["channel"].clone());
        let is_in = move |own: &Order| {
            own.tenant == tenant
                && own.day() == day
                && !own.cancelled
                && currency == own.currency
                && (!with_channel || channel == json!(own.channel))
        };
        orders.iter().filter(move |(_, own)| is_in(own))
    };
    let all = |own: &&Order| own.tenant == tenant && own.day() == day && !own.cancelled;
    for (kpi, with_channel) in [("revenue_booked", false), ("revenue_by_channel", true)] {
        let groups = of(kpi);
        let dims = |own: &Order| (own.currency, with_channel.then_some(own.channel));
        let expected: BTreeSet<_> = orders.values().filter(all).map(dims).collect();
        assert_eq!(groups.len(), expected.len(), "{kpi} {tenant} {date}");
        for group in groups {
            let part = &group["parts"][0];
            let expected = by_hand(taken(&group["dims"], with_channel), |own| short(own.amount));
            assert_eq!(told(part), expected, "{kpi} {tenant} {date}");
            let sum: i64 = taken(&group["dims"], with_channel).map(|own| own.1.amount).sum();
            assert_eq!((&group["value"], &part["sum"]), (&json!(short(sum)), &json!(short(sum))));
            cells += 1;
            rows += expected.len();
        }
    }
    for group in of("average_order_value") {
        let [above, below] = [0, 1].map(|at| &group["parts"][at]);
        assert_eq!((&above["role"], &below["role"]), (&"numerator".into(), &"denominator".into()));
        assert_eq!((&above["kpi"], &below["kpi"]), (&"revenue_booked".into(), &"orders".into()));
        assert_eq!((&group["numerator"], &group["denominator"]), (&above["sum"], &below["sum"]));
        let own = || taken(&group["dims"], false);
        assert_eq!(told(above), by_hand(own(), |own| short(own.amount)));
        assert_eq!(told(below), by_hand(own(), |_| "1".to_owned()));
    }
    (cells, rows)
}

#[test]
fn every_cell_leads_back_to_its_rows_and_records() {
    let place = Place::new();
    let input = place.path("input");
    std::fs::create_dir_all(&input).unwrap();
    let [a, b] = TOPICS;
    place.configure(&format!(
        "{SETTINGS}[[sources]]\nkind = \"file\"\nname = \"input\"\npath = \"{}\"\n[sources.topics]\n\
         \"{a}\" = \"orders\"\n\"{b}\" = \"orders\"\n",
        input.display(),
    ));
    let mut random = seeded("explain");
    let orders = written(&place, &mut random);
    place.succeeds(&["verify"]);
    let (mut cells, mut rows) = (0, 0);
    for (tenant, _) in TENANTS {
        for day in 0..=5 {
            let of_day = a_day_is_explained(&place, &orders, tenant, day);
            (cells, rows) = (cells + of_day.0, rows + of_day.1);
        }
    }
    assert!(cells > 40 && rows > 60, "{cells} cells of {rows} rows");
    words_and_refusals(&place);
    rest_says_the_same(&place);
}

/// The groups of an answer with the rows of their parts, as the command prints them.
fn as_printed(answer: &Value, rows: &[Value]) -> Value {
    let mut groups = answer["groups"].clone();
    for (at, group) in groups.as_array_mut().unwrap().iter_mut().enumerate() {
        let has_cell = group["status"].is_string();
        group["unit"] = if has_cell { answer["unit"].clone() } else { Value::Null };
        for (part, own) in group["parts"].as_array_mut().unwrap().iter_mut().enumerate() {
            let is_own = |row: &&Value| (&row["group"], &row["part"]) == (&at.into(), &part.into());
            let mut rows: Vec<Value> = rows.iter().filter(is_own).cloned().collect();
            for row in rows.iter_mut().filter_map(Value::as_object_mut) {
                row.remove("group");
                row.remove("part");
            }
            own["rows"] = rows.into();
        }
    }
    groups
}

fn rest_says_the_same(place: &Place) {
    let mut run = place.start(&["run"]);
    let port = crate::live::port(&mut run);
    crate::live::ready(port);
    let token = crate::live::mint(place, &[]);
    let mut compared = 0;
    for kpi in ["revenue_by_channel", "average_order_value"] {
        for (tenant, _) in TENANTS {
            for date in ["2026-01-10", "2026-01-11", "2026-01-12"] {
                let asked = ["explain", kpi, "--tenant", tenant, "--period", date, "--json"];
                let printed = place.succeeds(&[&asked[..], &["--limit", "1000"]].concat()).json();
                let path = format!(
                    "/api/v1/kpis/{kpi}/explain?tenant={tenant}&period_start={date}&limit=7"
                );
                let (mut rows, mut cursor) = (Vec::new(), String::new());
                let answer = loop {
                    let page = crate::live::get(port, &format!("{path}{cursor}"), &token);
                    rows.extend(page["rows"].as_array().unwrap().iter().cloned());
                    let Some(next) = page["next"].as_str() else { break page };
                    cursor = format!("&cursor={next}");
                };
                assert_eq!(as_printed(&answer, &rows), printed["groups"], "{kpi} {tenant} {date}");
                compared += rows.len();
            }
        }
    }
    assert!(compared > 60, "{compared}");
    run.stops();
}

fn words_and_refusals(place: &Place) {
    let all = ["explain", "orders", "--tenant", "utc", "--grain", "all"];
    let said = place.succeeds(&all).stdout;
    for word in ["value: orders, count of", "which add up to", "a.public.orders", "offset"] {
        assert!(said.contains(word), "`{word}` is not in {said}");
    }
    let one = place.succeeds(&[&all[..], &["--limit", "1"]].concat()).stdout;
    assert!(one.contains("rows more; `--limit` shows them"), "{one}");
    let day = [
        "explain",
        "revenue_by_channel",
        "--tenant",
        "utc",
        "--grain",
        "year",
        "--period",
        "2026-05-01",
    ];
    let web = place.succeeds(&[&day[..], &["--dim", "channel=web", "--json"]].concat()).json();
    let channels: Vec<_> =
        web["groups"].as_array().unwrap().iter().map(|own| &own["dims"]["channel"]).collect();
    assert!(!channels.is_empty() && channels.iter().all(|own| **own == "web"), "{web}");
    for (arguments, expected) in [
        (&["explain", "ordres", "--tenant", "utc"][..], "did you mean `orders`?"),
        (&["explain", "orders", "--tenant", "utc"], "say which day by `--period`"),
        (
            &["explain", "orders", "--tenant", "utc", "--period", "soon"],
            "use RFC 3339 or YYYY-MM-DD",
        ),
        (
            &[
                "explain",
                "orders",
                "--tenant",
                "utc",
                "--grain",
                "last_7d",
                "--period",
                "2026-01-10",
            ],
            "which moves; leave `--period` out",
        ),
        (
            &[
                "explain",
                "orders",
                "--tenant",
                "utc",
                "--period",
                "2026-01-10",
                "--dim",
                "chanel=web",
            ],
            "`orders` has no dimension `chanel`; it has currency",
        ),
    ] {
        let failed = place.weir(arguments).exits(2);
        assert!(failed.stderr.contains(expected), "{arguments:?}: {}", failed.stderr);
    }
}
