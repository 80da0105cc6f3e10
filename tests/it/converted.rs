//! Money in one currency, through the binary: against the same worked out by hand over sales and rates that come late,
//! change and go, over restarts and another reporting currency.

use std::collections::BTreeMap;

use rand::Rng;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use crate::support::{Place, seeded};

const DAY_MS: i64 = 86_400_000;
/// 2026-01-30, so that months are crossed.
const FIRST_DAY: i64 = 20_483;

const SALES: &str = r#"name = "sales"
format = "rows"
key = ["id"]
tenant = "shop"
columns = [
  { name = "id", type = "bigint" },
  { name = "shop", type = "text" },
  { name = "money", type = "text" },
  { name = "amount", type = "decimal(12,2)" },
  { name = "sold_at", type = "timestamp", unit = "ms" },
]
"#;
const SOLD: &str = "key = \"sold\"\ntitle = \"Sold\"\nunit = \"currency\"\ngood = \"up\"\ncontract = \"sales\"\n\
                    time = \"sold_at\"\naggregate = \"sum(amount)\"\ndims = { currency = \"money\" }\n";
const CASES: &str = r#"[[case]]
says = "days are converted by the rate known last, and months are of their days"
rows.sales = """
id, money, amount, sold_at
1, USD, 10, 2026-02-02T10:00:00Z
2, USD, 10, 2026-02-04T10:00:00Z
3, EUR, 1.5, 2026-02-04T11:00:00Z
4, CHF, 7, 2026-03-01T10:00:00Z
"""
rows.fx_rates = """
from_currency, to_currency, day, rate
USD, EUR, 2026-02-01, 0.5
USD, EUR, 2026-02-03, 0.333
USD, GBP, 2026-02-04, 9
"""
cells = """
kpi, grain, period, dims, value
sold_converted, day, 2026-02-02, , 5
sold_converted, day, 2026-02-04, , 4.83
sold_converted, day, 2026-03-01, , none
sold_converted, month, 2026-02-01, , 9.83
sold_converted, month, 2026-03-01, , none
"""
"#;

#[derive(Debug, Clone)]
struct Sale {
    shop: &'static str,
    currency: &'static str,
    cents: i64,
    at_ms: i64,
}

#[derive(Default)]
struct Shop {
    sales: BTreeMap<i64, Sale>,
    /// By pair and day, with ten digits.
    rates: BTreeMap<(&'static str, &'static str, i64), i64>,
    offsets: [usize; 2],
}

impl Shop {
    /// Some more records: sales and rates that come, change and go.
    fn sell(&mut self, rng: &mut StdRng, records: usize) -> String {
        let mut lines = String::new();
        for _ in 0..records {
            let line = match rng.random_range(0..5) {
                0 => self.rate(rng),
                _ => self.sale(rng),
            };
            lines += &(line.to_string() + "\n");
        }
        lines
    }

    fn sale(&mut self, rng: &mut StdRng) -> Value {
        let key = rng.random_range(0..300);
        let value = if rng.random_range(0..8) == 0 {
            self.sales.remove(&key);
            Value::Null
        } else {
            let sale = Sale {
                shop: ["a", "b"][rng.random_range(0..2)],
                currency: ["EUR", "USD", "CHF"][rng.random_range(0..3)],
                cents: rng.random_range(0..90_000),
                at_ms: FIRST_DAY * DAY_MS + rng.random_range(0..40 * DAY_MS),
            };
            self.sales.insert(key, sale.clone());
            json!({
                "id": key, "shop": sale.shop, "money": sale.currency, "sold_at": sale.at_ms,
                "amount": format!("{}.{:02}", sale.cents / 100, sale.cents % 100),
            })
        };
        let offset = self.offsets[0];
        self.offsets[0] += 1;
        json!({"topic": "sales", "partition": 0, "offset": offset, "key": {"id": key}, "value": value})
    }

