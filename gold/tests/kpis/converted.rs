//! Converted money against all sales and rates, cell by cell: rates that come late, change and go, tenants with rates
//! and zones of their own, rows in doubt, quiet epochs, clocks that leap, restarts.

mod model;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::told::{Told, is_same, restarted};
use crate::zones::{self, STARTS};

use self::model::{Rate, Sale, TO, Values, expected};
use arrow::array::{
    Array, Date32Array, Decimal128Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{Field, Schema};
use gold::definition::with_converted;
use gold::view_file::{ViewFile, accept};
use gold::{Catalog, CellRow, Definition, Engine};
use schemas::{
    CellKey, CellValue, Contract, Date, Delta, EpochStamp, Micros, RowBuilder, RowKey, RowLayout,
};

const SALES: &str = "name='sales'\nformat='debezium-json'\nkey=['id']\ntenant='tenant_id'\n\
    columns=[{name='id',type='bigint',required=true},{name='tenant_id',type='text'},\
    {name='money',type='text'},{name='channel',type='text'},{name='amount',type='decimal(12,2)'},\
    {name='fee',type='decimal(12,2)'},{name='at',type='timestamp',required=true}]";
/// A key of its own, so that a tenant may have a rate of its own.
const RATES: &str = "name='fx_rates'\nformat='debezium-json'\nkey=['id']\ntenant='tenant_id'\n\
    columns=[{name='id',type='bigint',required=true},{name='tenant_id',type='text'},\
    {name='from_currency',type='text'},{name='to_currency',type='text'},\
    {name='day',type='date'},{name='rate',type='decimal(20,10)'}]";
const NET: &str = "SELECT tenant_id, period(at) AS period, money AS currency, SUM(amount) AS sold, \
                   SUM(fee) AS fees FROM sales GROUP BY 1, 2, 3";
const KPIS: [(&str, &str); 3] = [
    (
        "sold",
        "contract='sales'\ntime='at'\naggregate='sum(amount)'\n\
         dims={currency='money',channel='channel'}\n",
    ),
    ("net", "view='net'\nvalue='sold - fees'\ndims=['currency']\n"),
    (
        "fees",
        "contract='sales'\ntime='at'\naggregate='sum(fee)'\ndims={currency='money'}\n\
         grains=['hour','month','week']\nwindows=[]\n",
    ),
];
const DAY_US: i64 = 86_400_000_000;

/// Numbers that follow from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: i64) -> i64 {
        crate::told::below(&mut self.0, end.unsigned_abs())
    }

    fn one<T: Copy, const N: usize>(&mut self, of: [T; N]) -> T {
        of[usize::try_from(self.below(i64::try_from(N).unwrap())).unwrap()]
    }

    /// An instant some days around another, often where a day begins somewhere.
    fn instant(&mut self, around: i64) -> i64 {
        let spread = self.one([4, 40, 400]);
        let at = around + (self.below(spread) - spread * 3 / 4) * DAY_US;
        match self.below(4) {
            0 => {
                let tenant = self.one(["a", "b", "c"]);
                model::midnight(tenant, model::date(tenant, at)) - self.below(2)
            }
            _ => at + self.below(DAY_US),
        }
    }

    fn sale(&mut self, around: i64) -> Sale {
        Sale {
            tenant: self.one(["a", "b", "c", ""]),
            currency: self.one([Some("EUR"), Some("USD"), Some("USD"), Some("CHF"), None]),
            channel: self.one(["web", "shop"]),
            amount: (self.below(9) > 0).then(|| self.below(200) - 50),
            fee: self.below(10),
            at: self.instant(around),
            in_doubt: self.below(12) == 0,
        }
    }

    fn rate(&mut self, around: i64) -> Rate {
        // Ten digits, of which the last ones decide what is half.
        let rate = match self.below(12) {
            0 => None,
            1 => Some(0),
            2 => Some(-3),
            3 => Some(10_000_000_000),
            _ => Some(self.one([50, 150, 9_123_456_785, 13])),
        };
        Rate {
            tenant: self.one([None, None, Some("a"), Some("b"), Some("default")]),
            from: self.one(["USD", "USD", "CHF", "EUR"]),
            to: self.one(["EUR", "EUR", "EUR", "EUR", "USD"]),
            day: Date::of(Micros(self.instant(around))).0,
            rate,
            in_doubt: self.below(15) == 0,
        }
    }
}

