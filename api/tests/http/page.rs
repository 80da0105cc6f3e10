//! The page and its token.

use api::ServerLimits;

use crate::support::World;

#[tokio::test]
async fn a_demo_hands_its_page_a_token_that_works() {
    let world = World::new();
    let session = world.ask("/ui/session", &[("host", "127.0.0.1:8080")]).await;
    assert_eq!(session.header("cache-control"), "no-store");
    let session = session.good();
    assert_eq!(session["expires_in_s"], 600);
    assert_eq!(session["version"], env!("CARGO_PKG_VERSION"));
    let bearer = format!("Bearer {}", session["token"].as_str().unwrap());
    for path in ["kpis", "alerts", "meta"] {
        let answer = world.ask(&format!("/api/v1/{path}"), &[("authorization", &bearer)]).await;
        assert_eq!(answer.status, 200);
    }
}

#[tokio::test]
async fn no_other_page_gets_one() {
    let world = World::new();
    for headers in [
        &[("host", "evil.example:8080")][..],
        &[("host", "localhost"), ("sec-fetch-site", "cross-site")],
        &[("host", "localhost"), ("origin", "https://evil.example")],
        &[],
    ] {
        world.ask("/ui/session", headers).await.problem(403);
    }
    let without = World::recovering(ServerLimits::default(), false);
    without.ask("/ui/session", &[("host", "localhost")]).await.problem(404);
}

#[tokio::test]
async fn files_of_the_page_are_served_as_they_are() {
    let world = World::new();
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("ui");
    let index = folder.join("index.html");
    let answer = world.ask("/", &[]).await;
    if !index.exists() {
        answer.problem(404);
        return;
    }
    assert_eq!(answer.text, std::fs::read_to_string(index).unwrap());
    assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(answer.header("cache-control"), "no-cache");
    let tag = answer.header("etag").to_owned();
    let again = world.ask("/", &[("if-none-match", &tag)]).await;
    assert_eq!((again.status.as_u16(), again.text.len()), (304, 0));
    assert_eq!(world.ask("/ui/index.html", &[]).await.text, answer.text);
    for outside in ["/ui/../Cargo.toml", "/ui/%2e%2e/Cargo.toml", "/ui/", "/ui/nothing.js"] {
        assert_eq!(world.ask(outside, &[]).await.status, 404, "{outside}");
    }
}
