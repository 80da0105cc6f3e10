//! From rows in MariaDB to silver: every common type, its extremes and nulls, through the real connector,
//! disturbed on the way, compared cell by cell with what MariaDB selects.

mod changes;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use harness::event::Cell;
use harness::fold::row_id;
use harness::numbers;
use harness::tables::read_silver;
use schemas::{ColumnType, Contract};

use self::changes::{KINDS, Samples};
use crate::support::services::{self, BROKERS, script};
use crate::support::{Place, Weir, seeded, wait_until};

const NAME: &str = "it-maria";
const PORT: &str = "18086";
const DATABASE: &str = "weir_it";
const TOPIC: &str = "itmaria.weir_it.samples";
const CONTRACT: &str = include_str!("samples.toml");

/// Rows that come last, enough of them to reach every partition.
const LAST_ROWS: i64 = 40;

/// Each kind of change happens at least this often, or the comparison proves too little.
const EACH_KIND: u64 = 50;

/// Runs SQL in the database and returns its rows, columns parted by tabs.
fn sql(text: &str) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    let text = format!("SET time_zone = '+00:00'; USE {DATABASE};\n{text}");
    std::fs::write(file.path(), text).unwrap();
    script("mariadb.sh", &["sql", &file.path().display().to_string()])
}

#[test]
fn every_cell_equals_what_mariadb_selects() {
    let held = services::kafka();
    let begin = Instant::now();
    let mut samples = Samples::new(seeded("MariaDB"));
    let worker = prepare(&mut samples);
    let place = Place::new();
    std::fs::create_dir_all(place.path("contracts")).unwrap();
    std::fs::write(place.path("contracts/samples.toml"), CONTRACT).unwrap();
    let before = format!(
        "lake.flush_interval = \"200ms\"\nlake.barrier_interval = \"1s\"\ncontracts.definitions = \"{}\"\n",
        place.path("contracts").display()
    );
    place.configure_kafka(&before, BROKERS, &[(TOPIC, "samples")]);

    let mut weir = place.start(&["run"]);
    for batch in 0..30 {
        let alter = samples.alteration(batch);
        let text = samples.batch(batch, 40);
        // Under load: the table is altered while the batch goes on.
        std::thread::scope(|scope| {
            scope.spawn(|| alter.map(sql));
            sql(&text);
        });
        weir = disturb(batch, weir, &place);
    }
    sql(&samples.last_rows(LAST_ROWS));
    let contract = Contract::parse(CONTRACT).unwrap();
    wait_until("the last rows are in silver", Duration::from_secs(90), || {
        let rows = read_silver(place.lake(), &contract).ok().flatten();
        let last = |key: &&String| changes::is_last(key);
        rows.is_some_and(|table| table.rows.keys().filter(last).count() == 40)
    });
    assert!(weir.is_running(), "{}", weir.log());
    weir.stops();
    // The last rows are there, so Connect has sent all: read what the other partitions still have.
    place.succeeds(&["run", "--until-end"]);

    let (rows, cells) = compare(&place, &contract);
    for kind in KINDS {
        println!("{kind:<24}{:>6}", samples.count(kind));
    }
    println!("{cells} cells of {rows} rows equal; {:?} in all", begin.elapsed());
    for kind in KINDS {
        assert!(samples.count(kind) >= EACH_KIND, "too few of `{kind}`");
    }
    assert!(rows >= 300, "{rows} rows");
    let dead = place.succeeds(&["dead-letters", "list", "--json"]).json();
    assert_eq!(dead["total"], 0, "{dead}");
    place.succeeds(&["verify"]);
    drop(worker);
    script("mariadb.sh", &["stop"]);
    drop(held);
}

/// The connector's worker and its topic, which go with the test.
struct Worker;

impl Drop for Worker {
    fn drop(&mut self) {
        script("connect.sh", &["forget", NAME]);
        script("kafka.sh", &["delete-topic", TOPIC]);
    }
}

/// An empty database with some rows, whose snapshot the connector then takes.
fn prepare(samples: &mut Samples) -> Worker {
    script("mariadb.sh", &["start"]);
    script("connect.sh", &["forget", NAME]);
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().display().to_string();
    std::fs::write(file.path(), format!("CREATE OR REPLACE DATABASE {DATABASE}")).unwrap();
    script("mariadb.sh", &["sql", &path]);
    sql(include_str!("../../services/sql/samples.sql"));
    services::fresh_topic(TOPIC, 4);
    sql(&samples.first_rows(100));
    let values = ["NAME=it-maria", "PREFIX=itmaria", "DATABASE=weir_it", "SCHEMAS=true"];
    let connector = script("connect.sh", &[&["render", "maria"], &values[..]].concat());
    std::fs::write(file.path(), connector).unwrap();
    script("connect.sh", &["start", NAME, PORT, &path]);
    Worker
}

