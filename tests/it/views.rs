//! KPIs over views that somebody adds: SQL over several tables, against the same counted by hand over
//! the rows that were sent, through restarts, deletes and other definitions.

use std::collections::{BTreeMap, BTreeSet};

use rand::Rng;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use crate::support::sales::{CLIENTS, DAY_MS, SALES, START_MS};
use crate::support::{Place, seeded};

fn view(condition: &str) -> String {
    format!(
        "-- What clients buy, by country.\n\
         SELECT s.shop AS tenant_id, period(s.sold_at) AS period, c.country,\n\
                SUM(s.amount) AS sold, COUNT(DISTINCT s.client) AS buyers, MAX(s.amount) AS largest,\n\
                PERCENTILE_EXACT(s.amount, 0.9) AS high\n\
         FROM sales s LEFT JOIN clients c ON c.id = s.client\n\
         WHERE {condition}\nGROUP BY 1, 2, 3\n"
    )
}

fn kpi(key: &str, value: &str, more: &str) -> String {
    format!(
        "key = \"{key}\"\ntitle = \"{key}\"\nunit = \"count\"\ngood = \"up\"\nview = \"by_country\"\n\
         value = \"{value}\"\n{more}"
    )
}

#[derive(Debug, Clone)]
struct Sale {
    shop: &'static str,
    client: i64,
    cents: i64,
    at_ms: i64,
}

/// Shop, day and country.
type Name = (String, i64, Option<String>);

/// Hundredths in all, clients, the most of one sale, each sale.
type Cell = (i64, BTreeSet<i64>, i64, Vec<i64>);

#[derive(Default)]
struct Shop {
    sales: BTreeMap<i64, Sale>,
    clients: BTreeMap<i64, &'static str>,
    offsets: [usize; 2],
}

impl Shop {
    /// Some more records: rows that come, change and go.
    fn sell(&mut self, rng: &mut StdRng, records: usize) -> String {
        let mut lines = String::new();
        for _ in 0..records {
            let is_client = rng.random_range(0..5) == 0;
            let topic = usize::from(is_client);
            let key = rng.random_range(0..if is_client { 30 } else { 400 });
            let value = if rng.random_range(0..8) == 0 {
                match is_client {
                    true => self.clients.retain(|id, _| *id != key),
                    false => self.sales.retain(|id, _| *id != key),
                }
                Value::Null
            } else if is_client {
                let country = ["DE", "FR", "PL"][rng.random_range(0..3)];
                self.clients.insert(key, country);
                json!({"id": key, "shop": "any", "country": country})
            } else {
                let sale = Sale {
                    shop: ["a", "b"][rng.random_range(0..2)],
                    client: rng.random_range(0..40),
                    cents: rng.random_range(-500..90_000),
                    at_ms: START_MS + rng.random_range(0..5 * DAY_MS),
                };
                self.sales.insert(key, sale.clone());
                json!({
                    "id": key, "shop": sale.shop, "client": sale.client, "sold_at": sale.at_ms,
                    "amount": format!(
                        "{}{}.{:02}",
                        if sale.cents < 0 { "-" } else { "" },
                        sale.cents.abs() / 100,
                        sale.cents.abs() % 100
                    ),
                })
            };
            let offset = self.offsets[topic];
            self.offsets[topic] += 1;
            let topic = ["sales", "clients"][topic];
            let line = json!({
                "topic": topic, "partition": 0, "offset": offset, "key": {"id": key}, "value": value,
            });
            lines += &(line.to_string() + "\n");
        }
        lines
    }

    /// What views say, counted sale by sale.
    fn by_hand(&self, least: i64) -> BTreeMap<Name, Cell> {
        let mut cells = BTreeMap::new();
        for sale in self.sales.values().filter(|sale| sale.cents >= least) {
            let country = self.clients.get(&sale.client).map(|country| (*country).to_owned());
            let key = (sale.shop.to_owned(), sale.at_ms / DAY_MS, country);
            let cell = cells.entry(key).or_insert((0, BTreeSet::new(), i64::MIN, Vec::new()));
            cell.0 += sale.cents;
            cell.1.insert(sale.client);
            cell.2 = cell.2.max(sale.cents);
            cell.3.push(sale.cents);
        }
        cells
    }
}

/// What `weir kpis get` says by day, in hundredths.
fn days(place: &Place, key: &str) -> BTreeMap<Name, i64> {
    let answer = place.succeeds(&["kpis", "get", key, "--grain", "day", "--json"]).json();
    let cell = |row: &Value| {
        let dims = match &row["dims"] {
            Value::String(text) => serde_json::from_str(text).unwrap(),
            other => other.clone(),
        };
        let start = schemas::Micros::parse(row["period_start"].as_str().unwrap()).unwrap().0;
        let country = dims["country"].as_str().map(str::to_owned);
        let value: String = match &row["value"] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let (whole, part) = value.split_once('.').unwrap_or((&value, ""));
        let hundredths = format!("{whole}{:0<2.2}", part).parse().unwrap();
        ((crate::surface::tenant(row), start / (DAY_MS * 1_000), country), hundredths)
    };
    crate::surface::rows(&answer).iter().map(cell).collect()
}

