//! Tables of views against the question asked directly: random changes of two tables, quiet ones among them, go
//! into the engine, and DataFusion answers in SQL that is written here, over what the tables then hold. What a
//! barrier would write is followed slot by slot.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, Decimal128Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{Field, Schema};
use arrow::util::display::array_value_to_string;
use datafusion::prelude::SessionContext;
use gold::audit::{audit_views, registered};
use gold::view_file::{ViewFile, accept};
use gold::{Catalog, Engine, FrozenView, ViewTables, view_table};
use lake::keyed::FrozenRows;
use schemas::civil::Shape;
use schemas::{
    Calendar, CalendarSettings, Contract, Delta, EpochStamp, Grain, Micros, RowBuilder, RowKey,
    RowLayout,
};

const DAY_US: i64 = 86_400_000_000;
/// 2026-03-28: the day before clocks are put forward in Berlin.
const START: i64 = 20_540 * DAY_US;

const SALES: &str = "name='sales'\nformat='rows'\nkey=['id']\ntenant='shop'\ncolumns=[\
    {name='id',type='bigint',required=true},{name='shop',type='text'},{name='client',type='bigint'},\
    {name='amount',type='decimal(12,2)'},{name='sold_at',type='timestamp'}]";
const CLIENTS: &str = "name='clients'\nformat='rows'\nkey=['id']\ntenant='shop'\ncolumns=[\
    {name='id',type='bigint',required=true},{name='shop',type='text'},{name='country',type='text'}]";

/// Each view with its text, in which `{period}` is what it is grouped by.
const VIEWS: [(&str, &str); 6] = [
    (
        "by_country",
        "SELECT s.shop AS tenant_id, {period} AS period, c.country, SUM(s.amount) AS sold, COUNT(*) AS sales,
                COUNT(DISTINCT s.client) AS buyers, MAX(s.amount) AS largest, AVG(s.amount) AS usual,
                SUM(s.amount) FILTER (WHERE s.client > 3) AS late, BOOL_OR(s.client > 3) AS has_late
         FROM sales s LEFT JOIN clients c ON c.id = s.client WHERE {known} GROUP BY 1, 2, 3",
    ),
    // The same row several times.
    (
        "pairs",
        "SELECT c.country, s.shop AS tenant_id FROM sales s LEFT JOIN clients c ON c.id = s.client",
    ),
    ("countries", "SELECT DISTINCT country FROM clients"),
    ("totals", "SELECT COUNT(*) AS sales, SUM(amount) AS sold, MAX(sold_at) AS last FROM sales"),
    (
        "largest",
        "SELECT id, amount, client FROM sales WHERE amount IS NOT NULL ORDER BY amount DESC, id LIMIT 3",
    ),
    ("often", "SELECT country, COUNT(*) AS n FROM pairs GROUP BY country HAVING COUNT(*) > 2"),
];

#[derive(Debug, Clone, Default, PartialEq)]
struct Row {
    shop: Option<&'static str>,
    client: Option<i64>,
    cents: Option<i64>,
    at: Option<i64>,
    country: Option<&'static str>,
}

