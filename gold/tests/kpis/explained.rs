//! Cells of KPIs over views led back to the rows of contracts, against the same found by hand in loops over all rows:
//! joins with several matches and with none, UNION ALL, DISTINCT, groups within groups, views over views, ROW_NUMBER,
//! running sums and what is alive at the end of days.

mod by_hand;
mod catalogue;
mod shop;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use datafusion::prelude::SessionContext;
use gold::audit::explain::{Bounds, Feeding, Place, feeding, parts, ready};
use gold::audit::recompute_sql;
use gold::view_file::{ViewFile, accept};
use gold::{Catalog, Definition};
use schemas::decimal::{VALUE_SCALE, parse};
use schemas::{Contract, Grain, Micros};

use self::by_hand::{Found, Rows};
use self::shop::{CONTRACTS, DAY_US, Dice, NOW, START, Shop};

/// Name and text.
const VIEWS: [(&str, &str); 10] = [
    (
        "sales",
        "SELECT o.tenant_id, period(o.placed_at) AS period, o.currency, c.country, SUM(i.price) AS revenue,
                COUNT(*) AS lines, COUNT(DISTINCT o.customer_id) AS buyers
         FROM orders o JOIN items i ON i.order_id = o.order_id LEFT JOIN customers c ON c.customer_id = o.customer_id
         WHERE o.status <> 'cancelled' GROUP BY 1, 2, 3, 4",
    ),
    (
        "both",
        "SELECT tenant_id, period(at) AS period, currency, SUM(amount) AS net, SUM(back) AS back
         FROM (SELECT tenant_id, placed_at AS at, currency, amount, 0 AS back FROM orders
               UNION ALL
               SELECT l.tenant_id, l.placed_at, l.currency, -r.price, 1
               FROM items r JOIN orders l ON l.order_id = r.order_id) all_of
         GROUP BY 1, 2, 3",
    ),
    (
        "firsts",
        "SELECT customer_id, tenant_id, MIN(placed_at) AS first_at FROM orders WHERE customer_id IS NOT NULL
         GROUP BY 1, 2",
    ),
    (
        "newcomers",
        "SELECT tenant_id, period(first_at) AS period, COUNT(*) AS customers FROM firsts GROUP BY 1, 2",
    ),
    (
        "regulars",
        "SELECT tenant_id, period(first_at) AS period, COUNT(*) AS customers
         FROM (SELECT customer_id, tenant_id, MIN(placed_at) AS first_at FROM orders GROUP BY 1, 2
               HAVING COUNT(*) > 1) often
         GROUP BY 1, 2",
    ),
    (
        "alive",
        "SELECT c.tenant_id, p.period_start AS period, c.country, COUNT(*) AS customers, SUM(c.customer_id) AS ids
         FROM customers c
         JOIN periods p ON c.since < p.period_end AND (c.left_at IS NULL OR c.left_at >= p.period_end)
         GROUP BY 1, 2, 3",
    ),
    (
        "steps",
        "SELECT tenant_id, customer_id, placed_at AS at,
                SUM(amount) OVER (PARTITION BY tenant_id, customer_id ORDER BY placed_at) AS total
         FROM orders",
    ),
    ("totals", "SELECT tenant_id, period(at) AS period, SUM(total) AS total FROM steps GROUP BY 1, 2"),
    (
        "best",
        "SELECT tenant_id, period(placed_at) AS period, SUM(amount) AS best
         FROM (SELECT tenant_id, placed_at, amount,
                      ROW_NUMBER() OVER (PARTITION BY tenant_id, currency
                                         ORDER BY amount DESC NULLS LAST, order_id) AS rn
               FROM orders) ranked
         WHERE rn <= 2 GROUP BY 1, 2",
    ),
    (
        "markets",
        "SELECT r.tenant_id, period(l.since) AS period, r.currency, COUNT(*) AS customers
         FROM customers l
         JOIN (SELECT DISTINCT tenant_id, currency FROM orders) r ON r.tenant_id = l.tenant_id
         GROUP BY 1, 2, 3",
    ),
];

