//! Every KPI that comes with Weir, over the real path, against the same question asked in SQL where the rows come from.
//!
//! # Guarantees
//! - Tables of all contracts change at random in PostgreSQL: rows come, change, go, come back and move between tenants,
//!   currencies and periods, and Weir is killed in between. Then every cell of every KPI, at every grain and window, is what
//!   PostgreSQL answers, and there is no other.
//! - A KPI that no question is asked of fails the test, and so does one of which there are no cells.
//! - A view that says something else is found: the comparison can fail.
//!
//! `WEIR_SEED` is the seed, and `WEIR_BATCHES` how many batches of transactions there are.

mod changes;
mod questions;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use harness::numbers;
use harness::tables::{NamedCell, read_cells, read_silver};
use schemas::{Contract, Micros};

use self::changes::{KINDS, Shop, TABLES, is_last};
use self::questions::{Question, questions};
use crate::support::services::{self, BROKERS, script, sql};
use crate::support::{Place, Weir, seeded, wait_until};

const NAME: &str = "it-catalogue";
const PORT: &str = "18089";
const DATABASE: &str = "weir_it_catalogue";

/// The currency that money is in, too, once that is configured.
const REPORTED: &str = "EUR";

const TIME: &str = "[time]\nweek_start = \"sunday\"\nfiscal_year_start = 2\n[time.zones]\nberlin = \"Europe/Berlin\"\n\
                    kolkata = \"Asia/Kolkata\"\nazores = \"Atlantic/Azores\"\n";

/// Batches of transactions, transactions of each, and changes before the connector is there.
const BATCHES: u32 = 12;
const TRANSACTIONS: u32 = 40;
const FIRST_ROWS: u32 = 1_500;

/// Rows that come last, enough of them to reach every partition.
const LAST_ROWS: i64 = 16;

/// Each kind of change happens at least this often, or the comparison proves too little.
const EACH_KIND: u64 = 5;
const CELLS: usize = 20_000;

/// A view that counts what was cancelled, and the KPIs that are then wrong.
const WRONG_VIEW: &str = "customer_orders";
const WRONG_KPIS: [&str; 6] = [
    "buyers",
    "revenue_by_country",
    "revenue_by_country_converted",
    "revenue_by_segment",
    "revenue_by_segment_converted",
    "revenue_per_buyer",
];

/// When the period ends, and value, numerator and denominator with ten digits after the point.
type Told = (i64, [Option<i128>; 3]);
type Cells = BTreeMap<NamedCell, Told>;

#[expect(
    clippy::disallowed_methods,
    reason = "rows lie around the instant that Weir takes for now"
)]
fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_micros()).unwrap()
}

fn topic(table: &str) -> String {
    format!("itcatalogue.public.{table}")
}

fn root(path: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn every_kpi_of_the_catalogue_equals_the_same_question_in_sql() {
    let held = services::kafka();
    let begin = Instant::now();
    let mut shop = prepare();
    let place = Place::new();
    configure(&place, &[]);
    let told = place.succeeds(&["kpis", "list", "--json"]).json();
    let units: BTreeMap<String, String> = crate::surface::rows(&told)
        .iter()
        .map(|kpi| (word(&kpi["kpi"]), word(&kpi["unit"])))
        .collect();
    let questions = questions();
    let asked: BTreeSet<&String> = questions.iter().map(|question| &question.kpi).collect();
    assert_eq!(asked, units.keys().collect(), "every KPI has its question in {}", file!());
    let money: Vec<&Question> =
        questions.iter().filter(|question| question.is_money(&units[&question.kpi])).collect();

    changed(&place, &mut shop, &money);
    let loaded = begin.elapsed();
    let expected = ask(&questions, &money, read_cells(place.lake()).unwrap().unwrap().clock);
    let found = found(&place);
    let differences = compare(&found, &expected);
    for (kpi, count) in counted(&expected) {
        println!("{kpi:<28}{count:>8}");
    }
    for (kind, count) in shop.tallied() {
        println!("{kind:<28}{count:>8}");
    }
    let some = differences.iter().take(40).cloned().collect::<Vec<_>>().join("\n");
    assert!(
        differences.is_empty(),
        "{} of {} cells differ:\n{some}",
        differences.len(),
        expected.len()
    );
    for kpi in
        asked.iter().copied().cloned().chain(money.iter().map(|own| own.kpi.clone() + "_converted"))
    {
        let has_value = |(cell, told): (&NamedCell, &Told)| cell.kpi == kpi && told.1[0].is_some();
        assert!(expected.iter().any(has_value), "no value of {kpi}");
    }
    assert!(expected.len() >= CELLS, "{} cells", expected.len());
    for kind in KINDS {
        assert!(shop.count(kind) >= EACH_KIND, "too few of `{kind}`");
    }
    for (table, ..) in TABLES {
        for what in ["inserted", "changed", "deleted"] {
            assert!(shop.count(&format!("{table} {what}")) > 0, "no {table} {what}");
        }
    }
    println!("{} cells equal; {loaded:?} to load, {:?} in all", expected.len(), begin.elapsed());
    a_wrong_view_is_found(&place, &money, &expected);
    script("connect.sh", &["forget", NAME]);
    script("kafka.sh", &["delete-topic", r"itcatalogue\.public\..*"]);
    drop(held);
}

fn word(value: &serde_json::Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// An empty database with some rows, whose snapshot the connector then takes.
fn prepare() -> Shop {
    script("postgres.sh", &["start"]);
    script("connect.sh", &["forget", NAME]);
    sql("postgres", &format!("drop database if exists {DATABASE} with (force)"));
    let tables = root("tests/it/catalogue/tables.sql").display().to_string();
    script("postgres.sh", &["load", DATABASE, &tables]);
    let edges = sql(DATABASE, "select count(*) from edges").trim().parse().unwrap();
    let mut shop = Shop::new(seeded("catalogue"), edges);
    // All topics at once, as a pattern: a second for each of them would be long.
    script("kafka.sh", &["delete-topic", r"itcatalogue\.public\..*"]);
    sql(DATABASE, &shop.first_rows(FIRST_ROWS));
    let connector = script(
        "connect.sh",
        &["render", "shop", "NAME=it-catalogue", "PREFIX=itcatalogue", "TIMES=isostring"],
    );
    let tables = TABLES.map(|(table, ..)| format!("public.{table}")).join(",");
    let connector = connector
        .replace("\"shop\"", &format!("\"{DATABASE}\""))
        .replace("public.orders,public.costs", &tables);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), connector).unwrap();
    script("connect.sh", &["start", NAME, PORT, &file.path().display().to_string()]);
    for (table, ..) in TABLES {
        let topic = topic(table);
        wait_until(&format!("there is {topic}"), Duration::from_secs(60), || {
            !script("kafka.sh", &["partitions", &topic]).is_empty()
        });
    }
    shop
}

