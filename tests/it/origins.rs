//! Several tables of sources in one contract, through the binary: what one of them does is its own affair,
//! and silver is what each source says, also after a restart between any two records.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write as _;

use harness::event::Cell;
use harness::tables::read_silver;
use schemas::Contract;
use serde_json::{Value, json};

use crate::support::Place;

fn order(id: &str, amount: u32, channel: &str) -> Value {
    json!({
        "order_id": id, "tenant_id": "t", "status": "paid", "amount": amount.to_string(), "currency": "EUR",
        "channel": channel, "placed_at": "2026-03-01T10:00:00Z", "updated_at": "2026-03-01T10:00:00Z",
    })
}

/// PostgreSQL: the last commit before the change, its own place, and the source's seconds.
fn postgres(commit: Option<u64>, lsn: u64, at: u64, snapshot: &str) -> Value {
    let sequence = json!([commit.map(|commit| commit.to_string()), lsn.to_string()]).to_string();
    json!({
        "connector": "postgresql", "name": "shop", "db": "eu", "schema": "public", "table": "orders",
        "lsn": lsn, "sequence": sequence, "ts_ms": 1_772_359_200_000 + at * 1000, "snapshot": snapshot,
    })
}

/// A server of MySQL: its number, and a place in its log.
fn mysql(server: u32, pos: u64, at: u64, snapshot: &str) -> Value {
    json!({
        "connector": "mysql", "name": "shop", "db": "us", "table": "orders", "server_id": server,
        "file": format!("bin.{:06}", 900 - server * 400), "pos": pos, "row": 0,
        "ts_ms": 1_772_359_200_000 + at * 1000, "snapshot": snapshot,
    })
}

/// What lies in the only partition, in its order: message key, and operation, row and source.
type Lines = Vec<(&'static str, Option<(&'static str, Value, Value)>)>;

fn append(place: &Place, from: usize, lines: &Lines) {
    let path = place.path("input/a.ndjson");
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    for (offset, (key, value)) in (from..).zip(lines) {
        let value = value.as_ref().map(
            |(op, row, source)| json!({ "op": op, "after": row, "source": source, "before": null }),
        );
        let key = json!({ "order_id": key });
        let line = json!({ "topic": "shop.public.orders", "partition": 0, "offset": offset, "key": key, "value": value });
        writeln!(file, "{line}").unwrap();
    }
}

/// Amount and channel of each row, by key and origin.
fn silver(place: &Place) -> BTreeMap<String, (i128, String)> {
    let text = include_str!("../../schemas/contracts/tables/orders.toml");
    let table = read_silver(place.lake(), &Contract::parse(text).unwrap()).unwrap().unwrap();
    let row = |row: &harness::fold::SilverRow| match (&row.row[4], &row.row[6]) {
        (Cell::Decimal(units), Cell::Text(channel)) => (units / 10_000, channel.clone()),
        other => panic!("{other:?}"),
    };
    table.rows.iter().map(|(id, held)| (id.clone(), row(held))).collect()
}

#[test]
fn shards_failovers_and_compacted_topics_end_as_their_sources_say() {
    let unsent = "__debezium_unavailable_value";
    let first: Lines = vec![
        ("1", Some(("r", order("1", 10, "web"), postgres(None, 2000, 0, "first")))),
        ("2", Some(("r", order("2", 20, "web"), postgres(None, 2000, 0, "last")))),
        // The same key of another database is another row; its snapshot says nothing of the first.
        ("1", Some(("r", order("1", 7, "shop"), mysql(0, 154, 5, "first")))),
        ("9", Some(("r", order("9", 9, "shop"), mysql(0, 154, 5, "last")))),
        // It was open when the snapshot was taken, and lies before it in the log.
        ("1", Some(("u", order("1", 25, unsent), postgres(Some(2050), 1900, 30, "false")))),
        ("9", Some(("u", order("9", 90, "shop"), mysql(1, 500, 40, "false")))),
    ];
    let second: Lines = vec![
        // Another server goes on with files of lower numbers.
        ("9", Some(("u", order("9", 91, "shop"), mysql(2, 60, 50, "false")))),
        // The log cleaner has taken the delete of 2 and left its null value.
        ("2", None),
        ("3", Some(("c", order("3", 30, "web"), postgres(Some(2100), 2200, 60, "false")))),
        // A connector starts again and repeats itself.
        ("1", Some(("u", order("1", 25, unsent), postgres(Some(2050), 1900, 30, "false")))),
        ("3", Some(("c", order("3", 30, "web"), postgres(Some(2100), 2200, 60, "false")))),
        ("3", Some(("d", Value::Null, postgres(Some(2300), 2400, 70, "false")))),
        ("3", None),
        ("1", Some(("t", Value::Null, mysql(2, 99, 80, "false")))),
    ];
    let place = Place::new();
    place.configure_files("");
    append(&place, 0, &first);
    place.succeeds(&["run", "--until-end"]);
    let row = |id: &str, amount: i128, channel: &str| (id.to_owned(), (amount, channel.to_owned()));
    let expected = [
        row("1 of shop.eu.public.orders", 25, "web"),
        row("1 of shop.us.orders", 7, "shop"),
        row("2 of shop.eu.public.orders", 20, "web"),
        row("9 of shop.us.orders", 90, "shop"),
    ];
    assert_eq!(silver(&place), BTreeMap::from(expected));
    append(&place, first.len(), &second);
    place.succeeds(&["run", "--until-end"]);
    let expected = [row("1 of shop.eu.public.orders", 25, "web")];
    assert_eq!(silver(&place), BTreeMap::from(expected), "the other database was truncated");
    place.succeeds(&["verify", "--deep"]);
    let nothing = place.succeeds(&["tables", "sweep", "orders", "--dry-run", "--json"]).json();
    assert_eq!(nothing, json!({ "table": "orders", "lacking": [] }));
    place.weir(&["tables", "sweep", "orders"]).exits(2).says(&["--yes"]);
    // Another word about snapshots makes another table of the same records.
    place.configure_files("");
    let text = std::fs::read_to_string(place.path("weir.toml")).unwrap();
    let text = text.replace("kind = \"file\"", "kind = \"file\"\nsnapshots = \"whole\"");
    std::fs::write(place.path("weir.toml"), text).unwrap();
    place.weir(&["run", "--until-end"]).exits(0).says(&["silver/orders"]);
    place.succeeds(&["verify", "--deep"]);
}