struct World {
    contracts: Vec<Contract>,
    layouts: [Arc<RowLayout>; 2],
    sales: BTreeMap<i64, Sale>,
    rates: BTreeMap<i64, Rate>,
    catalog: Arc<Catalog>,
}

fn definitions(kpis: &[(&str, &str)]) -> Vec<Definition> {
    let parse = |(key, rest): &(&str, &str)| {
        let text =
            format!("key='{key}'\ntitle='T'\nunit='currency'\ngood='up'\nconvert=true\n{rest}");
        Definition::parse(&format!("{key}.toml"), &text).unwrap()
    };
    let (definitions, wrong) = with_converted(kpis.iter().map(parse).collect(), Some(TO));
    assert!(wrong.is_empty(), "{wrong:?}");
    definitions
}

impl World {
    fn new() -> World {
        let contracts: Vec<Contract> =
            [SALES, RATES].iter().map(|text| Contract::parse(text).unwrap()).collect();
        let file = ViewFile { name: "net".into(), text: NET.into(), file: "net.sql".into() };
        let views = accept(&[file], &contracts).unwrap();
        let catalog = Catalog::new(definitions(&KPIS), &contracts, views).unwrap();
        let catalog = Arc::new(catalog.with_calendar(zones::calendar()));
        let layout = |at: usize| Arc::new(RowLayout::new(&contracts[at].columns));
        let layouts = [layout(0), layout(1)];
        World { contracts, layouts, sales: BTreeMap::new(), rates: BTreeMap::new(), catalog }
    }

    fn engine(&self) -> Engine {
        Engine::new(Arc::clone(&self.catalog), &self.contracts).unwrap()
    }

    fn builder(&self, of: usize, key: i64, tenant: Option<&str>) -> RowBuilder {
        let mut builder = RowBuilder::default();
        builder.reset(self.layouts[of].len());
        builder.set_bigint(0, key);
        tenant.iter().for_each(|tenant| builder.set_text(1, tenant));
        builder
    }

    fn sale(&self, key: i64, sale: &Sale) -> Vec<u8> {
        let tenant = (!sale.tenant.is_empty()).then_some(sale.tenant);
        let mut builder = self.builder(0, key, tenant);
        sale.currency.iter().for_each(|own| builder.set_text(2, own));
        builder.set_text(3, sale.channel);
        sale.amount.iter().for_each(|own| builder.set_decimal(4, i128::from(*own)));
        builder.set_decimal(5, sale.fee.into());
        builder.set_timestamp(6, Micros(sale.at));
        builder.set_outdated(sale.in_doubt);
        let mut bytes = Vec::new();
        builder.finish(&self.layouts[0], &mut bytes);
        bytes
    }

    fn rate(&self, key: i64, rate: &Rate) -> Vec<u8> {
        let mut builder = self.builder(1, key, rate.tenant);
        builder.set_text(2, rate.from);
        builder.set_text(3, rate.to);
        builder.set_date(4, Date(rate.day));
        rate.rate.iter().for_each(|own| builder.set_decimal(5, i128::from(*own)));
        builder.set_outdated(rate.in_doubt);
        let mut bytes = Vec::new();
        builder.finish(&self.layouts[1], &mut bytes);
        bytes
    }

    /// Changes some sales and rates, or has all of one table go.
    fn change(&mut self, dice: &mut Dice, now: i64, quiet: bool) -> [Delta; 2] {
        let mut deltas = self.layouts.clone().map(|layout| {
            let mut delta = Delta::new(layout, RowKey::new(vec![0]));
            delta.set_quiet(quiet);
            delta
        });
        let gone = dice.below(30);
        for _ in 0..if gone == 0 { 0 } else { dice.below(5) } {
            let key = dice.below(25);
            let new = (dice.below(4) > 0).then(|| dice.sale(now));
            let old = match &new {
                Some(new) => self.sales.insert(key, new.clone()),
                None => self.sales.remove(&key),
            };
            let of = |own: &Option<Sale>| own.as_ref().map(|own| self.sale(key, own));
            put(&mut deltas[0], &self.layouts[0], of(&old), of(&new));
        }
        for _ in 0..if gone == 1 { 0 } else { dice.below(3) } {
            let key = dice.below(14);
            let new = (dice.below(4) > 0).then(|| dice.rate(now));
            let old = match &new {
                Some(new) => self.rates.insert(key, new.clone()),
                None => self.rates.remove(&key),
            };
            let of = |own: &Option<Rate>| own.as_ref().map(|own| self.rate(key, own));
            put(&mut deltas[1], &self.layouts[1], of(&old), of(&new));
        }
        if gone == 0 {
            for (key, sale) in std::mem::take(&mut self.sales) {
                put(&mut deltas[0], &self.layouts[0], Some(self.sale(key, &sale)), None);
            }
        }
        if gone == 1 {
            for (key, rate) in std::mem::take(&mut self.rates) {
                put(&mut deltas[1], &self.layouts[1], Some(self.rate(key, &rate)), None);
            }
        }
        deltas.iter_mut().for_each(Delta::consolidate);
        deltas
    }

