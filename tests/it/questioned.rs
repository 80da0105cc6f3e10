//! What people ask of the detector, through the binary: why an alert is there, what would have fired, what would be
//! said of a value.

use schemas::Micros;
use serde_json::{Value, json};

use crate::live::{get, mint};
use crate::on_call::{DAY, SOON, Shop, alerts, is_watched, now};
use crate::support::definitions::CLOUD_SPEND;
use crate::support::http::send;
use crate::support::wait_until;

/// A day of a hundred and forty where a hundred was usual, and what people say of it; its id.
fn answered(shop: &mut Shop) -> String {
    let (run, port) = shop.run();
    let token = mint(&shop.place, &[]);
    is_watched(port, &token, "acme");
    shop.spike("acme", "40", 10);
    wait_until("the alert opens", SOON, || !alerts(port, &token, "firing").is_empty());
    let id = alerts(port, &token, "firing")[0]["id"].as_str().unwrap().to_owned();
    let say = |words: &[&str]| shop.place.succeeds(words);
    say(&["alerts", "acknowledge", &id, "--by", "kim", "--comment", "on it"]);
    say(&["anomalies", "feedback", &id, "--verdict", "planned"]);
    run.stops();
    id
}

#[test]
fn an_alert_is_explained_from_the_lake_and_leads_to_its_rows() {
    let mut shop = Shop::new(&["acme"], "");
    let id = answered(&mut shop);
    let told = shop.place.succeeds(&["anomalies", "explain", &id, "--json"]).json();

    // A hundred a day, and forty more today: worked out from what was sent.
    let numbers = ["value", "expected", "lower", "upper", "impact", "deviation", "unit"];
    let numbers: Vec<&Value> = numbers.iter().map(|name| &told[*name]).collect();
    assert_eq!(json!(numbers), json!(["140", "100", null, "120", "40", 0.4, "currency"]));
    let chance = (&told["z_score"], &told["p_value"]);
    assert_eq!(chance, (&Value::Null, &Value::Null), "eight days are not enough to forecast");
    let reason = told["reason"].as_str().unwrap();
    assert!(reason.contains("40 % above the week before"), "{reason}");

    let rule = &told["rule"];
    assert_eq!(
        (&rule["name"], &rule["detector"], &rule["version"], &rule["unknown"]),
        (&json!("cost_spike"), &json!("change_week_before"), &json!(1), &Value::Null)
    );
    let step = json!("cost_spike: 0.5 above week_before: error");
    assert_eq!((&rule["steps"][1], &rule["steps"].as_array().unwrap().len()), (&step, &3));
    assert_eq!(rule["settings"]["direction"], "both");

    let part = &told["contributions"][0];
    let dims = json!({"currency": "USD", "service_name": "db"});
    assert_eq!((&part["kpi"], &part["dims"]), (&json!("cost_by_service"), &dims));
    assert_eq!((&part["impact"], &part["share_percent"]), (&json!("40"), &json!(100.0)));
    let incident = &told["incident"];
    let own = (&incident["id"], &incident["leads"], &incident["alerts"], &incident["others"]);
    assert_eq!(own, (&json!(id), &json!(true), &json!(1), &json!([])));
    assert_eq!(
        (&told["acknowledged"]["by"], &told["feedback"]["verdict"]),
        (&json!("kim"), &json!("planned"))
    );
    assert_eq!(told["acknowledged"]["comment"], "on it");

    let command = told["rows"].as_str().unwrap();
    let words: Vec<&str> = command.split_whitespace().collect();
    assert_eq!(words[..2], ["weir", "explain"]);
    let rows = shop.place.succeeds(&[&words[1..], &["--json"]].concat()).json();
    let part = &rows["groups"][0]["parts"][0];
    assert_eq!(
        (&part["sum"], &part["rows_total"]),
        (&json!("140"), &json!(2)),
        "{command}\n{rows}"
    );

    let text = shop.place.succeeds(&["anomalies", "explain", &id]).stdout;
    for said in [
        reason,
        "40 USD",
        "+40.0 %",
        "unknown: nothing was forecast yet",
        "kim at ",
        "on it",
        "planned, by weir anomalies feedback",
        "cost_spike: 0.2 above week_before: warning",
        "which it leads: 1 alerts",
        command,
    ] {
        assert!(text.contains(said), "`{said}` is not in\n{text}");
    }
}

#[test]
fn an_alert_that_is_not_there_is_refused_with_what_to_do() {
    let shop = Shop::new(&["acme"], "");
    let id = "0123456789abcdef0123456789abcdef";
    shop.place.weir(&["anomalies", "explain", id]).exits(2).says(&["lake"]);
    shop.place.succeeds(&["run", "--until-end"]);
    let refused = shop.place.weir(&["anomalies", "explain", id]).exits(2);
    refused.says(&[
        &format!("there is no alert {id}"),
        "as of epoch",
        "/api/v1/alerts?state=all",
        "--lake",
    ]);
    let refused = shop.place.weir(&["anomalies", "explain", "12"]).exits(2);
    refused.says(&["`12` is no id of an alert"]);
}

