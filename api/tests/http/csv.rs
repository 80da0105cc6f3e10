//! Lists as CSV, read back by a reader of its own.

use api::{Scope, ServerLimits};
use schemas::{CellKey, Grain, KpiInfo, Start, Unit};
use serde_json::{Value, json};

use crate::support::{Answer, ONE, World, at, kpi, value};

/// Values of sources, and what a spreadsheet is to read.
const TEXTS: [(Option<&str>, &str); 9] = [
    (Some("web"), "web"),
    (Some("a, \"b\"\r\nc"), "a, \"b\"\r\nc"),
    (Some("=cmd|' /C calc'!A0"), "'=cmd|' /C calc'!A0"),
    (Some("-1"), "'-1"),
    (Some("+1"), "'+1"),
    (Some("@sum"), "'@sum"),
    (Some("\tx"), "'\tx"),
    (Some("\u{ff1d}1"), "'\u{ff1d}1"),
    (None, ""),
];

fn world() -> World {
    let dims = vec!["channel".to_owned(), "currency".to_owned()];
    let kpis = vec![KpiInfo { dims, ..kpi("sales", Unit::Currency) }];
    let world = World::of(kpis, ServerLimits::default(), false);
    let mut cells = Vec::new();
    for (place, (channel, _)) in TEXTS.into_iter().enumerate() {
        for (day, number) in [(20, -1), (21, 3)] {
            let dims = json!({"channel": channel, "currency": "USD"}).to_string().into();
            let period_start = at(&format!("2026-11-{day}"));
            let (kpi, tenant, grain) = ("sales".into(), "t1".into(), Grain::Day);
            let number = number * ONE / 8 * (i128::try_from(place).unwrap() + 1);
            cells.push((CellKey { kpi, tenant, dims, grain, period_start }, value(number), 3));
        }
    }
    let (generation, as_of) = ("g1".to_owned(), Some(at("2026-11-22T10:00:00Z")));
    world.app.store.start(Start { generation, offset: 7, as_of, cells, ..Start::default() });
    world
}

async fn csv(world: &World, path: &str) -> Answer {
    let token = format!("Bearer {}", world.token("t1", &Scope::ALL));
    world.ask(path, &[("authorization", &token), ("accept", "text/csv")]).await
}

/// Rows of fields, by RFC 4180.
fn read(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut field) = (Vec::new(), Vec::new(), String::new());
    let mut letters = text.chars().peekable();
    let mut is_quoted = false;
    while let Some(letter) = letters.next() {
        match (letter, is_quoted) {
            ('"', true) if letters.peek() == Some(&'"') => {
                letters.next();
                field.push('"');
            }
            ('"', _) => is_quoted = !is_quoted,
            (',', false) => row.push(std::mem::take(&mut field)),
            ('\r', false) => {
                assert_eq!(letters.next(), Some('\n'), "rows end with CR LF");
                row.push(std::mem::take(&mut field));
                rows.push(std::mem::take(&mut row));
            }
            _ => field.push(letter),
        }
    }
    assert!(row.is_empty() && field.is_empty() && !is_quoted, "the last row ends, too");
    rows
}

/// What JSON says, in the words of a row.
fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned).replace("null", "")
}

#[tokio::test]
async fn a_list_says_the_same_as_csv() {
    let world = world();
    for path in [
        "/api/v1/kpis?from=2026-11-01&compare=previous",
        "/api/v1/kpis/sales/series?compare=previous",
    ] {
        let answer = csv(&world, path).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.header("content-type"), "text/csv; charset=utf-8; header=present");
        assert!(answer.header("content-disposition").starts_with("attachment; filename="));
        assert_eq!(answer.header("weir-epoch"), "7");
        let rows = read(&answer.text);
        let column = |name: &str| rows[0].iter().position(|own| own == name).unwrap();
        let json = world.t1(path).await.good();
        let mut items: Vec<(Value, Value)> = Vec::new();
        for item in json["kpis"].as_array().into_iter().flatten() {
            items.push((item["dims"].clone(), item.clone()));
        }
        for series in json["series"].as_array().into_iter().flatten() {
            for point in series["points"].as_array().unwrap() {
                items.push((series["dims"].clone(), point.clone()));
            }
        }
        assert_eq!((rows.len() - 1, items.len()), (18, 18), "{path}");
        for (row, (dims, item)) in rows[1..].iter().zip(items) {
            assert_eq!(row.len(), rows[0].len(), "{row:?}");
            for name in ["period_start", "value", "status", "future", "change", "change_ratio"] {
                assert_eq!(row[column(name)], word(&item[name]), "{name} of {path}");
            }
            let previous = &item["previous"];
            assert_eq!(row[column("previous_value")], word(&previous["value"]));
            assert_eq!(row[column("previous_end")], word(&previous["period_end"]));
            assert_eq!(row[column("dim.currency")], "USD");
            let shown = TEXTS.iter().find(|(text, _)| dims["channel"].as_str() == *text).unwrap();
            assert_eq!(row[column("dim.channel")], shown.1);
        }
        assert!(answer.text.contains(",-0.125,"), "a number is no formula: {}", answer.text);
        let other = world.t1(path).await;
        assert_ne!(answer.header("etag"), other.header("etag"), "another form, another version");
        assert_eq!(answer.header("vary"), "authorization, accept");
    }
}

#[tokio::test]
async fn pages_and_problems_are_as_those_of_json() {
    let world = world();
    let first = csv(&world, "/api/v1/kpis?limit=5").await;
    let next = first.header("weir-next");
    let rest = csv(&world, &format!("/api/v1/kpis?limit=5&cursor={next}")).await;
    assert_eq!((read(&first.text).len(), read(&rest.text).len()), (6, 5));
    assert_eq!(rest.header("weir-next"), "");
    csv(&world, "/api/v1/kpis?grain=decade").await.problem(400);
    csv(&world, "/api/v1/kpis?tenant=t2").await.problem(403);
    let empty = csv(&world, "/api/v1/kpis?from=2020-01-01&to=2020-01-02").await;
    let names =
        "tenant,kpi,grain,period_start,dim.channel,dim.currency,value,unit,status,future\r\n";
    assert_eq!(empty.text, names, "without values there is a header still");
}
