//! Running sums over periods against a loop over all rows: every period from the first row to the running one has a
//! cell, of all that came up to its end.

use std::collections::BTreeMap;
use std::sync::Arc;

use gold::view_file::{ViewFile, accept};
use gold::{Catalog, Definition, Engine};
use schemas::{Contract, Delta, EpochStamp, Grain, Micros, RowBuilder, RowKey, RowLayout};

use crate::told::{self, Told};

const DAY: i64 = 86_400_000_000;
/// 2026-06-01.
const START: i64 = 20_605 * DAY;
const CENT: i128 = 100_000_000;
const ONE: i128 = 10_000_000_000;

const SALES: &str = "name='sales'\nformat='debezium-json'\nkey=['id']\ntenant='tenant_id'\n\
    columns=[{name='id',type='bigint',required=true},{name='tenant_id',type='text'},\
    {name='shop',type='text'},{name='amount',type='decimal(12,2)'},{name='at',type='timestamp'}]";

/// The same, said in two ways.
const VIEWS: [(&str, &str); 2] = [
    (
        "so_far",
        "SELECT tenant_id, period(at) AS period, shop,
                SUM(SUM(amount)) OVER (PARTITION BY tenant_id, shop ORDER BY period(at)) AS amount,
                SUM(COUNT(*)) OVER (PARTITION BY shop, tenant_id ORDER BY period(at)) AS sales
         FROM sales GROUP BY 1, 2, 3",
    ),
    (
        "so_far_of_groups",
        "SELECT tenant_id, period, shop,
                SUM(earned) OVER (PARTITION BY tenant_id, shop ORDER BY period) AS amount,
                SUM(sold) OVER (PARTITION BY tenant_id, shop ORDER BY period) AS sales
         FROM (SELECT tenant_id, period(at) AS period, shop, SUM(amount) AS earned, COUNT(*) AS sold
               FROM sales GROUP BY 1, 2, 3) g",
    ),
];

type Sale = (&'static str, &'static str, i128, i64);

struct World {
    contract: Contract,
    layout: Arc<RowLayout>,
    catalog: Arc<Catalog>,
    sales: BTreeMap<i64, Sale>,
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
        let mut definitions = Vec::new();
        for (view, _) in VIEWS {
            for (what, unit) in [("amount", "score"), ("sales", "count")] {
                let text = format!(
                    "key='{what}_{view}'\ntitle='T'\nunit='{unit}'\ngood='up'\nview='{view}'\nvalue='{what}'\n\
                     kind='stock'\ndims=['shop']\n"
                );
                definitions.push(Definition::parse(&format!("{what}_{view}.toml"), &text).unwrap());
            }
        }
        let catalog = Arc::new(Catalog::new(definitions, contracts, views).unwrap());
        let layout = Arc::new(RowLayout::new(&contract.columns));
        World { contract, layout, catalog, sales: BTreeMap::new() }
    }

    fn engine(&self) -> Engine {
        Engine::new(Arc::clone(&self.catalog), std::slice::from_ref(&self.contract)).unwrap()
    }

    fn bytes(&self, id: i64, (tenant, shop, cents, at): Sale) -> Vec<u8> {
        let mut builder = RowBuilder::default();
        builder.reset(self.layout.len());
        builder.set_bigint(0, id);
        builder.set_text(1, tenant);
        builder.set_text(2, shop);
        builder.set_decimal(3, cents);
        builder.set_timestamp(4, Micros(at));
        let mut bytes = Vec::new();
        builder.finish(&self.layout, &mut bytes);
        bytes
    }

    fn change(&mut self, dice: &mut u64) -> Delta {
        let mut delta = Delta::new(Arc::clone(&self.layout), RowKey::new(vec![0]));
        for _ in 0..told::below(dice, 5) {
            let id = told::below(dice, 20);
            let of = |number, all: [&'static str; 2]| all[usize::try_from(number).unwrap()];
            let tenant = of(told::below(dice, 2), ["a", "b"]);
            let shop = of(told::below(dice, 2), ["n", "s"]);
            let cents = i128::from(told::below(dice, 3000)) - 500;
            let at = START + told::below(dice, (100 * DAY).unsigned_abs());
            let new = (told::below(dice, 4) > 0).then_some((tenant, shop, cents, at));
            let old = match new {
                Some(new) => self.sales.insert(id, new),
                None => self.sales.remove(&id),
            };
            let [old, new] = [old, new].map(|own| own.map(|own| self.bytes(id, own)));
            delta.change(
                old.as_ref().map(|bytes| self.layout.row(bytes)),
                new.as_ref().map(|bytes| self.layout.row(bytes)),
            );
        }
        delta.consolidate();
        delta
    }

    /// Series and day to amount and number of sales, at an instant.
    fn expected(&self, now: i64) -> BTreeMap<String, [i128; 2]> {
        let mut first: BTreeMap<(&str, &str), i64> = BTreeMap::new();
        for (tenant, shop, _, at) in self.sales.values() {
            let day = at.div_euclid(DAY);
            first.entry((tenant, shop)).and_modify(|own| *own = day.min(*own)).or_insert(day);
        }
        let mut cells = BTreeMap::new();
        for ((tenant, shop), first) in first {
            for day in first..=now.div_euclid(DAY) {
                let own = self.sales.values().filter(|own| (own.0, own.1) == (tenant, shop));
                let mut told = [0, 0];
                for (_, _, cents, _) in own.filter(|own| own.3 < (day + 1) * DAY) {
                    told[0] += cents * CENT;
                    told[1] += ONE;
                }
                cells.insert(format!("{tenant} {shop} {}", Micros(day * DAY)), told);
            }
        }
        cells
    }
}