/// The costs by days, of which half as much again as a week before is an alert.
fn spend(up: &str) -> String {
    format!(
        "{CLOUD_SPEND}\n[[anomaly.rule]]\nname = \"spend_jump\"\nkind = \"change\"\n\
         against = \"week_before\"\nup = {up}\nseverity = \"critical\"\n"
    )
}

/// A hundred a day for a month, but for one day.
fn cost(days_ago: i64) -> &'static str {
    if days_ago == 6 { "160" } else { "100" }
}

/// A lake with that month, and the file that says how it is watched.
fn month() -> (Shop, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("cloud_spend.toml"), spend("0.5")).unwrap();
    let settings = format!("[gold]\ndefinitions = {:?}\n", folder.path());
    let shop = Shop::of(&["acme", "zeta"], &settings, 30, cost);
    shop.place.succeeds(&["run", "--until-end"]);
    (shop, folder)
}

/// The days that a rule of half as much again as the week before finds, from the costs themselves: of whole days, the
/// first one left out as a day to look at and to compare with.
fn jumps(up: f64) -> Vec<i64> {
    let number = |days_ago: i64| cost(days_ago).parse::<f64>().unwrap();
    let is_jump = |own: &i64| number(*own) >= (1.0 + up) * number(own + 7);
    (1..22).filter(is_jump).collect()
}

#[test]
fn a_replay_says_what_would_have_fired_and_settings_can_be_tried() {
    let (shop, folder) = month();
    let plot = shop.place.path("spend.svg");
    let plot_text = plot.display().to_string();
    let replay = |more: &[&str]| -> Value {
        shop.place.succeeds(&[&["backtest", "cloud_spend", "--json"], more].concat()).json()
    };
    let found = replay(&["--plot", &plot_text]);
    let start = |days_ago: i64| now() / DAY * DAY - days_ago * DAY;
    let instant = |at: i64| json!(Micros(at).to_string());
    assert_eq!(jumps(0.5), [6]);
    let fired = found["fired"].as_array().unwrap();
    let tenants: Vec<&Value> = fired.iter().map(|own| &own["tenant"]).collect();
    assert_eq!(tenants, ["acme", "zeta"]);
    for own in fired {
        let told =
            ["rule", "severity", "value", "expected", "upper", "lower"].map(|name| &own[name]);
        assert_eq!(json!(told), json!(["spend_jump", "critical", "160", "100", "150", null]));
        assert_eq!(own["period_start"], instant(start(6)));
        // Its whole value is there ten seconds before its end; the next day closed normal, and half a minute later that is known.
        assert_eq!(own["said_at"], instant(start(5) - 10_000_000));
        assert_eq!(own["resolved_at"], instant(start(4) + 30_000_000));
        assert!(own["resolution"].as_str().unwrap().contains("closed within the expected range"));
    }
    // Twenty-nine whole days of two series; a week and the first day have nothing to be compared with.
    let counts = ["series", "buckets", "alerts", "series_left_out"].map(|name| &found[name]);
    assert_eq!(json!(counts), json!([2, 58, 2, 0]));
    let weeks = found["series_weeks"].as_f64().unwrap();
    assert!((8.2..8.7).contains(&weeks), "{weeks}");
    let per_week = found["alerts_per_series_week"].as_f64().unwrap();
    assert!((per_week - 2.0 / weeks).abs() < 1e-9);
    assert_eq!(found["settings_in_force"], true);
    assert!(found["cannot_know"].as_str().unwrap().contains("replay of final values"));
    let drawn = std::fs::read_to_string(&plot).unwrap();
    assert!(drawn.starts_with("<svg ") && drawn.matches("class=\"alert\"").count() == 2, "{drawn}");

    let one = replay(&["--tenant", "zeta", "--from", &Micros(start(6)).to_string()]);
    assert_eq!((&one["alerts"], &one["buckets"]), (&json!(1), &json!(6)));
    let later = replay(&["--from", &Micros(start(5)).to_string()]);
    assert_eq!(later["alerts"], 0);
    let text = shop.place.succeeds(&["backtest", "cloud_spend"]).stdout;
    for said in [
        "spend_jump",
        "2 series, 58 buckets",
        "(in force)",
        "note: this is a replay of final values",
    ] {
        assert!(text.contains(said), "`{said}` is not in\n{text}");
    }

    // Another threshold, which no run has seen yet.
    assert_eq!(jumps(0.7), Vec::<i64>::new());
    std::fs::write(folder.path().join("cloud_spend.toml"), spend("0.7")).unwrap();
    let tried = replay(&[]);
    assert_eq!((&tried["alerts"], &tried["settings_in_force"]), (&json!(0), &json!(false)));
    let text = shop.place.succeeds(&["backtest", "cloud_spend"]).stdout;
    assert!(
        text.contains("nothing would have fired") && text.contains("from the next start on"),
        "{text}"
    );
}

