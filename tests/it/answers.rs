//! What people say of alerts: by REST and by commands, over kills, and who said it from bronze.

use std::path::Path;

use harness::bronze::Epochs;
use serde_json::{Value, json};

use crate::live::{get, mint};
use crate::on_call::{SOON, Shop, alerts, is_watched, told};
use crate::support::http::{Answer, send};
use crate::support::receivers::Webhook;
use crate::support::wait_until;

fn routes(webhook: &Webhook) -> String {
    let url = webhook.url();
    format!("[[alerts.routes]]\nname = \"hook\"\nkind = \"webhook\"\nurl = \"{url}\"\n")
}

/// The only firing alert of a tenant's daily costs, once it is there.
fn firing(port: u16, token: &str, tenant: &str) -> Value {
    let of = || {
        let all = alerts(port, token, "firing");
        all.into_iter().find(|alert| alert["tenant"] == tenant)
    };
    wait_until("the alert is open", SOON, || of().is_some());
    of().unwrap()
}

fn id(alert: &Value) -> String {
    alert["id"].as_str().unwrap().to_owned()
}

fn good(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

/// Decisions about alerts in bronze: kind, who decided, and the body.
fn decisions(lake: &Path) -> Vec<(String, String, Value)> {
    let mut found = Vec::new();
    let mut epochs = Epochs::open(lake).unwrap();
    while let Some(records) = epochs.next_epoch().unwrap() {
        for record in records.iter().filter(|record| record.is_control()) {
            let value: Value = serde_json::from_slice(record.value.as_ref().unwrap()).unwrap();
            let text = |name: &str| value[name].as_str().unwrap().to_owned();
            if text("kind").starts_with("alert.") || text("kind").starts_with("mute") {
                found.push((text("kind"), text("by"), value["body"].clone()));
            }
        }
    }
    found
}

#[test]
fn an_acknowledgement_outlives_a_kill_and_bronze_says_who() {
    let webhook = Webhook::start();
    let mut shop = Shop::new(&["acme"], &routes(&webhook));
    let (run, port) = shop.run();
    let token = mint(&shop.place, &[]);
    is_watched(port, &token, "acme");
    shop.spike("acme", "40", 10);
    let alert = firing(port, &token, "acme");
    let id = id(&alert);
    assert!(alert["acknowledged_by"].is_null(), "{alert}");
    let path = format!("/api/v1/alerts/{id}/acknowledge");
    let reader = mint(&shop.place, &["--scope", "alerts:read"]);
    assert_eq!(send("POST", port, &path, Some(&reader), "").status, 403);
    let other = mint(&shop.place, &["--tenant", "zeta"]);
    assert_eq!(send("POST", port, &path, Some(&other), "").status, 404, "it is of another tenant");
    let kim = mint(&shop.place, &["--sub", "kim", "--tenant", "acme", "--scope", "alerts:write"]);
    good(&send("POST", port, &path, Some(&kim), r#"{"comment": "on it"}"#));
    // Kept is kept, whether an epoch has taken it or not.
    run.kill();

    let (run, port) = shop.run();
    let is_by_kim = || firing(port, &token, "acme")["acknowledged_by"] == "kim";
    wait_until("it is acknowledged", SOON, is_by_kim);
    let alert = firing(port, &token, "acme");
    assert_eq!(
        (&alert["state"], &alert["acknowledged_comment"]),
        (&json!("firing"), &json!("on it"))
    );
    let feedback = ["anomalies", "feedback", &id, "--verdict", "planned", "--comment", "a sale"];
    shop.place.succeeds(&feedback);
    wait_until("feedback shows", SOON, || firing(port, &token, "acme")["feedback"].is_object());
    run.kill();

    let (run, port) = shop.run();
    let again = firing(port, &token, "acme");
    assert_eq!(
        (&again["acknowledged_by"], &again["acknowledged_at"]),
        (&json!("kim"), &alert["acknowledged_at"])
    );
    assert_eq!(again["feedback"]["verdict"], "planned");
    shop.spike("acme", "5", 11);
    wait_until("the end is told", SOON, || told(&webhook).len() == 2);
    let end =
        webhook.posts().into_iter().find(|post| post.body["type"] == "alert.resolved").unwrap();
    assert_eq!(end.body["alert"]["acknowledged_by"], "kim", "{:?}", end.body);
    let one = get(port, &format!("/api/v1/alerts/{id}"), &token);
    assert_eq!(one["alert"]["state"], "resolved");
    let kinds: Vec<&Value> =
        one["deliveries"].as_array().unwrap().iter().map(|d| &d["kind"]).collect();
    assert_eq!(kinds, ["resolved", "opened"]);
    assert_eq!(one["deliveries"][1]["state"], "delivered");
    run.stops();
    let expected = [
        ("alert.acknowledge", "kim", json!({"alert": id, "comment": "on it"})),
        (
            "alert.feedback",
            "weir anomalies feedback",
            json!({"alert": id, "verdict": "planned", "comment": "a sale"}),
        ),
    ];
    let expected = expected.map(|(kind, by, body)| (kind.to_owned(), by.to_owned(), body));
    assert_eq!(decisions(shop.place.lake()), expected);
    shop.place.succeeds(&["verify", "--deep"]);
}

#[test]
fn nobody_is_told_of_what_is_muted_until_the_mute_ends() {
    let webhook = Webhook::start();
    let mut shop = Shop::new(&["acme", "zeta"], &routes(&webhook));
    let (run, port) = shop.run();
    let token = mint(&shop.place, &["--sub", "kim"]);
    is_watched(port, &token, "zeta");
    let body = json!({
        "match": {"tenant": ["ac*"]}, "until": "2099-01-01T00:00:00Z", "comment": "moving house",
    });
    let mute = good(&send("POST", port, "/api/v1/mutes", Some(&token), &body.to_string()));
    let mutes = |port| get(port, "/api/v1/mutes", &token)["mutes"].as_array().unwrap().clone();
    wait_until("the mute holds", SOON, || mutes(port).len() == 1);
    shop.spike("acme", "40", 10);
    shop.spike("zeta", "40", 10);
    let muted = firing(port, &token, "acme");
    assert_eq!(
        (&muted["muted"], &muted["muted_until"]),
        (&json!(true), &json!("2099-01-01T00:00:00Z"))
    );
    let other = firing(port, &token, "zeta");
    assert_eq!(other["muted"], false);
    wait_until("the other is told", SOON, || !told(&webhook).is_empty());
    run.kill();

    // A start tells what nobody was told of, but not what is muted.
    let (run, port) = shop.run();
    assert_eq!(firing(port, &token, "acme")["muted"], true);
    shop.spike("zeta", "5", 11);
    wait_until("the end of the other is told", SOON, || told(&webhook).len() == 2);
    let of_zeta = ["alert.opened", "alert.resolved"].map(|kind| (kind.to_owned(), id(&other)));
    assert_eq!(told(&webhook), of_zeta);
    let path = format!("/api/v1/mutes/{}", mute["id"].as_str().unwrap());
    good(&send("DELETE", port, &path, Some(&token), ""));
    wait_until("it is told after all", SOON, || told(&webhook).len() == 3);
    assert_eq!(told(&webhook)[2], ("alert.opened".to_owned(), id(&muted)));
    assert!(mutes(port).is_empty());
    assert_eq!(send("DELETE", port, &path, Some(&token), "").status, 404);
    // By command, and for a moment: it ends by itself.
    let made = ["mute", "--tenant", "zeta", "--for", "2s", "--json"];
    assert_eq!(shop.place.succeeds(&made).json()["effect"], "taken");
    wait_until("the mute is over", SOON, || mutes(port).is_empty());
    shop.place.weir(&["mute", "--until", "2020-01-01T00:00:00Z"]).exits(2).says(&["is over"]);
    shop.place.weir(&["alerts", "acknowledge", "x"]).exits(2).says(&["32 hexadecimal digits"]);
    let acknowledged = ["alerts", "acknowledge", &id(&muted), "--by", "lee"];
    shop.place.succeeds(&acknowledged);
    wait_until("lee looks after it", SOON, || {
        firing(port, &token, "acme")["acknowledged_by"] == "lee"
    });
    run.stops();
    shop.place.succeeds(&["verify", "--deep"]);
}