/// Numbers that follow from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> i64 {
        crate::told::below(&mut self.0, end)
    }

    fn some<T>(&mut self, value: T) -> Option<T> {
        (self.below(12) > 0).then_some(value)
    }

    fn text(&mut self, all: [&'static str; 3]) -> Option<&'static str> {
        let text = all[usize::try_from(self.below(3)).unwrap()];
        self.some(text)
    }

    fn row(&mut self, table: usize) -> Row {
        let shop = self.text(["a", "b", ""]);
        if table == 1 {
            return Row { shop, country: self.text(["DE", "FR", "PL"]), ..Row::default() };
        }
        let (client, cents) = (self.below(7), self.below(9000) - 500);
        let at = START + self.below(3 * DAY_US.unsigned_abs());
        let (client, cents, at) = (self.some(client), self.some(cents), self.some(at));
        Row { shop, client, cents, at, country: None }
    }
}

struct World {
    contracts: Vec<Contract>,
    layouts: Vec<Arc<RowLayout>>,
    tables: [BTreeMap<i64, Row>; 2],
    catalog: Arc<Catalog>,
}

impl World {
    fn new(calendar: &Arc<Calendar>) -> World {
        let contracts = [SALES, CLIENTS].map(|text| Contract::parse(text).unwrap()).to_vec();
        let files = VIEWS.map(|(name, text)| ViewFile {
            name: name.into(),
            text: text.replace("{period}", "period(s.sold_at)").replace("{known}", "TRUE"),
            file: format!("{name}.sql"),
        });
        let views = accept(&files, &contracts).unwrap();
        let catalog = Catalog::new(Vec::new(), &contracts, views).unwrap();
        let catalog = catalog.with_calendar(Arc::clone(calendar));
        let layouts = contracts.iter().map(|own| Arc::new(RowLayout::new(&own.columns)));
        World {
            layouts: layouts.collect(),
            contracts,
            tables: [BTreeMap::new(), BTreeMap::new()],
            catalog: Arc::new(catalog.with_view_tables(ViewTables::Own)),
        }
    }

    fn engine(&self) -> Engine {
        Engine::new(Arc::clone(&self.catalog), &self.contracts).unwrap()
    }

    fn bytes(&self, table: usize, key: i64, row: &Row) -> Vec<u8> {
        let mut builder = RowBuilder::default();
        builder.reset(self.layouts[table].len());
        builder.set_bigint(0, key);
        row.shop.into_iter().for_each(|shop| builder.set_text(1, shop));
        row.client.into_iter().for_each(|client| builder.set_bigint(2, client));
        row.cents.into_iter().for_each(|cents| builder.set_decimal(3, cents.into()));
        row.at.into_iter().for_each(|at| builder.set_timestamp(4, Micros(at)));
        row.country.into_iter().for_each(|country| builder.set_text(2, country));
        let mut bytes = Vec::new();
        builder.finish(&self.layouts[table], &mut bytes);
        bytes
    }

    /// Some random changes, and the delta of each table.
    fn change(&mut self, dice: &mut Dice) -> Vec<Delta> {
        let of = |layout: &Arc<RowLayout>| Delta::new(Arc::clone(layout), RowKey::new(vec![0]));
        let mut deltas: Vec<Delta> = self.layouts.iter().map(of).collect();
        for _ in 0..dice.below(10) {
            let table = usize::from(dice.below(4) == 0);
            let key = dice.below([25, 7][table]);
            let new = (dice.below(4) > 0).then(|| dice.row(table));
            let old = match &new {
                Some(new) => self.tables[table].insert(key, new.clone()),
                None => self.tables[table].remove(&key),
            };
            let bytes = |row: &Row| self.bytes(table, key, row);
            let (old, new) = (old.as_ref().map(bytes), new.as_ref().map(bytes));
            let layout = &self.layouts[table];
            deltas[table].set_quiet(dice.below(3) == 0);
            let row = |bytes: &'static [u8]| layout.row(bytes);
            let (old, new) = (old.map(|b| &*b.leak()), new.map(|b| &*b.leak()));
            deltas[table].change(old.map(row), new.map(row));
        }
        deltas.iter_mut().for_each(Delta::consolidate);
        deltas
    }

    /// The tables as they are, under their names behind `prefix`.
    fn context(&self, prefix: &str) -> SessionContext {
        let context = gold::audit::session();
        let sales = &self.tables[0];
        let amounts = sales.values().map(|row| row.cents.map(i128::from));
        let amounts = Decimal128Array::from_iter(amounts).with_precision_and_scale(12, 2).unwrap();
        let times = TimestampMicrosecondArray::from_iter(sales.values().map(|row| row.at));
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("id", Arc::new(Int64Array::from_iter_values(sales.keys().copied()))),
            ("shop", Arc::new(StringArray::from_iter(sales.values().map(|row| row.shop)))),
            ("client", Arc::new(Int64Array::from_iter(sales.values().map(|row| row.client)))),
            ("amount", Arc::new(amounts)),
            ("sold_at", Arc::new(times.with_timezone("UTC"))),
        ];
        let clients = &self.tables[1];
        let others: Vec<(&str, ArrayRef)> = vec![
            ("id", Arc::new(Int64Array::from_iter_values(clients.keys().copied()))),
            ("shop", Arc::new(StringArray::from_iter(clients.values().map(|row| row.shop)))),
            ("country", Arc::new(StringArray::from_iter(clients.values().map(|row| row.country)))),
        ];
        for (name, mut columns) in [("sales", columns), ("clients", others)] {
            let rows = columns[0].1.len();
            columns.push(("_unknown", Arc::new(StringArray::new_null(rows))));
            let fields = columns.iter();
            let fields =
                fields.map(|(name, array)| Field::new(*name, array.data_type().clone(), true));
            let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
            let arrays = columns.into_iter().map(|(_, array)| array).collect();
            let batch = RecordBatch::try_new(schema, arrays).unwrap();
            context.register_batch(format!("{prefix}{name}"), batch).unwrap();
        }
        context
    }
}

