//! Tables of views that somebody adds, read by the harness's own reader of Delta tables, against the same counted
//! by hand over the rows that were sent: through restarts, kills, other definitions and settings.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use arrow::array::Array;
use arrow::util::display::array_value_to_string;
use harness::delta_log::DeltaLog;
use rand::Rng;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use crate::support::sales::{CLIENTS, DAY_MS, SALES, START_MS};
use crate::support::{Place, log_entries, seeded};

/// Within which a start commits what it finds, however slow the machine.
const COMMITS: Duration = Duration::from_secs(60);
const BY_COUNTRY: &str = "SELECT s.shop AS tenant_id, period(s.sold_at) AS period, c.country,
       SUM(s.amount) AS sold, COUNT(DISTINCT s.client) AS buyers
FROM sales s LEFT JOIN clients c ON c.id = s.client
WHERE TRUE
GROUP BY 1, 2, 3
";
/// The same row several times.
const PAIRS: &str = "SELECT s.shop AS tenant_id, s.client, c.country
FROM sales s JOIN clients c ON c.id = s.client
";

#[derive(Debug, Clone)]
struct Sale {
    shop: &'static str,
    client: i64,
    cents: i64,
    at_ms: i64,
}

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
            let topic = usize::from(rng.random_range(0..5) == 0);
            let key = rng.random_range(0..[400, 30][topic]);
            let value = if rng.random_range(0..8) == 0 {
                match topic {
                    0 => drop(self.sales.remove(&key)),
                    _ => drop(self.clients.remove(&key)),
                }
                Value::Null
            } else if topic == 1 {
                let country = ["DE", "FR", "PL"][rng.random_range(0..3)];
                self.clients.insert(key, country);
                json!({"id": key, "shop": "any", "country": country})
            } else {
                let sale = Sale {
                    shop: ["a", "b"][rng.random_range(0..2)],
                    client: rng.random_range(0..40),
                    cents: rng.random_range(0..90_000),
                    at_ms: START_MS + rng.random_range(0..5 * DAY_MS),
                };
                self.sales.insert(key, sale.clone());
                json!({
                    "id": key, "shop": sale.shop, "client": sale.client, "sold_at": sale.at_ms,
                    "amount": format!("{}.{:02}", sale.cents / 100, sale.cents % 100),
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

    /// What the view by country holds, counted sale by sale at each grain: the rows as text, sorted.
    fn by_country(&self, least: i64) -> Vec<String> {
        let mut cells: BTreeMap<_, (i64, BTreeSet<i64>)> = BTreeMap::new();
        for sale in self.sales.values().filter(|sale| sale.cents >= least) {
            let country = self.clients.get(&sale.client).copied();
            for (grain, start, end) in periods(sale.at_ms) {
                let cell = cells.entry((sale.shop, grain, start, end, country)).or_default();
                cell.0 += sale.cents;
                cell.1.insert(sale.client);
            }
        }
        let instant = |ms: i64| schemas::Micros(ms * 1_000).to_string();
        let mut rows = Vec::new();
        for ((shop, grain, start, end, country), (cents, buyers)) in cells {
            let (start, end) = (instant(start), instant(end));
            let (country, buyers) = (country.unwrap_or("null"), buyers.len());
            rows.push(format!(
                "tenant_id={shop} grain={grain} period_start={start} period_end={end} country={country} \
                 sold={}.{:02} buyers={buyers}",
                cents / 100,
                cents % 100,
            ));
        }
        rows.sort();
        rows
    }

    /// What the view of pairs holds.
    fn pairs(&self) -> Vec<String> {
        let sales = self.sales.values().filter_map(|sale| {
            let country = self.clients.get(&sale.client)?;
            Some(format!("tenant_id={} client={} country={country}", sale.shop, sale.client))
        });
        let mut rows: Vec<String> = sales.collect();
        rows.sort();
        rows
    }
}

/// The periods that an instant between 2026-01-30 and 2026-02-03 is in, with their bounds.
fn periods(at_ms: i64) -> [(&'static str, i64, i64); 6] {
    let day = at_ms / DAY_MS;
    let hour = at_ms - at_ms % 3_600_000;
    // 2026-01-26 is a Monday; 2026-02-01 and 2026-03-01; 2026-01-01, 2026-04-01 and 2027-01-01.
    let week = if day < 20_486 { 20_479 } else { 20_486 };
    let (month, next) = if day < 20_485 { (20_454, 20_485) } else { (20_485, 20_513) };
    [
        ("hour", hour, hour + 3_600_000),
        ("day", day * DAY_MS, (day + 1) * DAY_MS),
        ("week", week * DAY_MS, (week + 7) * DAY_MS),
        ("month", month * DAY_MS, next * DAY_MS),
        ("quarter", 20_454 * DAY_MS, 20_544 * DAY_MS),
        ("year", 20_454 * DAY_MS, 20_819 * DAY_MS),
    ]
}

fn log(place: &Place, view: &str) -> DeltaLog {
    DeltaLog::open(&place.lake().join("gold/views").join(view)).unwrap()
}

/// The rows of a view's table as text, sorted, with the names of its columns.
fn table(place: &Place, view: &str) -> Vec<String> {
    let log = log(place, view);
    let mut rows = Vec::new();
    for file in &log.at(log.newest()).files {
        assert!(file.deletion_vector.is_none(), "gold is plain");
        log.read(file, None, |batch| {
            let schema = batch.schema();
            for row in 0..batch.num_rows() {
                let columns = schema.fields().iter().zip(batch.columns()).map(|(field, array)| {
                    let text = match array.is_valid(row) {
                        true => array_value_to_string(array, row).unwrap(),
                        false => "null".to_owned(),
                    };
                    let is_instant = field.name().starts_with("period_");
                    let text = if is_instant { instant(&text) } else { text };
                    format!("{}={text}", field.name())
                });
                rows.push(columns.collect::<Vec<_>>().join(" "));
            }
            Ok(())
        })
        .unwrap();
    }
    rows.sort();
    rows
}

fn instant(text: &str) -> String {
    schemas::Micros::parse(text).unwrap().to_string()
}

fn is_as_by_hand(place: &Place, shop: &Shop, least: i64) {
    let (expected, pairs) = (shop.by_country(least), shop.pairs());
    assert!(expected.len() > 100 && pairs.len() > 50, "{} {}", expected.len(), pairs.len());
    assert!(pairs.windows(2).any(|two| two[0] == two[1]), "rows come several times");
    assert_eq!(table(place, "by_country"), expected);
    assert_eq!(table(place, "pairs"), pairs);
    let proof = place.succeeds(&["verify", "--json"]).json();
    let checks = proof["checks"].as_array().unwrap();
    let checked: Vec<_> = checks.iter().filter(|check| check["check"] == "view").collect();
    assert_eq!(checked.len(), 2, "{checked:?}");
    for check in checked {
        let rows = match check["subject"].as_str().unwrap() {
            "gold/views/pairs" => pairs.len(),
            _ => expected.len(),
        };
        assert_eq!((&check["status"], &check["counts"]["rows"]), (&json!("ok"), &json!(rows)));
    }
}

fn configure(place: &Place, before: &str) {
    place.configure(&format!(
        "{before}contracts.definitions = {:?}\ngold.definitions = {:?}\n[[sources]]\nkind = \"file\"\n\
         path = {:?}\n[sources.topics]\nsales = \"sales\"\nclients = \"clients\"\n",
        place.path("contracts"),
        place.path("gold"),
        place.path("input"),
    ));
}

fn place(before: &str) -> Place {
    let place = Place::new();
    for folder in ["contracts", "gold", "input"] {
        std::fs::create_dir_all(place.path(folder)).unwrap();
    }
    std::fs::write(place.path("contracts/sales.toml"), SALES).unwrap();
    std::fs::write(place.path("contracts/clients.toml"), CLIENTS).unwrap();
    std::fs::write(place.path("gold/by_country.sql"), BY_COUNTRY).unwrap();
    std::fs::write(place.path("gold/pairs.sql"), PAIRS).unwrap();
    configure(&place, before);
    place
}

/// Files that a view's table was given from a version on.
fn written_since(place: &Place, view: &str, version: u64) -> usize {
    let log = log(place, view);
    log.entries().iter().filter(|own| own.version > version).map(|own| own.adds.len()).sum()
}

#[test]
fn a_view_has_a_table_through_restarts_and_other_definitions() {
    let mut rng = seeded("tables of views");
    let (place, mut shop) = (place(""), Shop::default());
    std::fs::write(place.path("input/a.ndjson"), shop.sell(&mut rng, 900)).unwrap();
    place.succeeds(&["run", "--until-end"]);
    is_as_by_hand(&place, &shop, 0);
    let names = |place: &Place| -> Vec<String> {
        let listed = place.succeeds(&["tables", "list", "--json"]).json();
        let names = listed.as_array().unwrap().iter();
        names.map(|own| own["table"].as_str().unwrap().to_owned()).collect()
    };
    assert!(names(&place).contains(&"gold/views/by_country".to_owned()), "{:?}", names(&place));

    // A start that finds every row where it was writes none of them.
    let version = log(&place, "by_country").newest();
    place.succeeds(&["run", "--until-end"]);
    assert_eq!(written_since(&place, "by_country", version), 0);

    std::fs::write(place.path("input/b.ndjson"), shop.sell(&mut rng, 700)).unwrap();
    place.succeeds(&["run", "--until-end"]);
    is_as_by_hand(&place, &shop, 0);

    // Another meaning of the same columns, then of others, then nothing.
    let other = BY_COUNTRY.replace("TRUE", "s.amount >= 100");
    std::fs::write(place.path("gold/by_country.sql"), &other).unwrap();
    place.succeeds(&["run", "--until-end"]);
    is_as_by_hand(&place, &shop, 10_000);
    let wider = PAIRS
        .replace("s.client,", "s.client + 0 AS client,")
        .replace("c.country", "c.country, s.id AS sale");
    std::fs::write(place.path("gold/pairs.sql"), wider).unwrap();
    place.succeeds(&["run", "--until-end"]);
    assert!(table(&place, "pairs").iter().all(|row| row.contains(" sale=")));
    assert_eq!(table(&place, "pairs").len(), shop.pairs().len());
    place.succeeds(&["verify"]);
    std::fs::remove_file(place.path("gold/pairs.sql")).unwrap();
    let version = log(&place, "pairs").newest();
    std::fs::write(place.path("input/c.ndjson"), shop.sell(&mut rng, 200)).unwrap();
    place.succeeds(&["run", "--until-end"]);
    assert_eq!(log(&place, "pairs").newest(), version, "what is left of it stays as it was");
    assert_eq!(table(&place, "by_country"), shop.by_country(10_000));
    place.succeeds(&["verify"]);
    place.succeeds(&["tables", "export", "--to", place.path("copy").to_str().unwrap()]);
    // It comes back, behind all others.
    std::fs::write(place.path("gold/pairs.sql"), PAIRS).unwrap();
    place.succeeds(&["run", "--until-end"]);
    is_as_by_hand(&place, &shop, 10_000);
}

#[test]
fn a_damaged_table_is_seen_and_what_is_asked_for_is_there() {
    let mut rng = seeded("settings of tables of views");
    let (place, mut shop) = (place("gold.view_tables = \"none\"\n"), Shop::default());
    std::fs::write(place.path("input/a.ndjson"), shop.sell(&mut rng, 900)).unwrap();
    place.succeeds(&["run", "--until-end"]);
    assert!(!place.lake().join("gold/views").exists());
    place.succeeds(&["verify"]);
    configure(&place, "");
    place.succeeds(&["verify"]);
    place.succeeds(&["run", "--until-end"]);
    is_as_by_hand(&place, &shop, 0);

    // The table of an earlier barrier in the place of today's.
    let folder = place.lake().join("gold/views/by_country");
    let kept = place.path("kept");
    std::fs::rename(&folder, &kept).unwrap();
    place.succeeds(&["verify"]);
    std::fs::write(place.path("input/b.ndjson"), shop.sell(&mut rng, 300)).unwrap();
    place.succeeds(&["run", "--until-end"]);
    is_as_by_hand(&place, &shop, 0);
    std::fs::remove_dir_all(&folder).unwrap();
    std::fs::rename(&kept, &folder).unwrap();
    let told = place.weir(&["verify"]).exits(1);
    assert!(told.stdout.contains("gold/views/by_country"), "{}", told.stdout);
    place.succeeds(&["run", "--until-end"]);
    is_as_by_hand(&place, &shop, 0);

    configure(&place, "gold.view_tables = \"all of them\"\n");
    place.weir(&["check"]).exits(2).says(&["view_tables", "none", "own", "all"]);
}

#[test]
fn kills_leave_the_tables_of_views_whole() {
    let mut rng = seeded("kills and tables of views");
    let before = "lake.barrier_interval = \"10ms\"\nlake.flush_interval = \"10ms\"\nepoch.max_records = 40\n";
    let (place, mut shop) = (place(before), Shop::default());
    let entries = || log_entries(place.lake(), "bronze/changes").len();
    for round in 0..8 {
        let mut run = place.start(&["run"]);
        let before = entries();
        for part in 0..rng.random_range(2..9) {
            let input = place.path(&format!("input/{round:02}-{part}.ndjson"));
            std::fs::write(input, shop.sell(&mut rng, 200)).unwrap();
            if part == 0 {
                run.wait_while_running("it commits", COMMITS, |_| entries() > before);
            }
            std::thread::sleep(Duration::from_millis(rng.random_range(5..80)));
        }
        assert!(run.kill(), "ended by itself");
    }
    place.succeeds(&["run", "--until-end"]);
    is_as_by_hand(&place, &shop, 0);
    let files = log(&place, "by_country").at(log(&place, "by_country").newest()).files.len();
    assert!(files < 30, "{files} files");
}
