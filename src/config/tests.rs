//! The configuration, from its texts.

use super::*;

fn load(text: &str, environment: &[(&str, &str)]) -> Result<Effective, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weir.toml");
    std::fs::write(&path, text).unwrap();
    let environment: Vec<_> =
        environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Effective::load(Some(&path), &environment)
}

const KAFKA: &str = "[[sources]]\nkind='kafka'\nbrokers='a:1'\ngroup='g'\n\
                     [sources.topics]\n't'='orders'\n[sources.librdkafka]\n'sasl.password'='x'";

#[test]
fn environment_beats_file_beats_default_and_each_value_knows_its_origin() {
    let text = format!("[epoch]\nlinger='20ms'\nmax_records=5\n{KAFKA}");
    let environment =
        [("WEIR__EPOCH__MAX_RECORDS", "7"), ("KAFKA_BOOTSTRAP_SERVERS", "b:2"), ("HOME", "/")];
    let effective = load(&text, &environment).unwrap();
    assert_eq!(effective.config.epoch.linger.0, std::time::Duration::from_millis(20));
    assert_eq!(effective.config.epoch.max_records, 7);
    let shown = effective.show();
    let find = |key: &str| shown.iter().find(|row| row.0 == key).unwrap().clone();
    assert!(find("epoch.max_records").2.contains("WEIR__EPOCH__MAX_RECORDS"));
    assert!(find("epoch.linger").2.ends_with("weir.toml"));
    assert_eq!(find("epoch.max_bytes").2, "default");
    assert_eq!(find("sources.0.brokers").1, "\"b:2\"");
    assert_eq!(find("sources.0.librdkafka.sasl.password").1, "\"***\"");
}

