//! Results that cannot be written, and what they may hold.

use std::fs::File;
use std::process::Stdio;

use crate::support::Place;

/// An order of a tenant, as a plain Debezium value.
fn order(id: u32, tenant: &str) -> String {
    let value = serde_json::json!({
        "before": null,
        "after": {
            "order_id": id, "tenant_id": tenant, "status": "paid", "amount": "5.00",
            "currency": "USD", "placed_at": "2026-01-05T10:00:00Z",
            "updated_at": "2026-01-05T10:00:00Z",
        },
        "source": { "lsn": id, "ts_ms": 1_767_607_200_000_u64, "snapshot": "false" },
        "op": "c",
        "ts_ms": 1_767_607_200_000_u64,
    });
    format!("{value}\n")
}

fn place(tenant: &str) -> Place {
    let place = Place::new();
    let input = place.path("orders.ndjson");
    std::fs::write(&input, order(1, tenant)).unwrap();
    let input = input.display();
    place.configure(&format!(
        "[[sources]]\nkind = \"file\"\npath = \"{input}\"\ncontract = \"orders\"\n"
    ));
    place.succeeds(&["run", "--until-end"]);
    place
}

#[test]
fn results_that_cannot_be_written_fail_the_command_and_a_closed_pipe_does_not() {
    let place = place("t1");
    for arguments in [
        &["kpis", "get", "orders", "--json"][..],
        &["kpis", "list"],
        &["kpis", "show", "orders"],
        &["verify"],
        &["tables", "list"],
        &["dead-letters", "list"],
        &["contracts", "list"],
        &["config", "show"],
        &["check", "--json"],
        &["token", "mint"],
        &["--help"],
    ] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = place.command(arguments).stdout(full).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.contains("could not write the results"), "{arguments:?}: {said}");

        let mut child = place.command(arguments).stdout(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        assert_eq!(child.wait().unwrap().code(), Some(0), "{arguments:?} into a closed pipe");
    }
}

#[test]
fn control_characters_of_data_do_not_reach_the_terminal() {
    let place = place("a\nb\u{1b}[31m");
    let shown = place.succeeds(&["kpis", "get", "orders", "--grain", "day"]).stdout;
    assert!(shown.contains("a\\nb\\u{1b}[31m"), "{shown}");
    assert_eq!(shown.lines().count(), 2, "{shown}");
    let cells = place.succeeds(&["kpis", "get", "orders", "--grain", "day", "--json"]).json();
    assert_eq!(cells["cells"][0]["tenant"], "a\nb\u{1b}[31m", "scripts get what is there");
}

#[test]
fn a_signal_ends_the_demo_while_it_checks_its_lake() {
    let place = Place::new();
    let demo = ["demo", "--for", "3s", "--history-days", "40", "--json", "--listen", "127.0.0.1:0"];
    let mut run = place.start(&demo);
    run.wait_for("the lake is checked", std::time::Duration::from_secs(240));
    let summary = run.stops().json();
    assert_eq!(summary["verify"], serde_json::Value::Null, "{summary}");
    assert!(summary["events"].as_u64().is_some_and(|events| events > 0), "{summary}");
}

#[test]
fn the_demo_prints_one_json_document() {
    let place = Place::new();
    let lake = place.lake().display().to_string();
    let arguments = ["--history-days", "1", "--listen", "127.0.0.1:0", "--lake", &lake];
    let demo = ["demo", "--events", "2000", "--rate", "5000", "--json"];
    let summary = place.succeeds(&[&demo[..], &arguments[..]].concat()).json();
    assert_eq!(summary["verify"]["ok"], true, "{summary}");
    assert!(summary["verify"]["checks"].as_array().is_some_and(|checks| checks.len() > 5));
    assert!(summary["events"].as_u64().is_some_and(|events| events > 0), "{summary}");

    // Its lake is no place for configured sources, and a lake of these none for it.
    place.configure_files("");
    for command in [&["run", "--until-end"][..], &["run"]] {
        place.weir(command).exits(2).says(&["weir demo", "another folder"]);
    }
    let check = place.weir(&["check"]).exits(2);
    assert!(check.stdout.contains("weir demo"), "{}", check.stdout);
    let other = self::place("t1");
    let lake = other.lake().display().to_string();
    let demo = ["demo", "--events", "10", "--listen", "127.0.0.1:0", "--lake", &lake];
    other.weir(&demo).exits(2).says(&["weir run", "--lake"]);
    assert!(!other.lake().join("_weir/demo.json").exists());
}
