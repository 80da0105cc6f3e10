//! Every KPI that comes with Weir and is over a view, over random rows of all tables: what is told adds up to the cell.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BooleanArray, Decimal128Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray, new_null_array,
};
use datafusion::prelude::SessionContext;
use gold::audit::explain::{Bounds, Feeding, Part, Place, Role, feeding, parts, ready};
use gold::view_file::{accept, built_in};
use gold::{Catalog, Definition};
use schemas::decimal::{VALUE_SCALE, parse};
use schemas::{Column, ColumnType, Contract, Grain, Micros};

use super::shop::{DAY_US, Dice};

/// 2026-02-28, in the evening.
const NOW: i64 = 20_512 * DAY_US - 4 * 3_600_000_000;
const ROWS: usize = 60;

fn column(own: &Column, is_key: bool, dice: &mut Dice) -> ArrayRef {
    let name = own.name.as_str();
    let text = |dice: &mut Dice| {
        let pool: &[&str] = match name {
            "tenant_id" => &["a", "a", "b", ""],
            "status" => {
                &["paid", "recognized", "cancelled", "active", "trial", "succeeded", "failed"]
            }
            "kind" => &["conversion", "visit"],
            "tags" => &[r#"{"cost_center":"sales"}"#, r#"{"cost_center":"it"}"#, "{}"],
            _ if name.ends_with("currency") => &["EUR", "USD"],
            _ if name.ends_with("_id") => &["0", "1", "2", "3", "4", "5", "6", "7"],
            _ => &["x", "y"],
        };
        (dice.below(9) > 0 || name == "status").then(|| dice.one(pool).to_owned())
    };
    let every = 0..ROWS;
    match own.kind {
        ColumnType::Text if is_key => {
            Arc::new(StringArray::from_iter_values(every.map(|id| id.to_string())))
        }
        ColumnType::Text | ColumnType::Json => {
            Arc::new(StringArray::from_iter(every.map(|_| text(dice))))
        }
        ColumnType::Timestamp => {
            let until =
                |dice: &mut Dice| NOW - dice.below(70) * DAY_US - dice.below(86_400) * 1_000_000;
            let is_end = name.starts_with("ended") || name.starts_with("closed");
            let at = every.map(|_| (!is_end || dice.below(3) == 0).then(|| until(dice)));
            Arc::new(TimestampMicrosecondArray::from_iter(at).with_timezone("UTC"))
        }
        ColumnType::Decimal { precision, scale } => {
            let numbers =
                every.map(|_| (dice.below(9) > 0).then(|| i128::from(dice.below(90_000)) - 9_000));
            let numbers = Decimal128Array::from_iter(numbers);
            Arc::new(
                numbers.with_precision_and_scale(precision, i8::try_from(scale).unwrap()).unwrap(),
            )
        }
        ColumnType::Boolean => {
            Arc::new(BooleanArray::from_iter(every.map(|_| Some(dice.below(3) > 0))))
        }
        ColumnType::Bigint => {
            Arc::new(Int64Array::from_iter_values(every.map(|_| dice.below(100))))
        }
        kind => new_null_array(&rows::data_type(kind), ROWS),
    }
}

fn context(contracts: &[Contract], dice: &mut Dice) -> SessionContext {
    let context = gold::audit::session();
    for contract in contracts {
        let own = contract.columns.iter().enumerate();
        let mut columns: Vec<(&str, ArrayRef)> = own
            .map(|(at, own)| (own.name.as_str(), column(own, contract.key.contains(&at), dice)))
            .collect();
        let text = |text: &str| -> ArrayRef { Arc::new(StringArray::from(vec![text; ROWS])) };
        columns.extend([
            ("_origin", text("o")),
            ("_position", text("0:0:0")),
            ("_doubt", new_null_array(&arrow::datatypes::DataType::Utf8, ROWS)),
            ("_unknown", new_null_array(&arrow::datatypes::DataType::Utf8, ROWS)),
            ("_epoch", Arc::new(Int64Array::from(vec![1; ROWS]))),
        ]);
        let columns = columns.into_iter().map(|(name, column)| (name, column, true));
        let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
        context.register_batch(format!("silver_{}", contract.name), batch).unwrap();
    }
    context
}

/// What rows add up to, above the line and below it.
fn added(all: &[(Part, Vec<Feeding>)]) -> [i128; 2] {
    let mut sums = [0; 2];
    for (part, rows) in all {
        let number =
            |row: &Feeding| parse(row.amount.as_deref().unwrap().as_bytes(), VALUE_SCALE).unwrap();
        let sum: i128 = rows.iter().map(number).sum();
        sums[usize::from(part.role == Role::Denominator)] += if part.minus { -sum } else { sum };
    }
    sums
}

/// All cells of a place together as the audit's SQL has them.
async fn recomputed(
    catalog: &Catalog,
    context: &SessionContext,
    definition: &Definition,
    place: &Place,
) -> [i128; 2] {
    let sql = gold::audit::recompute_sql(catalog, definition, place.grain);
    let sql = format!(
        "SELECT arrow_cast(COALESCE(SUM(above), 0), 'Utf8') AS above, \
         arrow_cast(COALESCE(SUM(below), 0), 'Utf8') AS below FROM ({sql}) AS cells \
         WHERE tenant_id = '{}' AND CAST(period_start AS BIGINT) = {}",
        place.tenant, place.start.0
    );
    let batches = context.sql(&sql).await.unwrap().collect().await.unwrap();
    ["above", "below"].map(|name| {
        let column = batches[0].column_by_name(name).unwrap().as_string::<i32>();
        parse(column.value(0).as_bytes(), VALUE_SCALE).unwrap()
    })
}

#[tokio::test]
async fn every_kpi_over_a_view_is_led_back_to_rows_that_add_up_to_it() {
    let texts = [schemas::contract::built_in(), schemas::contract::offered()].concat();
    let contracts: Vec<Contract> =
        texts.iter().map(|(_, text)| Contract::parse(text).unwrap()).collect();
    let views = accept(&built_in(), &contracts).unwrap();
    let definitions = gold::definition::built_in().unwrap();
    let catalog = Catalog::new(definitions, &contracts, views).unwrap();
    let named: BTreeMap<&str, &Contract> =
        contracts.iter().map(|own| (own.name.as_str(), own)).collect();
    let bounds = Bounds { rows: None, inputs: 1_000, others: true };
    let (mut told, mut partition, mut double) = (BTreeSet::new(), BTreeSet::new(), 0);
    let context = context(&contracts, &mut Dice(4_711));
    for definition in catalog.definitions() {
        let Ok(all) = parts(&catalog, definition) else {
            double += 1;
            continue;
        };
        if !all.iter().any(|part| part.is_view) {
            continue;
        }
        let grain = definition.grains.iter().filter(|own| *own <= Grain::Month).last().unwrap();
        let start = Grain::start(grain, Micros(NOW));
        let place = Place { tenant: "a".into(), grain, start, dims: BTreeMap::new() };
        // Views are known to a session once.
        let context = copied(&context).await;
        ready(&context, &catalog, &all, Micros(NOW)).await.unwrap();
        let mut found = Vec::new();
        for part in all {
            let asked = (&part, &place);
            let rows = feeding(&context, &catalog, &named, asked, bounds).await.unwrap().0;
            assert!(rows.iter().all(|row| !row.inputs.is_empty()), "{}", definition.key);
            if !part.is_exact {
                partition.insert(part.contract.clone());
            }
            found.push((part, rows));
        }
        if found.iter().any(|(_, rows)| !rows.is_empty()) {
            told.insert(definition.key.to_string());
        }
        if found.iter().all(|(part, _)| part.adds_up()) {
            let expected = recomputed(&catalog, &context, definition, &place).await;
            assert_eq!(added(&found), expected, "{} at {grain}", definition.key);
        }
    }
    assert!(told.len() > 40 && double < 4, "{} and {double} of {told:?}", told.len());
    let expected = ["customer_segments", "mrr_movements", "retention", "user_days"];
    let expected = expected.map(str::to_owned).into();
    assert_eq!(partition, expected);
}

/// A session with the same tables.
async fn copied(context: &SessionContext) -> SessionContext {
    let own = gold::audit::session();
    let schema = context.catalog("datafusion").unwrap().schema("public").unwrap();
    for name in schema.table_names() {
        own.register_table(name.as_str(), schema.table(&name).await.unwrap().unwrap()).unwrap();
    }
    own
}
