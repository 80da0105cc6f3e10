//! What is alive at the end of periods against the question asked of all rows, period by period: random changes of
//! one table, clocks that leap over days, zones with short and long days, years from May, restarts.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::told::{Told, is_same, restarted};
use crate::zones::{self, STARTS, date, midnight, zone};

use arrow::array::{
    Array, Decimal128Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{Field, Schema};
use gold::view_file::{ViewFile, accept};
use gold::{Catalog, CellRow, Definition, Engine};
use schemas::{
    CellKey, Contract, Delta, EpochStamp, Grain, Micros, RowBuilder, RowKey, RowLayout, Status,
};

const SUBSCRIPTIONS: &str = "name='subscriptions'\nformat='debezium-json'\nkey=['id']\ntenant='tenant_id'\n\
    columns=[{name='id',type='bigint',required=true},{name='tenant_id',type='text'},\
    {name='currency',type='text'},{name='mrr',type='decimal(12,2)'},\
    {name='started_at',type='timestamp'},{name='ended_at',type='timestamp'}]";
const ALIVE: &str = "
    SELECT s.tenant_id, p.period_start AS period, s.currency, SUM(s.mrr) AS mrr, COUNT(*) AS subscriptions,
           COUNT(*) FILTER (WHERE s.mrr > 50) AS large
    FROM (
      SELECT tenant_id, currency, mrr,
             -- Literals that DataFusion reads in nanoseconds, and that are never taken.
             COALESCE(started_at, CASE WHEN mrr < 0 THEN TIMESTAMP '2020-01-01' END) AS started_at,
             COALESCE(ended_at, CASE WHEN mrr < 0 THEN TIMESTAMP '2020-01-01' END) AS ended_at
      FROM subscriptions
    ) s
    JOIN periods p ON s.started_at < p.period_end AND (s.ended_at IS NULL OR s.ended_at >= p.period_end)
    GROUP BY 1, 2, 3";
const STARTED: &str = "
    SELECT s.tenant_id, p.period_start AS period, s.currency, COUNT(*) AS started
    FROM subscriptions s JOIN periods p ON s.started_at >= p.period_start AND s.started_at < p.period_end
    GROUP BY 1, 2, 3";
/// Key, view, value, unit, dims, kind.
const KPIS: [[&str; 6]; 8] = [
    ["mrr", "alive", "mrr", "currency", "'currency'", "stock"],
    ["subscriptions", "alive", "subscriptions", "count", "", "stock"],
    ["subscriptions_by_currency", "alive", "subscriptions", "count", "'currency'", "stock"],
    ["large", "alive", "large", "count", "", "stock"],
    ["small", "alive", "subscriptions - large", "count", "", "stock"],
    ["mean", "alive", "mrr / subscriptions", "currency", "'currency'", "ratio"],
    ["odds", "alive", "(subscriptions - large) / large", "ratio", "'currency'", "retention"],
    ["started", "started", "started", "count", "", "flow"],
];
/// A quotient of stocks by their keys.
const SMALL_SHARE: &str = "key='small_share'\ntitle='T'\nunit='ratio'\ngood='up'\nnumerator='subscriptions - large'\n\
    denominator='subscriptions'\n";
/// A quotient of two quotients.
const MEAN_BY_ODDS: &str = "key='mean_by_odds'\ntitle='T'\nunit='ratio'\ngood='up'\nnumerator='mean'\n\
    denominator='odds'\n";
const DAY_US: i64 = 86_400_000_000;

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

    /// An instant some days around another, half of the time where a day begins somewhere.
    fn instant(&mut self, around: i64) -> i64 {
        let at = around + (self.below(240) - 120) * DAY_US;
        match self.below(4) {
            0 => period(self.one(["a", "b", "c"]), Grain::Day, at).0,
            _ => at + self.below(DAY_US),
        }
    }

    fn row(&mut self, around: i64) -> Row {
        let started = (self.below(15) > 0).then(|| self.instant(around));
        let ended =
            (self.below(3) > 0).then(|| self.instant(started.unwrap_or(around) + 60 * DAY_US));
        Row {
            tenant: self.one(["a", "b", "c", ""]),
            currency: self.one(["EUR", "USD"]),
            mrr: (self.below(9) > 0).then(|| self.below(10_000)),
            started,
            ended,
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
struct Row {
    tenant: &'static str,
    currency: &'static str,
    mrr: Option<i64>,
    started: Option<i64>,
    ended: Option<i64>,
}

/// The period of a tenant that an instant is in.
fn period(tenant: &str, grain: Grain, at: i64) -> (i64, i64) {
    let zone = zone(tenant);
    let (first, next) = zones::period(grain, date(zone, at));
    (midnight(zone, first), midnight(zone, next))
}

/// A quotient at ten digits, rounded half to even; none by nothing.
fn quotient(above: i128, below: i128) -> Option<i128> {
    let scaled = above * 10_i128.pow(10);
    let (whole, rest) = (scaled.checked_div_euclid(below)?, scaled.checked_rem_euclid(below)?);
    let is_up = match (rest * 2).cmp(&below) {
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Equal => whole % 2 != 0,
        std::cmp::Ordering::Greater => true,
    };
    Some(whole + i128::from(is_up))
}

/// All cells of what is alive, of all rows, by the words of the definition alone.
fn expected(rows: &BTreeMap<i64, Row>, now: i64) -> Values {
    let mut cells = BTreeMap::new();
    let grains = [Grain::Day, Grain::Week, Grain::Month, Grain::Quarter, Grain::Year];
    let mut series: BTreeMap<(&str, String), Vec<&Row>> = BTreeMap::new();
    for row in rows.values().filter(|row| row.started.is_some()) {
        let tenant = if row.tenant.is_empty() { "default" } else { row.tenant };
        for dims in ["{}".to_owned(), format!("{{\"currency\":\"{}\"}}", row.currency)] {
            series.entry((tenant, dims)).or_default().push(row);
        }
    }
    for ((tenant, dims), rows) in &series {
        let first = rows.iter().filter_map(|row| row.started).min().unwrap();
        for grain in grains {
            let (mut start, mut end) = period(tenant, grain, first);
            while start <= now {
                let is_alive = |row: &&&Row| {
                    row.started.is_some_and(|at| at < end) && row.ended.is_none_or(|at| at >= end)
                };
                let alive: Vec<&&Row> = rows.iter().filter(is_alive).collect();
                let mrr: i64 = alive.iter().filter_map(|row| row.mrr).sum();
                let large =
                    alive.iter().filter(|row| row.mrr.is_some_and(|mrr| mrr > 5_000)).count();
                let mut put = |kpi: &str, number: Option<i128>| {
                    cells
                        .insert(format!("{kpi} {tenant} {dims} {grain} {}", Micros(start)), number);
                };
                let one = 10_i128.pow(10);
                let count = i128::try_from(alive.len()).unwrap();
                let large = i128::try_from(large).unwrap();
                match dims.as_str() {
                    "{}" => {
                        put("subscriptions", Some(count * one));
                        put("large", Some(large * one));
                        put("small", Some((count - large) * one));
                        put("small_share", quotient(count - large, count));
                    }
                    _ => {
                        put("subscriptions_by_currency", Some(count * one));
                        put("mrr", Some(i128::from(mrr) * one / 100));
                        put("mean", quotient(i128::from(mrr), count * 100));
                        put("odds", quotient(count - large, large));
                        // (mrr / count) / (small / large)
                        let double =
                            quotient(i128::from(mrr) * large, count * (count - large) * 100);
                        put("mean_by_odds", double.filter(|_| large > 0));
                    }
                }
                (start, end) = period(tenant, grain, end);
            }
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
        let contract = Contract::parse(SUBSCRIPTIONS).unwrap();
        let contracts = std::slice::from_ref(&contract);
        let files = [("alive", ALIVE), ("started", STARTED)].map(|(name, text)| ViewFile {
            name: name.into(),
            text: text.into(),
            file: format!("{name}.sql"),
        });
        let views = accept(&files, contracts).unwrap();
        let definitions = KPIS.map(|[key, view, value, unit, dims, kind]| {
            let text = format!(
                "key='{key}'\ntitle='T'\nunit='{unit}'\ngood='up'\nview='{view}'\nvalue='{value}'\n\
                 dims=[{dims}]\nkind='{kind}'\nwindows=[]\n"
            );
            Definition::parse(&format!("{key}.toml"), &text).unwrap()
        });
        let mut definitions = definitions.to_vec();
        definitions.push(Definition::parse("small_share.toml", SMALL_SHARE).unwrap());
        definitions.push(Definition::parse("mean_by_odds.toml", MEAN_BY_ODDS).unwrap());
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
        row.mrr.iter().for_each(|mrr| builder.set_decimal(3, i128::from(*mrr)));
        row.started.iter().for_each(|at| builder.set_timestamp(4, Micros(*at)));
        row.ended.iter().for_each(|at| builder.set_timestamp(5, Micros(*at)));
        let mut bytes = Vec::new();
        builder.finish(&self.layout, &mut bytes);
        bytes
    }

    fn change(&mut self, dice: &mut Dice, now: i64, quiet: bool) -> Delta {
        let mut delta = Delta::new(Arc::clone(&self.layout), RowKey::new(vec![0]));
        delta.set_quiet(quiet);
        let is_all_gone = dice.below(25) == 0;
        for _ in 0..if is_all_gone { 0 } else { dice.below(4) } {
            let key = dice.below(9);
            let new = (dice.below(4) > 0).then(|| dice.row(now));
            let old = match &new {
                Some(new) => self.rows.insert(key, new.clone()),
                None => self.rows.remove(&key),
            };
            let of = |row: Option<&Row>| row.map(|row| self.bytes(key, row));
            let (old, new) = (of(old.as_ref()), of(new.as_ref()));
            let row = |bytes: &Option<Vec<u8>>| bytes.clone();
            let (old, new) = (row(&old), row(&new));
            delta.change(
                old.as_ref().map(|bytes| self.layout.row(bytes)),
                new.as_ref().map(|bytes| self.layout.row(bytes)),
            );
        }
        if is_all_gone {
            for (key, row) in std::mem::take(&mut self.rows) {
                let bytes = self.bytes(key, &row);
                delta.change(Some(self.layout.row(&bytes)), None);
            }
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
        for wrong in 0..5 {
            let mut rows = rows.to_vec();
            let key = ["mrr", "mrr", "mrr", "mean", "mean_by_odds"][wrong];
            let is_it = |row: &CellRow| *row.key.kpi == *key && row.value.value.is_some();
            let at = rows.iter().position(is_it);
            if let Some(at) = at.filter(|_| wrong > 0) {
                let value = &mut rows[at].value;
                let number = if wrong == 3 { &mut value.numerator } else { &mut value.value };
                *number = number.map(|number| number + 1);
                if wrong == 2 {
                    rows.remove(at);
                }
            }
            let context = gold::audit::session();
            context.register_batch("silver_subscriptions", self.batch()).unwrap();
            context
                .register_batch("kpi_current", gold::table::current_batch(&rows).unwrap())
                .unwrap();
            let found = gold::audit::audit(&context, &self.catalog, Micros(now)).await.unwrap();
            let bad: Vec<_> = found.iter().filter(|finding| finding.mismatches > 0).collect();
            assert_eq!(bad.len(), usize::from(wrong > 0 && at.is_some()), "{bad:?}");
            cells = found.iter().map(|finding| finding.cells).sum();
            if wrong == 0 {
                let tables = [("subscriptions", self.batch())];
                crate::groups::are_as_computed(&self.catalog, &tables, &rows, Micros(now), 4).await;
            }
        }
        cells
    }

    fn batch(&self) -> RecordBatch {
        let rows = || self.rows.values();
        let instants = |of: fn(&Row) -> Option<i64>| -> Arc<dyn Array> {
            Arc::new(TimestampMicrosecondArray::from_iter(rows().map(of)).with_timezone("UTC"))
        };
        let tenants = rows().map(|row| (!row.tenant.is_empty()).then_some(row.tenant));
        let amounts = Decimal128Array::from_iter(rows().map(|row| row.mrr.map(i128::from)));
        let columns: Vec<Arc<dyn Array>> = vec![
            Arc::new(Int64Array::from_iter(self.rows.keys().copied())),
            Arc::new(StringArray::from_iter(tenants)),
            Arc::new(StringArray::from_iter(rows().map(|row| Some(row.currency)))),
            Arc::new(amounts.with_precision_and_scale(12, 2).unwrap()),
            instants(|row| row.started),
            instants(|row| row.ended),
        ];
        let named = self.contract.columns.iter().zip(&columns);
        let fields =
            named.map(|(own, array)| Field::new(&own.name, array.data_type().clone(), true));
        RecordBatch::try_new(Arc::new(Schema::new(fields.collect::<Vec<_>>())), columns).unwrap()
    }
}

/// What the cells of stocks say.
fn said(rows: &[CellRow]) -> Values {
    let own = rows.iter().filter(|row| *row.key.kpi != *"started");
    own.map(|row| {
        let CellKey { kpi, tenant, dims, grain, period_start } = &row.key;
        let status = if row.value.value.is_some() { Status::Ok } else { Status::NoData };
        assert_eq!(row.value.status, status);
        let end = period(tenant, *grain, period_start.0).1;
        assert_eq!(row.period_end, Micros(end));
        (format!("{kpi} {tenant} {dims} {grain} {period_start}"), row.value.value)
    })
    .collect()
}

#[tokio::test]
async fn what_is_alive_is_what_all_rows_say() {
    let (mut compared, mut audited) = (0, 0);
    for seed in 1..=3_u64 {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut world = World::new();
        let (mut engine, mut plain) = (world.engine(), world.engine());
        let (mut told, mut plainly) = (Told::default(), Told::default());
        let mut now = STARTS[usize::try_from(seed % 3).unwrap()];
        for id in 1..=50_u64 {
            let wait = dice.one([1_000_000, 3_600_000_000, DAY_US / 2, 3 * DAY_US]);
            now += 1 + dice.below(wait);
            if dice.below(3) == 0 {
                // Time goes on, and no row changes.
                told.take_changes(engine.tick(Micros(now)));
                told.check(&engine.snapshot());
                is_same(
                    &said(&engine.snapshot()),
                    &expected(&world.rows, now),
                    &format!("seed {seed}, tick"),
                );
                continue;
            }
            let stamp = EpochStamp { id, clock: Micros(now), quiet: dice.below(5) == 0 };
            let delta = world.change(&mut dice, now, stamp.quiet);
            for (engine, told) in [(&mut engine, &mut told), (&mut plain, &mut plainly)] {
                engine.begin_epoch(&stamp);
                engine.hush(stamp.quiet.then_some(0));
                let wrong = engine.step_all(&stamp, &[&delta]);
                assert!(wrong.is_empty(), "seed {seed}, epoch {id}: {wrong:?}");
                told.take_changes(engine.finish_epoch(&stamp));
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
        plainly.take_changes(plain.end_batch(Micros(now + 1)));
        told.check_history(&engine.snapshot());
        assert!(
            told.history == plainly.history,
            "seed {seed}: ticks and restarts show in the history"
        );
        audited += world.audited(&engine.snapshot(), now + 1).await;
    }
    assert!(compared > 50_000 && audited > 2_000, "only {compared} and {audited} cells");
}

#[test]
fn a_period_that_begins_has_its_row_without_any_change() {
    let mut world = World::new();
    let mut engine = world.engine();
    let start = 1_774_500_000_000_000;
    let row =
        Row { tenant: "a", currency: "EUR", mrr: Some(700), started: Some(start), ended: None };
    world.rows.insert(1, row.clone());
    let mut delta = Delta::new(Arc::clone(&world.layout), RowKey::new(vec![0]));
    let bytes = world.bytes(1, &row);
    delta.change(None, Some(world.layout.row(&bytes)));
    let stamp = EpochStamp { id: 1, clock: Micros(start), quiet: false };
    engine.begin_epoch(&stamp);
    engine.step_all(&stamp, &[&delta]);
    let first = engine.finish_epoch(&stamp).updates;
    let days = |updates: &[schemas::KpiUpdate]| -> Vec<String> {
        let mrr =
            updates.iter().filter(|own| *own.key.kpi == *"mrr" && own.key.grain == Grain::Day);
        mrr.map(|own| format!("{} {:?}", own.key.period_start, own.value.unwrap().value)).collect()
    };
    let value = "Some(70000000000)";
    assert_eq!(days(&first), [format!("2026-03-25T23:00:00Z {value}")]);
    let next = engine.tick(Micros(start + 2 * DAY_US + DAY_US / 2));
    // The short day of Berlin is yet to come.
    assert_eq!(
        days(&next.updates),
        [format!("2026-03-26T23:00:00Z {value}"), format!("2026-03-27T23:00:00Z {value}")]
    );
    assert!(next.updates.iter().all(|own| own.as_of == own.key.period_start));
    let begun = next.history.iter().filter(|own| *own.key.kpi == *"mrr" && !own.closed);
    assert_eq!(begun.filter(|own| own.key.grain == Grain::Day).count(), 2);
}

#[test]
fn what_a_stock_cannot_say_is_refused() {
    let world = World::new();
    let contracts = std::slice::from_ref(&world.contract);
    let refusal = |text: &str| {
        let text = format!("key='k'\ntitle='T'\ngood='up'\nview='alive'\n{text}");
        let own = Definition::parse("k.toml", &text).unwrap();
        let views = Arc::clone(world.catalog.views());
        Catalog::new(vec![own], contracts, views).unwrap_err().to_string()
    };
    let base = "unit='count'\nvalue='subscriptions'\n";
    for (text, says) in [
        (format!("{base}grains=['hour','day']\n"), "k.toml: grains: what is alive"),
        (format!("{base}grains=['hour']\n"), "PERIODS_HOUR"),
        (format!("{base}windows=['last_7d']\n"), "a KPI of kind `stock` has none"),
        (format!("{base}kind='flow'\n"), "it is `stock`"),
        (format!("{base}kind='retention'\n"), "it is `stock`"),
        (
            "unit='ratio'\nvalue='large / subscriptions'\ndims=['currency']\nkind='stock'\n".into(),
            "it is `ratio`",
        ),
        (
            "unit='ratio'\nvalue='large / subscriptions'\ndims=['currency']\nwindows=['all']\n"
                .into(),
            "has none",
        ),
        (
            "unit='ratio'\nvalue='large / subscriptions'\ndims=['currency']\ngrains=['hour']\n"
                .into(),
            "PERIODS_HOUR",
        ),
        ("unit='currency'\nvalue='mrr / large'\n".into(), "needs the dimension `currency`"),
        ("unit='currency'\nvalue='mrr'\n".into(), "needs the dimension `currency`"),
    ] {
        let said = refusal(&text);
        assert!(said.contains(says), "{says}: {said}");
    }
    let quotient = |above: &str, below: &str| {
        let text = format!(
            "key='k'\ntitle='T'\ngood='up'\nunit='ratio'\nnumerator='{above}'\ndenominator='{below}'\n"
        );
        let own = Definition::parse("k.toml", &text).unwrap();
        let mut all = world.catalog.definitions().to_vec();
        let mean = "key='mean_of_started'\ntitle='T'\ngood='up'\nunit='ratio'\nview='started'\n\
                    value='started / started'\ndims=['currency']\n";
        all.extend([own, Definition::parse("mean_of_started.toml", mean).unwrap()]);
        Catalog::new(all, contracts, Arc::clone(world.catalog.views())).unwrap_err().to_string()
    };
    for (above, below, says) in [
        ("started", "subscriptions", "`subscriptions` is a stock and `started` is none"),
        ("subscriptions", "started", "`subscriptions` is a stock and `started` is none"),
        ("mean", "mean_of_started", "`mean` is a stock and `mean_of_started` is none"),
        ("mean_by_odds", "mrr", "`mean_by_odds` is itself a ratio"),
        ("odds", "k", "`k` is itself a ratio"),
        ("small", "subscriptions", "`small` is a sum itself"),
        ("mean", "mrr", "`mean` is itself a ratio"),
        ("odds", "small", "`odds` is itself a ratio"),
        ("mrr", "subscriptions", "parts must have the same"),
    ] {
        let said = quotient(above, below);
        assert!(said.contains(says), "{says}: {said}");
    }
}
