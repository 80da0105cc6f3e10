//! Tests of the module `audit`.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Decimal128Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{Field, Schema};
use schemas::civil::Shape;
use schemas::{Calendar, CalendarSettings, Contract, EpochStamp, Micros, RowBuilder, RowLayout};

use super::*;
use crate::definition::Definition;
use crate::engine::CellRow;
use crate::{Engine, table};

/// (tenant, status or category, amount in its column's scale, currency, channel or service, time)
type Row = (
    Option<&'static str>,
    &'static str,
    Option<i128>,
    &'static str,
    Option<&'static str>,
    Option<&'static str>,
);

const ORDERS: [Row; 8] = [
    (Some("a"), "paid", Some(100_000), "USD", Some("web"), Some("2026-01-31T23:59:59.999999Z")),
    (Some("a"), "recognized", Some(70_001), "USD", None, Some("2026-01-31T23:10:00Z")),
    (None, "recognized", Some(-5), "EUR", Some("a \"b\"\\\n"), Some("2026-02-01T00:00:00Z")),
    (Some("a"), "cancelled", Some(1), "USD", Some("web"), Some("2026-01-31T23:10:00Z")),
    (Some("b"), "paid", None, "USD", Some("web"), Some("1969-12-31T23:59:59Z")),
    (Some("b"), "paid", Some(9), "USD", Some("web"), None),
    // Whether the first is one of the web is not known; the second is no order, whatever its channel.
    (Some("b"), "paid", Some(0), "USD", UNSENT, Some("2026-01-31T23:10:00Z")),
    (Some("b"), "cancelled", Some(0), "GBP", UNSENT, Some("2026-01-31T23:10:00Z")),
];
const COSTS: [Row; 4] = [
    (Some("a"), "Usage", Some(30_000_000_000), "USD", Some("db"), Some("2026-01-31T23:00:00Z")),
    (Some("a"), "Tax", Some(-29_999_999_999), "USD", Some("vm"), Some("2026-01-31T23:00:00Z")),
    (None, "Usage", Some(7), "EUR", Some("vm"), Some("2026-02-01T05:00:00Z")),
    (Some(""), "Usage", Some(1), "EUR", Some("vm"), Some("2026-02-01T05:00:00Z")),
];
const ORDER_COLUMNS: [&str; 7] =
    ["tenant_id", "status", "amount", "currency", "channel", "placed_at", "recognized_at"];
const COST_COLUMNS: [&str; 7] = [
    "tenant_id",
    "charge_category",
    "effective_cost",
    "billing_currency",
    "service_name",
    "charge_period_start",
    "charge_period_end",
];

/// The channel of an order whose channel was never sent.
const UNSENT: Option<&str> = Some("?");

/// One order and one charge of the same tenant and day are in doubt, and those with an unknown value.
fn doubt_of(row: &Row) -> Option<&'static str> {
    let is_outdated = matches!(row.2, Some(70_001 | 30_000_000_000));
    is_outdated.then_some("dead letter").or((row.4 == UNSENT).then_some("unknown"))
}

fn unknown_of(row: &Row) -> Option<&'static str> {
    (row.4 == UNSENT).then_some(r#"["channel"]"#)
}

fn contracts() -> Vec<Contract> {
    schemas::contract::built_in().iter().map(|(_, text)| Contract::parse(text).unwrap()).collect()
}

/// `cost` and `accuracy_score` of every row.
const COST: i128 = 12_345;
const ACCURACY: i128 = 912_345;

fn silver(rows: &[Row], names: [&str; 7], scale: i8) -> RecordBatch {
    let text = |of: fn(&Row) -> Option<&'static str>| -> ArrayRef {
        Arc::new(StringArray::from_iter(rows.iter().map(of)))
    };
    let numbers = Decimal128Array::from_iter(rows.iter().map(|row| row.2));
    let times = rows.iter().map(|row| row.5.map(|at| Micros::parse(at).unwrap().0));
    let times: ArrayRef =
        Arc::new(TimestampMicrosecondArray::from_iter(times).with_timezone("UTC"));
    let columns = vec![
        text(|row| row.0),
        text(|row| Some(row.1)),
        Arc::new(numbers.with_precision_and_scale(20, scale).unwrap()),
        text(|row| Some(row.3)),
        text(|row| row.4.filter(|_| row.4 != UNSENT)),
        Arc::clone(&times),
        times,
    ];
    let mut columns = columns;
    columns.extend([text(unknown_of), text(doubt_of)]);
    // The same in each row.
    let same = |number: i128, scale| -> ArrayRef {
        let numbers = Decimal128Array::from_iter(rows.iter().map(|_| Some(number)));
        Arc::new(numbers.with_precision_and_scale(18, scale).unwrap())
    };
    columns.extend([text(|_| Some("recurring")), same(COST, 4), same(ACCURACY, 6)]);
    let names = names.iter().chain(&["_unknown", "_doubt", "type", "cost", "accuracy_score"]);
    let field =
        |(name, column): (&&str, &ArrayRef)| Field::new(*name, column.data_type().clone(), true);
    let fields: Vec<_> = names.zip(&columns).map(field).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

