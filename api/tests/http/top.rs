//! The greatest values of a dimension and the others together, against a model that sorts and adds by itself.

use std::collections::BTreeMap;

use api::ServerLimits;
use schemas::{
    CellKey, CellValue, Counterpart, Grain, KpiInfo, KpiKind, Micros, Start, Status, Unit, Window,
};
use serde_json::{Value, json};

use crate::support::{ONE, World, at, kpi, value};

const CHANNELS: [Option<&str>; 6] =
    [Some("web"), Some("app"), Some("a, \"b\""), Some("shop"), Some("=x"), None];
const NOW: &str = "2026-11-21T10:00:00Z";

/// A cell of the model.
#[derive(Debug, Clone)]
struct Own {
    kpi: &'static str,
    tenant: &'static str,
    currency: &'static str,
    channel: Option<&'static str>,
    grain: Grain,
    start: Micros,
    number: Option<i64>,
    status: Status,
    /// Of a window: what it was before.
    before: Option<i64>,
}

impl Own {
    fn key(&self) -> CellKey {
        let dims = json!({"channel": self.channel, "currency": self.currency}).to_string();
        let period_start = if self.grain.is_window() { Micros(0) } else { self.start };
        let (kpi, tenant, grain) = (self.kpi.into(), self.tenant.into(), self.grain);
        CellKey { kpi, tenant, dims: dims.into(), grain, period_start }
    }

    fn cell(&self) -> CellValue {
        let value = self.number.map(|number| i128::from(number) * ONE);
        CellValue { value, numerator: None, denominator: None, status: self.status }
    }
}

fn model() -> Vec<Own> {
    let mut cells = Vec::new();
    let mut state = 11_u64;
    let mut below = |end: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        i64::try_from((state >> 33) % end).unwrap()
    };
    for kpi in ["buyers", "sales"] {
        for tenant in ["t1", "t3"] {
            for currency in ["EUR", "USD"] {
                for channel in CHANNELS {
                    for day in 10..=21 {
                        // Some have no newest day, some days have no row, some numbers are equal.
                        if below(4) == 0 {
                            continue;
                        }
                        let start = at(&format!("2026-11-{day}"));
                        let (number, status) = match below(12) {
                            0 => (None, Status::NoData),
                            1 => (Some(below(9) - 4), Status::InDoubt),
                            _ => (Some(below(9) - 4), Status::Ok),
                        };
                        let grain = Grain::Day;
                        let before = None;
                        cells.push(Own {
                            kpi,
                            tenant,
                            currency,
                            channel,
                            grain,
                            start,
                            number,
                            status,
                            before,
                        });
                    }
                    let before = (below(3) > 0).then(|| below(20));
                    let (grain, start) = (Grain::Last7Days, at("2026-11-15"));
                    let (number, status) = (Some(below(20)), Status::Ok);
                    cells.push(Own {
                        kpi,
                        tenant,
                        currency,
                        channel,
                        grain,
                        start,
                        number,
                        status,
                        before,
                    });
                }
            }
        }
    }
    cells
}

fn world(cells: &[Own]) -> World {
    let dims = vec!["channel".to_owned(), "currency".to_owned()];
    let of = |kind| KpiInfo { dims: dims.clone(), kind, ..kpi("sales", Unit::Count) };
    let kpis = vec![
        KpiInfo { key: "buyers".into(), ..of(KpiKind::Distinct) },
        kpi("other", Unit::Count),
        of(KpiKind::Flow),
    ];
    let world = World::of(kpis, ServerLimits::default(), false);
    let all = cells.iter().map(|own| (own.key(), own.cell(), 3)).collect();
    let window = |own: &Own| {
        let value = own.before.map(|number| value(i128::from(number) * ONE));
        let previous = Counterpart { start: at("2026-11-08"), end: at("2026-11-15"), value };
        let end = at("2026-11-22");
        (own.key(), Window { start: own.start, end, previous: Some(previous), year: None })
    };
    let windows = cells.iter().filter(|own| own.grain.is_window()).map(window).collect();
    let (generation, as_of) = ("g1".to_owned(), Some(at(NOW)));
    let start = Start { generation, offset: 7, as_of, cells: all, windows, ..Start::default() };
    world.app.store.start(start);
    world
}

