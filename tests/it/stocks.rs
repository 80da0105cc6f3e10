//! KPIs of what is alive at the end of a period, through the binary: against the same counted by hand over the rows
//! that were sent, up to the running day, through restarts, changes and deletes.

use std::collections::BTreeMap;

use rand::Rng;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use crate::support::{Place, seeded};

const DAY_MS: i64 = 86_400_000;

const PLANS: &str = r#"name = "plans"
format = "rows"
key = ["id"]
tenant = "shop"
columns = [
  { name = "id", type = "bigint" },
  { name = "shop", type = "text" },
  { name = "fee", type = "bigint" },
  { name = "started_at", type = "timestamp", unit = "ms" },
  { name = "ended_at", type = "timestamp", unit = "ms" },
]
"#;
const ALIVE: &str = "SELECT s.shop AS tenant_id, p.period_start AS period, SUM(s.fee) AS fees, COUNT(*) AS plans
    FROM plans s
    JOIN periods p ON s.started_at < p.period_end AND (s.ended_at IS NULL OR s.ended_at >= p.period_end)
    GROUP BY 1, 2";

#[derive(Debug, Clone)]
struct Plan {
    shop: &'static str,
    fee: i64,
    from_ms: i64,
    to_ms: Option<i64>,
}

#[derive(Default)]
struct Shop {
    plans: BTreeMap<i64, Plan>,
    offset: usize,
}

impl Shop {
    /// Some more records: rows that come, change and go. Some are of days to come.
    fn sell(&mut self, rng: &mut StdRng, now_ms: i64, records: usize) -> String {
        let mut lines = String::new();
        for _ in 0..records {
            let key = rng.random_range(0..60);
            let value = if rng.random_range(0..8) == 0 {
                self.plans.remove(&key);
                Value::Null
            } else {
                let from_ms = now_ms + rng.random_range(-400 * DAY_MS..20 * DAY_MS);
                let length = rng.random_range(-DAY_MS..300 * DAY_MS);
                let plan = Plan {
                    shop: ["a", "b"][rng.random_range(0..2)],
                    fee: rng.random_range(0..900),
                    from_ms,
                    to_ms: (rng.random_range(0..3) > 0).then(|| from_ms + length),
                };
                self.plans.insert(key, plan.clone());
                json!({
                    "id": key, "shop": plan.shop, "fee": plan.fee, "started_at": plan.from_ms,
                    "ended_at": plan.to_ms,
                })
            };
            let line = json!({
                "topic": "plans", "partition": 0, "offset": self.offset, "key": {"id": key},
                "value": value,
            });
            self.offset += 1;
            lines += &(line.to_string() + "\n");
        }
        lines
    }

    /// By shop and day what is alive when the day ends: how many, and what they pay.
    fn by_hand(&self, last_day: i64) -> BTreeMap<(String, i64), (i64, i64)> {
        let mut days = BTreeMap::new();
        for shop in ["a", "b"] {
            let own = || self.plans.values().filter(|plan| plan.shop == shop);
            let Some(first) = own().map(|plan| plan.from_ms.div_euclid(DAY_MS)).min() else {
                continue;
            };
            for day in first..=last_day {
                let end = (day + 1) * DAY_MS;
                let alive = own().filter(|plan| {
                    plan.from_ms < end && plan.to_ms.is_none_or(|to_ms| to_ms >= end)
                });
                let sums = alive.fold((0, 0), |(n, fees), plan| (n + 1, fees + plan.fee));
                days.insert((shop.to_owned(), day), sums);
            }
        }
        days
    }
}

/// What `weir kpis get` says by a grain, by shop and the day that the period starts on.
fn got(place: &Place, key: &str, grain: &str) -> BTreeMap<(String, i64), i64> {
    let answer = place.succeeds(&["kpis", "get", key, "--grain", grain, "--json"]).json();
    let cell = |row: &Value| {
        let start = schemas::Micros::parse(row["period_start"].as_str().unwrap()).unwrap().0;
        let value = row["value"].as_str().map_or_else(|| row["value"].to_string(), str::to_owned);
        let whole = value.split('.').next().unwrap().parse().unwrap();
        ((crate::surface::tenant(row), start / (DAY_MS * 1_000)), whole)
    };
    crate::surface::rows(&answer).iter().map(cell).collect()
}