fn add(engine: &mut Engine, contract: usize, layout: &RowLayout, names: [&str; 7], rows: &[Row]) {
    let contracts = contracts();
    let column = |name: &str| contracts[contract].column(name).unwrap();
    for row in rows {
        let mut builder = RowBuilder::default();
        builder.reset(layout.len());
        for (name, text) in [(0, row.0), (1, Some(row.1)), (3, Some(row.3)), (4, row.4)] {
            match text {
                UNSENT => builder.set_unknown(column(names[name])),
                Some(text) => builder.set_text(column(names[name]), text),
                None => {}
            }
        }
        if let Some(amount) = row.2 {
            builder.set_decimal(column(names[2]), amount);
        }
        if let Some(at) = row.5 {
            builder.set_timestamp(column(names[5]), Micros::parse(at).unwrap());
            builder.set_timestamp(column(names[6]), Micros::parse(at).unwrap());
        }
        if names == ORDER_COLUMNS {
            builder.set_text(column("type"), "recurring");
            builder.set_decimal(column("cost"), COST);
        } else {
            builder.set_decimal(column("accuracy_score"), ACCURACY);
        }
        builder.set_outdated(doubt_of(row) == Some("dead letter"));
        let mut bytes = Vec::new();
        builder.finish(layout, &mut bytes);
        engine.apply(contract, None, Some(layout.row(&bytes))).unwrap();
    }
}

/// Both tenants with a name in a zone, weeks from Sunday and years from April.
fn zoned() -> Calendar {
    let zones = [("a", "America/New_York"), ("b", "Australia/Lord_Howe")];
    let settings = CalendarSettings {
        zone: "UTC".into(),
        zones: zones.map(|(tenant, zone)| (tenant.to_owned(), zone.to_owned())).into(),
        shape: Shape { from_sunday: true, year_from: 4 },
    };
    Calendar::new(&settings).unwrap()
}

/// The catalog, and the rows that the engine makes of the rows above.
fn cells() -> (Arc<Catalog>, Vec<CellRow>) {
    cells_by(Calendar::default())
}

fn cells_by(calendar: Calendar) -> (Arc<Catalog>, Vec<CellRow>) {
    let own = "key='big_orders'\ntitle='T'\nunit='count'\ngood='up'\ncontract='orders'\n\
               filter=\"(amount > 0.0001 OR channel IS NULL) AND placed_at >= '1970-01-01' AND \
               NOT status IN ('cancelled') AND amount BETWEEN -1 AND 10.0\"\n\
               time='placed_at'\naggregate='count(*)'\n";
    let web = "key='web_orders'\ntitle='T'\nunit='count'\ngood='up'\ncontract='orders'\n\
               filter=\"(CHANNEL = 'web' AND placed_at >= '1970-01-01') AND status <> 'cancelled'\"\n\
               time='placed_at'\naggregate='count(*)'\n";
    let own = vec![
        Definition::parse("big_orders.toml", own).unwrap(),
        Definition::parse("web_orders.toml", web).unwrap(),
    ];
    let contracts = contracts();
    let catalog = crate::catalog::with_built_in(own, &contracts, Arc::from([])).unwrap();
    let catalog = Arc::unwrap_or_clone(catalog).with_calendar(Arc::new(calendar));
    let catalog = Arc::new(catalog);
    let mut engine = Engine::new(Arc::clone(&catalog), &contracts).unwrap();
    let stamp = EpochStamp { id: 1, clock: Micros::parse("2026-03-01").unwrap(), quiet: false };
    engine.begin_epoch(&stamp);
    for (names, rows) in [(ORDER_COLUMNS, &ORDERS[..]), (COST_COLUMNS, &COSTS[..])] {
        let name = if rows.len() == ORDERS.len() { "orders" } else { "costs" };
        let index = contracts.iter().position(|contract| contract.name == name).unwrap();
        add(&mut engine, index, &RowLayout::new(&contracts[index].columns), names, rows);
    }
    engine.finish_epoch(&stamp);
    (catalog, engine.snapshot())
}