/// Each row of a batch as text, by the names of its columns.
fn texts(batch: &RecordBatch) -> Vec<String> {
    let schema = batch.schema();
    let text = |row: usize| {
        let columns = schema.fields().iter().zip(batch.columns()).map(|(field, array)| {
            let is_there = array.is_valid(row);
            let text = is_there.then(|| array_value_to_string(array, row).unwrap());
            format!("{}={}", field.name(), text.as_deref().unwrap_or("null"))
        });
        columns.collect::<Vec<_>>().join(" ")
    };
    (0..batch.num_rows()).map(text).collect()
}

/// What a view gives by DataFusion, with the columns of its table, each row as text.
async fn asked(
    context: &SessionContext,
    table: &FrozenView,
    name: &str,
    text: &str,
) -> Vec<String> {
    let columns = table.batch(&[]).unwrap().schema();
    let mut rows = Vec::new();
    let grains = if text.contains("{period}") { &Grain::ALL[..] } else { &Grain::ALL[..1] };
    for grain in grains {
        let length = match grain {
            Grain::Week => "7 days".to_owned(),
            Grain::Quarter => "3 months".to_owned(),
            grain => format!("1 {grain}"),
        };
        let start = format!("date_trunc('{grain}', s.sold_at)");
        let own = text.replace("{period}", &start).replace("{known}", "s.sold_at IS NOT NULL");
        let own = match text.contains("{period}") {
            true => format!(
                "SELECT tenant_id, '{grain}' AS grain, period AS period_start, period + INTERVAL '{length}' AS period_end, \
                 country, sold, sales, buyers, largest, usual, late, has_late FROM ({own}) AS it"
            ),
            false => own,
        };
        let batches = context.sql(&own).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        for batch in batches.collect().await.unwrap() {
            let arrays = columns.fields().iter().map(|field| {
                let array = batch.column_by_name(field.name()).unwrap();
                arrow::compute::cast(array, field.data_type()).unwrap()
            });
            let batch = RecordBatch::try_new(Arc::clone(&columns), arrays.collect()).unwrap();
            rows.extend(texts(&batch));
        }
    }
    rows.sort();
    rows
}

/// What the tables of a lake would hold, by slot, as barriers would have written them.
type Written = BTreeMap<String, BTreeMap<u32, String>>;

