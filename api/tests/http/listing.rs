//! Lists by dimension, in an order and in pages, against a model that sorts by itself.

use std::collections::BTreeSet;
use std::sync::Arc;

use api::{Scope, ServerLimits};
use schemas::{
    CellKey, CellValue, EpochStamp, Grain, KpiInfo, KpiUpdate, Published, SeriesId, Start, Status,
    Unit,
};
use serde_json::{Value, json};

use crate::support::{ONE, World, at, kpi, value};

const CHANNELS: [Option<&str>; 5] = [Some("web"), Some("app"), Some("a, \"b\""), Some(""), None];
const CURRENCIES: [&str; 2] = ["EUR", "USD"];

/// A cell of the model.
#[derive(Debug, Clone, PartialEq)]
struct Own {
    tenant: &'static str,
    channel: Option<&'static str>,
    currency: &'static str,
    day: u32,
    number: Option<i64>,
}

impl Own {
    fn key(&self) -> CellKey {
        // Keys sorted, no blanks.
        let dims = json!({"channel": self.channel, "currency": self.currency}).to_string();
        CellKey {
            kpi: "sales".into(),
            tenant: self.tenant.into(),
            dims: dims.into(),
            grain: Grain::Day,
            period_start: at(&format!("2026-11-{:02}", self.day)),
        }
    }

    fn value(&self) -> CellValue {
        let none = CellValue { value: None, status: Status::NoData, ..value(0) };
        self.number.map_or(none, |number| value(i128::from(number) * ONE))
    }

    fn shown(&self) -> Value {
        let number = self.number.map(|number| number.to_string());
        let day = format!("2026-11-{:02}T00:00:00Z", self.day);
        json!([self.tenant, self.channel, self.currency, day, number])
    }
}

fn model() -> Vec<Own> {
    let mut cells = Vec::new();
    for (place, tenant) in ["t1", "t3"].into_iter().enumerate() {
        for (at, channel) in CHANNELS.into_iter().enumerate() {
            for currency in CURRENCIES {
                for day in 1..=20_u32 {
                    let mixed = (place * 7 + at * 5 + usize::try_from(day).unwrap() * 3) % 11;
                    // Many are equal, some are negative, some have none.
                    let number = (mixed != 4).then(|| i64::try_from(mixed).unwrap() - 3);
                    cells.push(Own { tenant, channel, currency, day, number });
                }
            }
        }
    }
    cells.sort_by_key(|own| {
        let key = own.key();
        (key.tenant, key.dims, key.period_start)
    });
    cells
}

fn world(cells: &[Own]) -> World {
    let dims = vec!["channel".to_owned(), "currency".to_owned()];
    let kpis = vec![kpi("other", Unit::Count), KpiInfo { dims, ..kpi("sales", Unit::Count) }];
    let world = World::of(kpis, ServerLimits::default(), false);
    let as_of = Some(at("2026-11-21T10:00:00Z"));
    let cells = cells.iter().map(|own| (own.key(), own.value(), 3)).collect();
    let generation = "g1".to_owned();
    world.app.store.start(Start { generation, offset: 7, as_of, cells, ..Start::default() });
    world
}

fn shown(answer: &Value) -> Vec<Value> {
    let one = |item: &Value| {
        let dims = &item["dims"];
        let own = [&item["tenant"], &dims["channel"], &dims["currency"]];
        json!([own[0], own[1], own[2], item["period_start"], item["value"]])
    };
    answer["kpis"].as_array().unwrap().iter().map(one).collect()
}

/// All pages of a question, so many cells at a time.
async fn pages(world: &World, query: &str, limit: usize) -> Vec<Value> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    for _ in 0..1_000 {
        let path = format!("/api/v1/kpis?{query}&limit={limit}{cursor}");
        let answer = world.all(&path).await.good();
        let own = shown(&answer);
        let next = answer["next"].as_str();
        assert!(own.len() == limit || next.is_none(), "a page that is not full is the last one");
        all.extend(own);
        let Some(next) = next else { return all };
        cursor = format!("&cursor={next}");
    }
    panic!("the pages of {query} do not end");
}

#[tokio::test]
async fn dimensions_narrow_what_is_listed() {
    let cells = model();
    let world = world(&cells);
    for (query, takes) in [
        ("dim.channel=web", &(|own: &Own| own.channel == Some("web")) as &dyn Fn(&Own) -> bool),
        ("dim.channel=web&dim.channel=app", &|own| matches!(own.channel, Some("web" | "app"))),
        ("dim.channel=web&dim.currency=EUR", &|own| {
            own.channel == Some("web") && own.currency == "EUR"
        }),
        ("dim.channel=", &|own| matches!(own.channel, None | Some(""))),
        ("dim.channel=a,%20%22b%22", &|own| own.channel == Some("a, \"b\"")),
        ("dim.channel=we", &|_| false),
    ] {
        let answer = world.all(&format!("/api/v1/kpis?from=2026-01-01&{query}")).await.good();
        let expected: Vec<_> = cells.iter().filter(|own| takes(own)).map(Own::shown).collect();
        assert_eq!(shown(&answer), expected, "{query}");
        let path = format!("/api/v1/kpis/sales/series?{query}");
        let series = world.all(&path).await.good();
        let names: BTreeSet<_> =
            cells.iter().filter(|own| takes(own)).map(|own| own.key().dims).collect();
        assert_eq!(series["series"].as_array().unwrap().len(), 2 * names.len(), "{query}");
    }
    for route in ["kpis", "kpis/sales/series"] {
        let detail = world.all(&format!("/api/v1/{route}?dim.chanel=web")).await.problem(400);
        assert!(
            detail.contains("no KPI has a dimension `chanel`; did you mean `channel`?"),
            "{detail}"
        );
    }
}

