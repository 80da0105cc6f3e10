//! Configurations that are refused.

use crate::support::Place;

#[test]
fn an_unknown_key_is_named_with_its_file_and_the_nearest_known_one() {
    let place = Place::new();
    for (text, parts) in [
        ("[epoch]\nlingr = \"1ms\"\n", ["epoch.lingr", "`linger`", "weir.toml"]),
        ("[lakes]\nuri = \"x\"\n", ["lakes", "`lake`", "weir.toml"]),
        ("[[sources]]\nkind = \"kafka\"\nbroker = \"x\"\n", ["broker", "`brokers`", "weir.toml"]),
    ] {
        std::fs::write(place.path("weir.toml"), text).unwrap();
        for arguments in [&["run"][..], &["check"], &["config", "show"]] {
            place.weir(arguments).exits(2).says(&parts);
        }
    }
}

#[test]
fn values_that_make_no_sense_are_refused_with_the_reason() {
    let place = Place::new();
    for (text, part) in [
        ("[lake]\nflush_interval = \"soon\"\n", "`lake.flush_interval` in "),
        ("[epoch]\nmax_bytes = \"many\"\n", "weir.toml` is not valid: `many`"),
        ("[lake\n", "TOML"),
        ("[[sources]]\nkind = \"carrier-pigeon\"\n", "carrier-pigeon"),
        ("[[sources]]\nkind = \"kafka\"\nbrokers = \"127.0.0.1:1\"\n", "topic"),
    ] {
        std::fs::write(place.path("weir.toml"), text).unwrap();
        place.weir(&["run", "--until-end"]).exits(2).says(&[part]);
    }
    place.weir(&["run", "--config", "/nonexistent/weir.toml"]);
}

#[test]
fn settings_that_would_break_exactness_are_refused() {
    let place = Place::new();
    place.configure(
        "[[sources]]\nkind = \"kafka\"\nbrokers = \"127.0.0.1:1\"\n[sources.topics]\n\
         \"t\" = \"orders\"\n[sources.librdkafka]\n\"auto.offset.reset\" = \"latest\"\n",
    );
    place.weir(&["run", "--until-end"]).exits(2).says(&["auto.offset.reset", "latest"]);
}

#[test]
fn an_unknown_contract_is_named_with_the_known_ones() {
    let place = Place::new();
    place.configure_kafka("", "127.0.0.1:1", &[("shop.public.orders", "order")]);
    let done = place.weir(&["run"]).exits(2);
    done.says(&["shop.public.orders", "`order`", "orders", "costs"]);
    assert!(!place.lake().join("bronze").exists(), "nothing is written before that");
}

#[test]
fn secrets_are_not_in_what_is_said_of_a_refused_property() {
    let place = Place::new();
    for (property, value) in [
        ("ssl.key.passwort", "hunter3"),
        ("sasl.passwrd", "hunter9"),
        ("sasl.jaas.config", "x password=hunter4;"),
    ] {
        place.configure_kafka("", "127.0.0.1:1", &[("a", "orders")]);
        let path = place.path("weir.toml");
        let mut text = std::fs::read_to_string(&path).unwrap();
        text.push_str(&format!("[sources.librdkafka]\n\"{property}\" = \"{value}\"\n"));
        std::fs::write(&path, text).unwrap();
        for (arguments, code) in [
            (&["check"][..], 2),
            (&["run"], 2),
            (&["run", "--until-end"], 2),
            (&["config", "show"], 0),
        ] {
            let done = place.weir(arguments).exits(code);
            let said = done.stdout + &done.stderr;
            assert!(said.contains(property) && !said.contains("hunter"), "{said}");
        }
    }
    assert!(!place.lake().exists(), "nothing is written before that");
}

/// What `run` refuses, `check` refuses: with 2, the reason, and nothing left behind.
#[test]
fn check_and_run_refuse_the_same() {
    let place = Place::new();
    std::fs::create_dir_all(place.path("input")).unwrap();
    std::fs::write(place.path("file"), "").unwrap();
    let files = "[[sources]]\nkind = \"file\"\npath = \"input\"\ncontract = \"orders\"\n";
    let api = "[api]\nlisten = \"127.0.0.1:0\"\n";
    let lake = |uri: &str| format!("[lake]\nuri = \"{uri}\"\n{api}{files}");
    for (text, part) in [
        (format!("[api]\nlisten = \"0.0.0.0:0\"\n{files}"), "jwks_url"),
        (format!("[api]\nlisten = \"nowhere\"\n{files}"), "no address"),
        (format!("{api}[auth]\njwks_url = \"http://127.0.0.1:1/y\"\n{files}"), "issuer"),
        (lake("s3://bucket/x"), "a folder on a local disk"),
        (lake("file"), "is a file"),
        (lake("file/lake"), "is a file"),
        (format!("{api}{files}{files}"), "its own `name`"),
        (format!("{api}{files}[sources.topics]\n\"a\" = \"costs\"\n"), "`contract`"),
        (format!("{api}{}", files.replace("input", "none")), "`none` cannot be read"),
        (format!("{api}{}", files.replace("orders", "order")), "did you mean `orders`"),
        (api.to_owned(), "[[sources]]"),
    ] {
        refused(&place, &text, part);
    }
    let contract = "name = \"pay\"\nformat = \"debezium-json\"\nkey = [\"a\"]\ntenant = \"t\"\n\
                    columns = [{ name = \"a\", type = \"text\" }, { name = \"t\", type = \"text\" },\n\
                    { name = \"v\", type = \"decimal(9,2)\" }]\n";
    std::fs::create_dir_all(place.path("contracts")).unwrap();
    for (from, to, part) in [
        ("[\"a\"]", "[]", "no key columns"),
        ("debezium-json", "avro", "no decoder `avro`"),
        ("\"a\", type = \"text\"", "\"a\", type = \"json\"", "key column `a` is json"),
        ("name = \"v\"", "name = \"_epoch\"", "column `_epoch`"),
        ("name = \"v\"", "name = \"_position\"", "column `_position`"),
    ] {
        std::fs::write(place.path("contracts/pay.toml"), contract.replace(from, to)).unwrap();
        let text = format!("{api}{files}[contracts]\ndefinitions = \"contracts\"\n");
        refused(&place, &text, part);
        refused(&place, &text, "pay.toml");
    }
}

fn refused(place: &Place, text: &str, part: &str) {
    std::fs::write(place.path("weir.toml"), text).unwrap();
    let run = place.weir(&["run"]).exits(2).says(&[part]);
    assert!(run.stdout.is_empty(), "{run:?}");
    let check = place.weir(&["check"]).exits(2);
    assert!(check.stdout.contains(part), "{part} is not in {}", check.stdout);
    for left in ["s3:", "lake"] {
        assert!(!place.path(left).exists(), "{left} is left behind by {text}");
    }
}