/// Writes what changed since the last time, and gives what there is.
fn barrier(engine: &mut Engine, written: &mut Written) -> Vec<FrozenView> {
    let frozen = engine.freeze_views();
    for view in &frozen {
        let own = written.entry(view.table.clone()).or_default();
        for slot in &view.changed {
            match view.has_row(*slot) {
                true => drop(own.insert(*slot, texts(&view.batch(&[*slot]).unwrap()).remove(0))),
                false => drop(own.remove(slot)),
            }
        }
        let live: Vec<u32> = view.live_slots().collect();
        assert_eq!(own.keys().copied().collect::<Vec<_>>(), live, "{}", view.table);
    }
    frozen
}

fn epoch(engine: &mut Engine, id: i64, deltas: &[Delta]) {
    let clock = Micros(START + id * 3_600_000_000);
    let is_quiet = |delta: &Delta| delta.keys().any(|change| change.is_quiet());
    let quiet = deltas.iter().any(is_quiet);
    let stamp = EpochStamp { id: id.unsigned_abs(), clock, quiet };
    engine.begin_epoch(&stamp);
    engine.hush((0..deltas.len()).filter(|table| is_quiet(&deltas[*table])));
    let wrong = engine.step_all(&stamp, &deltas.iter().collect::<Vec<_>>());
    assert!(wrong.is_empty(), "epoch {id}: {wrong:?}");
    engine.finish_epoch(&stamp);
}

/// Compares what was written with what the views' SQL gives, and counts the rows.
async fn compare(world: &World, frozen: &[FrozenView], written: &Written) -> usize {
    let context = world.context("");
    let pairs = VIEWS.iter().find(|(name, _)| *name == "pairs").unwrap().1;
    context.sql(&format!("CREATE VIEW pairs AS {pairs}")).await.unwrap().collect().await.unwrap();
    let mut compared = 0;
    for (name, text) in VIEWS {
        let table = frozen.iter().find(|own| own.table == format!("gold/views/{name}")).unwrap();
        let expected = asked(&context, table, name, text).await;
        let mut rows: Vec<String> = written[&table.table].values().cloned().collect();
        rows.sort();
        assert_eq!(rows, expected, "{name}");
        compared += rows.len();
    }
    compared
}

/// What is told of tables that are as they are, or damaged.
async fn audited(world: &World, frozen: &[FrozenView], damage: Option<&str>) -> Vec<String> {
    let context = world.context("silver_");
    for (view, table) in world.catalog.tabled().zip(frozen) {
        assert_eq!(view_table::name(view), table.table);
        let slots: Vec<u32> = table.live_slots().collect();
        let slots = match damage {
            Some("missing") => slots[1..].to_vec(),
            Some("doubled") => [&slots[..1], &slots[..]].concat(),
            _ => slots,
        };
        context.register_batch(registered(view), table.batch(&slots).unwrap()).unwrap();
    }
    let at = Micros(START + 5 * DAY_US);
    let found = audit_views(&context, &world.catalog, at, &|_| true).await.unwrap();
    assert_eq!(found.len(), VIEWS.len());
    let wrong = found.into_iter().filter(|finding| finding.mismatches > 0);
    wrong.map(|finding| format!("{} {}", finding.view, finding.mismatches)).collect()
}

