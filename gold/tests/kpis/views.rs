//! KPIs over views against the question asked directly: random changes of three tables, quiet ones among
//! them, go into the engine, and DataFusion answers the same in SQL that is written here, over what the tables
//! then hold.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, AsArray, Decimal128Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{Decimal128Type, Field, Schema, TimestampMicrosecondType};
use datafusion::prelude::SessionContext;
use gold::view_file::{ViewFile, accept};
use gold::{Catalog, CellRow, Definition, DeltaError, Engine};
use schemas::{Contract, Delta, EpochStamp, Grain, Micros, RowBuilder, RowKey, RowLayout};

const DAY_US: i64 = 86_400_000_000;
const START: i64 = 20_450 * DAY_US;

const ORDERS: &str = "name='orders'\nformat='debezium-json'\nkey=['order_id']\ntenant='tenant_id'\n\
    columns=[{name='order_id',type='bigint',required=true},{name='tenant_id',type='text'},\
    {name='customer_id',type='bigint'},{name='currency',type='text'},\
    {name='placed_at',type='timestamp'},{name='status',type='text'}]";
const ITEMS: &str = "name='order_items'\nformat='debezium-json'\nkey=['item_id']\ntenant='tenant_id'\n\
    columns=[{name='item_id',type='bigint',required=true},{name='tenant_id',type='text'},\
    {name='order_id',type='bigint'},{name='price',type='decimal(12,2)'},{name='quantity',type='bigint'}]";
const CUSTOMERS: &str = "name='customers'\nformat='debezium-json'\nkey=['customer_id']\n\
    tenant='tenant_id'\ncolumns=[{name='customer_id',type='bigint',required=true},\
    {name='tenant_id',type='text'},{name='country',type='text'}]";

const SALES: &str = "
    SELECT o.tenant_id, period(o.placed_at) AS period, o.currency, c.country AS land,
           SUM(i.quantity * i.price) AS revenue, COUNT(DISTINCT o.customer_id) AS buyers,
           MAX(i.price) AS dearest, MIN(i.price) AS cheapest, AVG(i.price) AS usual,
           percentile_exact(i.price, 0.9) AS p90, approx_percentile_cont(i.price, 0.5) AS middle,
           COUNT(*) AS lines, COUNT(i.price) FILTER (WHERE i.quantity > 2) AS bulk
    FROM orders o
    JOIN order_items i ON i.order_id = o.order_id
    LEFT JOIN customers c ON c.customer_id = o.customer_id
    WHERE o.status <> 'cancelled'
    GROUP BY 1, 2, 3, 4";

/// Key, unit, value, and the same in SQL.
const KPIS: [(&str, &str, &str, &str); 9] = [
    ("item_revenue", "currency", "revenue", "SUM(i.quantity * i.price)"),
    ("buyers", "count", "buyers", "COUNT(DISTINCT o.customer_id)"),
    ("dearest", "currency", "dearest", "MAX(i.price)"),
    ("cheapest", "currency", "cheapest", "MIN(i.price)"),
    (
        "lines",
        "count",
        "lines + bulk",
        "COUNT(*) + COUNT(CASE WHEN i.quantity > 2 THEN i.price END)",
    ),
    (
        "p90",
        "currency",
        "p90",
        "array_element(array_sort(array_agg(i.price) FILTER (WHERE i.price IS NOT NULL)), \
         CAST(CEIL(COUNT(i.price) * 0.9) AS BIGINT))",
    ),
    ("middle", "currency", "middle", ""),
    ("per_buyer", "currency", "revenue / buyers", ""),
    ("usual", "currency", "usual", ""),
];

type Rows = BTreeMap<i64, Vec<Value>>;

#[derive(Debug, Clone, PartialEq)]
enum Value {
    Number(Option<i64>),
    Text(Option<&'static str>),
}

/// Numbers that follow from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> i64 {
        crate::told::below(&mut self.0, end)
    }

    fn number(&mut self, end: u64) -> Value {
        let number = self.below(end);
        Value::Number((self.below(12) > 0).then_some(number))
    }

    fn text(&mut self, all: &[&'static str]) -> Value {
        let text = all[usize::try_from(self.below(all.len() as u64)).unwrap()];
        Value::Text((self.below(12) > 0).then_some(text))
    }

    fn row(&mut self, table: usize, key: i64) -> Vec<Value> {
        let own = Value::Number(Some(key));
        let tenant = self.text(&["a", "b"]);
        match table {
            0 => {
                let placed = START + self.below(3 * DAY_US.unsigned_abs());
                let placed = Value::Number((self.below(20) > 0).then_some(placed));
                let (customer, currency) = (self.number(6), self.text(&["EUR", "USD"]));
                vec![own, tenant, customer, currency, placed, self.text(&["paid", "cancelled"])]
            }
            1 => vec![own, tenant, self.number(8), self.number(5000), self.number(5)],
            _ => vec![own, tenant, self.text(&["DE", "FR"])],
        }
    }
}