async fn findings(catalog: &Catalog, cells: &[CellRow]) -> Vec<AuditFinding> {
    let context = SessionContext::new();
    let orders = silver(&ORDERS, ORDER_COLUMNS, 4);
    context.register_batch("silver_orders", orders).unwrap();
    context.register_batch("silver_costs", silver(&COSTS, COST_COLUMNS, 10)).unwrap();
    context.register_batch("kpi_current", table::current_batch(cells).unwrap()).unwrap();
    audit(&context, catalog, Micros::parse("2026-03-01").unwrap()).await.unwrap()
}

#[tokio::test]
async fn sql_agrees_with_the_engine() {
    let (catalog, cells) = cells();
    let findings = findings(&catalog, &cells).await;
    for finding in &findings {
        assert_eq!(finding.mismatches, 0, "{finding:?}");
        assert!(finding.cells > 0 || finding.grain.is_window(), "{finding:?}");
    }
    assert_eq!(findings.iter().map(|f| f.cells).sum::<usize>(), cells.len());
    let doubted = cells.iter().filter(|cell| cell.value.status == schemas::Status::InDoubt);
    assert!(doubted.clone().count() > 10 && doubted.count() < cells.len());
}

#[tokio::test]
async fn sql_agrees_with_the_engine_in_zones() {
    let (catalog, cells) = cells_by(zoned());
    for finding in &findings(&catalog, &cells).await {
        assert_eq!(finding.mismatches, 0, "{finding:?}");
        assert!(finding.cells > 0 || finding.grain.is_window(), "{finding:?}");
    }
    let day = |row: &&CellRow| *row.key.kpi == *"orders" && row.key.grain == Grain::Day;
    let days: Vec<String> = cells
        .iter()
        .filter(day)
        .map(|row| format!("{} {} {}", row.key.tenant, row.key.period_start, row.period_end))
        .collect();
    // An evening in New York, and a day that began at 11 hours ahead of UTC, also in 1969 at ten.
    let by_hand = [
        "a 2026-01-31T05:00:00Z 2026-02-01T05:00:00Z",
        "b 1969-12-31T14:00:00Z 1970-01-01T14:00:00Z",
        "b 2026-01-31T13:00:00Z 2026-02-01T13:00:00Z",
        "default 2026-02-01T00:00:00Z 2026-02-02T00:00:00Z",
    ];
    assert_eq!(days, by_hand);
    // The cells of another calendar are wrong ones.
    let (catalog, _) = cells_by(Calendar::default());
    let found = findings(&catalog, &cells).await;
    let wrong = found.iter().filter(|finding| finding.mismatches > 0);
    assert!(wrong.clone().any(|finding| finding.grain == Grain::Day), "{found:?}");
    assert!(wrong.into_iter().all(|finding| finding.grain != Grain::Hour));
}

#[test]
fn a_row_that_may_pass_a_filter_puts_the_cell_in_doubt_that_it_would_be_in() {
    let (_, cells) = cells();
    let told = |kpi: &str, currency: &str| {
        let own = cells.iter().filter(|row| *row.key.kpi == *kpi && &*row.key.tenant == "b");
        let own = own.filter(|row| row.key.dims.contains(currency));
        let mut own = own.filter(|row| row.key.period_start > Micros(0));
        own.find(|row| row.key.grain == Grain::Month).map(|row| (row.value.value, row.value.status))
    };
    assert_eq!(told("web_orders", ""), Some((None, schemas::Status::InDoubt)));
    assert_eq!(told("orders", "USD"), Some((Some(10_000_000_000), schemas::Status::InDoubt)));
    assert_eq!(told("orders", "GBP"), None, "a cancelled order is none, whatever its channel");
}

