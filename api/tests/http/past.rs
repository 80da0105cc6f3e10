//! Cells as they were at an instant, against a model that looks for the newest row by itself.

use std::collections::BTreeMap;

use api::ServerLimits;
use schemas::{CellKey, CellValue, Grain, KpiInfo, Micros, Start, Status, Unit};
use serde_json::{Value, json};

use crate::support::{ONE, World, at, kpi, value};

const NOW: &str = "2026-11-21T10:00:00Z";
const CHANNELS: [Option<&str>; 3] = [Some("app"), Some("web"), None];

type Rows = Vec<(CellKey, CellValue, Micros)>;

fn key(channel: Option<&str>, grain: Grain, start: Micros) -> CellKey {
    let dims = json!({"channel": channel, "currency": "EUR"}).to_string().into();
    CellKey { kpi: "sales".into(), tenant: "t1".into(), dims, grain, period_start: start }
}

/// Rows of days and hours, some gone again, some of cells that are told only now.
fn rows() -> Rows {
    let mut rows = Rows::new();
    let mut state = 3_u64;
    let mut below = |end: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        i64::try_from((state >> 33) % end).unwrap()
    };
    for channel in CHANNELS {
        for day in 15..=21 {
            let start = at(&format!("2026-11-{day}"));
            for grain in [Grain::Day, Grain::Hour] {
                for _ in 0..below(5) {
                    let since = start.plus(below(5 * 24 * 60) * 60_000_000);
                    let gone = CellValue { value: None, status: Status::NoData, ..value(0) };
                    let told = value(i128::from(below(100)) * ONE);
                    let told = if below(6) == 0 { gone } else { told };
                    rows.push((key(channel, grain, start), told, since));
                }
            }
        }
    }
    // Of one instant one row.
    rows.sort_by(|a, b| (&a.0, a.2).cmp(&(&b.0, b.2)));
    rows.dedup_by(|a, b| (&a.0, a.2) == (&b.0, b.2));
    rows.retain(|own| own.2 <= at(NOW));
    rows
}

fn world(rows: &Rows) -> World {
    let dims = vec!["channel".to_owned(), "currency".to_owned()];
    let kpis = vec![kpi("other", Unit::Count), KpiInfo { dims, ..kpi("sales", Unit::Count) }];
    let world = World::of(kpis, ServerLimits::default(), false);
    let mut cells: BTreeMap<CellKey, CellValue> = BTreeMap::new();
    for (key, value, _) in rows {
        cells.insert(key.clone(), *value);
    }
    cells.retain(|_, value| value.status == Status::Ok);
    // A cell whose history is not written yet.
    cells.insert(key(Some("new"), Grain::Day, at("2026-11-19")), value(ONE));
    let cells = cells.into_iter().map(|(key, value)| (key, value, 3)).collect();
    let (generation, as_of) = ("g1".to_owned(), Some(at(NOW)));
    world.app.store.start(Start { generation, offset: 7, as_of, cells, ..Start::default() });
    *world.history.0.lock() = rows.clone();
    world
}

fn shown(key: &CellKey, value: &CellValue) -> Value {
    let number = value.value.map(|number| (number / ONE).to_string());
    let dims: Value = serde_json::from_str(&key.dims).unwrap();
    json!([
        dims["channel"],
        key.grain.name(),
        key.period_start.to_string(),
        number,
        value.status.name()
    ])
}

fn told(answer: &Value) -> Vec<Value> {
    let one = |item: &Value| {
        let own = ["grain", "period_start", "value", "status"].map(|name| item[name].clone());
        let [grain, start, value, status] = own;
        json!([item["dims"]["channel"], grain, start, value, status])
    };
    answer["kpis"].as_array().unwrap().iter().map(one).collect()
}