#[test]
fn a_replay_that_cannot_be_is_refused_with_what_to_do() {
    let (shop, folder) = month();
    let refused = |more: &[&str], says: &[&str]| {
        shop.place.weir(&[&["backtest"], more].concat()).exits(2).says(says);
    };
    refused(&["cloud_spent"], &["there is no KPI `cloud_spent`", "`cloud_spend`"]);
    refused(&["cloud_spend", "--grain", "week"], &["use hour or day"]);
    refused(
        &["cloud_spend", "--from", "2026-03-02", "--to", "2026-03-01"],
        &["`--from` is not before"],
    );
    refused(
        &["cloud_spend", "--tenant", "nobody"],
        &["no cells of `cloud_spend` of tenant `nobody`"],
    );
    refused(&["cloud_spend", "--plot", "/nowhere/a.svg"], &["/nowhere/a.svg", "name a file"]);
    let off = spend("0.5").replace("[anomaly]", "[anomaly]\nenabled = false");
    std::fs::write(folder.path().join("cloud_spend.toml"), off).unwrap();
    refused(&["cloud_spend"], &["`cloud_spend` is not watched", "enabled"]);
}

#[test]
fn a_value_is_scored_by_the_rules_in_force_and_nothing_comes_of_it() {
    let shop = Shop::new(&["acme"], "");
    let (run, port) = shop.run();
    let token = mint(&shop.place, &["--tenant", "acme", "--scope", "alerts:read"]);
    is_watched(port, &mint(&shop.place, &[]), "acme");
    let score = |value: &str| -> Value {
        let body = json!({"kpi": "total_cost", "grain": "day", "value": value}).to_string();
        let answer = send("POST", port, "/api/v1/anomalies/score", Some(&token), &body);
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    };
    // A hundred a week ago: a fifth more is a warning, half as much again an error.
    for (value, verdict, severity) in [
        ("119", "normal", Value::Null),
        ("121", "anomalous", json!("warning")),
        ("151", "anomalous", json!("error")),
    ] {
        let told = score(value);
        assert_eq!((&told["verdict"], &told["severity"]), (&json!(verdict), &severity), "{told}");
        assert_eq!((&told["tenant"], &told["expected"]), (&json!("acme"), &Value::Null));
    }
    let told = score("151");
    let found = ["rule", "expected", "upper", "lower"].map(|name| &told["findings"][0][name]);
    assert_eq!(json!(found), json!(["cost_spike", "100", "120", null]));
    assert!(told["reason"].as_str().unwrap().contains("51 % above the week before"), "{told}");
    assert_eq!(alerts(port, &token, "all"), Vec::<Value>::new());
    run.stops();
}

#[test]
fn what_a_month_will_come_to_is_said_before_it_is_over() {
    let shop = Shop::of(&["acme"], "", 150, |_| "100");
    let (run, port) = shop.run();
    let token = mint(&shop.place, &[]);
    is_watched(port, &token, "acme");
    let path = "/api/v1/kpis/total_cost/forecast?grain=month";
    let answer = get(port, path, &token);
    let periods = answer["series"][0]["periods"].as_array().unwrap();
    let instant = |own: &Value, name: &str| Micros::parse(own[name].as_str().unwrap()).unwrap();
    let number = |own: &Value, name: &str| own[name].as_str().unwrap().parse::<f64>().unwrap();
    let days = |own: &Value| (instant(own, "period_end").0 - instant(own, "period_start").0) / DAY;
    let [running, next] = &periods[..] else { panic!("{answer}") };
    assert_eq!(running["period_end"], next["period_start"]);
    // A hundred a day; what has come of today may be all of it, and some is expected of what is left of today.
    let (own, after) = (100.0 * days(running) as f64, 100.0 * days(next) as f64);
    assert!((own - 1.0..own + 101.0).contains(&number(running, "expected")), "{running}");
    assert!((number(next, "expected") - after).abs() < 2.0, "{next}");
    for period in periods {
        let [low, high] = ["lower", "upper"].map(|name| number(period, name));
        assert!(
            low <= number(period, "expected") && number(period, "expected") <= high,
            "{period}"
        );
    }
    let gone = (now() - instant(running, "period_start").0).div_euclid(DAY) as f64;
    let so_far = number(running, "so_far") / 100.0;
    assert!((gone..=gone + 1.0).contains(&so_far), "{running}, {gone} days");
    run.stops();
}