    /// A second engine made from the rows and the saved state of the first.
    fn restarted(&self, engine: &mut Engine) -> Engine {
        restarted(self.engine(), engine, |fresh| {
            for (key, sale) in &self.sales {
                fresh.rebuild(0, self.layouts[0].row(&self.sale(*key, sale))).unwrap();
            }
            // What is seen of it before all is there.
            fresh.roll_up();
            for (key, rate) in &self.rates {
                fresh.rebuild(1, self.layouts[1].row(&self.rate(*key, rate))).unwrap();
            }
        })
    }

    /// The audit, which asks in SQL, finds nothing; and it finds what is wrong, or missing.
    async fn audited(&self, rows: &[CellRow], now: i64) -> usize {
        let mut cells = 0;
        for (wrong, kpi) in [None, Some("sold_converted"), Some("net_converted")].iter().enumerate()
        {
            let mut rows = rows.to_vec();
            let at = kpi.and_then(|kpi| {
                rows.iter().position(|row| *row.key.kpi == *kpi && row.value.value.is_some())
            });
            if let Some(at) = at {
                let value = &mut rows[at].value.value;
                *value = value.map(|number| number + 1);
                if wrong == 2 {
                    rows.remove(at);
                }
            }
            let context = gold::audit::session();
            let [sales, rates] = self.batches();
            context.register_batch("silver_sales", sales).unwrap();
            context.register_batch("silver_fx_rates", rates).unwrap();
            let current = gold::table::current_batch(&rows).unwrap();
            context.register_batch("kpi_current", current).unwrap();
            let found = gold::audit::audit(&context, &self.catalog, Micros(now)).await.unwrap();
            let bad: Vec<_> = found.iter().filter(|finding| finding.mismatches > 0).collect();
            assert_eq!(bad.len(), usize::from(at.is_some()), "{bad:?}");
            if at.is_none() {
                let [sales, rates] = self.batches();
                let tables = [("sales", sales), ("fx_rates", rates)];
                crate::groups::are_as_computed(&self.catalog, &tables, &rows, Micros(now), 4).await;
            }
            let own = found.iter().filter(|finding| finding.kpi.ends_with("_converted"));
            cells = own.map(|finding| finding.cells).sum();
        }
        cells
    }

    /// Both tables as they lie in silver.
    fn batches(&self) -> [RecordBatch; 2] {
        let (sales, rates) = (|| self.sales.values(), || self.rates.values());
        let decimals = |numbers: Decimal128Array, precision, scale| -> Arc<dyn Array> {
            Arc::new(numbers.with_precision_and_scale(precision, scale).unwrap())
        };
        let texts = |texts: Vec<Option<&str>>| -> Arc<dyn Array> {
            Arc::new(StringArray::from_iter(texts))
        };
        let doubt = |in_doubt: bool| in_doubt.then_some("dead letter");
        let cents = |number: Option<i64>| number.map(i128::from);
        let sold: Vec<Arc<dyn Array>> = vec![
            Arc::new(Int64Array::from_iter(self.sales.keys().copied())),
            texts(sales().map(|own| (!own.tenant.is_empty()).then_some(own.tenant)).collect()),
            texts(sales().map(|own| own.currency).collect()),
            texts(sales().map(|own| Some(own.channel)).collect()),
            decimals(sales().map(|own| cents(own.amount)).collect(), 12, 2),
            decimals(sales().map(|own| cents(Some(own.fee))).collect(), 12, 2),
            Arc::new(
                TimestampMicrosecondArray::from_iter(sales().map(|own| Some(own.at)))
                    .with_timezone("UTC"),
            ),
            texts(sales().map(|_| None).collect()),
            texts(sales().map(|own| doubt(own.in_doubt)).collect()),
        ];
        let rated: Vec<Arc<dyn Array>> = vec![
            Arc::new(Int64Array::from_iter(self.rates.keys().copied())),
            texts(rates().map(|own| own.tenant).collect()),
            texts(rates().map(|own| Some(own.from)).collect()),
            texts(rates().map(|own| Some(own.to)).collect()),
            Arc::new(Date32Array::from_iter(rates().map(|own| Some(own.day)))),
            decimals(rates().map(|own| cents(own.rate)).collect(), 20, 10),
            texts(rates().map(|_| None).collect()),
            texts(rates().map(|own| doubt(own.in_doubt)).collect()),
        ];
        let batch = |at: usize, columns: Vec<Arc<dyn Array>>| {
            let names = self.contracts[at].columns.iter().map(|own| own.name.clone());
            let names = names.chain(["_unknown".to_owned(), "_doubt".to_owned()]);
            let fields: Vec<Field> = names
                .zip(&columns)
                .map(|(name, own)| Field::new(name, own.data_type().clone(), true))
                .collect();
            RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
        };
        [batch(0, sold), batch(1, rated)]
    }
}