/// What a row of the answer says: of whom, whether the others, of how many, value, status, value before and change.
type Told = [Value; 8];

fn told(item: &Value) -> Told {
    let group =
        json!([item["kpi"], item["tenant"], item["dims"]["currency"], item["period_start"]]);
    let channel = item["dims"].get("channel").cloned().unwrap_or("no such field".into());
    let before = item["previous"]["value"].clone();
    let own = ["others", "parts", "value", "status"].map(|name| item[name].clone());
    let [others, parts, value, status] = own;
    [group, channel, others, parts, value, status, before, item["change"].clone()]
}

/// The same of the model, for the cells of one group.
fn rows(cells: &[Own], mut group: Vec<&Own>, top: usize) -> Vec<Told> {
    let before = |own: &Own| -> Option<i64> {
        if own.grain.is_window() {
            return own.before;
        }
        // The running day is held against a part of the day before, of which there are no hours: nothing.
        let earlier = |other: &&Own| {
            (other.kpi, other.tenant, other.currency) == (own.kpi, own.tenant, own.currency)
                && (other.channel, other.grain) == (own.channel, own.grain)
                && other.start.0 + 86_400_000_000 == own.start.0
        };
        let found = cells.iter().find(earlier)?;
        let runs = own.start == at("2026-11-21");
        if runs { (own.kpi == "sales").then_some(0) } else { found.number }
    };
    // A cell that is there and says nothing cannot be added up.
    let is_told = |own: &Own| {
        let has_cell = cells.iter().any(|other| {
            (other.kpi, other.tenant, other.currency) == (own.kpi, own.tenant, own.currency)
                && (other.channel, other.grain) == (own.channel, own.grain)
                && other.start.0 + 86_400_000_000 == own.start.0
        });
        own.grain.is_window() || before(own).is_some() || !has_cell
    };
    group.sort_by_key(|own| (own.number.is_none(), -own.number.unwrap_or(0), own.key().dims));
    let text = |number: Option<i64>| number.map_or(Value::Null, |number| number.to_string().into());
    let change = |now: Option<i64>, before: Option<i64>| text(now.zip(before).map(|(a, b)| a - b));
    let first = group[0];
    let name = json!([first.kpi, first.tenant, first.currency, first.start.to_string()]);
    let mut rows: Vec<Told> = Vec::new();
    for own in group.iter().take(top) {
        let (now, then) = (own.number, before(own));
        let channel = json!(own.channel);
        let status = json!(own.status.name());
        rows.push([
            name.clone(),
            channel,
            false.into(),
            1.into(),
            text(now),
            status,
            text(then),
            change(now, then),
        ]);
    }
    let others = group.split_off(top.min(group.len()));
    if others.is_empty() {
        return rows;
    }
    let sum = |numbers: Vec<Option<i64>>| numbers.into_iter().flatten().reduce(|a, b| a + b);
    let adds_up = first.kpi == "sales";
    let now = sum(others.iter().map(|own| own.number).collect()).filter(|_| adds_up);
    let is_told = others.iter().all(|own| is_told(own)) && adds_up;
    let then = sum(others.iter().map(|own| before(own)).collect()).filter(|_| is_told);
    let in_doubt = others.iter().any(|own| own.status == Status::InDoubt);
    let status = match now {
        _ if !adds_up => "no_data",
        _ if in_doubt => "in_doubt",
        Some(_) => "ok",
        None => "no_data",
    };
    let (parts, none) = (others.len().into(), "no such field".into());
    rows.push([
        name,
        none,
        true.into(),
        parts,
        text(now),
        status.into(),
        text(then),
        change(now, then),
    ]);
    rows
}

/// All groups of the model, in the order of the answer.
fn expected(cells: &[Own], grain: Grain, is_newest: bool, top: usize) -> Vec<Told> {
    let mut groups: BTreeMap<_, Vec<&Own>> = BTreeMap::new();
    for own in cells.iter().filter(|own| own.grain == grain) {
        let start = (!is_newest).then_some(own.start);
        groups.entry((own.tenant, own.kpi, own.currency, start)).or_default().push(own);
    }
    let of = |group: Vec<&Own>| {
        let newest = group.iter().map(|own| own.start).max();
        let own = group.iter().filter(|own| !is_newest || Some(own.start) == newest);
        rows(cells, own.copied().collect(), top)
    };
    groups.into_values().flat_map(of).collect()
}