/// Key, view, value and dimensions, and what each of its parts is by hand.
type Kpi = (&'static str, &'static str, &'static str, &'static str, &'static [Rows]);
const KPIS: [Kpi; 12] = [
    ("revenue", "sales", "revenue", "'currency'", &[by_hand::revenue]),
    ("usual", "sales", "revenue / lines", "'currency'", &[by_hand::revenue, by_hand::lines]),
    ("buyers", "sales", "buyers", "'currency'", &[by_hand::buyers]),
    ("net", "both", "net", "'currency'", &[by_hand::net]),
    ("back", "both", "back", "'currency'", &[by_hand::back]),
    ("newcomers", "newcomers", "customers", "", &[by_hand::newcomers]),
    ("regulars", "regulars", "customers", "", &[by_hand::regulars]),
    ("alive", "alive", "customers", "", &[by_hand::alive]),
    ("ids_alive", "alive", "ids", "'country'", &[by_hand::ids_alive]),
    ("total", "totals", "total", "", &[by_hand::totals]),
    ("best", "best", "best", "", &[by_hand::best]),
    ("markets", "markets", "customers", "'currency'", &[by_hand::markets]),
];

struct World {
    contracts: Vec<Contract>,
    catalog: Arc<Catalog>,
}

impl World {
    fn new() -> World {
        let contracts: Vec<Contract> =
            CONTRACTS.iter().map(|text| Contract::parse(text).unwrap()).collect();
        let files = VIEWS.map(|(name, text)| ViewFile {
            name: name.into(),
            text: text.into(),
            file: format!("{name}.sql"),
        });
        let views = accept(&files, &contracts).unwrap();
        let definitions = KPIS.map(|(key, view, value, dims, _)| {
            let unit = if dims == "'currency'" { "currency" } else { "count" };
            let text = format!(
                "key='{key}'\ntitle='T'\nunit='{unit}'\ngood='up'\nview='{view}'\nvalue='{value}'\ndims=[{dims}]\n"
            );
            Definition::parse(&format!("{key}.toml"), &text).unwrap()
        });
        let catalog = Catalog::new(definitions.to_vec(), &contracts, views).unwrap();
        World { contracts, catalog: Arc::new(catalog) }
    }

    /// The rows of each part of the cells of a place.
    async fn told(
        &self,
        shop: &Shop,
        kpi: &str,
        place: &Place,
        bounds: Bounds,
    ) -> Vec<Vec<Feeding>> {
        let context = shop.context();
        let parts = parts(&self.catalog, self.catalog.get(kpi).unwrap()).unwrap();
        ready(&context, &self.catalog, &parts, Micros(NOW)).await.unwrap();
        let contracts: BTreeMap<&str, &Contract> =
            self.contracts.iter().map(|own| (own.name.as_str(), own)).collect();
        let mut all = Vec::new();
        for part in &parts {
            let asked = (part, place);
            let found = feeding(&context, &self.catalog, &contracts, asked, bounds).await;
            all.push(found.unwrap().0);
        }
        all
    }
}

const ALL: Bounds = Bounds { rows: None, inputs: 10_000, others: true };

fn place(tenant: &str, day: i64) -> Place {
    let start = Micros(START + day * DAY_US);
    Place { tenant: tenant.into(), grain: Grain::Day, start, dims: BTreeMap::new() }
}

/// What is told in the words of [`by_hand`].
fn found(rows: &[Feeding]) -> Vec<Found> {
    let one = |row: &Feeding| {
        let amount = row.amount.as_deref().unwrap();
        let inputs = row.inputs.iter().map(|input| {
            let [key] = &input.key[..] else { panic!("{input:?}") };
            let id: i64 = key.parse().unwrap();
            assert_eq!(input.origin, format!("s{}.{}", id % 2, input.contract));
            assert_eq!(input.position, format!("at {id} of {}", input.contract));
            assert_eq!(input.epoch, id + 7);
            (input.contract.clone(), id)
        });
        let inputs: BTreeSet<(String, i64)> = inputs.collect();
        assert_eq!(inputs.len(), row.inputs.len(), "each once: {row:?}");
        let first = row.inputs.first().unwrap();
        assert_eq!((&row.key, &row.position), (&first.key, &first.position));
        assert_eq!(row.epoch, inputs.iter().map(|own| own.1 + 7).max().unwrap());
        assert!(!row.has_more && row.withheld == 0, "{row:?}");
        Found { dims: row.dims.clone(), amount: by_hand::amount(amount), inputs }
    };
    let mut all: Vec<Found> = rows.iter().map(one).collect();
    all.sort();
    all
}

/// The sums of a place's cells as the audit's SQL has them, by dimensions: above and below the line.
async fn sums(
    world: &World,
    context: &SessionContext,
    kpi: &str,
    place: &Place,
) -> BTreeMap<String, [i128; 2]> {
    let definition = world.catalog.get(kpi).unwrap();
    let sql = recompute_sql(&world.catalog, definition, Grain::Day);
    let dim = world.catalog.dims(definition).first().cloned();
    let shown = dim.as_ref().map_or("NULL".to_owned(), |dim| format!("\"dim_{dim}\""));
    let sql = format!(
        "SELECT arrow_cast({shown}, 'Utf8') AS dim, arrow_cast(COALESCE(above, 0), 'Utf8') AS above, \
         arrow_cast(COALESCE(below, 0), 'Utf8') AS below FROM ({sql}) AS cells \
         WHERE tenant_id = '{}' AND CAST(period_start AS BIGINT) = {}",
        place.tenant, place.start.0
    );
    let mut cells = BTreeMap::new();
    for batch in context.sql(&sql).await.unwrap().collect().await.unwrap() {
        let column = |name: &str| batch.column_by_name(name).unwrap().as_string::<i32>().clone();
        let (dims, above, below) = (column("dim"), column("above"), column("below"));
        for row in 0..batch.num_rows() {
            let value = dims.is_valid(row).then(|| dims.value(row));
            let dims = match &dim {
                Some(dim) => serde_json::json!({ dim.as_str(): value }).to_string(),
                None => "{}".to_owned(),
            };
            let number = |text: &str| parse(text.as_bytes(), VALUE_SCALE).unwrap();
            cells.insert(dims, [number(above.value(row)), number(below.value(row))]);
        }
    }
    cells
}

#[tokio::test]
async fn rows_of_views_are_those_that_loops_over_all_rows_find() {
    let world = World::new();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for seed in 1..=2 {
        let shop = Shop::random(&mut Dice(seed * 7_919));
        for (kpi, _, _, dims, by_hand) in KPIS {
            for (tenant, day) in
                ["a", "b", "default"].into_iter().flat_map(|t| [(t, 0), (t, 1), (t, 2)])
            {
                let place = place(tenant, day);
                let told = world.told(&shop, kpi, &place, ALL).await;
                assert_eq!(told.len(), by_hand.len());
                let dim = dims.trim_matches('\'');
                for (told, by_hand) in told.iter().zip(by_hand) {
                    let expected = by_hand::of_day(by_hand(&shop), tenant, day, dim);
                    assert_eq!(found(told), expected, "{kpi} {tenant} {day} of seed {seed}");
                    *counts.entry(kpi).or_default() += expected.len();
                }
                if kpi == "buyers" {
                    continue;
                }
                let context = shop.context();
                let parts = parts(&world.catalog, world.catalog.get(kpi).unwrap()).unwrap();
                ready(&context, &world.catalog, &parts, Micros(NOW)).await.unwrap();
                for (dims, sums) in sums(&world, &context, kpi, &place).await {
                    for (told, sum) in told.iter().zip(sums) {
                        let own = found(told).into_iter().filter(|own| own.dims == dims);
                        let own: i128 = own.map(|own| own.amount.parse::<i128>().unwrap()).sum();
                        assert_eq!(own, sum, "{kpi} {tenant} {day} {dims} of seed {seed}");
                    }
                }
            }
        }
    }
    assert!(counts.len() == KPIS.len() && counts.values().all(|count| *count > 4), "{counts:?}");
}

#[tokio::test]
async fn what_is_more_than_decides_a_row_is_said() {
    let world = World::new();
    for (kpi, view, ..) in KPIS {
        let parts = parts(&world.catalog, world.catalog.get(kpi).unwrap()).unwrap();
        for part in parts {
            let expected = if view == "totals" { "partition" } else { "exact" };
            assert_eq!((part.lineage(), part.view()), (expected, Some(view)), "{kpi}");
            let expected: &[&str] = match view {
                "sales" => &["orders", "items", "customers"],
                "both" => &["orders", "items"],
                "alive" => &["customers"],
                "markets" => &["orders", "customers"],
                _ => &["orders"],
            };
            assert_eq!(part.contracts, expected, "{kpi}");
        }
    }
}

#[tokio::test]
async fn rows_of_other_tenants_are_counted_and_not_told() {
    let world = World::new();
    let (mut withheld, mut told) = (0, 0);
    for seed in 1..=3 {
        let shop = Shop::random(&mut Dice(seed * 104_729));
        for (tenant, day) in ["a", "b", "default"].into_iter().flat_map(|t| [(t, 0), (t, 1)]) {
            let place = place(tenant, day);
            let own = Bounds { others: false, ..ALL };
            let all = world.told(&shop, "revenue", &place, ALL).await.remove(0);
            let own = world.told(&shop, "revenue", &place, own).await.remove(0);
            assert_eq!(all.len(), own.len());
            for row in &own {
                assert!(row.inputs.iter().all(|input| input.tenant == tenant), "{row:?}");
                withheld += row.withheld;
                told += row.inputs.len();
            }
            let of_all: usize = all.iter().map(|row| row.inputs.len()).sum();
            let of_own: usize = own.iter().map(|row| row.inputs.len() + row.withheld).sum();
            assert_eq!(of_all, of_own);
        }
    }
    assert!(withheld > 20 && told > 20, "{withheld} {told}");
}

#[tokio::test]
async fn more_than_is_told_is_said() {
    let world = World::new();
    let shop = Shop::random(&mut Dice(31));
    let (mut cut, mut whole) = (0, 0);
    for (kpi, tenant, day) in ["markets", "newcomers", "total"]
        .into_iter()
        .flat_map(|k| [(k, "a", 0), (k, "a", 1), (k, "b", 0)])
    {
        let place = place(tenant, day);
        let all = world.told(&shop, kpi, &place, ALL).await.remove(0);
        let few = Bounds { inputs: 2, ..ALL };
        let few = world.told(&shop, kpi, &place, few).await.remove(0);
        let lengths = |rows: &[Feeding]| {
            let own =
                |row: &Feeding| (row.inputs.len().min(2), row.inputs.len() > 2 || row.has_more);
            let mut all: Vec<_> = rows.iter().map(own).collect();
            all.sort();
            all
        };
        assert_eq!(lengths(&all), lengths(&few), "{kpi}");
        cut += few.iter().filter(|row| row.has_more).count();
        whole += few.iter().filter(|row| !row.has_more).count();
    }
    assert!(cut > 3 && whole > 3, "{cut} {whole}");
    // No two rows stand in one place, so that a page can go on behind each.
    for (kpi, ..) in KPIS {
        for rows in world.told(&shop, kpi, &place("a", 0), ALL).await {
            let places: Vec<_> =
                rows.iter().map(|r| (&r.dims, &r.key, &r.origin, &r.tie)).collect();
            assert_eq!(places.iter().collect::<BTreeSet<_>>().len(), places.len(), "{kpi}");
        }
    }
}

#[tokio::test]
async fn one_row_more_than_may_be_read_is_read() {
    let world = World::new();
    let shop = Shop::random(&mut Dice(7_919));
    let contracts: BTreeMap<&str, &Contract> =
        world.contracts.iter().map(|own| (own.name.as_str(), own)).collect();
    for kpi in ["revenue", "newcomers", "markets", "total"] {
        let parts = parts(&world.catalog, world.catalog.get(kpi).unwrap()).unwrap();
        let context = shop.context();
        ready(&context, &world.catalog, &parts, Micros(NOW)).await.unwrap();
        // All that there is of the tenant: 2025-12-28 and the days behind it.
        let start = Micros(START - 27 * DAY_US);
        let place = Place { grain: Grain::Month, start, ..place("a", 0) };
        let read = async |rows| {
            let bounds = Bounds { rows, ..ALL };
            let asked = (&parts[0], &place);
            feeding(&context, &world.catalog, &contracts, asked, bounds).await.unwrap().1
        };
        let all = read(None).await;
        assert!(all > 3, "{kpi}: {all}");
        for rows in [1, all - 1, all, all + 1] {
            assert_eq!(read(Some(rows)).await, rows.min(all), "{kpi} {rows} of {all}");
        }
    }
}