    fn rate(&mut self, rng: &mut StdRng) -> Value {
        let from = ["USD", "USD", "CHF", "EUR"][rng.random_range(0..4)];
        let to = ["EUR", "EUR", "USD"][rng.random_range(0..3)];
        // The first days have none.
        let day = FIRST_DAY + rng.random_range(4..40);
        let rate = rng.random_range(1..20_000_000_000_i64);
        let row = json!({
            "from_currency": from, "to_currency": to, "day": date(day), "updated_at": "2026-03-20T00:00:00Z",
            "rate": format!("{}.{:010}", rate / 10_000_000_000, rate % 10_000_000_000),
        });
        let is_gone = rng.random_range(0..4) == 0;
        match is_gone {
            true => drop(self.rates.remove(&(from, to, day))),
            false => drop(self.rates.insert((from, to, day), rate)),
        }
        let offset = self.offsets[1];
        self.offsets[1] += 1;
        let source = json!({
            "version": "3.6", "connector": "postgresql", "name": "bank", "db": "d", "schema": "public",
            "table": "rates", "lsn": offset + 1, "snapshot": "false", "ts_ms": 1_770_000_000_000_i64,
        });
        let value = match is_gone {
            true => json!({ "op": "d", "before": row, "source": source }),
            false => json!({ "op": "u", "after": row, "source": source }),
        };
        let key = json!({"from_currency": from, "to_currency": to, "day": date(day)});
        json!({"topic": "rates", "partition": 0, "offset": offset, "key": key, "value": value})
    }

    /// By shop and period what was sold in one currency, with ten digits; none where a rate is lacking.
    fn by_hand(
        &self,
        to: &str,
        period: impl Fn(i64) -> String,
    ) -> BTreeMap<(String, String), Option<i128>> {
        let mut exact: BTreeMap<(String, String), Option<i128>> = BTreeMap::new();
        for sale in self.sales.values() {
            let day = sale.at_ms.div_euclid(DAY_MS);
            let known = self.rates.iter().filter(|((from, into, on), _)| {
                *from == sale.currency && *into == to && *on <= day
            });
            let last = known.max_by_key(|((_, _, on), _)| *on).map(|(_, rate)| i128::from(*rate));
            let rate = if sale.currency == to { Some(10_i128.pow(10)) } else { last };
            let total = exact.entry((sale.shop.to_owned(), period(day))).or_insert(Some(0));
            let money = rate.map(|rate| i128::from(sale.cents) * 10_i128.pow(8) * rate);
            *total = total.zip(money).map(|(total, money)| total + money);
        }
        exact.into_iter().map(|(key, total)| (key, total.map(rounded))).collect()
    }
}

/// Twenty digits cut to ten, half to even.
fn rounded(number: i128) -> i128 {
    let one = 10_i128.pow(10);
    let (whole, rest) = (number / one, number % one);
    whole + i128::from(rest * 2 > one || (rest * 2 == one && whole % 2 != 0))
}

fn start_of_day(day: i64) -> String {
    schemas::Micros(day * DAY_MS * 1_000).to_string()
}

fn date(day: i64) -> String {
    schemas::Date(i32::try_from(day).unwrap()).to_string()
}

fn start_of_month(day: i64) -> String {
    let date = date(day);
    let (month, _) = date.rsplit_once('-').unwrap();
    schemas::Micros::parse(&format!("{month}-01")).unwrap().to_string()
}

/// What `weir kpis get` says, with ten digits.
fn got(place: &Place, grain: &str) -> BTreeMap<(String, String), Option<i128>> {
    let get = ["kpis", "get", "sold_converted", "--grain", grain, "--json"];
    let answer = place.succeeds(&get).json();
    let cell = |row: &Value| {
        let value = row["value"].as_str().map(|text| {
            let (whole, part) = text.split_once('.').unwrap_or((text, ""));
            format!("{whole}{part:0<10}").parse::<i128>().unwrap()
        });
        assert_eq!(row["status"], if value.is_some() { "ok" } else { "no_data" }, "{row}");
        let dims: Value = row["dims"]
            .as_str()
            .map_or_else(|| row["dims"].clone(), |text| serde_json::from_str(text).unwrap());
        assert_eq!(dims, json!({}));
        ((crate::surface::tenant(row), row["period_start"].as_str().unwrap().to_owned()), value)
    };
    crate::surface::rows(&answer).iter().map(cell).collect()
}

