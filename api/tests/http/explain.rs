//! Cells led back to rows and records: what is asked of who reads tables, and pages of what it tells.

use std::sync::Arc;
use std::time::Duration;

use schemas::{
    CellValue, FedCell, FedInput, FedPart, FeedingRow, Grain, Micros, NotLedBack, Provenance,
    ProvenanceQuestion, SourceRecord,
};
use serde_json::{Value, json};

use crate::support::{ONE, World, at, value};

/// A cell of a view, whose rows are made of a shared row and one of their own; the keys of all are those of the first.
fn told_of_view() -> Provenance {
    let mut told = told();
    told.groups.truncate(1);
    let part = &mut told.groups[0].parts;
    part.truncate(1);
    part[0].contract = "sales".to_owned();
    part[0].view = Some("sales".to_owned());
    part[0].contracts = vec!["orders".to_owned(), "items".to_owned()];
    part[0].lineage = "partition";
    let first = told.rows.remove(0);
    let input = |contract: &str, number: usize| FedInput {
        contract: contract.to_owned(),
        key: vec![(format!("{contract}_id"), format!("k{number}"))],
        origin: format!("shop.{contract}"),
        doubt: (number == 2).then(|| "letter".to_owned()),
        epoch: 5,
        records: first.records.clone(),
    };
    let shared = Arc::new(input("orders", 1));
    let row = |number: usize| FeedingRow {
        inputs: vec![Arc::clone(&shared), Arc::new(input("items", number))],
        more_inputs: number == 0,
        withheld: number,
        tie: format!("{number:02}"),
        ..first.clone()
    };
    Provenance { rows: (0..5).map(row).collect(), ..told }
}