struct World {
    contracts: Vec<Contract>,
    layouts: Vec<Arc<RowLayout>>,
    tables: Vec<Rows>,
    catalog: Arc<Catalog>,
    /// Which origins are quiet in an epoch.
    quiet: Dice,
}

impl World {
    fn new() -> World {
        let contracts: Vec<Contract> =
            [ORDERS, ITEMS, CUSTOMERS].iter().map(|text| Contract::parse(text).unwrap()).collect();
        let file = ViewFile {
            name: "item_sales".into(),
            text: SALES.into(),
            file: "item_sales.sql".into(),
        };
        let views = accept(&[file], &contracts).unwrap();
        let mut definitions = Vec::new();
        for dims in ["", "'land'"] {
            for (key, unit, value, _) in KPIS {
                let key = format!("{key}{}", if dims.is_empty() { "" } else { "_by_land" });
                let currency = if dims.is_empty() { "'currency'" } else { "'currency'," };
                let text = format!(
                    "key='{key}'\ntitle='T'\nunit='{unit}'\ngood='up'\nview='item_sales'\n\
                     value='{value}'\ndims=[{currency}{dims}]\n"
                );
                definitions.push(Definition::parse(&format!("{key}.toml"), &text).unwrap());
            }
        }
        let catalog = Arc::new(Catalog::new(definitions, &contracts, views).unwrap());
        let layout = |contract: &Contract| Arc::new(RowLayout::new(&contract.columns));
        let layouts = contracts.iter().map(layout).collect();
        World { contracts, layouts, tables: vec![Rows::new(); 3], catalog, quiet: Dice(77) }
    }

    fn bytes(&self, table: usize, values: &[Value]) -> Vec<u8> {
        let layout = &self.layouts[table];
        let mut builder = RowBuilder::default();
        builder.reset(layout.len());
        for (at, value) in values.iter().enumerate() {
            let name = &self.contracts[table].columns[at].name;
            match value {
                Value::Number(None) | Value::Text(None) => {}
                Value::Text(Some(text)) => builder.set_text(at, text),
                Value::Number(Some(number)) if name == "price" => {
                    builder.set_decimal(at, i128::from(*number));
                }
                Value::Number(Some(number)) if name == "placed_at" => {
                    builder.set_timestamp(at, Micros(*number));
                }
                Value::Number(Some(number)) => builder.set_bigint(at, *number),
            }
        }
        let mut bytes = Vec::new();
        builder.finish(layout, &mut bytes);
        bytes
    }

    /// Some random changes, and the delta of each table. The keys of a table are of two origins, and some
    /// origins are quiet.
    fn change(&mut self, dice: &mut Dice) -> Vec<Delta> {
        let mut deltas = self.deltas();
        let quiet = [(); 6].map(|()| self.quiet.below(3) == 0);
        for _ in 0..dice.below(12) {
            let table = usize::try_from(dice.below(3)).unwrap();
            let key = dice.below([8, 40, 6][table]);
            let new = (dice.below(4) > 0).then(|| dice.row(table, key));
            let origin = 2 * table + usize::try_from(key % 2).unwrap();
            self.put(&mut deltas[table], table, key, new, quiet[origin]);
        }
        deltas.iter_mut().for_each(Delta::consolidate);
        deltas
    }

    fn deltas(&self) -> Vec<Delta> {
        let of = |layout: &Arc<RowLayout>| Delta::new(Arc::clone(layout), RowKey::new(vec![0]));
        self.layouts.iter().map(of).collect()
    }

    /// Puts a row into a table, or takes it away, and adds that to the table's delta.
    fn put(
        &mut self,
        delta: &mut Delta,
        table: usize,
        key: i64,
        new: Option<Vec<Value>>,
        is_quiet: bool,
    ) {
        let old = match &new {
            Some(new) => self.tables[table].insert(key, new.clone()),
            None => self.tables[table].remove(&key),
        };
        let row = |values: Vec<Value>| self.bytes(table, &values);
        let (old, new) = (old.map(row), new.map(row));
        let layout = &self.layouts[table];
        delta.set_quiet(is_quiet);
        delta.change(
            old.as_ref().map(|bytes| layout.row(bytes)),
            new.as_ref().map(|bytes| layout.row(bytes)),
        );
    }

