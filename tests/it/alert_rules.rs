//! What a KPI's own file says of alerts, through the binary.

use serde_json::{Value, json};

use crate::live::{get, mint};
use crate::on_call::{SOON, Shop, alerts, history_is_read};
use crate::support::definitions::CLOUD_SPEND;
use crate::support::receivers::Webhook;
use crate::support::wait_until;

const RULE: &str = r#"
[[anomaly.rule]]
name = "spend_jump"
kind = "change"
against = "week_before"
up = 0.3
severity = "critical"
"#;

#[test]
fn a_rule_of_a_users_file_opens_an_alert() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cloud_spend.toml");
    let wrong = RULE.replace("week_before", "year_before");
    std::fs::write(&file, format!("{CLOUD_SPEND}{wrong}")).unwrap();
    let mut shop = Shop::new(&["acme"], &format!("[gold]\ndefinitions = {:?}\n", folder.path()));
    let refused = shop.place.weir(&["run", "--until-end"]).exits(2);
    refused.says(&[
        "cloud_spend.toml",
        "anomaly.rule.against",
        "`year_before` is unknown",
        "budget",
    ]);

    std::fs::write(&file, format!("{CLOUD_SPEND}{RULE}")).unwrap();
    let shown = shop.place.succeeds(&["kpis", "show", "cloud_spend", "--json"]).json();
    let rules = json!(["spend_jump: 0.3 above week_before: critical"]);
    assert_eq!(shown["anomaly"], json!({"detectors": "change_week_before", "rules": rules}));

    let (run, port) = shop.run();
    let token = mint(&shop.place, &[]);
    history_is_read(port, &token, "acme");
    let firing = || -> Vec<Value> {
        let answer = get(port, "/api/v1/alerts?state=firing", &token);
        let all = answer["alerts"].as_array().unwrap().iter();
        all.filter(|alert| alert["kpi"] == "cloud_spend").cloned().collect()
    };
    shop.spike("acme", "29", 10);
    // A fifth more is enough for the built-in rule, and too little for this one.
    wait_until("the built-in rule says it", SOON, || !alerts(port, &token, "firing").is_empty());
    assert_eq!(firing(), Vec::<Value>::new());
    shop.spike("acme", "30", 11);
    wait_until("the rule of the file says it", SOON, || !firing().is_empty());
    let alert = &firing()[0];
    assert_eq!((&alert["rule"], &alert["severity"]), (&json!("spend_jump"), &json!("critical")));
    let told = get(port, "/api/v1/meta", &token)["kpis"].as_array().unwrap().clone();
    let own = told.iter().find(|kpi| kpi["key"] == "cloud_spend").unwrap();
    assert_eq!(own["anomaly"]["rules"][0]["up"], "0.3");
    run.kill();
    shop.place.succeeds(&["verify"]);
}

/// The same by service, with a rule like the built-in one of the total.
const BY_SERVICE: &str = r#"
key = "spend_by_service"
title = "Spend by service"
unit = "currency"
good = "down"
contract = "costs"
time = "charge_period_start"
aggregate = "sum(effective_cost)"
dims = { currency = "billing_currency", service_name = "service_name" }

[[anomaly.rule]]
name = "service_jump"
kind = "change"
against = "week_before"
up = 0.2
"#;

#[test]
fn one_cause_is_told_once() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("spend_by_service.toml"), BY_SERVICE).unwrap();
    let webhook = Webhook::start();
    let settings = format!(
        "[gold]\ndefinitions = {:?}\n[[alerts.routes]]\nname = \"hook\"\nkind = \"webhook\"\nurl = \"{}\"\n",
        folder.path(),
        webhook.url()
    );
    let mut shop = Shop::new(&["acme"], &settings);
    let (run, port) = shop.run();
    let token = mint(&shop.place, &[]);
    history_is_read(port, &token, "acme");
    shop.spike("acme", "40", 10);
    let firing = || -> Vec<Value> {
        let answer = get(port, "/api/v1/alerts?state=firing", &token);
        answer["alerts"].as_array().unwrap().clone()
    };
    wait_until("the total and its part say it", SOON, || firing().len() >= 2);
    let kpis: Vec<(Value, Value)> = firing()
        .into_iter()
        .map(|alert| (alert["kpi"].clone(), alert["incident"].clone()))
        .collect();
    let total = alerts(port, &token, "firing").remove(0);
    let kpi = |key: &str| (json!(key), total["id"].clone());
    assert_eq!(kpis.len(), 2, "{kpis:?}");
    assert!(
        kpis.contains(&kpi("total_cost")) && kpis.contains(&kpi("spend_by_service")),
        "{kpis:?}"
    );
    let told = || -> Vec<(Value, Value)> {
        let posts = webhook.posts().into_iter().filter(|post| post.body["type"] != "heartbeat");
        posts.map(|post| (post.body["type"].clone(), post.body["alert"]["id"].clone())).collect()
    };
    wait_until("it is told", SOON, || !told().is_empty());
    shop.spike("acme", "5", 11);
    wait_until("its end is told", SOON, || told().len() >= 2);
    run.stops();
    let expected =
        ["alert.opened", "alert.resolved"].map(|kind| (json!(kind), total["id"].clone()));
    assert_eq!(told(), expected);
    shop.place.succeeds(&["verify", "--deep"]);
}
