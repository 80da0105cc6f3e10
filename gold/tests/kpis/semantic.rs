//! The semantic file: what it says of the KPIs and views that come with Weir, and that its SQL gives the rows
//! that it is about.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use gold::view_file::{self, accept};
use gold::{Catalog, CellRow, Definition, Unit, semantic};
use schemas::{CellKey, CellValue, Contract, Grain, Micros, Status};
use serde_json::Value;

fn catalog(more: Vec<Definition>) -> Arc<Catalog> {
    let contracts: Vec<Contract> = schemas::contract::all_that_come()
        .iter()
        .map(|(_, text)| Contract::parse(text).unwrap())
        .collect();
    let views = accept(&view_file::built_in(), &contracts).unwrap();
    gold::catalog::with_built_in(more, &contracts, views).unwrap()
}

fn file(catalog: &Catalog) -> Value {
    serde_json::from_str(&semantic::metrics(catalog)).unwrap()
}

fn cell(kpi: &str, tenant: &str, value: Option<i128>) -> CellRow {
    let key = CellKey {
        kpi: kpi.into(),
        tenant: tenant.into(),
        dims: "{}".into(),
        grain: Grain::Day,
        period_start: Micros(0),
    };
    let status = if value.is_some() { Status::Ok } else { Status::NoData };
    let value = CellValue { value, numerator: None, denominator: None, status };
    let (period_start, period_end) = (Micros(0), Micros(86_400_000_000));
    CellRow { key, period_start, period_end, value, unit: Unit::Count, epoch: 1, as_of: Micros(9) }
}

#[test]
fn the_file_says_what_each_kpi_and_view_is() {
    let catalog = catalog(Vec::new());
    let file = file(&catalog);
    let kpis = file["kpis"].as_array().unwrap();
    let keys: Vec<&str> = kpis.iter().map(|kpi| kpi["key"].as_str().unwrap()).collect();
    let expected: Vec<&str> = catalog.definitions().iter().map(|own| &*own.key).collect();
    assert!(keys.len() > 70 && keys == expected, "{keys:?}");
    let of = |key: &str| kpis.iter().find(|kpi| kpi["key"] == key).unwrap();
    // As their files say.
    let roi = of("roi");
    assert_eq!(
        (&roi["kind"], &roi["unit"], &roi["good"]),
        (&"ratio".into(), &"ratio".into(), &"up".into())
    );
    assert_eq!(roi["parts"], serde_json::json!(["revenue_recognized", "total_cost"]));
    assert_eq!(roi["tables"], serde_json::json!(["silver/costs", "silver/orders"]));
    assert_eq!((&roi["view"], &roi["view_sql"]), (&Value::Null, &Value::Null));
    let mrr = of("mrr");
    assert_eq!((&mrr["kind"], &mrr["view"]), (&"stock".into(), &"active_subscriptions".into()));
    assert!(!mrr["grains"].as_array().unwrap().contains(&"hour".into()), "{mrr}");
    assert!(mrr["view_sql"].as_str().unwrap().contains("FROM subscriptions"), "{mrr}");
    assert!(kpis.iter().all(|kpi| kpi["description"].is_string() && kpi["group"].is_string()));
    let views = file["views"].as_array().unwrap();
    let names: BTreeSet<&str> = views.iter().map(|view| view["name"].as_str().unwrap()).collect();
    let built_in = view_file::built_in();
    assert_eq!(names, built_in.iter().map(|file| file.name.as_str()).collect());
    let own = views.iter().find(|view| view["name"] == "customer_orders").unwrap();
    let columns: Vec<String> = own["columns"]
        .as_array()
        .unwrap()
        .iter()
        .map(|column| {
            ["name", "type", "role"].map(|field| column[field].as_str().unwrap()).join(" ")
        })
        .collect();
    assert_eq!(
        columns,
        [
            "tenant_id text tenant",
            "period timestamp period",
            "currency text group",
            "country text group",
            "segment text group",
            "revenue decimal(28,4) measure",
            "orders bigint measure",
            "buyers bigint measure",
        ]
    );
}

#[test]
fn equal_definitions_give_equal_bytes() {
    let more = |title: &str| {
        let text = format!(
            "key='own'\ntitle='{title}'\nunit='count'\ngood='up'\ncontract='orders'\ntime='placed_at'\n\
             aggregate='count(*)'\n"
        );
        vec![Definition::parse("own.toml", &text).unwrap()]
    };
    let text = |title: &str| semantic::metrics(&catalog(more(title)));
    assert_eq!(text("One"), text("One"));
    assert_ne!(text("One"), text("Two"), "a title is part of it");
}

#[tokio::test]
async fn the_sql_of_a_kpi_gives_its_rows() {
    let file = file(&catalog(Vec::new()));
    let context = gold::audit::session();
    let mut rows = Vec::new();
    let keys = || file["kpis"].as_array().unwrap().iter().map(|kpi| kpi["key"].as_str().unwrap());
    for (number, key) in keys().enumerate() {
        let number = i128::try_from(number).unwrap();
        rows.push(cell(key, "a", Some(number)));
        rows.push(cell(key, "b", None));
    }
    context.register_batch("kpi_current", gold::table::current_batch(&rows).unwrap()).unwrap();
    for (number, kpi) in file["kpis"].as_array().unwrap().iter().enumerate() {
        let sql = kpi["sql"].as_str().unwrap();
        let batches = context.sql(sql).await.unwrap().collect().await.unwrap();
        let found: usize = batches.iter().map(arrow::array::RecordBatch::num_rows).sum();
        assert_eq!(found, 1, "{sql}");
        let batch = batches.iter().find(|batch| batch.num_rows() == 1).unwrap();
        let values = batch["value"].as_primitive::<arrow::datatypes::Decimal128Type>();
        assert_eq!(values.value(0), i128::try_from(number).unwrap(), "{sql}");
        assert!(batch["period_end"].is_valid(0));
    }
}
