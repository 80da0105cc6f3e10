//! What overlaps periods, and what is spread over the days of rows, against the question asked of all rows day by day:
//! random changes of one table, clocks that leap over months, zones with short and long days, years from May, restarts.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::told::{Told, is_same, restarted};
use crate::zones::{self, STARTS, date, midnight, period, zone};

use arrow::array::{
    Array, Decimal128Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
    new_null_array,
};
use arrow::datatypes::{DataType, Field, Schema};
use chrono::{Days, Months, NaiveDate};
use gold::audit::explain::{Bounds, Place, feeding, parts, ready};
use gold::view_file::{ViewFile, accept};
use gold::{Catalog, CellRow, Definition, Engine};
use schemas::decimal::{VALUE_SCALE, parse};
use schemas::{
    CellKey, Contract, Delta, EpochStamp, Grain, Micros, RowBuilder, RowKey, RowLayout, Status,
};

const BUDGETS: &str = "name='budgets'\nformat='debezium-json'\nkey=['id']\ntenant='tenant_id'\n\
    columns=[{name='id',type='bigint',required=true},{name='tenant_id',type='text'},\
    {name='currency',type='text'},{name='amount',type='decimal(12,2)'},\
    {name='period_start',type='timestamp'},{name='period_end',type='timestamp'}]";
const SPREAD: &str = "
    SELECT b.tenant_id, p.period_start AS period, b.currency,
           SUM(allocate(b.amount, b.period_start, b.period_end)) AS budget, SUM(b.amount) AS whole,
           COUNT(*) AS budgets, COUNT(*) FILTER (WHERE b.amount > 50) AS large,
           SUM(allocate(b.amount, b.period_start, b.period_end)) FILTER (WHERE b.amount > 50) AS large_budget
    FROM budgets b
    JOIN periods p ON b.period_start < p.period_end AND b.period_end > p.period_start
    GROUP BY 1, 2, 3";
const ALIVE: &str = "
    SELECT b.tenant_id, p.period_start AS period, b.currency, COUNT(*) AS alive
    FROM budgets b
    JOIN periods p ON b.period_start < p.period_end AND (b.period_end IS NULL OR b.period_end >= p.period_end)
    GROUP BY 1, 2, 3";
/// Key, view, value, unit, dims, kind.
const KPIS: [[&str; 6]; 7] = [
    ["budget", "spread", "budget", "currency", "'currency'", "flow"],
    ["small_budget", "spread", "budget - large_budget", "currency", "'currency'", "flow"],
    ["whole", "spread", "whole", "currency", "'currency'", "distinct"],
    ["budgets", "spread", "budgets", "count", "", "distinct"],
    ["large", "spread", "large", "count", "", "distinct"],
    ["share", "spread", "budget / whole", "ratio", "'currency'", "ratio"],
    ["alive", "alive", "alive", "count", "'currency'", "stock"],
];
/// A quotient by keys.
const LARGE_SHARE: &str = "key='large_share'\ntitle='T'\nunit='ratio'\ngood='up'\nnumerator='large'\n\
    denominator='budgets'\n";
const DAY_US: i64 = 86_400_000_000;
const ONE: i128 = 10_i128.pow(10);
const GRAINS: [Grain; 5] = [Grain::Day, Grain::Week, Grain::Month, Grain::Quarter, Grain::Year];

/// By cell what it says.
type Values = BTreeMap<String, Option<i128>>;