/// By name, the newest row of each cell, or that there is none.
fn expected(rows: &Rows, then: Micros, is_newest: bool) -> Vec<Value> {
    let nothing = CellValue { value: None, status: Status::NoData, ..value(0) };
    let mut cells: BTreeMap<CellKey, CellValue> = BTreeMap::new();
    let last: BTreeMap<&CellKey, Status> =
        rows.iter().map(|(key, value, _)| (key, value.status)).collect();
    for (key, value, since) in rows.iter().filter(|own| own.0.period_start <= then) {
        if *since <= then {
            cells.insert(key.clone(), *value);
        } else if last[key] == Status::Ok {
            cells.entry(key.clone()).or_insert(nothing);
        }
    }
    let new = key(Some("new"), Grain::Day, at("2026-11-19"));
    if new.period_start <= then {
        cells.insert(new, nothing);
    }
    let newer = |own: &CellKey, other: &CellKey| {
        (&own.dims, own.grain) == (&other.dims, other.grain)
            && other.period_start > own.period_start
    };
    let mut own: Vec<_> = cells
        .iter()
        .filter(|(key, _)| !is_newest || !cells.keys().any(|other| newer(key, other)))
        .collect();
    own.sort_by_key(|(key, _)| (&key.dims, key.grain, key.period_start));
    own.into_iter().map(|(key, value)| shown(key, value)).collect()
}

#[tokio::test]
async fn cells_are_as_their_newest_row_at_the_instant_says() {
    let rows = rows();
    let world = world(&rows);
    let mut instants: Vec<Micros> = rows.iter().map(|own| own.2).collect();
    instants.extend(rows.iter().map(|own| own.2.plus(-1)));
    instants.extend([at("2026-11-01"), at(NOW)]);
    for then in instants {
        for (query, is_newest) in [("", true), ("&from=2026-01-01", false)] {
            let path = format!("/api/v1/kpis?as_of={then}{query}");
            let answer = world.all(&path).await.good();
            assert_eq!(told(&answer), expected(&rows, then, is_newest), "{path}");
            assert_eq!((&answer["as_of"], &answer["epoch"]), (&then.to_string().into(), &6.into()));
        }
    }
}

#[tokio::test]
async fn orders_pages_and_greatest_values_go_with_it() {
    let rows = rows();
    let world = world(&rows);
    let then = at("2026-11-19T12:00:00Z");
    let query = format!("as_of={then}&grain=day&from=2026-01-01&sort=-value");
    let whole = told(&world.all(&format!("/api/v1/kpis?{query}")).await.good());
    let (mut pages, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = world.all(&format!("/api/v1/kpis?{query}&limit=2{cursor}")).await.good();
        pages.extend(told(&page));
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(pages, whole);
    let numbers = whole.iter().filter_map(|own| own[3].as_str());
    let numbers: Vec<i64> = numbers.map(|text| text.parse().unwrap()).collect();
    assert!(numbers.len() > 3 && numbers.is_sorted_by(|a, b| a >= b), "{numbers:?}");
    let top =
        world.all(&format!("/api/v1/kpis?as_of={then}&grain=day&by=channel&top=1")).await.good();
    let newest = world.all(&format!("/api/v1/kpis?as_of={then}&grain=day")).await.good();
    let day = top["kpis"][0]["period_start"].clone();
    let own: Vec<Value> = told(&newest).into_iter().filter(|own| own[2] == day).collect();
    let last = &top["kpis"].as_array().unwrap().last().unwrap().clone();
    assert!(own.contains(&told(&top)[0]), "{top}");
    if own.len() > 1 {
        assert_eq!(
            (&last["others"], &last["parts"]),
            (&json!(true), &json!(own.len() - 1)),
            "{top}"
        );
    }
    let narrow =
        world.all(&format!("/api/v1/kpis?as_of={then}&grain=day&dim.channel=web")).await.good();
    assert!(told(&narrow).iter().all(|own| own[0] == "web"), "{narrow}");
    let none = world.all(&format!("/api/v1/kpis?as_of={then}&kpi=other")).await.good();
    assert!(told(&none).is_empty(), "{none}");
}

#[tokio::test]
async fn what_has_no_history_is_refused() {
    let world = world(&rows());
    for (query, expected) in [
        ("as_of=2026-11-20&grain=last_7d", "`last_7d` moves with time and has no history"),
        ("as_of=2026-11-20&compare=previous", "does not go with `compare`"),
        ("as_of=2026-11-22", "is later than what is served, which is as of 2026-11-21T10:00:00Z"),
        ("as_of=yesterday", "`as_of` is `yesterday`; use RFC 3339"),
    ] {
        let detail = world.all(&format!("/api/v1/kpis?{query}")).await.problem(400);
        assert!(detail.contains(expected), "{query}: {detail}");
    }
}