#[test]
fn running_sums_are_of_all_that_came_before() {
    let mut compared = 0;
    for seed in 1..=5_u64 {
        let mut dice = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut world = World::new();
        let mut engine = world.engine();
        let mut told = Told::default();
        for id in 1..=90_u64 {
            let now = START + i64::try_from(id).unwrap() * DAY;
            let delta = world.change(&mut dice);
            let stamp = EpochStamp { id, clock: Micros(now), quiet: false };
            engine.begin_epoch(&stamp);
            assert_eq!(engine.step_all(&stamp, &[&delta]), []);
            told.take(engine.finish_epoch(&stamp));
            if id % 9 != 0 {
                continue;
            }
            let expected = world.expected(now);
            let rows = engine.snapshot();
            for (view, _) in VIEWS {
                for (at, what) in ["amount", "sales"].into_iter().enumerate() {
                    let key = format!("{what}_{view}");
                    let own = rows
                        .iter()
                        .filter(|row| *row.key.kpi == *key && row.key.grain == Grain::Day);
                    let found: BTreeMap<String, Option<i128>> = own
                        .map(|row| {
                            let dims: BTreeMap<String, String> =
                                serde_json::from_str(&row.key.dims).unwrap();
                            let name = format!(
                                "{} {} {}",
                                row.key.tenant, dims["shop"], row.key.period_start
                            );
                            (name, row.value.value)
                        })
                        .collect();
                    let expected =
                        expected.iter().map(|(name, told)| (name.clone(), Some(told[at])));
                    told::is_same(&found, &expected.collect(), &format!("{key}, epoch {id}"));
                    compared += found.len();
                }
            }
            told.check(&rows);
        }
    }
    assert!(compared > 5_000, "{compared}");
}

#[test]
fn what_is_no_running_sum_is_refused() {
    let world = World::new();
    let refusal = |text: &str| {
        let file = ViewFile { name: "v".into(), text: text.into(), file: "v.sql".into() };
        let refused = accept(&[file], std::slice::from_ref(&world.contract)).unwrap_err();
        refused[0].to_string()
    };
    for (from, to, says) in [
        ("PARTITION BY tenant_id, shop", "PARTITION BY shop", "PARTITION BY all other groups"),
        (
            "ORDER BY period(at)) AS amount",
            "ORDER BY period(at) DESC) AS amount",
            "ORDER BY period",
        ),
        ("SUM(SUM(amount)) OVER", "LAG(SUM(amount)) OVER", "ask for `compare=previous`"),
        ("SUM(SUM(amount)) OVER", "COUNT(*) AS n, SUM(SUM(amount)) OVER", "a view of its own"),
    ] {
        let text = VIEWS[0].1.replacen(from, to, 1);
        assert_ne!(text, VIEWS[0].1);
        let found = refusal(&text);
        assert!(found.contains(says), "{found}");
    }
}
