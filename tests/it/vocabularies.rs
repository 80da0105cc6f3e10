//! Values that contracts speak of: counted and listed, dead letters where that is strict, and no reason to
//! build anything again; and tenants that are none.

use std::fs::OpenOptions;
use std::io::Write as _;

use harness::{Options, check_lake};
use serde_json::{Value, json};

use crate::support::{Done, Place};

/// An order with this status, currency and tenant.
fn order(number: u64, status: &str, currency: &str, tenant: &str) -> String {
    let row = json!({
        "order_id": format!("o{number}"), "tenant_id": tenant, "status": status, "amount": "10",
        "currency": currency, "placed_at": "2026-03-01T10:00:00Z", "updated_at": "2026-03-01T10:00:00Z",
    });
    let source = json!({ "lsn": 100 + number, "ts_ms": 1_700_000_000_000_u64 + number, "snapshot": "false" });
    let value = json!({ "op": "c", "after": row, "source": source }).to_string();
    let record = json!({
        "topic": "shop.public.orders", "partition": 0, "offset": number, "key": "{}", "value": value,
    });
    format!("{record}\n")
}

fn append(place: &Place, lines: &[String]) {
    let path = place.path("input/a.ndjson");
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(lines.concat().as_bytes()).unwrap();
}

/// The contract of orders, its status strict or not, in a folder of its own.
fn contract(place: &Place, values: &str) {
    let text = include_str!("../../schemas/contracts/tables/orders.toml");
    let own = text.replace("\"refunded\"] }", values);
    assert_ne!(own, text);
    std::fs::create_dir_all(place.path("contracts")).unwrap();
    std::fs::write(place.path("contracts/orders.toml"), own).unwrap();
}

fn dead_letters(place: &Place) -> Vec<String> {
    let letters = place.succeeds(&["dead-letters", "list", "--json"]).json();
    let rows = crate::surface::rows(&letters);
    rows.iter().map(|row| row["reason"].as_str().unwrap().to_owned()).collect()
}

/// What the KPI `orders` counts at the month, by tenant and currency.
fn counted(place: &Place) -> Value {
    let found = place.succeeds(&["kpis", "get", "orders", "--grain", "month", "--json"]).json();
    let rows = crate::surface::rows(&found);
    let one = |row: &Value| {
        let name = format!(
            "{} {}",
            row["tenant"].as_str().unwrap(),
            row["dims"]["currency"].as_str().unwrap()
        );
        (name, row["value"].clone())
    };
    Value::Object(rows.iter().map(one).collect())
}

fn says_all(done: &Done, words: &[&str]) {
    for word in words {
        assert!(done.stdout.contains(word), "`{word}` is not in:\n{}", done.stdout);
    }
}

#[test]
fn values_outside_are_listed_and_refused_only_from_the_epoch_that_says_so() {
    let place = Place::new();
    let folder = place.path("contracts");
    place.configure_files(&format!("contracts.definitions = \"{}\"\n", folder.display()));
    contract(&place, "\"refunded\"], strict = false }");
    append(
        &place,
        &[
            order(0, "paid", "USD", "acme"),
            order(1, "canceled", "usd", "acme"),
            order(2, "canceled", "USD", ""),
            order(3, "paid", "USD", "*"),
        ],
    );
    place.succeeds(&["run", "--until-end"]);
    assert_eq!(counted(&place), json!({ "acme USD": "1", "acme usd": "1", "default USD": "1" }));
    let letters = dead_letters(&place);
    assert!(
        letters.len() == 1 && letters[0].contains("`tenant_id`: `*` stands for all"),
        "{letters:?}"
    );
    let listed = [
        "column `status`: 2 rows have `canceled`, which is not one of placed, paid,",
        "(did you mean `cancelled`?)",
        "column `currency`: 1 row has `usd`, which is not a code of ISO 4217 (did you mean `USD`?)",
        "column `tenant_id`: 1 row has an empty tenant",
    ];
    says_all(&place.succeeds(&["check"]), &listed);
    says_all(&place.succeeds(&["verify", "--deep"]), &listed);

    // Strict from here on: what is there stays, nothing is built again.
    contract(&place, "\"refunded\"], strict = true }");
    append(&place, &[order(4, "canceled", "USD", "acme"), order(5, "paid", "USD", "acme")]);
    let run = place.succeeds(&["run", "--until-end"]);
    let run = run.says(&["contract `orders` is put in force"]);
    assert!(!run.stderr.contains("built"), "{}", run.stderr);
    assert_eq!(counted(&place), json!({ "acme USD": "2", "acme usd": "1", "default USD": "1" }));
    let letters = dead_letters(&place);
    let last = letters.iter().find(|reason| reason.contains("`status`")).unwrap();
    assert_eq!(letters.len(), 2, "{letters:?}");
    assert!(
        last.contains("`canceled` is not one of placed, paid") && last.contains("`cancelled`"),
        "{last}"
    );
    place.succeeds(&["verify", "--deep"]);

    // The next start finds the same contract in force, and nothing else says it again.
    append(&place, &[order(6, "canceled", "USD", "acme")]);
    place.succeeds(&["run", "--until-end"]);
    assert_eq!(dead_letters(&place).len(), 3);
    place.succeeds(&["verify", "--deep"]);

    // Everything again from bronze: the same rows, by the contract of each epoch.
    std::fs::remove_dir_all(place.path("lake/silver")).unwrap();
    std::fs::remove_dir_all(place.path("lake/_weir/state")).unwrap();
    place.succeeds(&["run", "--until-end"]);
    assert_eq!(counted(&place), json!({ "acme USD": "2", "acme usd": "1", "default USD": "1" }));
    place.succeeds(&["verify", "--deep"]);

    // Allowed: what was a dead letter stays one, what comes is a row.
    contract(&place, "\"refunded\", \"canceled\"], strict = true }");
    append(&place, &[order(7, "canceled", "USD", "acme")]);
    place.succeeds(&["run", "--until-end"]);
    assert_eq!(counted(&place), json!({ "acme USD": "3", "acme usd": "1", "default USD": "1" }));
    place.succeeds(&["verify", "--deep"]);
}