fn is_as_by_hand(place: &Place, shop: &Shop) {
    let fees = got(place, "fees", "day");
    let last_day = fees.keys().map(|(_, day)| *day).max().unwrap();
    let expected = shop.by_hand(last_day);
    assert!(expected.len() > 400, "only {} cells", expected.len());
    let of = |read: &dyn Fn(&(i64, i64)) -> i64| -> BTreeMap<_, _> {
        expected.iter().map(|(key, sums)| (key.clone(), read(sums))).collect()
    };
    assert_eq!(fees, of(&|sums| sums.1), "fees");
    assert_eq!(got(place, "plans", "day"), of(&|sums| sums.0), "plans");
    // A month that is over has what its last day has.
    let months = got(place, "plans", "month");
    let starts: Vec<_> = months.keys().cloned().collect();
    let over = starts.windows(2).filter(|pair| pair[0].0 == pair[1].0);
    let over = over.map(|pair| {
        let (shop, next) = &pair[1];
        assert_eq!(months[&pair[0]], expected[&(shop.clone(), next - 1)].0, "{:?}", pair[0]);
    });
    assert!(over.count() > 15, "few months");
    place.succeeds(&["verify"]);
}

#[test]
fn stocks_are_what_is_counted_by_hand_at_the_end_of_each_day() {
    let mut rng = seeded("stocks");
    let (place, mut shop) = (Place::new(), Shop::default());
    for folder in ["contracts", "gold", "input"] {
        std::fs::create_dir_all(place.path(folder)).unwrap();
    }
    std::fs::write(place.path("contracts/plans.toml"), PLANS).unwrap();
    std::fs::write(place.path("gold/alive.sql"), ALIVE).unwrap();
    let kpi = |key: &str| {
        format!(
            "key = \"{key}\"\ntitle = \"{key}\"\nunit = \"count\"\ngood = \"up\"\nview = \"alive\"\n\
             value = \"{key}\"\nkind = \"stock\"\n"
        )
    };
    for key in ["fees", "plans"] {
        std::fs::write(place.path(&format!("gold/{key}.toml")), kpi(key)).unwrap();
    }
    place.configure(&format!(
        "contracts.definitions = {:?}\ngold.definitions = {:?}\n[[sources]]\nkind = \"file\"\n\
         path = {:?}\n[sources.topics]\nplans = \"plans\"\n",
        place.path("contracts"),
        place.path("gold"),
        place.path("input"),
    ));
    #[allow(clippy::disallowed_methods, reason = "the product's clock is compared with this one")]
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let now_ms = i64::try_from(now.as_millis()).unwrap();
    let told = place.succeeds(&["views", "check"]).stdout;
    assert!(told.contains("every later period of its series"), "{told}");
    for file in ["a", "b", "c"] {
        let records = shop.sell(&mut rng, now_ms, 150);
        std::fs::write(place.path(&format!("input/{file}.ndjson")), records).unwrap();
        place.succeeds(&["run", "--until-end"]);
        is_as_by_hand(&place, &shop);
    }
    // The day that runs has its cell.
    let today = now_ms / DAY_MS;
    let last_day = got(&place, "plans", "day").keys().map(|(_, day)| *day).max();
    assert!(last_day.is_some_and(|last| (today..=today + 1).contains(&last)), "{last_day:?}");

    let hourly = kpi("plans") + "grains = [\"hour\"]\n";
    std::fs::write(place.path("gold/plans.toml"), hourly).unwrap();
    place.weir(&["run", "--until-end"]).exits(2).says(&["plans.toml", "PERIODS_HOUR"]);
}