    /// The tables as they are, under their names behind `prefix`.
    fn context(&self, prefix: &str) -> SessionContext {
        let context = gold::audit::session();
        for (contract, rows) in self.contracts.iter().zip(&self.tables) {
            let column = |at: usize| -> Arc<dyn Array> {
                let name = contract.columns[at].name.as_str();
                let number = |row: &Vec<Value>| match row[at] {
                    Value::Number(number) => number,
                    Value::Text(_) => None,
                };
                let text = |row: &Vec<Value>| match row[at] {
                    Value::Text(text) => text,
                    Value::Number(_) => None,
                };
                let numbers = rows.values().map(number);
                match name {
                    "tenant_id" | "currency" | "status" | "country" => {
                        Arc::new(StringArray::from_iter(rows.values().map(text)))
                    }
                    "placed_at" => {
                        Arc::new(TimestampMicrosecondArray::from_iter(numbers).with_timezone("UTC"))
                    }
                    "price" => {
                        let numbers = numbers.map(|number| number.map(i128::from));
                        let numbers = Decimal128Array::from_iter(numbers);
                        Arc::new(numbers.with_precision_and_scale(12, 2).unwrap())
                    }
                    _ => Arc::new(Int64Array::from_iter(numbers)),
                }
            };
            let columns: Vec<_> = (0..contract.columns.len()).map(column).collect();
            let fields: Vec<Field> = contract
                .columns
                .iter()
                .zip(&columns)
                .map(|(own, array)| Field::new(&own.name, array.data_type().clone(), true))
                .collect();
            let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
            context.register_batch(format!("{prefix}{}", contract.name), batch).unwrap();
        }
        context
    }
}

/// Cell name to value, of one KPI at one grain as SQL says.
async fn asked(
    context: &SessionContext,
    what: &str,
    grain: Grain,
    by_land: bool,
) -> BTreeMap<String, i128> {
    let land = if by_land { ", c.country" } else { ", NULL" };
    let group = if by_land { ", c.country" } else { "" };
    let sql = format!(
        "SELECT COALESCE(NULLIF(o.tenant_id, ''), 'default') AS tenant, o.currency AS currency,
                CAST({} AS VARCHAR) AS land, date_trunc('{grain}', o.placed_at) AS start,
                CAST({what} AS DECIMAL(38,10)) AS value
         FROM orders o JOIN order_items i ON i.order_id = o.order_id
              LEFT JOIN customers c ON c.customer_id = o.customer_id
         WHERE o.status <> 'cancelled' AND o.placed_at IS NOT NULL
         GROUP BY 1, 2, 4{group}",
        land.trim_start_matches(", "),
    );
    let mut cells = BTreeMap::new();
    for batch in context.sql(&sql).await.unwrap().collect().await.unwrap() {
        let text = |name: &str| {
            let column = batch.column_by_name(name).unwrap();
            arrow::compute::cast(column, &arrow::datatypes::DataType::Utf8).unwrap()
        };
        let (tenants, currencies, lands) = (text("tenant"), text("currency"), text("land"));
        let starts =
            batch.column_by_name("start").unwrap().as_primitive::<TimestampMicrosecondType>();
        let values = batch.column_by_name("value").unwrap().as_primitive::<Decimal128Type>();
        let json = |column: &Arc<dyn Array>, row: usize| match column.is_valid(row) {
            true => format!("\"{}\"", column.as_string::<i32>().value(row)),
            false => "null".to_owned(),
        };
        for row in 0..batch.num_rows() {
            let mut dims = format!("\"currency\":{}", json(&currencies, row));
            if by_land {
                dims.push_str(&format!(",\"land\":{}", json(&lands, row)));
            }
            let tenant = tenants.as_string::<i32>().value(row);
            let name = format!("{tenant} {{{dims}}} {}", Micros(starts.value(row)));
            if values.is_valid(row) {
                cells.insert(name, values.value(row));
            } else {
                // A sum of nulls alone is nothing added up.
                cells.insert(name, 0);
            }
        }
    }
    cells
}

