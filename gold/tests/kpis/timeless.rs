//! KPIs over views without a period against a fold over all rows: random rows come, change and go, quietly at times.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Decimal128Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use gold::view_file::{ViewFile, accept};
use gold::{Catalog, Definition, Engine};
use schemas::{Contract, Delta, EpochStamp, Grain, Micros, RowBuilder, RowKey, RowLayout};

use crate::told::{self, Told};

const NOW: i64 = 1_790_000_000_000_000;
/// The clock of the last epoch.
const LAST: i64 = NOW + 120 * 3_600_000_000;
/// Ten digits after the point, of cents.
const CENT: i128 = 100_000_000;
const ONE: i128 = 10_000_000_000;

const SALES: &str = "name='sales'\nformat='debezium-json'\nkey=['id']\ntenant='tenant_id'\n\
    columns=[{name='id',type='bigint',required=true},{name='tenant_id',type='text'},\
    {name='buyer',type='text'},{name='shop',type='text'},{name='amount',type='decimal(12,2)'}]";

/// Name and text.
const VIEWS: [(&str, &str); 5] = [
    (
        "by_shop",
        "SELECT tenant_id, shop, COUNT(*) AS n, SUM(amount) AS amount, COUNT(DISTINCT buyer) AS buyers,
                MIN(amount) AS least, AVG(amount) AS usual, PERCENTILE_EXACT(amount, 0.5) AS middle
         FROM sales GROUP BY 1, 2",
    ),
    (
        "large",
        "SELECT tenant_id, buyer, SUM(amount) AS spent, MAX(amount) AS largest, COUNT(*) AS n
         FROM sales WHERE buyer IS NOT NULL GROUP BY 1, 2 HAVING SUM(amount) >= 30",
    ),
    (
        "best",
        "SELECT tenant_id, shop, amount
         FROM (SELECT tenant_id, shop, amount, ROW_NUMBER() OVER (PARTITION BY tenant_id ORDER BY amount DESC, id) AS rn
               FROM sales) ranked
         WHERE rn <= 3",
    ),
    (
        "pairs",
        "SELECT tenant_id, COUNT(*) AS n FROM (SELECT DISTINCT tenant_id, buyer, shop FROM sales) each GROUP BY 1",
    ),
    ("large_ones", "SELECT tenant_id, COUNT(*) AS n FROM large GROUP BY 1"),
];

/// Key, view, value and dimensions.
const KPIS: [(&str, &str, &str, &str); 12] = [
    ("amount_of_shop", "by_shop", "amount", "'shop'"),
    ("best", "best", "amount", "'shop'"),
    ("buyers", "by_shop", "buyers", ""),
    ("large_ones", "large_ones", "n", ""),
    ("largest", "large", "largest", "'buyer'"),
    ("least_of_shop", "by_shop", "least", "'shop'"),
    ("pairs", "pairs", "n", ""),
    ("per_buyer", "by_shop", "amount / buyers", ""),
    ("sales", "by_shop", "n", ""),
    ("sales_of_shop", "by_shop", "n", "'shop'"),
    ("spent", "large", "spent", "'buyer'"),
    ("usual", "by_shop", "usual", ""),
];

#[derive(Debug, Clone)]
struct Sale {
    tenant: &'static str,
    buyer: Option<&'static str>,
    shop: &'static str,
    cents: i128,
}

/// KPI, tenant and the dimension's value, to the cell's value.
type Cells = BTreeMap<(String, String, String), Option<i128>>;

struct World {
    contract: Contract,
    layout: Arc<RowLayout>,
    catalog: Arc<Catalog>,
    sales: BTreeMap<i64, Sale>,
}

fn definition(key: &str, text: &str) -> Definition {
    let text = format!("key='{key}'\ntitle='T'\nunit='score'\ngood='up'\n{text}");
    Definition::parse(&format!("{key}.toml"), &text).unwrap()
}

