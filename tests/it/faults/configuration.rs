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
        ("[lake]\nflush_interval = \"soon\"\n", "soon"),
        ("[epoch]\nmax_bytes = \"many\"\n", "many"),
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