fn held(rows: &[CellRow], key: &str, grain: Grain) -> BTreeMap<String, Option<i128>> {
    let own = rows.iter().filter(|row| *row.key.kpi == *key && row.key.grain == grain);
    own.map(|row| {
        let name = format!("{} {} {}", row.key.tenant, row.key.dims, row.key.period_start);
        (name, row.value.value)
    })
    .collect()
}

/// The audit, which asks the view's own SQL, finds nothing; and it finds a value that is wrong.
async fn audited(world: &World, mut rows: Vec<CellRow>) {
    for is_wrong in [false, true] {
        let context = world.context("silver_");
        if is_wrong {
            let row = rows.iter_mut().find(|row| row.value.value.is_some()).unwrap();
            row.value.value = row.value.value.map(|value| value + 1);
        }
        context.register_batch("kpi_current", gold::table::current_batch(&rows).unwrap()).unwrap();
        let found =
            gold::audit::audit(&context, &world.catalog, Micros(START + 80_000_000)).await.unwrap();
        let wrong: Vec<_> = found.iter().filter(|finding| finding.mismatches > 0).collect();
        assert_eq!(wrong.len(), usize::from(is_wrong), "{wrong:?}");
    }
}

async fn compare(world: &World, rows: &[CellRow]) -> usize {
    let context = world.context("");
    let mut compared = 0;
    for grain in Grain::ALL {
        for by_land in [false, true] {
            let named = |key: &str| format!("{key}{}", if by_land { "_by_land" } else { "" });
            for (key, _, _, sql) in KPIS.iter().filter(|kpi| !kpi.3.is_empty()) {
                let mut expected = asked(&context, sql, grain, by_land).await;
                if sql.starts_with(['M', 'a']) {
                    // No cell has the least of no values.
                    let some = asked(&context, "COUNT(i.price)", grain, by_land).await;
                    expected.retain(|name, _| some.get(name).is_some_and(|count| *count > 0));
                }
                let expected: BTreeMap<_, _> =
                    expected.into_iter().map(|(name, value)| (name, Some(value))).collect();
                assert_eq!(held(rows, &named(key), grain), expected, "{} by {grain}", named(key));
                compared += expected.len();
            }
            let revenue = asked(&context, KPIS[0].3, grain, by_land).await;
            let prices = asked(&context, "SUM(i.price)", grain, by_land).await;
            let priced = asked(&context, "COUNT(i.price)", grain, by_land).await;
            let buyers = asked(&context, KPIS[1].3, grain, by_land).await;
            for (key, above, below) in [("per_buyer", revenue, buyers), ("usual", prices, priced)] {
                let cells = held(rows, &named(key), grain);
                assert_eq!(cells.len(), above.len(), "{}", named(key));
                for (name, above) in &above {
                    let below = below[name];
                    let quotient = (below != 0).then(|| {
                        // Half to even at ten digits, by hand.
                        let scaled = above * 10_i128.pow(10);
                        let (whole, rest) = (scaled.div_euclid(below), scaled.rem_euclid(below));
                        let up = 2 * rest > below || (2 * rest == below && whole % 2 != 0);
                        whole + i128::from(up)
                    });
                    assert_eq!(cells[name], quotient, "{} {name}", named(key));
                    compared += 1;
                }
            }
        }
    }
    compared
}

/// An epoch with these deltas.
fn epoch(engine: &mut Engine, id: i64, deltas: &[Delta]) -> Vec<DeltaError> {
    let clock = Micros(START + id * 1_000_000);
    let is_quiet = |delta: &Delta| delta.keys().any(|change| change.is_quiet());
    let quiet = deltas.iter().any(is_quiet);
    let stamp = EpochStamp { id: id.unsigned_abs(), clock, quiet };
    engine.begin_epoch(&stamp);
    engine.hush((0..deltas.len()).filter(|table| is_quiet(&deltas[*table])));
    let wrong = engine.step_all(&stamp, &deltas.iter().collect::<Vec<_>>());
    engine.finish_epoch(&stamp);
    wrong
}