#[test]
fn what_is_advised_against_empty_tenants_names_them() {
    let place = Place::new();
    let folder = place.path("contracts");
    place.configure_files(&format!("contracts.definitions = \"{}\"\n", folder.display()));
    std::fs::create_dir_all(&folder).unwrap();
    append(&place, &[order(0, "paid", "USD", "acme"), order(1, "paid", "USD", "")]);
    place.succeeds(&["run", "--until-end"]);
    assert_eq!(counted(&place), json!({ "acme USD": "1", "default USD": "1" }));
    let advice = place.succeeds(&["check"]).stdout;
    let (_, rest) = advice.split_once("the column being ").unwrap_or_else(|| panic!("{advice}"));
    let (column, _) = rest.split_once("}:").unwrap();
    let text = include_str!("../../schemas/contracts/tables/orders.toml");
    let own = text.replace("{ name = \"tenant_id\", type = \"text\" }", &format!("{column}}}"));
    assert_ne!(own, text);
    std::fs::write(folder.join("orders.toml"), own.replace("'NAME'", "'web'")).unwrap();
    append(&place, &[order(2, "paid", "USD", "")]);
    place.succeeds(&["run", "--until-end"]);
    assert_eq!(counted(&place), json!({ "acme USD": "1", "web USD": "2" }));
    let after = place.succeeds(&["check"]).stdout;
    assert!(!after.contains("empty tenant"), "{after}");
    place.succeeds(&["verify", "--deep"]);
}

#[test]
fn the_oracle_agrees_about_tenants_that_are_none() {
    let place = Place::new();
    place.configure_files("");
    append(
        &place,
        &[
            order(0, "paid", "USD", ""),
            order(1, "paid", "USD", "*"),
            order(2, "payed", "USD", "acme"),
        ],
    );
    place.succeeds(&["run", "--until-end"]);
    let report = check_lake(place.lake(), None, &Options::default()).unwrap();
    assert!(report.is_clean(), "{report}");
    assert_eq!((report.dead_letters, report.silver_rows), (1, 2));
}

#[test]
fn a_token_for_all_tenants_says_so_in_a_claim_of_its_own() {
    let place = Place::new();
    place.configure_files("");
    place.succeeds(&["run", "--until-end"]);
    let claims = |arguments: &[&str]| -> Value {
        let token = place.succeeds(&[&["token", "mint"], arguments].concat()).stdout;
        let part = token.split('.').nth(1).unwrap().to_owned();
        let engine = base64::engine::general_purpose::URL_SAFE_NO_PAD;
        serde_json::from_slice(&base64::Engine::decode(&engine, part).unwrap()).unwrap()
    };
    for arguments in [&[][..], &["--tenant", "*"]] {
        let claims = claims(arguments);
        assert_eq!((&claims["tenants"], &claims["tenant"]), (&json!("all"), &Value::Null));
    }
    let one = claims(&["--tenant", "acme"]);
    assert_eq!((&one["tenants"], &one["tenant"]), (&Value::Null, &json!("acme")));
}