fn is_as_by_hand(place: &Place, shop: &Shop, least: i64) {
    let expected = shop.by_hand(least);
    assert!(expected.len() > 20, "only {} cells", expected.len());
    let of = |read: &dyn Fn(&Cell) -> i64| -> BTreeMap<_, _> {
        expected.iter().map(|(key, cell)| (key.clone(), read(cell))).collect()
    };
    assert_eq!(days(place, "sold"), of(&|cell| cell.0), "sold");
    let count = |cell: &Cell| i64::try_from(cell.1.len()).unwrap() * 100;
    assert_eq!(days(place, "buyers"), of(&count), "buyers");
    assert_eq!(days(place, "largest"), of(&|cell| cell.2), "largest");
    let high = |cell: &Cell| {
        let mut sales = cell.3.clone();
        sales.sort_unstable();
        sales[(sales.len() * 9).div_ceil(10) - 1]
    };
    assert_eq!(days(place, "high"), of(&high), "high");
    // Without the country: clients of several countries are no more, and clients count once.
    let mut whole: BTreeMap<_, BTreeSet<i64>> = BTreeMap::new();
    for ((shop, day, _), (_, clients, ..)) in &expected {
        whole.entry((shop.clone(), *day, None)).or_default().extend(clients);
    }
    let whole: BTreeMap<_, _> = whole
        .into_iter()
        .map(|(key, clients)| (key, i64::try_from(clients.len()).unwrap() * 100))
        .collect();
    assert_eq!(days(place, "all_buyers"), whole, "all_buyers");
    place.succeeds(&["verify"]);
}

fn place() -> Place {
    let place = Place::new();
    for folder in ["contracts", "gold", "input"] {
        std::fs::create_dir_all(place.path(folder)).unwrap();
    }
    std::fs::write(place.path("contracts/sales.toml"), SALES).unwrap();
    std::fs::write(place.path("contracts/clients.toml"), CLIENTS).unwrap();
    place.configure(&format!(
        "contracts.definitions = {:?}\ngold.definitions = {:?}\n[[sources]]\nkind = \"file\"\n\
         path = {:?}\n[sources.topics]\nsales = \"sales\"\nclients = \"clients\"\n",
        place.path("contracts"),
        place.path("gold"),
        place.path("input"),
    ));
    let dims = "dims = [\"country\"]\n";
    std::fs::write(place.path("gold/by_country.sql"), view("TRUE")).unwrap();
    for (key, value, more) in [
        ("sold", "sold", dims),
        ("buyers", "buyers", dims),
        ("largest", "largest", dims),
        ("high", "high", "dims = [\"country\"]\nkind = \"percentile\"\n"),
        ("all_buyers", "buyers", ""),
    ] {
        std::fs::write(place.path(&format!("gold/{key}.toml")), kpi(key, value, more)).unwrap();
    }
    place
}

#[test]
fn kpis_over_a_view_are_what_is_counted_by_hand() {
    let mut rng = seeded("views");
    let (place, mut shop) = (place(), Shop::default());
    std::fs::write(place.path("input/a.ndjson"), shop.sell(&mut rng, 900)).unwrap();
    place.succeeds(&["check"]);
    place.succeeds(&["run", "--until-end"]);
    is_as_by_hand(&place, &shop, i64::MIN);

    // A start that knows the rows, and is told more of both tables.
    std::fs::write(place.path("input/b.ndjson"), shop.sell(&mut rng, 700)).unwrap();
    place.succeeds(&["run", "--until-end"]);
    is_as_by_hand(&place, &shop, i64::MIN);

    // Layout and comments are no other meaning; another condition is.
    let spaced =
        view("TRUE").replace("FROM sales", "FROM\n  sales").replace("-- What", "-- Again what");
    std::fs::write(place.path("gold/by_country.sql"), spaced).unwrap();
    place.succeeds(&["run", "--until-end"]);
    is_as_by_hand(&place, &shop, i64::MIN);
    std::fs::write(place.path("gold/by_country.sql"), view("s.amount >= 100")).unwrap();
    place.succeeds(&["run", "--until-end"]);
    is_as_by_hand(&place, &shop, 10_000);
}

#[test]
fn a_view_that_cannot_be_kept_is_refused_with_its_file_and_a_cure() {
    let place = place();
    let refused = |text: &str, says: &[&str]| {
        std::fs::write(place.path("gold/by_country.sql"), text).unwrap();
        place.weir(&["run", "--until-end"]).exits(2).says(says);
        let checked = place.weir(&["check"]).exits(2).stdout;
        assert!(says.iter().all(|part| checked.contains(part)), "{says:?}: {checked}");
    };
    let view = view("TRUE");
    refused(&view.replace("LEFT JOIN", "FULL JOIN"), &["by_country.sql", "JOIN_KIND", "UNION ALL"]);
    refused(&view.replace("FROM sales", "FROM sale"), &["by_country.sql", "`sales`"]);
    refused(&view.replace("s.amount", "s.amuont"), &["by_country.sql", "amount"]);
    refused(&view.replace("AS buyers", "AS buyer"), &["buyers.toml", "`buyer`"]);
}