/// The catalogue alone; with money, these KPIs in one currency, too.
fn configure(place: &Place, money: &[&Question]) {
    let folder = place.path("gold");
    std::fs::create_dir_all(&folder).unwrap();
    for question in money {
        let file = format!("{}.toml", question.kpi);
        let text = std::fs::read_to_string(root("gold/kpis").join(&file)).unwrap();
        let text = text.replacen("\nkey = ", "\nconvert = true\nkey = ", 1);
        std::fs::write(folder.join(file), text).unwrap();
    }
    let reported = if money.is_empty() { "" } else { REPORTED };
    let before = format!(
        "lake.flush_interval = \"200ms\"\nlake.barrier_interval = \"3s\"\ngold.definitions = {folder:?}\n\
         gold.reporting_currency = \"{reported}\"\n{TIME}"
    );
    let topics = TABLES.map(|(table, ..)| (topic(table), table));
    let topics: Vec<(&str, &str)> =
        topics.iter().map(|(topic, table)| (topic.as_str(), *table)).collect();
    place.configure_kafka(&before, BROKERS, &topics);
}

/// Transactions, with kills of Weir between them; all of them are in gold in the end.
fn changed(place: &Place, shop: &mut Shop, money: &[&Question]) {
    let batches = std::env::var("WEIR_BATCHES").ok().and_then(|text| text.parse().ok());
    let batches = batches.unwrap_or(BATCHES);
    let mut weir = place.start(&["run"]);
    for batch in 0..batches {
        sql(DATABASE, &shop.batch(TRANSACTIONS));
        if batch == batches / 3 || batch == batches * 2 / 3 {
            weir.kill();
            if batch == batches / 3 {
                configure(place, money);
            }
            weir = place.start(&["run"]);
        }
    }
    sql(DATABASE, &shop.rest());
    sql(DATABASE, &shop.last_rows(LAST_ROWS));
    for (table, ..) in TABLES {
        wait_for_last(place, &mut weir, table);
    }
    assert!(weir.kill());
    // The last rows are there, so Connect has sent all: read what the other partitions still have.
    place.succeeds(&["run", "--until-end"]);
}

fn wait_for_last(place: &Place, weir: &mut Weir, table: &str) {
    let text =
        std::fs::read_to_string(root("schemas/contracts/tables").join(format!("{table}.toml")));
    let contract = Contract::parse(&text.unwrap()).unwrap();
    wait_until(
        &format!("the last rows of {table} are in silver"),
        Duration::from_secs(300),
        || {
            assert!(weir.is_running(), "{}", weir.log());
            std::thread::sleep(Duration::from_millis(300));
            let silver = read_silver(place.lake(), &contract).ok().flatten();
            let last = |key: &&String| is_last(key);
            let count = silver.map_or(0, |table| table.rows.keys().filter(last).count());
            i64::try_from(count).unwrap() == LAST_ROWS
        },
    );
}