#[tokio::test]
async fn the_greatest_and_the_others_are_those_of_the_model() {
    let cells = model();
    let world = world(&cells);
    let mut others = 0;
    for (grain, query, is_newest) in [
        (Grain::Day, "grain=day", true),
        (Grain::Day, "grain=day&from=2026-01-01&to=2027-01-01", false),
        (Grain::Last7Days, "grain=last_7d", true),
    ] {
        for top in 1..=7 {
            let path = format!("/api/v1/kpis?by=channel&top={top}&compare=previous&{query}");
            let answer = world.all(&path).await.good();
            let items = answer["kpis"].as_array().unwrap();
            let own: Vec<Told> = items.iter().map(told).collect();
            assert_eq!(own, expected(&cells, grain, is_newest, top), "{path}");
            others += items.iter().filter(|item| item["others"] == true).count();
            for item in items {
                assert_eq!(item["adds_up"], item["kpi"] == "sales", "{item}");
            }
            assert!(answer["next"].is_null());
        }
    }
    assert!(others > 200, "{others}");
    let ten = world.all("/api/v1/kpis?by=channel&grain=day").await.good();
    let same = world.all("/api/v1/kpis?by=channel&top=10&grain=day").await.good();
    assert_eq!(ten, same, "ten without `top`");
    assert!(ten["kpis"][0].get("previous").is_none());
    let plain = world.all("/api/v1/kpis?grain=day").await.good();
    assert!(plain["kpis"][0].get("others").is_none(), "only where it is asked for");
}

#[tokio::test]
async fn a_filter_narrows_what_is_ranked_and_csv_says_the_same() {
    let cells = model();
    let world = world(&cells);
    let query =
        "by=channel&top=2&grain=last_7d&kpi=sales&tenant=t1&dim.currency=EUR&compare=previous";
    let json = world.all(&format!("/api/v1/kpis?{query}")).await.good();
    let items = json["kpis"].as_array().unwrap();
    assert_eq!(items.len(), 3);
    let token = format!("Bearer {}", world.token("t1", &api::Scope::ALL));
    let headers = [("authorization", token.as_str()), ("accept", "text/csv")];
    let csv = world.ask(&format!("/api/v1/kpis?{query}"), &headers).await;
    let lines: Vec<&str> = csv.text.lines().collect();
    let header = "tenant,kpi,grain,period_start,dim.channel,dim.currency,value,unit,status,future,\
                  others,parts,adds_up,previous_start,previous_end,previous_value,change,change_ratio";
    assert_eq!(lines[0], header);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (last, own) = (lines[3], &items[2]);
    let expected = format!(
        "t1,sales,last_7d,2026-11-15T00:00:00Z,,EUR,{},count,ok,false,true,4,true,\
         2026-11-08T00:00:00Z,2026-11-15T00:00:00Z,{},{},{}",
        text(&own["value"]),
        text(&own["previous"]["value"]),
        text(&own["change"]),
        text(&own["change_ratio"]),
    );
    assert_eq!(last, expected);
}

#[tokio::test]
async fn what_cannot_be_ranked_is_refused_with_what_to_write() {
    let world = world(&model());
    for (query, expected) in [
        ("top=3", "`top` needs `by`"),
        ("by=chanel", "no KPI has a dimension `chanel`; did you mean `channel`?"),
        ("by=currency", "neither ranked nor added"),
        ("by=channel&top=0", "from 1 to 1000"),
        ("by=channel&kpi=other", "`other` has no dimension `channel`; it has currency"),
        ("by=channel&sort=value", "`sort` does not go with `by`"),
        ("by=channel&limit=3", "`limit` does not go with `by`"),
        ("by=channel&by=channel", "more than once"),
    ] {
        let detail = world.all(&format!("/api/v1/kpis?{query}")).await.problem(400);
        assert!(detail.contains(expected), "{query}: {detail}");
    }
}