#[tokio::test]
async fn whatever_is_wrong_in_a_cell_is_found() {
    let (catalog, cells) = cells();
    let roi =
        cells.iter().position(|row| &*row.key.kpi == "roi" && row.value.value.is_some()).unwrap();
    type Wrong = fn(&mut Vec<CellRow>, usize);
    let wrong: [(&str, Wrong); 11] = [
        ("not the quotient", |cells, at| {
            cells[at].value.value = cells[at].value.value.map(|v| v + 1)
        }),
        ("numerator is", |cells, at| cells[at].value.numerator = None),
        ("denominator is", |cells, at| cells[at].value.denominator = Some(2)),
        ("status is", |cells, at| cells[at].value.status = schemas::Status::Error),
        ("status is ok, should be in_doubt", |cells, at| {
            cells[at].value.status = schemas::Status::Ok;
        }),
        ("period_end is", |cells, at| cells[at].period_end = cells[at].period_end.plus(1)),
        ("unit is", |cells, at| cells[at].unit = crate::Unit::Count),
        ("no row, but", |cells, at| drop(cells.remove(at))),
        ("more than one", |cells, at| cells.push(cells[at].clone())),
        ("no row feeds it", |cells, at| cells[at].period_start = Micros(0)),
        ("no row feeds it", |cells, at| cells[at].key.dims = r#"{"currency": "USD"}"#.into()),
    ];
    for (says, change) in wrong {
        let mut cells = cells.clone();
        change(&mut cells, roi);
        let findings = findings(&catalog, &cells).await;
        let bad: Vec<_> = findings.iter().filter(|f| f.mismatches > 0).collect();
        assert_eq!(bad.len(), 1, "{says}: {bad:?}");
        assert!(bad[0].kpi == "roi" && bad[0].examples.iter().any(|e| e.contains(says)), "{bad:?}");
    }
}

#[tokio::test]
async fn cells_of_a_kpi_without_definition_are_found() {
    let (catalog, mut cells) = cells();
    let first = std::mem::replace(&mut cells[0].key.kpi, "forgotten".into());
    let findings = findings(&catalog, &cells).await;
    assert!(findings.iter().any(|f| f.kpi == "forgotten" && f.mismatches == 1));
    assert!(findings.iter().any(|f| f.kpi == *first && f.mismatches == 1));
}

const PAY: &str = r#"
name = "pay"
format = "debezium-json"
key = ["id"]
tenant = "tenant"
columns = [
  { name = "id", type = "text", required = true },
  { name = "tenant", type = "text" },
  { name = "amount", type = "decimal(38,10)", required = true },
  { name = "fee", type = "decimal(38,10)", required = true },
  { name = "at", type = "timestamp", required = true },
  { name = "currency", type = "text" },
]
"#;

/// The greatest number of `decimal(38,10)`.
const MOST: i128 = schemas::decimal::MANTISSA_MAX;
const PAID_AT: &str = "2026-03-01T10:00:00Z";

/// Tenant, amount, fee, instant.
const PAID: [(&str, i128, i128, &str); 13] = [
    // Beyond 38 digits; four of them are beyond 128 bits too.
    ("two", MOST, 1, PAID_AT),
    ("two", MOST, 1, PAID_AT),
    ("four", MOST, MOST, PAID_AT),
    ("four", MOST, MOST, PAID_AT),
    ("four", MOST, MOST, PAID_AT),
    ("four", MOST, MOST, PAID_AT),
    // Out of range and back.
    ("back", -MOST, 2, PAID_AT),
    ("back", -MOST, 2, PAID_AT),
    ("back", MOST, -1, PAID_AT),
    ("far", 5, 1, "9999-12-31T23:59:59.999999Z"),
    ("far", 6, 1, "2262-04-12T00:00:00Z"),
    ("far", 7, 1, "0001-01-31T22:59:59.999999Z"),
    ("far", 8, 1, "1677-09-21T00:00:00Z"),
];

fn paid(engine: &mut Engine, contract: &Contract, index: usize) -> RecordBatch {
    let layout = RowLayout::new(&contract.columns);
    for (tenant, amount, fee, at) in PAID {
        let mut builder = RowBuilder::default();
        builder.reset(layout.len());
        builder.set_text(1, tenant);
        builder.set_decimal(2, amount);
        builder.set_decimal(3, fee);
        builder.set_timestamp(4, Micros::parse(at).unwrap());
        builder.set_text(5, "USD");
        let mut bytes = Vec::new();
        builder.finish(&layout, &mut bytes);
        engine.apply(index, None, Some(layout.row(&bytes))).unwrap();
    }
    let decimals = |numbers: [i128; PAID.len()]| -> ArrayRef {
        let numbers = Decimal128Array::from_iter_values(numbers);
        Arc::new(numbers.with_precision_and_scale(38, 10).unwrap())
    };
    let at = PAID.map(|row| Micros::parse(row.3).unwrap().0);
    let nobody: StringArray = PAID.map(|_| None::<&str>).into_iter().collect();
    let columns: [(&str, ArrayRef); 7] = [
        ("_unknown", Arc::new(nobody.clone())),
        ("_doubt", Arc::new(nobody)),
        ("currency", Arc::new(StringArray::from_iter_values(PAID.map(|_| "USD")))),
        ("tenant", Arc::new(StringArray::from_iter_values(PAID.map(|row| row.0)))),
        ("amount", decimals(PAID.map(|row| row.1))),
        ("fee", decimals(PAID.map(|row| row.2))),
        ("at", Arc::new(TimestampMicrosecondArray::from_iter_values(at).with_timezone("UTC"))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

#[tokio::test]
async fn sums_beyond_the_range_and_far_years_are_recomputed_too() {
    let mut contracts = contracts();
    contracts.push(Contract::parse(PAY).unwrap());
    let flow = |key: &str, of: &str| {
        let text = format!(
            "key='{key}'\ntitle='T'\nunit='currency'\ngood='up'\ncontract='pay'\ntime='at'\n\
             aggregate='sum({of})'\ndims=['currency']\n"
        );
        Definition::parse(&format!("{key}.toml"), &text).unwrap()
    };
    let ratio = "key='net'\ntitle='T'\nunit='ratio'\ngood='up'\nnumerator='paid - fees'\n\
                 denominator='fees'\n";
    let own = vec![
        flow("paid", "amount"),
        flow("fees", "fee"),
        Definition::parse("net.toml", ratio).unwrap(),
    ];
    let catalog = crate::catalog::with_built_in(own, &contracts, std::sync::Arc::from([])).unwrap();
    let mut engine = Engine::new(Arc::clone(&catalog), &contracts).unwrap();
    let stamp = EpochStamp { id: 1, clock: Micros::parse("2026-03-02").unwrap(), quiet: false };
    engine.begin_epoch(&stamp);
    let index = contracts.len() - 1;
    let silver_pay = paid(&mut engine, &contracts[index], index);
    engine.finish_epoch(&stamp);
    let cells = engine.snapshot();
    let status = |kpi: &str, tenant: &str| {
        let own = |row: &&CellRow| {
            &*row.key.kpi == kpi && &*row.key.tenant == tenant && row.key.grain == Grain::Day
        };
        cells.iter().find(own).unwrap().value
    };
    assert_eq!(status("paid", "two").status, schemas::Status::Error);
    assert_eq!(status("paid", "back").value, Some(-MOST));
    assert_eq!(status("net", "four").status, schemas::Status::Error);
    let findings = async |cells: &[CellRow]| {
        let context = SessionContext::new();
        context.register_batch("silver_orders", silver(&[], ORDER_COLUMNS, 4)).unwrap();
        context.register_batch("silver_costs", silver(&[], COST_COLUMNS, 10)).unwrap();
        context.register_batch("silver_pay", silver_pay.clone()).unwrap();
        context.register_batch("kpi_current", table::current_batch(cells).unwrap()).unwrap();
        audit(&context, &catalog, Micros::parse("2026-03-02").unwrap()).await.unwrap()
    };
    for finding in findings(&cells).await {
        assert_eq!(finding.mismatches, 0, "{finding:?}");
        let expected = match (finding.kpi.as_str(), finding.grain) {
            ("paid" | "fees" | "net", _) => 7,
            _ => 0,
        };
        assert!(finding.cells == expected || finding.grain.is_window(), "{finding:?}");
    }
    // A number where there can be none is found, and so is an error where there is a number.
    for (tenant, value, status) in [
        ("two", Some(2), schemas::Status::Ok),
        ("two", None, schemas::Status::NoData),
        ("back", None, schemas::Status::Error),
        ("far", None, schemas::Status::Error),
    ] {
        let mut cells = cells.clone();
        let wrong =
            cells.iter_mut().find(|row| &*row.key.kpi == "paid" && &*row.key.tenant == tenant);
        let wrong = &mut wrong.unwrap().value;
        (wrong.value, wrong.status) = (value, status);
        let found: usize = findings(&cells).await.iter().map(|finding| finding.mismatches).sum();
        assert_eq!(found, 1, "{tenant} {status:?}");
    }
}

#[tokio::test]
async fn times_have_microseconds_so_that_for_ever_is_one() {
    let sql = "SELECT CAST('9999-12-31' AS TIMESTAMP) > TIMESTAMP '2262-05-01 00:00:00' \
                      AND TRY_CAST('1600-01-01' AS TIMESTAMP) < TIMESTAMP '1677-01-01 00:00:00' AS is_so, \
                      CAST(TRY_CAST('1969-12-31T23:59:59.9999999Z' AS TIMESTAMP) AS BIGINT) AS last";
    let rows = compare::rows(&session(), "times", sql).await.unwrap();
    let text = datafusion::arrow::util::pretty::pretty_format_batches(&rows).unwrap().to_string();
    assert!(text.contains("| true  | -1   |"), "{text}");
}