#[tokio::test]
async fn pages_of_any_size_make_up_the_list_in_its_order() {
    let cells = model();
    let world = world(&cells);
    for sort in ["", "value", "-value", "change", "-change"] {
        let mut expected = cells.clone();
        let number = |own: &Own| {
            if !sort.ends_with("change") {
                return own.number;
            }
            let is_before = |other: &&Own| {
                (other.tenant, other.channel) == (own.tenant, own.channel)
                    && (other.currency, other.day + 1) == (own.currency, own.day)
            };
            let before = cells.iter().find(is_before);
            own.number.zip(before.and_then(|before| before.number)).map(|(now, then)| now - then)
        };
        // The model's list is in the order of names, and this keeps it among equals.
        if sort.starts_with('-') {
            expected.sort_by_key(|own| number(own).map_or((true, 0), |number| (false, -number)));
        } else if !sort.is_empty() {
            expected.sort_by_key(|own| number(own).map_or((true, 0), |number| (false, number)));
        }
        let expected: Vec<_> = expected.iter().map(Own::shown).collect();
        let mut query = "from=2026-01-01&to=2026-12-01&compare=previous".to_owned();
        if !sort.is_empty() {
            query.push_str(&format!("&sort={sort}"));
        }
        let whole = world.all(&format!("/api/v1/kpis?{query}")).await.good();
        assert_eq!((shown(&whole), &whole["next"]), (expected.clone(), &Value::Null), "{sort}");
        for limit in [1, 7, 399, 400, 401] {
            assert_eq!(pages(&world, &query, limit).await, expected, "{sort} by {limit}");
        }
    }
    assert_eq!(pages(&world, "grain=day", 3).await.len(), 20, "the newest of each series");
}

#[tokio::test]
async fn what_changes_between_pages_moves_nothing_else() {
    let cells = model();
    let world = world(&cells);
    let query = "from=2026-01-01&sort=-value&limit=150";
    let first = world.all(&format!("/api/v1/kpis?{query}")).await.good();
    // One of the page goes to the end, one that is gone leaves, one comes to the very beginning.
    let touched = [&cells[0], &cells[1], &cells[2]];
    let update = |own: &Own, value: Option<CellValue>| KpiUpdate {
        key: own.key(),
        series: SeriesId { kpi: 1, series: 0 },
        value,
        epoch: 8,
        as_of: at("2026-11-21T10:00:01Z"),
        window: None,
    };
    let updates = vec![
        update(touched[0], Some(value(-99 * ONE))),
        update(touched[1], None),
        update(touched[2], Some(value(99 * ONE))),
    ];
    let stamp = EpochStamp { id: 8, clock: at("2026-11-21T10:00:01Z"), quiet: false };
    let (alerts, degraded) = (Vec::new(), Arc::default());
    world.app.store.publish(&Published {
        stamp,
        cells: updates,
        alerts,
        answers: Arc::default(),
        models: Arc::default(),
        degraded,
    });
    let mut seen = shown(&first);
    let mut next = first["next"].clone();
    while let Some(cursor) = next.as_str() {
        let page = world.all(&format!("/api/v1/kpis?{query}&cursor={cursor}")).await.good();
        seen.extend(shown(&page));
        next = page["next"].clone();
    }
    for own in cells.iter().filter(|own| !touched.contains(own)) {
        let times = seen.iter().filter(|item| **item == own.shown()).count();
        assert_eq!(times, 1, "{own:?}");
    }
}

#[tokio::test]
async fn a_cursor_is_good_for_its_question_only() {
    let world = world(&model());
    let first = world.all("/api/v1/kpis?from=2026-01-01&limit=5").await.good();
    let cursor = first["next"].as_str().unwrap();
    world.all(&format!("/api/v1/kpis?limit=9&from=2026-01-01&cursor={cursor}")).await.good();
    for (query, expected) in [
        ("from=2026-01-02", "another question"),
        ("from=2026-01-01&sort=value", "another question"),
        ("from=2026-01-01&tenant=t1", "another question"),
    ] {
        let path = format!("/api/v1/kpis?{query}&limit=5&cursor={cursor}");
        let detail = world.all(&path).await.problem(400);
        assert!(detail.contains(expected), "{query}: {detail}");
    }
    let own = format!("/api/v1/kpis?from=2026-01-01&limit=5&cursor={cursor}");
    assert!(world.t1(&own).await.problem(400).contains("another question or token"));
    let forged = "eyJxdWVzdGlvbiI6IngifQ";
    for bad in ["x", "%20", "", forged, cursor.trim_start_matches("ey"), &format!("{cursor}AA")] {
        let path = format!("/api/v1/kpis?from=2026-01-01&limit=5&cursor={bad}");
        let detail = world.all(&path).await.problem(400);
        assert!(detail.contains("none that this route gave"), "{bad}: {detail}");
    }
    for (query, expected) in [
        ("limit=0", "from 1 to 100000"),
        ("limit=100001", "from 1 to 100000"),
        ("limit=-1", "from 1 to 100000"),
        ("sort=name", "value or -value or change or -change"),
        ("sort=change", "needs `compare="),
    ] {
        let detail = world.all(&format!("/api/v1/kpis?{query}")).await.problem(400);
        assert!(detail.contains(expected), "{query}: {detail}");
    }
    let token = format!("Bearer {}", world.token("t1", &[Scope::AlertsRead]));
    let headers = [("authorization", token.as_str())];
    world.ask("/api/v1/kpis?limit=5", &headers).await.problem(403);
}