fn is_as_by_hand(place: &Place, shop: &Shop, to: &str) {
    let days = shop.by_hand(to, start_of_day);
    assert!(days.values().flatten().count() > 30, "few values in {days:?}");
    assert!(days.values().any(Option::is_none), "a rate is lacking somewhere");
    assert_eq!(got(place, "day"), days);
    assert_eq!(got(place, "month"), shop.by_hand(to, start_of_month));
    place.succeeds(&["verify"]);
}

/// Sales, and rates where their topic is one of those configured.
fn configure(place: &Place, before: &str, topics: &str) {
    place.configure(&format!(
        "contracts.definitions = {:?}\ngold.definitions = {:?}\n{before}[[sources]]\nkind = \"file\"\n\
         path = {:?}\n[sources.topics]\nsales = \"sales\"\n{topics}",
        place.path("contracts"),
        place.path("gold"),
        place.path("input"),
    ));
}

#[test]
fn money_in_one_currency_is_what_is_worked_out_by_hand() {
    let mut rng = seeded("converted");
    let (place, mut shop) = (Place::new(), Shop::default());
    for folder in ["contracts", "gold", "input"] {
        std::fs::create_dir_all(place.path(folder)).unwrap();
    }
    std::fs::write(place.path("contracts/sales.toml"), SALES).unwrap();
    std::fs::write(place.path("gold/sold.toml"), format!("{SOLD}convert = true\n")).unwrap();
    let rates = "rates = \"fx_rates\"\n";

    // What it needs is said.
    configure(&place, "", rates);
    let refused = place.weir(&["run", "--until-end"]).exits(2);
    refused.says(&["sold.toml: convert:", "gold.reporting_currency"]);
    configure(&place, "gold.reporting_currency = \"EURO\"\n", rates);
    place.weir(&["check"]).exits(2).says(&["gold.reporting_currency", "`EURO`", "ISO 4217"]);
    configure(&place, "gold.reporting_currency = \"EUR\"\n", "");
    let list = place.succeeds(&["kpis", "list"]).stdout;
    let line = list.lines().find(|line| line.starts_with("sold_converted")).unwrap();
    assert!(line.contains("once a topic is of `fx_rates`"), "{line}");

    configure(&place, "gold.reporting_currency = \"EUR\"\n", rates);
    std::fs::write(place.path("gold/sold.cases"), CASES).unwrap();
    place.succeeds(&["kpis", "test"]);
    let shown = place.succeeds(&["kpis", "show", "sold_converted"]).stdout;
    assert!(shown.contains("sold IN EUR") && shown.contains("silver_fx_rates"), "{shown}");
    std::fs::write(place.path("input/a.ndjson"), shop.sell(&mut rng, 500)).unwrap();
    place.succeeds(&["run", "--until-end"]);
    is_as_by_hand(&place, &shop, "EUR");

    // A start that knows the rows and is told more of both tables; rates of then change and go.
    std::fs::write(place.path("input/b.ndjson"), shop.sell(&mut rng, 400)).unwrap();
    place.succeeds(&["run", "--until-end"]);
    is_as_by_hand(&place, &shop, "EUR");

    // A cell leads back to its rows, each in its currency.
    let sale = shop.sales.values().find(|sale| sale.shop == "a" && sale.currency == "CHF").unwrap();
    let day = start_of_day(sale.at_ms.div_euclid(DAY_MS));
    let told = place.succeeds(&["explain", "sold_converted", "--tenant", "a", "--period", &day]);
    assert!(told.stdout.contains(" CHF"), "{}", told.stdout);

    // What is in force proves the lake, whatever is configured by now.
    configure(&place, "gold.reporting_currency = \"USD\"\n", rates);
    let proof = place.succeeds(&["verify"]).stdout;
    assert!(proof.contains("sold_converted"), "{proof}");
    place.succeeds(&["run", "--until-end"]);
    is_as_by_hand(&place, &shop, "USD");

    // Without the word it is gone.
    std::fs::write(place.path("gold/sold.toml"), SOLD).unwrap();
    place.succeeds(&["run", "--until-end"]);
    place.weir(&["kpis", "get", "sold_converted"]).exits(2).says(&["no KPI `sold_converted`"]);
    place.succeeds(&["verify"]);
}
