//! `weir eval nab` and `weir eval ms` over folders whose answers are counted by hand.

use std::fmt::Write;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::Place;

const HOUR_US: i64 = 3_600_000_000;
/// 2026-03-02, a Monday.
const START_US: i64 = 20_514 * 24 * HOUR_US;

fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// Rows of a wave over the day, a little off by turns, times `factor` at its place.
fn rows(
    count: i64,
    step_us: i64,
    factor: impl Fn(i64) -> f64,
    label: impl Fn(i64) -> bool,
) -> String {
    let mut text = "timestamp,value,label\n".to_owned();
    for at in 0..count {
        let instant = START_US + at * step_us;
        let hour = (instant / HOUR_US % 24) as f64 / 24.0 * std::f64::consts::TAU;
        let off = f64::from(u32::try_from(at * 7_919 % 101).unwrap()) / 50.0 - 1.0;
        let value = (1_000.0 + 300.0 * hour.sin()) * (1.0 + 0.02 * off) * factor(at);
        let (instant, label) = (schemas::Micros(instant), u8::from(label(at)));
        writeln!(text, "{instant},{value:.3},{label}").unwrap();
    }
    text
}

fn evaluated(place: &Place, kind: &str, folder: &Path) -> Value {
    place.succeeds(&["eval", kind, "--data", folder.to_str().unwrap(), "--json"]).json()
}

#[test]
fn events_that_are_found_and_alerts_that_are_none_are_counted() {
    let place = Place::new();
    let folder = place.path("hourly");
    // Two events, of which nothing shows the second; an hour that is odd, and no event.
    let factor = |at| if [1_000, 1_001, 1_200].contains(&at) { 9.0 } else { 1.0 };
    let label = |at| [1_000, 1_001, 1_100].contains(&at);
    write(&folder.join("web/a.csv"), &rows(1_344, HOUR_US, factor, label));
    write(&folder.join("web/LICENSE"), "no series");
    write(&folder.join("b.csv"), &rows(1_344, HOUR_US, |_| 1.0, |_| false));
    let found = evaluated(&place, "ms", &folder);
    assert_eq!(found["series"], 2);
    let own = &found["detectors"][0];
    let counts = ["events", "found", "alerts", "false"].map(|name| &own[name]);
    assert_eq!(json!(counts), json!([2, 1, 2, 1]), "{own}");
    // Eight weeks less the first of each, and an hour.
    let weeks = own["series_weeks"].as_f64().unwrap();
    assert!((weeks - 2.0 * (7.0 - 1.0 / 168.0)).abs() < 1e-6, "{weeks}");
    let text = place.succeeds(&["eval", "ms", "--data", folder.to_str().unwrap()]).stdout;
    assert!(text.contains("50.0 % (1/2)") && text.contains("range novelty"), "{text}");
}

#[test]
fn windows_that_are_hit_score_as_the_benchmark_says() {
    let place = Place::new();
    let folder = place.path("nab");
    let step = 300_000_000;
    let window = |from: i64, to: i64| {
        json!([from, to].map(|at| schemas::Micros(START_US + at * step).to_string()))
    };
    let labels = json!({
        "web/early.csv": [window(2_000, 2_099)],
        "web/late.csv": [window(2_000, 2_099)],
        "web/quiet.csv": [],
        "web/not_there.csv": [window(1, 2)],
    });
    write(&folder.join("labels/combined_windows.json"), &labels.to_string());
    let at = |place: i64| move |at| if at == place { 9.0 } else { 1.0 };
    write(&folder.join("data/web/early.csv"), &rows(4_032, step, at(2_000), |_| false));
    write(&folder.join("data/web/late.csv"), &rows(4_032, step, at(2_099), |_| false));
    write(&folder.join("data/web/quiet.csv"), &rows(4_032, step, |_| 1.0, |_| false));
    let found = evaluated(&place, "nab", &folder);
    assert_eq!(found["series"], 3);
    let own = &found["detectors"][0]["result"];
    let counts = ["windows", "hit", "alerts", "false"].map(|name| &own[name]);
    assert_eq!(json!(counts), json!([2, 2, 2, 0]), "{own}");
    // The first value of a window is worth 1, its last what the sigmoid gives a hundredth before its end.
    let sigmoid = |position: f64| 2.0 / (1.0 + (5.0 * position).exp()) - 1.0;
    let late = sigmoid(-0.01) / sigmoid(-1.0);
    let score = 100.0 * (1.0 + late + 2.0) / 4.0;
    for name in ["standard", "low_fp"] {
        assert!((own[name].as_f64().unwrap() - score).abs() < 1e-9, "{own} is not {score}");
    }
    assert_eq!(found["categories"][0]["category"], "web");
    let text = place.succeeds(&["eval", "nab", "--data", folder.to_str().unwrap()]).stdout;
    assert!(text.contains("2/2") && text.contains("draws of the series"), "{text}");
}

#[test]
fn folders_that_are_no_such_data_are_refused_with_what_is_wrong() {
    let place = Place::new();
    let refused = |kind: &str, says: &[&str]| {
        let folder = place.path("data");
        place.weir(&["eval", kind, "--data", folder.to_str().unwrap()]).exits(2).says(says);
    };
    refused("nab", &["combined_windows.json", "--data"]);
    refused("ms", &["could not read", "--data"]);
    write(&place.path("data/notes.txt"), "nothing");
    refused("ms", &["has no CSV file"]);
    write(&place.path("data/labels/combined_windows.json"), "[1]");
    refused("nab", &["combined_windows.json", "is no list of windows"]);
    write(&place.path("data/labels/combined_windows.json"), r#"{"a.csv": [["then", "now"]]}"#);
    refused("nab", &["none of the files that its labels name"]);
    write(&place.path("data/data/a.csv"), "timestamp,value\n2026-01-01T00:00:00Z,1\n");
    refused("nab", &["a window of a.csv that is no time"]);
    write(&place.path("data/b.csv"), "timestamp,value\n2026-01-01T00:00:00Z,1\nnow,2\n");
    refused("ms", &["b.csv", "line 3 is no time and value"]);
}