fn put(delta: &mut Delta, layout: &RowLayout, old: Option<Vec<u8>>, new: Option<Vec<u8>>) {
    let row = |bytes: &'_ Option<Vec<u8>>| bytes.clone();
    let (old, new) = (row(&old), row(&new));
    delta.change(
        old.as_ref().map(|bytes| layout.row(bytes)),
        new.as_ref().map(|bytes| layout.row(bytes)),
    );
}

/// What the cells of converted KPIs say.
fn said(rows: &[CellRow]) -> Values {
    let own = rows.iter().filter(|row| row.key.kpi.ends_with("_converted"));
    own.map(|row| {
        let CellKey { kpi, tenant, dims, grain, period_start } = &row.key;
        let period = match grain.is_window() {
            true => grain.to_string(),
            false => format!("{grain} {period_start}"),
        };
        let CellValue { value, numerator, denominator, status } = row.value;
        assert_eq!((numerator, denominator), (None, None));
        (format!("{kpi} {tenant} {dims} {period}"), (value, status))
    })
    .collect()
}

#[tokio::test]
async fn converted_money_is_what_all_sales_and_rates_say() {
    let (mut compared, mut audited, mut valued) = (0, 0, 0);
    for seed in 1..=6_u64 {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut world = World::new();
        let (mut engine, mut plain) = (world.engine(), world.engine());
        let (mut told, mut plainly) = (Told::default(), Told::default());
        let mut now = STARTS[usize::try_from(seed % 3).unwrap()];
        for id in 1..=70_u64 {
            let wait = dice.one([1_000_000, 3_600_000_000, DAY_US / 2, 3 * DAY_US]);
            now += 1 + dice.below(wait);
            let when = format!("seed {seed}, epoch {id}");
            if dice.below(4) == 0 {
                // Time goes on, and no row changes.
                told.take_changes(engine.tick(Micros(now)));
            } else {
                let stamp = EpochStamp { id, clock: Micros(now), quiet: dice.below(5) == 0 };
                let deltas = world.change(&mut dice, now, stamp.quiet);
                for (engine, told) in [(&mut engine, &mut told), (&mut plain, &mut plainly)] {
                    engine.begin_epoch(&stamp);
                    engine.hush([0, 1].into_iter().filter(|_| stamp.quiet));
                    let wrong = engine.step_all(&stamp, &[&deltas[0], &deltas[1]]);
                    assert!(wrong.is_empty(), "{when}: {wrong:?}");
                    told.take_changes(engine.finish_epoch(&stamp));
                }
            }
            told.check(&engine.snapshot());
            let cells = said(&engine.snapshot());
            is_same(&cells, &expected(&world.sales, &world.rates, now), &when);
            compared += cells.len();
            valued += cells.values().filter(|(value, _)| value.is_some()).count();
            if dice.below(8) == 0 {
                engine = world.restarted(&mut engine);
            }
        }
        told.take_changes(engine.end_batch(Micros(now + 1)));
        plainly.take_changes(plain.end_batch(Micros(now + 1)));
        told.check_history(&engine.snapshot());
        assert!(told.history == plainly.history, "seed {seed}: ticks or restarts show in history");
        audited += world.audited(&engine.snapshot(), now + 1).await;
    }
    let some = compared > 40_000 && audited > 500 && valued > 10_000 && valued < compared;
    assert!(some, "only {compared}, {audited} and {valued} cells");
}
