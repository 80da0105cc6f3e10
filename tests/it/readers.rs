//! Other engines read the lake: silver with its deletion vectors, and gold, equal to the oracle.

use harness::event::Cell;
use harness::kpis::LEFT_ALONE;
use harness::tables::{read_current, read_silver};
use schemas::{ColumnType, Contract};
use serde_json::{Value, json};

use crate::support::services::script;
use crate::support::stream::{append, options, records};
use crate::support::{Place, assert_clean};

/// The scale at which readers print decimals.
const SCALE: u32 = 10;

#[test]
fn other_engines_read_silver_with_its_vectors_and_gold() {
    let records = records(&options(31, 12_000));
    let place = Place::new();
    place.configure_files("");
    // The second run changes rows of the files that the first one wrote.
    for part in [&records[..8_000], &records[8_000..]] {
        append(&place.path("input/a.ndjson"), part);
        place.succeeds(&["run", "--until-end"]);
    }
    assert_clean(place.lake(), None, &harness::Options::default());
    for name in ["orders", "costs"] {
        let contract = contract(name);
        let entries = crate::support::log_entries(place.lake(), &format!("silver/{name}"));
        let texts = entries.iter().map(|path| std::fs::read_to_string(path).unwrap());
        let marked = texts.filter(|text| text.contains("deletionVector\":{")).count();
        assert!(marked > 0, "silver/{name} has no vector, so this proves nothing");
        let expected = silver(place.lake(), &contract);
        let mut columns: Vec<&str> = contract.columns.iter().map(|it| it.name.as_str()).collect();
        columns.extend(["_epoch", "_position"]);
        compare(&place, &format!("silver/{name}"), &columns, &expected);
    }
    let columns =
        ["kpi", "tenant_id", "dims", "period_start", "value", "status", "unit", "epoch", "as_of"];
    compare(&place, "gold/kpi_current", &columns, &gold(place.lake()));
}

fn contract(name: &str) -> Contract {
    let texts = schemas::contract::built_in();
    let file = format!("{name}.toml");
    let text = texts.into_iter().find(|(found, _)| *found == file).unwrap().1;
    Contract::parse(text).unwrap()
}

fn compare(place: &Place, table: &str, columns: &[&str], expected: &[String]) {
    assert!(expected.len() > 200, "{table} has {} rows only", expected.len());
    let folder = place.lake().join(table).display().to_string();
    for engine in ["deltalake", "polars", "duckdb"] {
        let mut arguments = vec![engine, &folder];
        arguments.extend(columns);
        let output = script("readers.sh", &arguments);
        let rows = output.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        // The first column of gold is the KPI.
        let is_judged = |row: &Value| !row[0].as_str().is_some_and(|kpi| LEFT_ALONE.contains(&kpi));
        let mut found: Vec<String> = rows.filter(is_judged).map(|row| row.to_string()).collect();
        found.sort_unstable();
        let other = found.iter().zip(expected).find(|(found, expected)| found != expected);
        assert_eq!(other, None, "{table}, read by {engine}");
        assert_eq!(found.len(), expected.len(), "{table}, read by {engine}");
    }
}

fn silver(lake: &std::path::Path, contract: &Contract) -> Vec<String> {
    let table = read_silver(lake, contract).unwrap().unwrap();
    let mut rows: Vec<String> = table
        .rows
        .values()
        .map(|row| {
            let cells = row.row.iter().zip(&contract.columns);
            let mut values: Vec<Value> =
                cells.map(|(cell, column)| value(cell, column.kind)).collect();
            values.extend([json!(row.epoch), json!(row.position)]);
            Value::from(values).to_string()
        })
        .collect();
    rows.sort_unstable();
    rows
}

fn value(cell: &Cell, kind: ColumnType) -> Value {
    match (cell, kind) {
        (Cell::Null, _) => Value::Null,
        (Cell::Text(text), _) => json!(text),
        (Cell::Time(micros), _) => json!(micros),
        (Cell::Decimal(units), ColumnType::Decimal { scale, .. }) => {
            let zeros = SCALE - u32::from(scale);
            json!((units * 10_i128.pow(zeros)).to_string())
        }
        (other, kind) => panic!("{other:?} is not expected in a column of type {kind:?}"),
    }
}

fn gold(lake: &std::path::Path) -> Vec<String> {
    let table = read_current(lake).unwrap().unwrap();
    let mut rows: Vec<String> = table
        .rows
        .iter()
        .chain(&table.windows)
        .map(|(id, (value, epoch, as_of, unit))| {
            let number = value.value.map(|number| number.to_string());
            let (tenant, dims) = (&*id.tenant, &*id.dims);
            json!([id.kpi, tenant, dims, id.start, number, value.status, unit, epoch, as_of])
                .to_string()
        })
        .collect();
    rows.sort_unstable();
    rows
}