/// While a snapshot brings lines of orders, an order changes: what the view makes of the new line and the old
/// order comes quietly, and goes by a change that is not.
#[test]
fn what_comes_quietly_may_go_in_the_same_epoch() {
    let (paid, cancelled) = (Value::Text(Some("paid")), Value::Text(Some("cancelled")));
    let (number, text) = (|n| Value::Number(Some(n)), |t| Value::Text(Some(t)));
    for (status, lines) in [(cancelled, 0), (paid.clone(), 1)] {
        let mut world = World::new();
        let mut engine = Engine::new(Arc::clone(&world.catalog), &world.contracts).unwrap();
        let order = |currency, status| {
            vec![number(1), text("a"), number(1), text(currency), number(START), status]
        };
        let mut deltas = world.deltas();
        world.put(&mut deltas[0], 0, 1, Some(order("EUR", paid.clone())), false);
        deltas[0].consolidate();
        assert_eq!(epoch(&mut engine, 1, &deltas), []);
        let mut deltas = world.deltas();
        let line = vec![number(1), text("a"), number(1), number(500), number(2)];
        world.put(&mut deltas[0], 0, 1, Some(order("USD", status)), false);
        world.put(&mut deltas[1], 1, 1, Some(line), true);
        deltas.iter_mut().for_each(Delta::consolidate);
        assert_eq!(epoch(&mut engine, 2, &deltas), []);
        let cells = held(&engine.snapshot(), "lines", Grain::Day);
        let expected = (0..lines).map(|_| {
            (format!("a {{\"currency\":\"USD\"}} {}", Micros(START)), Some(10_i128.pow(10)))
        });
        assert_eq!(cells, expected.collect());
    }
}

#[tokio::test]
async fn kpis_over_views_are_what_sql_says() {
    let mut compared = 0;
    for seed in 1..=4_u64 {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut world = World::new();
        let mut engine = Engine::new(Arc::clone(&world.catalog), &world.contracts).unwrap();
        for id in 1..=80_i64 {
            let deltas = world.change(&mut dice);
            let wrong = epoch(&mut engine, id, &deltas);
            assert!(wrong.is_empty(), "seed {seed}, epoch {id}: {wrong:?}");
            if id % 40 == 0 {
                compared += compare(&world, &engine.snapshot()).await;
            }
        }
        audited(&world, engine.snapshot()).await;
        // An engine that is given the rows alone says the same.
        let mut fresh = Engine::new(Arc::clone(&world.catalog), &world.contracts).unwrap();
        for table in 0..3 {
            for values in world.tables[table].values() {
                let bytes = world.bytes(table, values);
                fresh.rebuild(table, world.layouts[table].row(&bytes)).unwrap();
            }
            // Views see one table after the other: rows without a partner come, and go again.
            fresh.roll_up();
        }
        fresh.finish_rebuild(Micros(START + 80_000_000), Some((80, Micros(START + 80_000_000))));
        assert!(fresh.take_refused().is_empty());
        let told = |engine: &Engine| -> Vec<_> {
            engine.snapshot().into_iter().map(|row| (row.key, row.value)).collect()
        };
        assert_eq!(told(&fresh), told(&engine), "seed {seed}");
    }
    assert!(compared > 500, "only {compared} cells were compared");
}

#[test]
fn what_a_view_cannot_say_is_refused_with_advice() {
    let world = World::new();
    let views = world.catalog.views();
    let refusal = |text: &str| {
        let text = format!("key='k'\ntitle='T'\ngood='up'\nview='item_sales'\n{text}");
        let own = match Definition::parse("k.toml", &text) {
            Err(error) => return error.to_string(),
            Ok(own) => own,
        };
        Catalog::new(vec![own], &world.contracts, Arc::clone(views)).unwrap_err().to_string()
    };
    let base = "unit='currency'\nvalue='revenue'\ndims=['currency']\n";
    for (from, to, says) in [
        (
            "revenue",
            "revenu",
            "view `item_sales` has no aggregate `revenu` (did you mean `revenue`?)",
        ),
        ("['currency']", "['land']", "a sum of money needs the dimension `currency`"),
        ("['currency']", "['currency','country']", "not grouped by a column `country`"),
        ("'revenue'", "'usual - revenue'", "`usual` is an average"),
        ("'revenue'", "'revenue * 2'", "or one such sum divided by another"),
        ("'revenue'", "'buyers + lines'", "only sums and counts may be added up"),
        (
            "unit=",
            "kind='ratio'\nunit=",
            "k.toml: kind: `ratio` is not what the view says: it is `flow`",
        ),
        ("unit=", "time='placed_at'\nunit=", "belongs to a KPI without a view"),
        ("value='revenue'\n", "", "k.toml: value: is missing"),
    ] {
        let said = refusal(&base.replace(from, to));
        assert!(said.contains(says), "{says}: {said}");
    }
}