/// What goes wrong after which batch.
fn disturb(batch: u32, weir: Weir, place: &Place) -> Weir {
    match batch {
        4 | 13 | 22 => {
            weir.kill();
            return place.start(&["run"]);
        }
        7 => drop(script("connect.sh", &["restart", NAME])),
        16 => drop(script("mariadb.sh", &["restart"])),
        19 => {
            script("connect.sh", &["kill", NAME]);
            script("connect.sh", &["restart", NAME]);
        }
        25 => {
            script("mariadb.sh", &["kill"]);
            script("mariadb.sh", &["start"]);
            script("connect.sh", &["restart", NAME]);
        }
        _ => {}
    }
    weir
}

/// How a cell is selected, so that its text holds neither tabs nor line ends: of null `-`.
fn selected(name: &str, kind: ColumnType) -> String {
    let column = format!("`{name}`");
    let shown = match (name, kind) {
        ("token", _) => format!("REPLACE(TO_BASE64({column}), '\\n', '')"),
        (_, ColumnType::Text | ColumnType::Json) => {
            format!("CONCAT('x', HEX(CONVERT({column} USING utf8mb4)))")
        }
        ("alarm", _) => format!("CAST(TIME_TO_SEC({column}) * 1000000 AS INT)"),
        (_, ColumnType::Double) => format!("CAST({column} AS DOUBLE)"),
        (_, ColumnType::Date) => format!("TO_DAYS({column}) - TO_DAYS('1970-01-01')"),
        (_, ColumnType::Timestamp) => {
            format!("TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', {column})")
        }
        (_, ColumnType::Boolean) => format!("{column} + 0"),
        _ => column,
    };
    format!("IFNULL({shown}, '-')")
}

/// The cell that a selected text is.
fn cell(text: &str, name: &str, kind: ColumnType) -> Cell {
    match (name, kind) {
        _ if text == "-" => Cell::Null,
        ("token", _) => Cell::Text(text.to_owned()),
        (_, ColumnType::Text | ColumnType::Json) => {
            let digits = text.strip_prefix('x').unwrap();
            let byte =
                |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
            let bytes = digits.as_bytes().chunks(2).map(byte).collect();
            Cell::Text(String::from_utf8(bytes).unwrap())
        }
        (_, ColumnType::Decimal { precision, scale }) => {
            Cell::Decimal(numbers::parse(text, precision.into(), scale.into()).unwrap())
        }
        (_, ColumnType::Double) => Cell::Double(text.parse::<f64>().unwrap().to_bits()),
        (_, ColumnType::Boolean) => Cell::Flag(text == "1"),
        (_, ColumnType::Date) => Cell::Date(text.parse().unwrap()),
        (_, ColumnType::Timestamp) => Cell::Time(text.parse().unwrap()),
        (_, ColumnType::Bigint) => Cell::Whole(text.parse().unwrap()),
    }
}

/// Compares every row and cell; returns how many there are.
fn compare(place: &Place, contract: &Contract) -> (usize, usize) {
    let columns: Vec<String> =
        contract.columns.iter().map(|column| selected(&column.name, column.kind)).collect();
    let answer = sql(&format!("SELECT {} FROM samples;", columns.join(", ")));
    let mut expected = BTreeMap::new();
    for line in answer.lines() {
        let texts: Vec<&str> = line.split('\t').collect();
        assert_eq!(texts.len(), contract.columns.len(), "{line}");
        let read =
            |(text, column): (&&str, &schemas::Column)| cell(text, &column.name, column.kind);
        let row: Vec<Cell> = texts.iter().zip(&contract.columns).map(read).collect();
        let (Cell::Whole(id), Cell::Text(part)) = (&row[0], &row[1]) else { panic!("{line}") };
        expected.insert(row_id(&format!("{id}\u{1f}{part}"), TOPIC), row);
    }
    let found = read_silver(place.lake(), contract).unwrap().unwrap().rows;
    let mut wrong = Vec::new();
    for (id, row) in &expected {
        let Some(silver) = found.get(id) else {
            wrong.push(format!("{id} is not in silver"));
            continue;
        };
        let cells = row.iter().zip(silver.row.iter()).zip(&contract.columns);
        let differs = cells.filter(|((wanted, found), _)| wanted != found);
        wrong.extend(differs.map(|((wanted, found), column)| {
            format!("{id} {}: {found:?}, MariaDB has {wanted:?}", column.name)
        }));
    }
    let more = found.keys().filter(|id| !expected.contains_key(*id));
    wrong.extend(more.map(|id| format!("{id} is in silver only")));
    let some = wrong.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
    assert!(wrong.is_empty(), "{} differences in {} rows:\n{some}", wrong.len(), expected.len());
    (expected.len(), expected.len() * contract.columns.len())
}