#[test]
fn refuses_unknown_keys_with_the_nearest_known_one() {
    for (text, says) in [
        ("[epoch]\nlingr='1ms'", "`epoch.lingr` in"),
        ("[epoch]\nlingr='1ms'", "did you mean `linger`?"),
        ("[epoc]\nlinger='1ms'", "did you mean `epoch`?"),
        ("[[sources]]\nkind='kafka'\nbroker='x'", "did you mean `brokers`?"),
        ("[lake]\nflush_interval='soon'", "soon"),
        ("[lake]\nmemory_limit='much'", "`much` is no size"),
        ("[lake", "not valid TOML"),
    ] {
        let error = load(text, &[]).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    let error = load("", &[("WEIR__LAKE__URL", "x")]).unwrap_err().to_string();
    assert!(error.contains("did you mean `uri`?"), "{error}");
}

#[test]
fn a_refusal_names_the_key_and_where_it_was_set() {
    for (text, says) in [
        ("[lake]\nflush_interval='-1s'", ["`lake.flush_interval`", "weir.toml`", "`-1s` is no"]),
        ("[lake]\nuri=5", ["`lake.uri`", "weir.toml`", "integer `5`"]),
        ("[epoch]\nmax_records='x'", ["`epoch.max_records`", "weir.toml`", "usize"]),
        ("lake=5", ["`lake`", "weir.toml`", "integer `5`"]),
        ("[sources]\nkind='file'", ["`sources`", "weir.toml`", "sequence"]),
        ("[[sources]]\nkind='pigeon'", ["`sources.0.kind`", "weir.toml`", "`kafka` or `file`"]),
        ("[[sources]]\nkind='kafka'", ["`sources.0`", "weir.toml`", "`brokers`"]),
        (
            "[[sources]]\nkind='file'\npath='x'\n[[sources]]\nkind='file'\npath=5",
            ["`sources.1.path`", "weir.toml`", "integer `5`"],
        ),
        (
            "[[sources]]\nkind='kafka'\nbrokers='b'\nlost_records='jump'",
            ["`sources.0.lost_records`", "weir.toml`", "`jump`"],
        ),
    ] {
        let error = load(text, &[]).unwrap_err().to_string();
        says.iter().for_each(|part| assert!(error.contains(part), "`{part}`: {error}"));
    }
    let error = load("", &[("WEIR__EPOCH__LINGER", "soon")]).unwrap_err().to_string();
    let expected = "`epoch.linger` in environment WEIR__EPOCH__LINGER is not valid";
    assert!(error.starts_with(expected), "{error}");
}

#[test]
fn no_secret_is_shown_and_none_is_in_a_refusal() {
    let text = KAFKA.replace(
        "'sasl.password'='x'",
        "'sasl.password'='h1'\n'sasl.jaas.config'='h2'\n'sasl.username'='h3'\n'SSL.Key.Password'='h4'",
    );
    for (key, value, _) in load(&text, &[]).unwrap().show() {
        let shown = ["h1", "h2", "h3", "h4"].iter().any(|secret| value.contains(secret));
        assert!(!shown, "{key} = {value}");
    }
    for (from, to) in [("'h1'", "hunter2"), ("'h1'", "'hunter2"), ("'h1'", "['hunter2']")] {
        let error = load(&text.replace(from, to), &[]).unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
        let place = if to.starts_with('[') { "sources.0.librdkafka" } else { "line 8, column" };
        assert!(error.contains(place), "{error}");
    }
}

#[test]
fn a_secret_comes_from_the_environment_and_is_plain_only_in_the_file() {
    let plain = |environment: &[(&str, &str)]| {
        let config = load(KAFKA, environment).unwrap().config;
        let SourceConfig::Kafka(kafka) = &config.sources[0] else { panic!("kafka") };
        (kafka.librdkafka.0.clone(), config.plain_secrets)
    };
    let (_, secrets) = plain(&[]);
    let secret = |property: &str| PlainSecret { source: "kafka".into(), property: property.into() };
    assert_eq!(secrets, [secret("sasl.password")]);
    assert_eq!(
        variable_of("kafka", "sasl.password"),
        "WEIR__SOURCES__KAFKA__LIBRDKAFKA__SASL_PASSWORD"
    );
    for (variable, property) in [("SASL_PASSWORD", "sasl.password"), ("SSL_KEY_PEM", "ssl.key.pem")]
    {
        let variable = format!("WEIR__SOURCES__KAFKA__LIBRDKAFKA__{variable}");
        let (properties, secrets) = plain(&[(&variable, "h1")]);
        assert_eq!(properties[property], "h1");
        assert!(!secrets.contains(&secret(property)), "{secrets:?}");
        let shown = load(KAFKA, &[(&variable, "h1")]).unwrap().show();
        let row = shown.iter().find(|row| row.0.ends_with(property)).unwrap();
        assert_eq!((row.1.as_str(), row.2.contains(&variable)), ("\"***\"", true));
    }
    // One place of a secret replaces another.
    let (properties, secrets) =
        plain(&[("WEIR__SOURCES__KAFKA__LIBRDKAFKA__SASL_PASSWORD_FILE", "/run/secret")]);
    assert_eq!(properties["sasl.password_file"], "/run/secret");
    assert!(!properties.contains_key("sasl.password") && secrets.is_empty());
    let unknown = load(KAFKA, &[("WEIR__SOURCES__SHOP__LIBRDKAFKA__SASL_PASSWORD", "h1")]);
    let unknown = unknown.unwrap_err().to_string();
    assert!(unknown.contains("<NAME>") && !unknown.contains("h1"), "{unknown}");
}

#[test]
fn intervals_have_bounds() {
    for (key, good, bad) in [
        ("barrier", ["10ms", "1h"], ["0s", "9ms", "2h"]),
        ("flush", ["1ms", "1h"], ["0s", "0ms", "61m"]),
    ] {
        let set = |value: &str| load(&format!("lake.{key}_interval='{value}'"), &[]);
        good.into_iter().for_each(|value| drop(set(value).unwrap()));
        for value in bad {
            let error = set(value).unwrap_err().to_string();
            let says = format!("`lake.{key}_interval` in");
            assert!(error.contains(&says) && error.contains("at most `1h`"), "{error}");
        }
    }
}

#[test]
fn audits_are_made_unless_their_interval_is_nothing() {
    let audit = |text: &str| {
        load(text, &[]).unwrap().config.settings(std::path::Path::new("lake/_weir")).audit
    };
    let usual = audit("").unwrap();
    assert_eq!((usual.interval.as_secs(), usual.budget.as_secs()), (60, 1));
    let own = audit("audit.interval='50ms'\naudit.budget='2s'").unwrap();
    assert_eq!((own.interval.as_millis(), own.budget.as_secs()), (50, 2));
    assert!(audit("[audit]\ninterval='0s'").is_none());
    let wrong = load("audit.intervall='1s'", &[]).unwrap_err().to_string();
    assert!(wrong.contains("audit.intervall") && wrong.contains("interval"), "{wrong}");
}

#[test]
fn models_are_trained_every_week_or_as_it_is_set() {
    let interval = |text: &str| load(text, &[]).unwrap().config.retrain_interval();
    assert_eq!(interval("").unwrap().as_secs(), 7 * 86_400);
    assert_eq!(interval("anomaly.retrain='1s'").unwrap().as_secs(), 1);
    assert_eq!(interval("[anomaly]\nretrain='0s'"), None);
}

#[test]
fn origins_are_checked_and_may_come_from_the_environment() {
    let origins = |text: &str| load(text, &[]).unwrap().config.api.origins();
    let both = "[api]\npublic_url='https://Weir.example/'\nallowed_origins=['http://[::1]:8080']";
    assert_eq!(origins(both).unwrap(), ["https://weir.example", "http://[::1]:8080"]);
    assert_eq!(origins("").unwrap(), Vec::<String>::new());
    for wrong in
        ["*", "weir.example", "https://", "ftp://weir.example", "https://weir.example/a", "null"]
    {
        let refused = origins(&format!("[api]\nallowed_origins=['{wrong}']")).unwrap_err();
        assert!(refused.contains("[api] allowed_origins") && refused.contains(wrong), "{refused}");
    }
    let two = [("WEIR__API__ALLOWED_ORIGINS", "https://a.example, https://b.example")];
    let config = load("", &two).unwrap().config;
    assert_eq!(config.api.origins().unwrap(), ["https://a.example", "https://b.example"]);
}

#[test]
fn what_is_planned_is_read_or_refused_with_its_place() {
    let with =
        |events: &str| load(&format!("[[calendar]]\nname='Own'\ntenants=['acme']\n{events}"), &[]);
    let read = with(
        "events=[{from='2026-12-24',to='2026-12-26',title='Christmas'},{from='2027-01-01',title=''}]",
    );
    let config = read.unwrap().config;
    let planned = config.time.calendar().of("acme").all_planned().clone();
    let times: Vec<String> = planned
        .intervals()
        .iter()
        .map(|(from, to, title)| format!("{title} {} {}", from.date(), to.date()))
        .collect();
    assert_eq!(times, ["Christmas 2026-12-24 2026-12-27", "Own 2027-01-01 2027-01-02"]);
    assert!(config.time.calendar().of("bolt").all_planned().is_empty());
    for (events, says) in [
        ("", "`calendar.0.file` in"),
        ("evnts=[]", "unknown key `calendar.evnts`"),
        ("file='no.ics'", "could not read `no.ics`"),
        ("events=[{form='2026-12-24',title='t'}]", "unknown key `calendar.events.form`"),
        ("events=[{from='24.12.2026',title='t'}]", "`calendar.0.events.0.from` in"),
        ("events=[{from='2026-12-24',to='2026-12-20',title='t'}]", "is before `from`"),
        ("events=[{from='2026-12-24T18:00:00',title='t'}]", "`calendar.0.events.0.to` in"),
    ] {
        let refused = with(events).unwrap_err().to_string();
        assert!(refused.contains(says), "{events}: {refused}");
    }
    let nobody = load("[[calendar]]\ntenants=[]\nfile='x.ics'", &[]).unwrap_err().to_string();
    assert!(nobody.contains("is empty; name tenants"), "{nobody}");
}

#[test]
fn the_reporting_currency_is_one_of_iso_4217_or_none() {
    let of = |code: &str| load(&format!("[gold]\nreporting_currency='{code}'"), &[]);
    assert_eq!(of("").unwrap().config.gold.reporting_currency(), None);
    assert_eq!(of("CHF").unwrap().config.gold.reporting_currency(), Some("CHF"));
    for code in ["EURO", "eur"] {
        let refused = of(code).unwrap_err().to_string();
        let says = format!("is not valid: `{code}` is not a code of ISO 4217, such as `EUR`");
        assert!(
            refused.contains(&says) && refused.contains("`gold.reporting_currency`"),
            "{refused}"
        );
        assert!(refused.contains("did you mean `EUR`?"), "{refused}");
    }
}