impl World {
    fn new() -> World {
        let contract = Contract::parse(SALES).unwrap();
        let contracts = std::slice::from_ref(&contract);
        let files = VIEWS.map(|(name, text)| ViewFile {
            name: name.into(),
            text: text.into(),
            file: format!("{name}.sql"),
        });
        let views = accept(&files, contracts).unwrap();
        let mut definitions: Vec<Definition> = KPIS
            .iter()
            .map(|(key, view, value, dims)| {
                definition(key, &format!("view='{view}'\nvalue='{value}'\ndims=[{dims}]\n"))
            })
            .collect();
        let share = "numerator='amount_of_shop'\ndenominator='sales_of_shop'\n";
        definitions.push(definition("mean_of_shop", share));
        let catalog = Arc::new(Catalog::new(definitions, contracts, views).unwrap());
        let layout = Arc::new(RowLayout::new(&contract.columns));
        World { contract, layout, catalog, sales: BTreeMap::new() }
    }

    fn engine(&self) -> Engine {
        Engine::new(Arc::clone(&self.catalog), std::slice::from_ref(&self.contract)).unwrap()
    }

    fn bytes(&self, id: i64, sale: &Sale) -> Vec<u8> {
        let mut builder = RowBuilder::default();
        builder.reset(self.layout.len());
        builder.set_bigint(0, id);
        builder.set_text(1, sale.tenant);
        if let Some(buyer) = sale.buyer {
            builder.set_text(2, buyer);
        }
        builder.set_text(3, sale.shop);
        builder.set_decimal(4, sale.cents);
        let mut bytes = Vec::new();
        builder.finish(&self.layout, &mut bytes);
        bytes
    }