/// Numbers that follow from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: i64) -> i64 {
        crate::told::below(&mut self.0, end.unsigned_abs())
    }

    fn one<T: Copy, const N: usize>(&mut self, of: [T; N]) -> T {
        of[usize::try_from(self.below(i64::try_from(N).unwrap())).unwrap()]
    }

    /// An instant of a day, half of the time where it begins somewhere.
    fn instant(&mut self, at: i64) -> i64 {
        match self.below(2) {
            0 => {
                let zone = zone(self.one(["a", "b", "c"]));
                midnight(zone, date(zone, at))
            }
            _ => at + self.below(DAY_US),
        }
    }

    fn row(&mut self, around: i64) -> Row {
        let from = around + (self.below(200) - 120) * DAY_US;
        // Some end before they start, some within a day, some years later.
        let days = match self.below(6) {
            0 => self.below(3) - 1,
            1 => 600 + self.below(900),
            _ => self.below(100),
        };
        let from = self.instant(from);
        let until = self.instant(from + days * DAY_US);
        Row {
            tenant: self.one(["a", "b", "c", ""]),
            currency: self.one(["EUR", "USD"]),
            amount: (self.below(9) > 0).then(|| self.below(12_000) - 2_000),
            from: (self.below(15) > 0).then_some(from),
            until: (self.below(15) > 0).then_some(until),
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
struct Row {
    tenant: &'static str,
    currency: &'static str,
    amount: Option<i64>,
    from: Option<i64>,
    until: Option<i64>,
}

impl Row {
    fn tenant(&self) -> &'static str {
        if self.tenant.is_empty() { "default" } else { self.tenant }
    }

    /// What it has of each of its days, with ten digits after the point.
    fn days(&self) -> Vec<(NaiveDate, i128)> {
        let (Some(from), Some(until)) = (self.from, self.until) else { return Vec::new() };
        let zone = zone(self.tenant());
        let mut days = Vec::new();
        let mut day = date(zone, from);
        // Those of which it has any time; what is of one day has it.
        while day <= date(zone, until - 1) {
            days.push(day);
            day = day + Days::new(1);
        }
        let amount = i128::from(self.amount.unwrap_or_default()) * ONE / 100;
        let count = i128::try_from(days.len()).unwrap();
        let mut parts: Vec<(NaiveDate, i128)> =
            days.into_iter().map(|day| (day, amount / count)).collect();
        if let Some(last) = parts.last_mut() {
            last.1 = amount - amount / count * (count - 1);
        }
        parts
    }
}

/// A quotient at ten digits, rounded half to even; none by nothing.
fn quotient(above: i128, below: i128) -> Option<i128> {
    if below == 0 {
        return None;
    }
    let (above, below) = (above * below.signum(), below.abs());
    let scaled = above * ONE;
    let (whole, rest) = (scaled.div_euclid(below), scaled.rem_euclid(below));
    let is_up = match (rest * 2).cmp(&below) {
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Equal => whole % 2 != 0,
        std::cmp::Ordering::Greater => true,
    };
    Some(whole + i128::from(is_up))
}

/// What the rows of a series bring to a period.
#[derive(Default)]
struct Sums {
    rows: i128,
    large: i128,
    whole: i128,
    budget: i128,
    large_budget: i128,
}

/// All cells, of all rows, day by day, by the words of the definition alone.
fn expected(rows: &BTreeMap<i64, Row>, now: i64) -> Values {
    let mut sums: BTreeMap<(&str, String, Grain, NaiveDate), Sums> = BTreeMap::new();
    for row in rows.values() {
        let is_large = row.amount.is_some_and(|amount| amount > 5_000);
        for grain in GRAINS {
            let mut periods: BTreeMap<NaiveDate, i128> = BTreeMap::new();
            for (day, part) in row.days() {
                *periods.entry(period(grain, day).0).or_default() += part;
            }
            for (first, part) in periods {
                for dims in ["{}".to_owned(), format!("{{\"currency\":\"{}\"}}", row.currency)] {
                    let own = sums.entry((row.tenant(), dims, grain, first)).or_default();
                    own.rows += 1;
                    own.large += i128::from(is_large);
                    own.whole += i128::from(row.amount.unwrap_or_default()) * ONE / 100;
                    own.budget += part;
                    own.large_budget += if is_large { part } else { 0 };
                }
            }
        }
    }
    let mut cells = Values::new();
    for ((tenant, dims, grain, first), own) in sums {
        // The running month and the 24 behind it.
        let zone = zone(tenant);
        if first >= period(Grain::Month, date(zone, now)).0 + Months::new(25) {
            continue;
        }
        let start = Micros(midnight(zone, first));
        let mut put = |kpi: &str, value: Option<i128>| {
            cells.insert(format!("{kpi} {tenant} {dims} {grain} {start}"), value);
        };
        if dims == "{}" {
            put("budgets", Some(own.rows * ONE));
            put("large", Some(own.large * ONE));
            put("large_share", quotient(own.large, own.rows));
        } else {
            put("budget", Some(own.budget));
            put("small_budget", Some(own.budget - own.large_budget));
            put("whole", Some(own.whole));
            put("share", quotient(own.budget, own.whole));
        }
    }
    cells
}

struct World {
    contract: Contract,
    layout: Arc<RowLayout>,
    rows: BTreeMap<i64, Row>,
    catalog: Arc<Catalog>,
}

impl World {
    fn new() -> World {
        let contract = Contract::parse(BUDGETS).unwrap();
        let contracts = std::slice::from_ref(&contract);
        let files = [("spread", SPREAD), ("alive", ALIVE)].map(|(name, text)| ViewFile {
            name: name.into(),
            text: text.into(),
            file: format!("{name}.sql"),
        });
        let views = accept(&files, contracts).unwrap();
        let definitions = KPIS.map(|[key, view, value, unit, dims, kind]| {
            let text = format!(
                "key='{key}'\ntitle='T'\nunit='{unit}'\ngood='up'\nview='{view}'\nvalue='{value}'\n\
                 dims=[{dims}]\nkind='{kind}'\n"
            );
            Definition::parse(&format!("{key}.toml"), &text).unwrap()
        });
        let mut definitions = definitions.to_vec();
        definitions.push(Definition::parse("large_share.toml", LARGE_SHARE).unwrap());
        let catalog = Catalog::new(definitions, contracts, views).unwrap();
        let catalog = Arc::new(catalog.with_calendar(zones::calendar()));
        let layout = Arc::new(RowLayout::new(&contract.columns));
        World { contract, layout, rows: BTreeMap::new(), catalog }
    }

    fn engine(&self) -> Engine {
        Engine::new(Arc::clone(&self.catalog), std::slice::from_ref(&self.contract)).unwrap()
    }

    fn bytes(&self, key: i64, row: &Row) -> Vec<u8> {
        let mut builder = RowBuilder::default();
        builder.reset(self.layout.len());
        builder.set_bigint(0, key);
        if !row.tenant.is_empty() {
            builder.set_text(1, row.tenant);
        }
        builder.set_text(2, row.currency);
        row.amount.iter().for_each(|amount| builder.set_decimal(3, i128::from(*amount)));
        row.from.iter().for_each(|at| builder.set_timestamp(4, Micros(*at)));
        row.until.iter().for_each(|at| builder.set_timestamp(5, Micros(*at)));
        let mut bytes = Vec::new();
        builder.finish(&self.layout, &mut bytes);
        bytes
    }

    fn change(&mut self, dice: &mut Dice, now: i64, quiet: bool) -> Delta {
        let mut delta = Delta::new(Arc::clone(&self.layout), RowKey::new(vec![0]));
        delta.set_quiet(quiet);
        let keys = if dice.below(25) == 0 { 0..7 } else { 0..dice.below(3) };
        let is_all_gone = keys.end == 7;
        for key in keys {
            let key = if is_all_gone { key } else { dice.below(7) };
            let new = (!is_all_gone && dice.below(4) > 0).then(|| dice.row(now));
            let old = match &new {
                Some(new) => self.rows.insert(key, new.clone()),
                None => self.rows.remove(&key),
            };
            let of = |row: &Option<Row>| row.as_ref().map(|row| self.bytes(key, row));
            let (old, new) = (of(&old), of(&new));
            delta.change(
                old.as_ref().map(|bytes| self.layout.row(bytes)),
                new.as_ref().map(|bytes| self.layout.row(bytes)),
            );
        }
        delta.consolidate();
        delta
    }

    /// A second engine made from the rows and the saved state of the first.
    fn restarted(&self, engine: &mut Engine) -> Engine {
        restarted(self.engine(), engine, |fresh| {
            for (key, row) in &self.rows {
                fresh.rebuild(0, self.layout.row(&self.bytes(*key, row))).unwrap();
            }
        })
    }

    /// The audit, which asks in SQL, finds nothing; and it finds a value that is wrong, or a cell that is missing.
    async fn audited(&self, rows: &[CellRow], now: i64) -> usize {
        let mut cells = 0;
        for wrong in 0..4 {
            let mut rows = rows.to_vec();
            let key = ["budget", "budget", "budget", "whole"][wrong];
            let is_it = |row: &CellRow| *row.key.kpi == *key && row.key.grain == Grain::Month;
            let at = rows.iter().position(is_it).filter(|_| wrong > 0);
            if let Some(at) = at {
                let value = &mut rows[at].value.value;
                *value = value.map(|number| number + 1);
                if wrong == 2 {
                    rows.remove(at);
                }
            }
            let context = gold::audit::session();
            context.register_batch("silver_budgets", self.batch()).unwrap();
            let current = gold::table::current_batch(&rows).unwrap();
            context.register_batch("kpi_current", current).unwrap();
            let found = gold::audit::audit(&context, &self.catalog, Micros(now)).await.unwrap();
            let bad: Vec<_> = found.iter().filter(|finding| finding.mismatches > 0).collect();
            assert_eq!(bad.len(), usize::from(at.is_some()), "{bad:?}");
            cells = found.iter().map(|finding| finding.cells).sum();
            if wrong == 0 {
                let tables = [("budgets", self.batch())];
                crate::groups::are_as_computed(&self.catalog, &tables, &rows, Micros(now), 4).await;
            }
        }
        self.explained(rows, now).await;
        cells
    }

    /// What rows bring to a cell adds up to it.
    async fn explained(&self, rows: &[CellRow], now: i64) {
        let contracts = BTreeMap::from([("budgets", &self.contract)]);
        let bounds = Bounds { rows: None, inputs: 100, others: true };
        let is_one = |row: &&CellRow| ["budget", "budgets", "whole"].contains(&&*row.key.kpi);
        for row in rows.iter().filter(is_one).step_by(151) {
            let context = gold::audit::session();
            context.register_batch("silver_budgets", self.batch()).unwrap();
            let definition = self.catalog.get(&row.key.kpi).unwrap();
            let all = parts(&self.catalog, definition).unwrap();
            ready(&context, &self.catalog, &all, Micros(now)).await.unwrap();
            let dims: BTreeMap<String, String> = serde_json::from_str(&row.key.dims).unwrap();
            let (tenant, grain) = (row.key.tenant.to_string(), row.key.grain);
            let place = Place { tenant, grain, start: row.period_start, dims };
            let asked = (&all[0], &place);
            let found =
                feeding(&context, &self.catalog, &contracts, asked, bounds).await.unwrap().0;
            let amounts = found.iter().map(|own| own.amount.as_deref().unwrap().as_bytes());
            let sum: i128 = amounts.map(|text| parse(text, VALUE_SCALE).unwrap()).sum();
            assert_eq!(Some(sum), row.value.value, "{:?}", row.key);
            assert!(found.iter().all(|own| own.inputs.len() == 1));
        }
    }

    fn batch(&self) -> RecordBatch {
        let rows = || self.rows.values();
        let instants = |of: fn(&Row) -> Option<i64>| -> Arc<dyn Array> {
            Arc::new(TimestampMicrosecondArray::from_iter(rows().map(of)).with_timezone("UTC"))
        };
        let tenants = rows().map(|row| (!row.tenant.is_empty()).then_some(row.tenant));
        let amounts = Decimal128Array::from_iter(rows().map(|row| row.amount.map(i128::from)));
        let texts = |text: &str| -> Arc<dyn Array> {
            Arc::new(StringArray::from_iter(rows().map(|_| Some(text))))
        };
        let columns: [(&str, Arc<dyn Array>); 11] = [
            ("id", Arc::new(Int64Array::from_iter(self.rows.keys().copied()))),
            ("tenant_id", Arc::new(StringArray::from_iter(tenants))),
            ("currency", Arc::new(StringArray::from_iter(rows().map(|row| Some(row.currency))))),
            ("amount", Arc::new(amounts.with_precision_and_scale(12, 2).unwrap())),
            ("period_start", instants(|row| row.from)),
            ("period_end", instants(|row| row.until)),
            ("_origin", texts("o")),
            ("_position", texts("0:0:0")),
            ("_doubt", new_null_array(&DataType::Utf8, self.rows.len())),
            ("_unknown", new_null_array(&DataType::Utf8, self.rows.len())),
            ("_epoch", Arc::new(Int64Array::from(vec![1; self.rows.len()]))),
        ];
        let fields = columns
            .iter()
            .map(|(name, array)| Field::new(*name, array.data_type().clone(), true))
            .collect::<Vec<_>>();
        let columns = columns.into_iter().map(|(_, array)| array).collect();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
    }
}

/// What the cells of overlaps say.
fn said(rows: &[CellRow]) -> Values {
    let own = rows.iter().filter(|row| *row.key.kpi != *"alive");
    own.map(|row| {
        let CellKey { kpi, tenant, dims, grain, period_start } = &row.key;
        let status = if row.value.value.is_some() { Status::Ok } else { Status::NoData };
        assert_eq!(row.value.status, status);
        let zone = zone(tenant);
        let end = midnight(zone, period(*grain, date(zone, period_start.0)).1);
        assert_eq!(row.period_end, Micros(end));
        (format!("{kpi} {tenant} {dims} {grain} {period_start}"), row.value.value)
    })
    .collect()
}

#[tokio::test]
async fn what_overlaps_is_what_all_rows_say_day_by_day() {
    let (mut compared, mut audited) = (0, 0);
    for seed in 1..=3_u64 {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut world = World::new();
        let (mut engine, mut plain) = (world.engine(), world.engine());
        let (mut told, mut plainly) = (Told::default(), Told::default());
        let mut now = STARTS[usize::try_from(seed % 3).unwrap()];
        for id in 1..=40_u64 {
            let wait = dice.one([1_000_000, DAY_US / 2, 3 * DAY_US, 45 * DAY_US]);
            now += 1 + dice.below(wait);
            if dice.below(3) == 0 {
                // Time goes on, and no row changes.
                let output = engine.tick(Micros(now));
                let rows = engine.snapshot();
                told.take_changes(output);
                told.check(&rows);
                let when = format!("seed {seed}, tick");
                is_same(&said(&rows), &expected(&world.rows, now), &when);
                continue;
            }
            let stamp = EpochStamp { id, clock: Micros(now), quiet: dice.below(5) == 0 };
            let delta = world.change(&mut dice, now, stamp.quiet);
            for (engine, told) in [(&mut engine, &mut told), (&mut plain, &mut plainly)] {
                engine.begin_epoch(&stamp);
                engine.hush(stamp.quiet.then_some(0));
                let wrong = engine.step_all(&stamp, &[&delta]);
                assert!(wrong.is_empty(), "seed {seed}, epoch {id}: {wrong:?}");
                let output = engine.finish_epoch(&stamp);
                told.take_changes(output);
                told.check(&engine.snapshot());
            }
            let cells = said(&engine.snapshot());
            is_same(&cells, &expected(&world.rows, now), &format!("seed {seed}, epoch {id}"));
            compared += cells.len();
            if dice.below(8) == 0 {
                engine = world.restarted(&mut engine);
            }
        }
        told.take_changes(engine.end_batch(Micros(now + 1)));
        told.check(&engine.snapshot());
        plainly.take_changes(plain.end_batch(Micros(now + 1)));
        plainly.check(&plain.snapshot());
        told.check_history(&engine.snapshot());
        assert!(told.history == plainly.history, "seed {seed}: ticks and restarts show");
        audited += world.audited(&engine.snapshot(), now + 1).await;
    }
    assert!(compared > 50_000 && audited > 2_000, "only {compared} and {audited} cells");
}

/// By hand: 100.00 over the 31 days of January in Berlin, 3.2258064516 a day and 3.2258064520 on the last.
#[test]
fn a_budget_is_spread_over_its_days_and_the_rest_is_on_the_last() {
    let mut world = World::new();
    let mut engine = world.engine();
    let at = |text: &str| Some(Micros::parse(text).unwrap().0);
    let (from, until) = (at("2026-01-14T23:00:00Z"), at("2026-02-14T22:59:59Z"));
    let row = Row { tenant: "a", currency: "EUR", amount: Some(10_000), from, until };
    world.rows.insert(1, row.clone());
    let mut delta = Delta::new(Arc::clone(&world.layout), RowKey::new(vec![0]));
    let bytes = world.bytes(1, &row);
    delta.change(None, Some(world.layout.row(&bytes)));
    let stamp = EpochStamp { id: 1, clock: Micros(from.unwrap()), quiet: false };
    engine.begin_epoch(&stamp);
    engine.step_all(&stamp, &[&delta]);
    engine.finish_epoch(&stamp);
    let of = |grain: Grain| -> Vec<(String, i128)> {
        let rows = engine.snapshot().into_iter();
        let own = rows.filter(|row| *row.key.kpi == *"budget" && row.key.grain == grain);
        own.map(|row| (row.key.period_start.to_string(), row.value.value.unwrap())).collect()
    };
    let days = of(Grain::Day);
    assert_eq!(days.len(), 31);
    assert_eq!(days[0], ("2026-01-14T23:00:00Z".to_owned(), 32_258_064_516));
    assert_eq!(days[30], ("2026-02-13T23:00:00Z".to_owned(), 32_258_064_520));
    // 17 days of January; 14 of February.
    let months = [
        ("2025-12-31T23:00:00Z".to_owned(), 17 * 32_258_064_516),
        ("2026-01-31T23:00:00Z".to_owned(), 14 * 32_258_064_516 + 4),
    ];
    assert_eq!(of(Grain::Month), months);
    let years = [("2025-04-30T22:00:00Z".to_owned(), 100 * ONE)];
    assert_eq!(of(Grain::Year), years);
}

#[test]
fn what_overlaps_cannot_say_is_refused() {
    let world = World::new();
    let contracts = std::slice::from_ref(&world.contract);
    let refusal = |text: &str| {
        let own = Definition::parse("k.toml", text).unwrap();
        let mut all = world.catalog.definitions().to_vec();
        all.push(own);
        let views = Arc::clone(world.catalog.views());
        Catalog::new(all, contracts, views).unwrap_err().to_string()
    };
    let base = "key='k'\ntitle='T'\ngood='up'\nview='spread'\ndims=['currency']\n";
    let budget = "unit='currency'\nvalue='budget'\n";
    let ratio = "key='k'\ntitle='T'\ngood='up'\nunit='ratio'\n";
    for (text, says) in [
        (format!("{base}{budget}grains=['hour','day']\n"), "PERIODS_HOUR"),
        (format!("{base}{budget}windows=['last_7d']\n"), "what overlaps a period has none"),
        (format!("{base}{budget}kind='stock'\n"), "it is `flow`"),
        (format!("{base}unit='currency'\nvalue='whole'\nkind='flow'\n"), "it is `distinct`"),
        (
            format!("{base}unit='currency'\nvalue='budget'\n").replace("dims=['currency']\n", ""),
            "needs the dimension `currency`",
        ),
        (format!("{ratio}numerator='budget'\ndenominator='alive'\n"), "overlap periods"),
        (format!("{ratio}numerator='alive'\ndenominator='budget'\n"), "overlap periods"),
    ] {
        let said = refusal(&text);
        assert!(said.contains(says), "{says}: {said}");
    }
}