/// Two cells of a ratio with some rows each; the last row's topic is not known any more.
pub(crate) fn told() -> Provenance {
    let part = |role, sum| FedPart {
        kpi: "orders".to_owned(),
        role,
        minus: false,
        contract: "orders".to_owned(),
        view: None,
        contracts: vec!["orders".to_owned()],
        lineage: "exact",
        aggregate: "sum",
        sum,
        rows: 3,
    };
    let of = |numerator| CellValue { numerator, denominator: Some(3 * ONE), ..value(ONE / 2) };
    let cell = |dims: &str, cell| FedCell {
        dims: dims.to_owned(),
        cell,
        parts: vec![part("numerator", Some(ONE)), part("denominator", None)],
    };
    let (start, end) = (at("2026-11-20"), at("2026-11-21"));
    let groups = vec![
        cell(r#"{"currency":"EUR"}"#, Some((start, end, of(Some(ONE))))),
        cell(r#"{"currency":"USD"}"#, None),
    ];
    let mut rows = Vec::new();
    for (n, number) in (0..12_usize).zip((0..3_i64).cycle()) {
        let topic = (number != 2).then(|| ("kafka".to_owned(), "shop.orders".to_owned()));
        rows.push(FeedingRow {
            group: n / 6,
            part: n / 3 % 2,
            key: vec![("order_id".to_owned(), format!("o{number}"))],
            origin: "shop.orders".to_owned(),
            amount: (number != 1).then(|| "4.5".to_owned()),
            doubt: (number == 1).then(|| "letter".to_owned()),
            epoch: 5,
            records: vec![SourceRecord { topic, partition: 3, offset: 10 + number, column: None }],
            inputs: Vec::new(),
            more_inputs: false,
            withheld: 0,
            tie: String::new(),
        });
    }
    Provenance { epoch: 6, as_of: at("2026-11-21T09:59:58Z"), groups, rows }
}

fn world(answer: Result<Provenance, NotLedBack>) -> World {
    let world = World::new();
    *world.provenance.answer.lock() = answer;
    world
}

fn asked(world: &World) -> ProvenanceQuestion {
    let asked = world.provenance.asked.lock();
    let (question, most) = asked.last().unwrap();
    assert_eq!(*most, 100_000);
    question.clone()
}

#[tokio::test]
async fn the_cell_that_is_asked_for_is_the_one_that_is_led_back() {
    let world = world(Ok(told()));
    let start = |text: &str| at(text);
    for (query, grain, expected) in [
        ("tenant=t1&period_start=2026-11-20", Grain::Day, start("2026-11-20")),
        ("tenant=t1&period_start=2026-11-20T13:00:00Z", Grain::Day, start("2026-11-20")),
        ("tenant=t1&grain=month&period_start=2026-11-20", Grain::Month, start("2026-11-01")),
        // A date is the tenant's own, an instant everybody's.
        ("tenant=t2&period_start=2026-11-20", Grain::Day, start("2026-11-19T18:30:00Z")),
        ("tenant=t2&period_start=2026-11-20T20:00:00Z", Grain::Day, start("2026-11-20T18:30:00Z")),
        ("tenant=t1&grain=hour&period_start=2026-11-20", Grain::Hour, start("2026-11-20")),
        // The running one.
        ("tenant=t1&grain=hour", Grain::Hour, start("2026-11-21T10:00:00Z")),
        ("tenant=t1", Grain::Day, start("2026-11-21")),
        ("tenant=t1&grain=last_7d", Grain::parse("last_7d").unwrap(), Micros(0)),
    ] {
        world.all(&format!("/api/v1/kpis/orders/explain?{query}&dim.currency=")).await.good();
        let own = asked(&world);
        assert_eq!((own.grain, own.start), (grain, expected), "{query}");
        assert_eq!((&*own.kpi, own.dims), ("orders", [("currency".into(), "".into())].into()));
    }
    world.t1("/api/v1/kpis/orders/explain").await.good();
    assert_eq!(asked(&world).tenant, "t1", "a token of one tenant says whose");
}

#[tokio::test]
async fn cells_rows_and_records_are_told() {
    let world = world(Ok(told()));
    let answer = world.t1("/api/v1/kpis/gross_margin/explain?period_start=2026-11-20").await;
    assert_eq!(answer.header("etag"), "", "it changes without an epoch of its own");
    let answer = answer.good();
    let head = ["kpi", "tenant", "grain", "unit", "epoch", "as_of", "next"];
    let head = head.map(|name| answer[name].clone());
    let expected = json!(["gross_margin", "t1", "day", "ratio", 6, "2026-11-21T09:59:58Z", null]);
    assert_eq!(json!(head), expected);
    let [own, other] = [0, 1].map(|at| &answer["groups"][at]);
    assert_eq!(own["dims"], json!({"currency": "EUR"}));
    let cell = ["period_start", "period_end", "value", "numerator", "denominator", "status"];
    let told = cell.map(|name| own[name].clone());
    let expected = json!(["2026-11-20T00:00:00Z", "2026-11-21T00:00:00Z", "0.5", "1", "3", "ok"]);
    assert_eq!(json!(told), expected);
    assert!(cell.iter().all(|name| other[*name].is_null()), "{other}");
    let parts = own["parts"].as_array().unwrap();
    assert_eq!((&parts[0]["sum"], &parts[1]["sum"]), (&json!("1"), &Value::Null));
    let rows = answer["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 12);
    let expected = json!({
        "group": 0, "part": 1, "key": {"order_id": "o1"}, "origin": "shop.orders", "amount": null,
        "doubt": "letter", "epoch": 5, "records": [
            {"source": "kafka", "topic": "shop.orders", "partition": 3, "offset": 11, "column": null},
        ],
        "inputs": [], "more_inputs": false, "withheld": 0,
    });
    assert_eq!(rows[4], expected);
    assert_eq!(rows[11]["records"][0]["topic"], Value::Null);
}

#[tokio::test]
async fn rows_of_a_view_are_told_with_the_rows_that_they_are_made_of() {
    let world = world(Ok(told_of_view()));
    let path = "/api/v1/kpis/orders/explain?period_start=2026-11-20";
    let answer = world.t1(path).await.good();
    let part = &answer["groups"][0]["parts"][0];
    let told = ["contract", "view", "contracts", "lineage"].map(|name| part[name].clone());
    assert_eq!(json!(told), json!(["sales", "sales", ["orders", "items"], "partition"]));
    let rows = answer["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 5);
    let record = json!({"source": "kafka", "topic": "shop.orders", "partition": 3, "offset": 10, "column": null});
    for (number, row) in rows.iter().enumerate() {
        let doubt = if number == 2 { json!("letter") } else { Value::Null };
        let items = json!({
            "contract": "items", "key": {"items_id": format!("k{number}")}, "origin": "shop.items",
            "doubt": doubt, "epoch": 5, "records": [record],
        });
        assert_eq!(row["inputs"][1], items);
        assert_eq!(row["inputs"][0]["key"], json!({"orders_id": "k1"}));
        assert_eq!((&row["more_inputs"], &row["withheld"]), (&json!(number == 0), &json!(number)));
        assert_eq!(row["records"], json!([record]));
    }
    // Rows of one key stand in different places.
    let (mut pages, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = world.t1(&format!("{path}&limit=2{cursor}")).await.good();
        pages.extend(page["rows"].as_array().unwrap().clone());
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(pages, *rows);
    // Who may see all tenants may see what a view joins of others.
    assert!(!asked(&world).others);
    world.all(&format!("{path}&tenant=t1")).await.good();
    assert!(asked(&world).others);
}

#[tokio::test]
async fn pages_go_on_behind_the_row_that_was_last() {
    let world = world(Ok(told()));
    let path = "/api/v1/kpis/orders/explain?period_start=2026-11-20";
    let whole = world.t1(path).await.good()["rows"].as_array().unwrap().clone();
    for limit in [1, 2, 5, 11, 12, 13] {
        let (mut pages, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = world.t1(&format!("{path}&limit={limit}{cursor}")).await.good();
            assert_eq!(page["groups"].as_array().unwrap().len(), 2);
            pages.extend(page["rows"].as_array().unwrap().clone());
            let Some(next) = page["next"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(pages, whole, "pages of {limit}");
    }
    // A row that is gone meanwhile moves no other one.
    let first = world.t1(&format!("{path}&limit=4")).await.good();
    let mut fewer = told();
    fewer.rows.remove(1);
    *world.provenance.answer.lock() = Ok(fewer);
    let next = first["next"].as_str().unwrap();
    let rest = world.t1(&format!("{path}&cursor={next}")).await.good();
    assert_eq!(rest["rows"].as_array().unwrap()[..], whole[4..]);
    for (target, expected) in [
        (
            format!("/api/v1/kpis/revenue_booked/explain?period_start=2026-11-20&cursor={next}"),
            "another question",
        ),
        (format!("{path}&grain=week&cursor={next}"), "another question"),
        (format!("{path}&cursor=bm8"), "none that this route gave"),
    ] {
        let detail = world.t1(&target).await.problem(400);
        assert!(detail.contains(expected), "{target}: {detail}");
    }
}

#[tokio::test]
async fn what_cannot_be_told_is_said() {
    let own = world(Ok(told()));
    let path = "/api/v1/kpis/orders/explain";
    for (target, status, expected) in [
        (format!("{path}?dim.channel=web"), 400, "`orders` has no dimension `channel`"),
        (format!("{path}?dim.currency=a&dim.currency=b"), 400, "more than once"),
        (format!("{path}?grain=all&period_start=2026-11-20"), 400, "leave `period_start` out"),
        (format!("{path}?period_start=soon"), 400, "use RFC 3339"),
        (format!("{path}?limit=10001"), 400, "a whole number from 1 to 10000"),
        ("/api/v1/kpis/ordres/explain".to_owned(), 404, "did you mean `orders`?"),
        (format!("{path}?tenant=t2"), 403, "t2"),
    ] {
        let detail = own.t1(&target).await.problem(status);
        assert!(detail.contains(expected), "{target}: {detail}");
    }
    let detail = own.all(path).await.problem(400);
    assert!(detail.contains("say whose cells"), "{detail}");
    assert!(own.provenance.asked.lock().is_empty(), "nothing was read for what is refused");
    for (error, status, expected) in [
        (NotLedBack::Never("it is a quotient".into()), 400, "it is a quotient"),
        (NotLedBack::TooMany, 400, "more than 100000 rows feed these cells; narrow it"),
        (NotLedBack::TooLong, 503, "took too long and was given up; narrow it"),
        (NotLedBack::NotYet("nothing was flushed".into()), 503, "nothing was flushed"),
        (NotLedBack::Failed("/secret/path is torn".into()), 500, "the log of the server says why"),
    ] {
        let answer = world(Err(error.clone())).t1(path).await;
        assert_eq!(answer.header("retry-after").is_empty(), status != 503, "{error:?}");
        let detail = answer.problem(status);
        assert!(detail.contains(expected) && !detail.contains("secret"), "{error:?}: {detail}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_answer_is_worked_out_at_a_time() {
    let world = Arc::new(world(Ok(told())));
    let path = "/api/v1/kpis/orders/explain";
    let begun = Arc::clone(&world);
    let (held, is_held) = std::sync::mpsc::sync_channel(1);
    let (let_go, is_free) = std::sync::mpsc::sync_channel::<()>(1);
    let gate = std::thread::spawn(move || {
        let guard = begun.provenance.gate.lock();
        held.send(()).unwrap();
        is_free.recv().unwrap();
        drop(guard);
    });
    is_held.recv().unwrap();
    let first = {
        let world = Arc::clone(&world);
        tokio::spawn(async move { world.t1(path).await })
    };
    let begin = std::time::Instant::now();
    while world.provenance.asked.lock().is_empty() {
        assert!(begin.elapsed() < Duration::from_secs(30), "it was not asked");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let second = world.t1(path).await;
    assert_eq!(second.header("retry-after"), "1");
    assert!(second.problem(503).contains("one answer at a time"));
    let_go.send(()).unwrap();
    first.await.unwrap().good();
    gate.join().unwrap();
    world.t1(path).await.good();
}