    /// Some rows come, change and go.
    fn change(&mut self, dice: &mut u64) -> Delta {
        let mut delta = Delta::new(Arc::clone(&self.layout), RowKey::new(vec![0]));
        delta.set_quiet(told::below(dice, 3) == 0);
        for _ in 0..told::below(dice, 6) {
            let id = told::below(dice, 25);
            let mut of = |all: &[&'static str]| all[usize::try_from(told::below(dice, 3)).unwrap()];
            let sale = Sale {
                tenant: of(&["a", "b", ""]),
                buyer: Some(of(&["x", "y", ""])).filter(|buyer| !buyer.is_empty()),
                shop: of(&["n", "s", "w"]),
                cents: i128::from(told::below(dice, 3000)) - 500,
            };
            let new = (told::below(dice, 4) > 0).then(|| self.bytes(id, &sale));
            let old = match &new {
                Some(_) => self.sales.insert(id, sale),
                None => self.sales.remove(&id),
            };
            let old = old.map(|old| self.bytes(id, &old));
            delta.change(
                old.as_ref().map(|bytes| self.layout.row(bytes)),
                new.as_ref().map(|bytes| self.layout.row(bytes)),
            );
        }
        delta.consolidate();
        delta
    }

    /// What every KPI is, by a loop over all rows.
    fn expected(&self) -> Cells {
        let mut cells = Cells::new();
        let mut of: BTreeMap<(&str, &str), Vec<(i64, &Sale)>> = BTreeMap::new();
        for (id, sale) in &self.sales {
            let tenant = if sale.tenant.is_empty() { "default" } else { sale.tenant };
            of.entry((tenant, "")).or_default().push((*id, sale));
            of.entry((tenant, sale.shop)).or_default().push((*id, sale));
        }
        for ((tenant, shop), sales) in &of {
            let mut put = |kpi: &str, dim: &str, value: Option<i128>| {
                let before = cells.insert((kpi.into(), (*tenant).into(), dim.into()), value);
                assert!(before.is_none());
            };
            let cents: i128 = sales.iter().map(|(_, own)| own.cents).sum();
            let count = i128::try_from(sales.len()).unwrap();
            if !shop.is_empty() {
                put("amount_of_shop", shop, Some(cents * CENT));
                put("sales_of_shop", shop, Some(count * ONE));
                put("mean_of_shop", shop, Some(rounded(cents * CENT, count)));
                put("least_of_shop", shop, sales.iter().map(|(_, own)| own.cents * CENT).min());
                continue;
            }
            let buyers: BTreeSet<_> = sales.iter().filter_map(|(_, own)| own.buyer).collect();
            let heads = i128::try_from(buyers.len()).unwrap();
            put("buyers", "", Some(heads * ONE));
            put("sales", "", Some(count * ONE));
            put("per_buyer", "", (heads > 0).then(|| rounded(cents * CENT, heads)));
            put("usual", "", Some(rounded(cents * CENT, count)));
            let pairs: BTreeSet<_> =
                sales.iter().map(|(_, own)| (own.tenant, own.buyer, own.shop)).collect();
            put("pairs", "", Some(i128::try_from(pairs.len()).unwrap() * ONE));
            let mut large = 0;
            for buyer in &buyers {
                let own = || sales.iter().filter(|(_, own)| own.buyer == Some(*buyer));
                let spent: i128 = own().map(|(_, own)| own.cents).sum();
                if spent >= 3000 {
                    large += 1;
                    put("spent", buyer, Some(spent * CENT));
                    put("largest", buyer, own().map(|(_, own)| own.cents * CENT).max());
                }
            }
            if large > 0 {
                put("large_ones", "", Some(large * ONE));
            }
            let mut best: Vec<_> =
                sales.iter().map(|(id, own)| (-own.cents, id, own.shop)).collect();
            best.sort_unstable();
            let mut of_shop: BTreeMap<&str, i128> = BTreeMap::new();
            for (cents, _, shop) in best.into_iter().take(3) {
                *of_shop.entry(shop).or_default() -= cents;
            }
            for (shop, cents) in of_shop {
                put("best", shop, Some(cents * CENT));
            }
        }
        cells
    }

    /// What the engine has.
    fn found(&self, engine: &Engine) -> Cells {
        let mut cells = Cells::new();
        for row in engine.snapshot() {
            assert_eq!(row.key.grain, Grain::Always, "{:?}", row.key);
            let dims: BTreeMap<String, Option<String>> =
                serde_json::from_str(&row.key.dims).unwrap();
            let dim = dims.into_values().flatten().collect::<String>();
            let name = (row.key.kpi.to_string(), row.key.tenant.to_string(), dim);
            assert!(cells.insert(name, row.value.value).is_none(), "twice: {:?}", row.key);
        }
        cells
    }

    async fn audited(&self, engine: &Engine) {
        let mut rows = engine.snapshot();
        for is_wrong in [false, true] {
            let context = gold::audit::session();
            context.register_batch("silver_sales", self.batch()).unwrap();
            if is_wrong {
                let row = rows.iter_mut().find(|row| row.value.value.is_some()).unwrap();
                row.value.value = row.value.value.map(|value| value + 1);
            }
            let current = gold::table::current_batch(&rows).unwrap();
            context.register_batch("kpi_current", current).unwrap();
            let found = gold::audit::audit(&context, &self.catalog, Micros(LAST)).await.unwrap();
            let wrong: Vec<_> = found.iter().filter(|finding| finding.mismatches > 0).collect();
            assert_eq!(wrong.len(), usize::from(is_wrong), "{wrong:?}");
        }
    }

    fn batch(&self) -> RecordBatch {
        let text = |own: fn(&Sale) -> Option<&'static str>| {
            Arc::new(StringArray::from_iter(self.sales.values().map(own)))
        };
        let cents = Decimal128Array::from_iter_values(self.sales.values().map(|own| own.cents));
        let field = |name: &str, kind| Field::new(name, kind, true);
        let schema = Schema::new(vec![
            field("id", DataType::Int64),
            field("tenant_id", DataType::Utf8),
            field("buyer", DataType::Utf8),
            field("shop", DataType::Utf8),
            field("amount", DataType::Decimal128(12, 2)),
        ]);
        let columns: Vec<arrow::array::ArrayRef> = vec![
            Arc::new(Int64Array::from_iter_values(self.sales.keys().copied())),
            text(|own| Some(own.tenant)),
            text(|own| own.buyer),
            text(|own| Some(own.shop)),
            Arc::new(cents.with_precision_and_scale(12, 2).unwrap()),
        ];
        RecordBatch::try_new(Arc::new(schema), columns).unwrap()
    }
}

