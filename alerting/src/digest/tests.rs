//! When a digest is due, and what it says of what was collected.

use super::*;
use crate::samples::{at, notice};

fn due(toml: &str, now: &str) -> (String, String) {
    #[derive(Deserialize)]
    struct Route {
        digest: DigestSettings,
    }
    let route: Route = toml::from_str(toml).unwrap();
    let (date, cut) = Digest::read(&route.digest).unwrap().due(at(now));
    (date, cut.to_string())
}

#[test]
fn it_is_due_once_a_day_by_the_clocks_of_its_zone() {
    let is_due = |toml, now, date: &str, cut: &str| {
        assert_eq!(due(toml, now), (date.to_owned(), cut.to_owned()), "{toml} {now}");
    };
    let utc = "digest = '08:00'";
    is_due(utc, "2026-11-30T07:59:59.999999Z", "2026-11-29", "2026-11-29T08:00:00Z");
    is_due(utc, "2026-11-30T08:00:00Z", "2026-11-30", "2026-11-30T08:00:00Z");
    is_due(utc, "2026-11-30T23:59:59Z", "2026-11-30", "2026-11-30T08:00:00Z");
    let berlin = "digest = { at = '08:00', zone = 'Europe/Berlin' }";
    is_due(berlin, "2026-03-28T07:00:00Z", "2026-03-28", "2026-03-28T07:00:00Z");
    is_due(berlin, "2026-03-29T06:00:00Z", "2026-03-29", "2026-03-29T06:00:00Z");
    let left_out = "digest = { at = '02:30', zone = 'Europe/Berlin' }";
    is_due(left_out, "2026-03-29T01:00:00Z", "2026-03-29", "2026-03-29T01:00:00Z");
    is_due(left_out, "2026-10-25T01:30:00Z", "2026-10-25", "2026-10-25T00:30:00Z");
}

#[test]
fn settings_that_are_none_are_refused() {
    let settings = |at: &str, zone: Option<&str>| DigestSettings {
        at: at.to_owned(),
        zone: zone.map(str::to_owned),
    };
    assert!(Digest::read(&settings("8", None)).unwrap_err().contains("digest: `8`"));
    assert!(Digest::read(&settings("08:00", Some("Berlin"))).unwrap_err().contains("digest.zone"));
}

/// What is collected of an alert that opened with this severity and distance, and is over or not.
fn told(id: &str, severity: Severity, z_score: &str, is_over: bool) -> Vec<Notice> {
    let mut opened = notice(id, Kind::Opened, severity);
    opened.annotations.insert("z_score".into(), z_score.into());
    let over = is_over.then(|| notice(id, Kind::Resolved, severity));
    std::iter::once(opened).chain(over).collect()
}

#[test]
fn it_counts_each_alert_once_and_names_the_worst_and_the_newest() {
    let mut all = told("a", Severity::Info, "-3.0", true);
    all.extend(told("b", Severity::Warning, "2.5", false));
    for id in ["c", "d", "e", "f", "g", "h", "i", "j"] {
        all.extend(told(id, Severity::Info, "2.6", false));
    }
    let mut rose = notice("a", Kind::Opened, Severity::Warning);
    rose.about = Some(crate::About { kpi: "cost".into(), ..rose.about.unwrap() });
    all.push(rose);
    let digest = compose("the team", "2026-11-30", &all, Some("https://weir.example"));
    assert_eq!(digest.id, "digest.the_team.2026-11-30");
    assert_eq!(digest.title(), "Weir, digest of 2026-11-30");
    assert_eq!(
        digest.summary(),
        "10 alerts since the last digest (2 warning, 8 info); 10 go on",
        "it opened again"
    );
    let ids = |name: &str| -> Vec<String> {
        let named = digest.body[name].as_array().unwrap().iter();
        named.map(|own| own["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(
        ids("worst"),
        ["a", "b", "c", "d", "e"],
        "by severity, distance, and the first first"
    );
    assert_eq!(ids("newest"), ["j", "i", "h", "g", "f"]);
    assert_eq!(
        digest.body["by_kpi"][0],
        json!({
            "kpi": "revenue_by_channel", "title": "Revenue by channel", "alerts": 9,
        })
    );
    assert_eq!(digest.body["by_severity"], json!({"info": 8, "warning": 2}));
    let text = &digest.annotations["description"];
    assert!(text.starts_with("By KPI: Revenue by channel 9, "), "{text}");
    assert!(
        text.contains(
            "\nWorst:\n- [warning] Revenue by channel of acme: 0.5 instead of 2 https://"
        ),
        "{text}"
    );
}

#[test]
fn what_is_over_is_said_to_be() {
    let digest = compose("team", "2026-11-30", &told("a", Severity::Info, "2", true), None);
    assert_eq!(digest.summary(), "1 alert since the last digest (1 info); all are over");
    assert_eq!(digest.body["worst"][0]["state"], "resolved");
    assert!(digest.annotations["description"].contains("- [info, over] "));
}
