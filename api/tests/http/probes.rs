//! What is said beside the numbers: metrics, and the methods of the stream's address.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use api::stream::{StreamLimits, Streams};
use axum::body::Body;
use axum::http::{Request, StatusCode};
use tower::ServiceExt;

use crate::support::World;

fn streams(world: &World) -> Arc<Streams> {
    let app = &world.app;
    Streams::new(
        Arc::clone(&app.store),
        Arc::clone(&app.tokens),
        Arc::clone(&app.health),
        Arc::clone(&app.clock),
        StreamLimits::default(),
    )
}

#[tokio::test]
async fn every_metric_is_in_the_reference() {
    let world = World::new();
    let streams = streams(&world);
    world.app.metrics.register(|registry| streams.register(registry));
    world.t1("/api/v1/kpis").await.good();
    let text = world.ask("/metrics", &[]).await.text;
    let reference = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/http.md");
    let reference = std::fs::read_to_string(reference).unwrap();
    let named: BTreeSet<&str> = reference
        .split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
        .filter(|word| word.starts_with("weir_"))
        .collect();
    // A line is `# TYPE <family> <type>`; counters are written with `_total`.
    let families = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let printed: BTreeSet<String> = families
        .map(|line| {
            let (family, kind) = line.split_once(' ').unwrap();
            format!("{family}{}", if kind == "counter" { "_total" } else { "" })
        })
        .collect();
    assert!(printed.len() > 25, "{printed:?}");
    let printed: BTreeSet<&str> = printed.iter().map(String::as_str).collect();
    let missing: Vec<_> = printed.difference(&named).collect();
    let gone: Vec<_> = named.difference(&printed).collect();
    assert!(missing.is_empty() && gone.is_empty(), "not described: {missing:?}; no more: {gone:?}");
}

#[tokio::test]
async fn other_methods_are_told_which_there_is() {
    let world = World::new();
    let router = api::router(Arc::clone(&world.app), streams(&world).route());
    for method in ["HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        let request = Request::builder().method(method).uri("/api/v1/stream").header("host", "x");
        let request = request.body(Body::empty()).unwrap();
        let answer = router.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED, "{method}");
        assert_eq!(answer.headers()["allow"], "GET", "{method}");
    }
}