async fn history(seed: u64, calendar: &Arc<Calendar>) -> usize {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut world = World::new(calendar);
    let (mut engine, mut written, mut compared) = (world.engine(), Written::new(), 0);
    let mut frozen = Vec::new();
    for id in 1..=60_i64 {
        epoch(&mut engine, id, &world.change(&mut dice));
        if dice.below(3) == 0 || id == 60 {
            frozen = barrier(&mut engine, &mut written);
            if calendar.is_utc() {
                compared += compare(&world, &frozen, &written).await;
            }
        }
    }
    assert_eq!(audited(&world, &frozen, None).await, [""; 0], "seed {seed}");
    for damage in ["missing", "doubled"] {
        let wrong = audited(&world, &frozen, Some(damage)).await;
        let each: Vec<String> = world.catalog.tabled().map(|v| format!("{} 1", v.name())).collect();
        assert_eq!(wrong, each, "{damage}");
    }
    // An engine that is given the rows alone finds each row of what was written, and as often.
    let mut fresh = world.engine();
    for table in 0..2 {
        for (key, row) in &world.tables[table] {
            let bytes = world.bytes(table, *key, row);
            fresh.rebuild(table, world.layouts[table].row(&bytes)).unwrap();
        }
        fresh.roll_up();
    }
    for table in &frozen {
        let slots: Vec<u32> = table.live_slots().collect();
        let mut locator = fresh.locate_view(&table.table).unwrap();
        let live = locator.live();
        let mut found = locator.slots(&table.batch(&slots).unwrap()).unwrap();
        assert_eq!(locator.slots(&table.batch(&slots[..1]).unwrap()).unwrap(), [None], "twice");
        found.sort_unstable();
        assert_eq!(found, live.into_iter().map(Some).collect::<Vec<_>>(), "{}", table.table);
    }
    assert!(fresh.freeze_views().iter().all(|view| view.changed.is_empty()), "all were found");
    assert!(engine.locate_view("gold/views/none").is_none());
    compared
}

#[tokio::test]
async fn tables_of_views_are_what_sql_gives() {
    let mut compared = 0;
    for seed in 1..=4 {
        compared += history(seed, &Arc::default()).await;
    }
    assert!(compared > 5_000, "only {compared} rows were compared");
}

/// Days of 23 hours, weeks from Sunday, years from April: against the audit, which has clocks of its own.
#[tokio::test]
async fn periods_are_those_of_the_tenant() {
    let zones = [("a", "Europe/Berlin"), ("b", "America/New_York")];
    let settings = CalendarSettings {
        zone: "Asia/Kolkata".into(),
        zones: zones.map(|(tenant, zone)| (tenant.to_owned(), zone.to_owned())).into(),
        shape: Shape { from_sunday: true, year_from: 4 },
    };
    history(7, &Arc::new(Calendar::new(&settings).unwrap())).await;
}

#[test]
fn whose_tables_there_are_is_asked_for() {
    let contracts: Vec<Contract> = schemas::contract::all_that_come()
        .iter()
        .map(|(_, text)| Contract::parse(text).unwrap())
        .collect();
    let file = |name: &str, text: &str| ViewFile {
        name: name.into(),
        text: text.into(),
        file: format!("{name}.sql"),
    };
    let own = [
        file("mine", "SELECT order_id, amount FROM orders"),
        file("alive", include_str!("../../views/active_subscriptions.sql")),
        file(
            "grains",
            "SELECT tenant_id, period(placed_at) AS period, status AS grain, COUNT(*) AS n FROM orders GROUP BY 1, 2, 3",
        ),
        // It comes with Weir, with another meaning.
        file("new_users", "SELECT user_id FROM activity"),
    ];
    let files = gold::view_file::with_built_in(own.to_vec());
    let views = accept(&files, &contracts).unwrap();
    let catalog = Catalog::new(Vec::new(), &contracts, views).unwrap();
    let names = |tables: ViewTables| -> Vec<String> {
        let catalog = catalog.clone().with_view_tables(tables);
        let mut names: Vec<String> = catalog.tabled().map(|view| view.name().to_owned()).collect();
        names.sort();
        names
    };
    assert_eq!(names(ViewTables::None), [""; 0]);
    assert_eq!(names(ViewTables::Own), ["mine", "new_users"]);
    let all = names(ViewTables::All);
    assert!(all.len() > 15 && all.contains(&"customer_orders".to_owned()), "{all:?}");
    assert!(!all.iter().any(|name| ["alive", "grains", "active_subscriptions"].contains(&&**name)));
    let why = |name: &str| {
        let view = catalog.views().iter().find(|view| view.name() == name).unwrap();
        view_table::columns(view).unwrap_err()
    };
    assert!(why("alive").contains("alive") && why("grains").contains("`grain`"));
}