/// What PostgreSQL answers to every question at an instant.
fn ask(questions: &[Question], money: &[&Question], clock: i64) -> Cells {
    let now = format!("timestamptz '{}'", Micros(clock));
    let mut text = [include_str!("calendar.sql"), include_str!("people.sql")].concat();
    text = format!("begin;\n{}", text.replace("@NOW@", &now));
    for question in questions {
        text += &question.sql(&now);
    }
    for question in money {
        text += &question.converted(REPORTED);
    }
    let micros = |name: &str| format!("(extract(epoch from {name}) * 1000000)::bigint");
    text += &format!(
        "select kpi, tenant, dims, grain, {}, {}, value, numerator, denominator from cells;\nrollback;\n",
        micros("period_start"),
        micros("period_end")
    );
    let answer = sql(DATABASE, &text);
    let number = |text: &str| {
        let units = || numbers::parse(text, 38, numbers::SCALE);
        (!text.is_empty())
            .then(|| units().unwrap_or_else(|| panic!("no number with ten digits: {text}")))
    };
    let mut cells = Cells::new();
    for line in answer.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [kpi, tenant, dims, grain, start, end, value, above, below] = fields[..] else {
            panic!("{line}");
        };
        // In the order and without the blanks of Weir's own.
        let dims: BTreeMap<String, Option<String>> = serde_json::from_str(dims).unwrap();
        let dims = serde_json::to_string(&dims).unwrap();
        let start = start.parse().unwrap();
        let (kpi, tenant, grain) = (kpi.to_owned(), tenant.to_owned(), grain.to_owned());
        let told = (end.parse().unwrap(), [value, above, below].map(number));
        let twice = cells.insert(NamedCell { kpi, tenant, dims, grain, start }, told);
        assert!(twice.is_none(), "two answers: {line}");
    }
    cells
}

/// What Weir has.
fn found(place: &Place) -> Cells {
    let table = read_cells(place.lake()).unwrap().unwrap();
    assert_eq!(table.doubled.count, 0, "{:?}", table.doubled);
    let told = |(cell, (end, value)): (NamedCell, (i64, harness::kpis::CellValue))| {
        let status = if value.value.is_some() { "ok" } else { "no_data" };
        assert_eq!(value.status, status, "{cell:?}");
        (cell, (end, [value.value, value.numerator, value.denominator]))
    };
    table.rows.into_iter().map(told).collect()
}

/// What differs, one line a cell, both ways.
fn compare(found: &Cells, expected: &Cells) -> Vec<String> {
    let mut wrong = Vec::new();
    for (cell, told) in expected {
        if found.get(cell) != Some(told) {
            wrong.push(format!("{}: {:?}, PostgreSQL has {told:?}", show(cell), found.get(cell)));
        }
    }
    for (cell, told) in found.iter().filter(|(cell, _)| !expected.contains_key(*cell)) {
        wrong.push(format!("{}: {told:?}, PostgreSQL has no such cell", show(cell)));
    }
    let kinds = wrong.iter().map(|line| line.split(' ').next().unwrap().to_owned());
    for (kpi, count) in kinds.fold(BTreeMap::<String, u64>::new(), |mut counts, kpi| {
        *counts.entry(kpi).or_default() += 1;
        counts
    }) {
        println!("differs: {kpi:<28}{count:>8}");
    }
    wrong
}

fn show(cell: &NamedCell) -> String {
    let NamedCell { kpi, tenant, dims, grain, start } = cell;
    format!("{kpi} {grain} {} of {tenant} {dims}", Micros(*start))
}

/// How many cells each KPI has.
fn counted(cells: &Cells) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for cell in cells.keys() {
        *counts.entry(cell.kpi.as_str()).or_default() += 1;
    }
    counts
}

/// The same with a view that counts cancelled orders, too: the KPIs over it differ, and no other.
fn a_wrong_view_is_found(place: &Place, money: &[&Question], expected: &Cells) {
    let file = format!("{WRONG_VIEW}.sql");
    let view = std::fs::read_to_string(root("gold/views").join(&file)).unwrap();
    let wrong = view.replace("WHERE o.status <> 'cancelled'", "");
    assert_ne!(wrong, view, "{file} has its condition");
    std::fs::write(place.path("gold").join(file), wrong).unwrap();
    configure(place, money);
    place.succeeds(&["run", "--until-end"]);
    // Of months, which have not changed meanwhile.
    let months = |cells: &Cells| -> Cells {
        let own = cells.iter().filter(|(cell, _)| cell.grain == "month");
        own.map(|(cell, told)| (cell.clone(), *told)).collect()
    };
    let differences = compare(&months(&found(place)), &months(expected));
    let kpis: BTreeSet<&str> =
        differences.iter().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(kpis, WRONG_KPIS.into_iter().collect(), "{differences:?}");
}