/// A quotient at ten digits, half to even.
fn rounded(above: i128, below: i128) -> i128 {
    let (whole, rest) = (above.div_euclid(below), above.rem_euclid(below));
    let up = 2 * rest > below || (2 * rest == below && whole % 2 != 0);
    whole + i128::from(up)
}

#[tokio::test]
async fn kpis_of_all_time_are_what_all_rows_say() {
    for seed in 1..=6_u64 {
        let mut dice = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut world = World::new();
        let mut engine = world.engine();
        let mut told = Told::default();
        for id in 1..=120_u64 {
            let delta = world.change(&mut dice);
            let is_quiet = delta.keys().any(|change| change.is_quiet());
            let clock = Micros(NOW + i64::try_from(id).unwrap() * 3_600_000_000);
            let stamp = EpochStamp { id, clock, quiet: is_quiet };
            engine.begin_epoch(&stamp);
            engine.hush(is_quiet.then_some(0));
            assert_eq!(engine.step_all(&stamp, &[&delta]), []);
            told.take(engine.finish_epoch(&stamp));
            if id % 7 == 0 {
                let found = world.found(&engine);
                assert_eq!(found, world.expected(), "seed {seed}, epoch {id}");
                told.check(&engine.snapshot());
            }
            if id % 40 == 0 {
                engine = told::restarted(world.engine(), &mut engine, |fresh| {
                    for (id, sale) in &world.sales {
                        let bytes = world.bytes(*id, sale);
                        fresh.rebuild(0, world.layout.row(&bytes)).unwrap();
                    }
                });
            }
        }
        assert!(told.history.is_empty(), "what has no period has no history");
        assert!(world.found(&engine).len() > 20);
        world.audited(&engine).await;
    }
}

#[test]
fn what_has_no_period_says_so() {
    let world = World::new();
    let refusal = |text: &str| {
        let own = definition("k", text);
        let day = definition(
            "rows_of_day",
            "contract='sales'\ntime='at'\naggregate='count(*)'\ndims=[]\n",
        );
        let dated = SALES.replace("{name='shop'", "{name='at',type='timestamp'},{name='shop'");
        let contracts = [Contract::parse(&dated).unwrap()];
        let views = Arc::clone(world.catalog.views());
        let definitions =
            [definition("sales_ever", "view='by_shop'\nvalue='n'\ndims=[]\n"), day, own];
        Catalog::new(definitions.to_vec(), &contracts, views).unwrap_err().to_string()
    };
    let base = "view='by_shop'\nvalue='n'\ndims=[]\n";
    for (text, says) in [
        (
            format!("grains=['day']\n{base}"),
            "k.toml: grains: the view has no period, so there is one cell",
        ),
        (format!("windows=['last_7d']\n{base}"), "k.toml: windows: the view has no period"),
        (format!("windows=[]\n{base}"), "k.toml: windows: the view has no period"),
        (format!("convert=true\n{base}"), "k.toml: convert: money is converted day by day"),
        (
            base.replace("'n'", "'middle'"),
            "k.toml: view: a percentile of all time is not kept, and view `by_shop` has no period",
        ),
        (
            "view='large'\nvalue='spent'\ndims=[]\n".to_owned(),
            "so its KPIs have all its columns that are no numbers of a group; add `buyer`",
        ),
        (
            "numerator='sales_ever'\ndenominator='rows_of_day'\n".to_owned(),
            "`sales_ever` is of a view without a period and `rows_of_day` has periods",
        ),
    ] {
        let found = refusal(&text);
        assert!(found.contains(says), "{found}");
    }
}
