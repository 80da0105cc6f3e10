//! Definitions that are right and unusual: their numbers are those worked out by hand, and `weir verify` and `weir
//! explain` say the same.

use serde_json::{Value, json};

use crate::support::Place;

/// Columns whose names are words of SQL.
const PARTS: &str = r#"name = "parts"
format = "rows"
key = ["id"]
tenant = "shop"
columns = [
  { name = "id", type = "bigint" },
  { name = "shop", type = "text" },
  { name = "end", type = "timestamp" },
  { name = "order", type = "bigint" },
  { name = "group", type = "text" },
  { name = "d", type = "decimal(18,2)" },
  { name = "of", type = "bigint" },
]
"#;
const LINES: &str = r#"name = "lines"
format = "rows"
key = ["line"]
tenant = "shop"
columns = [
  { name = "line", type = "bigint" },
  { name = "shop", type = "text" },
  { name = "part", type = "bigint" },
]
"#;
/// Both sides have `shop`, and the right one is called as audits might call the left one.
const BY_LINE: &str = r#"SELECT r.shop AS tenant_id, period(r."end") AS period, r."group", COUNT(*) AS n, SUM(r."order") AS orders
FROM parts r JOIN lines l ON l.part = r.id
GROUP BY 1, 2, 3
"#;
/// A division that fails on some rows: these are left out.
const PRICES: &str = r#"SELECT shop AS tenant_id, period("end") AS period, SUM(d / "of") AS price, COUNT(*) AS n
FROM parts
GROUP BY 1, 2
"#;
/// Divisions that decide of rows, each beside what they are not come to for.
const CHEAP: &str = r#"SELECT shop AS tenant_id, period("end") AS period, COUNT(*) AS n,
       SUM(CASE WHEN id = 1 THEN 1 WHEN d / "of" > 2 THEN 10 ELSE 100 END) AS weight
FROM parts
WHERE (d / "of" > 3) IS NOT TRUE AND (id = 4 OR COALESCE(id / "of", 7) < 9) AND id NOT IN (9, 7 / "of")
GROUP BY 1, 2
"#;
/// The same without its WHERE.
const WEIGHED: &str = r#"SELECT shop AS tenant_id, period("end") AS period,
       SUM(CASE WHEN id = 1 THEN 1 WHEN d / "of" > 2 THEN 10 ELSE 100 END) AS weight
FROM parts
GROUP BY 1, 2
"#;
/// Without a period: of groups, and of those of them that are large.
const BY_GROUP: &str = "SELECT shop AS tenant_id, \"group\", COUNT(*) AS n, MAX(d) AS dearest FROM parts GROUP BY 1, 2\n";
const LARGE: &str = "SELECT tenant_id, \"group\", SUM(n) AS parts FROM groups_of_parts GROUP BY 1, 2 HAVING SUM(n) > 2\n";
/// All that came before.
const SO_FAR: &str = r#"SELECT shop AS tenant_id, period("end") AS period,
       SUM(COUNT(*)) OVER (PARTITION BY shop ORDER BY period("end")) AS n
FROM parts
GROUP BY 1, 2
"#;
/// Rows that a cast decides of.
const FIVES: &str = "SELECT shop AS tenant_id, id, d FROM parts WHERE CAST(d AS BIGINT) = 5\n";

/// Name, text.
const KPIS: [(&str, &str); 11] = [
    ("lines_of_parts", "unit = \"count\"\nview = \"by_line\"\nvalue = \"n\"\ndims = [\"group\"]\n"),
    ("orders_of_parts", "unit = \"count\"\nview = \"by_line\"\nvalue = \"orders\"\n"),
    ("prices", "unit = \"score\"\nview = \"prices\"\nvalue = \"price\"\n"),
    ("priced", "unit = \"count\"\nview = \"prices\"\nvalue = \"n\"\n"),
    ("cheap", "unit = \"count\"\nview = \"cheap_parts\"\nvalue = \"n\"\n"),
    ("weighed", "unit = \"count\"\nview = \"weighed_parts\"\nvalue = \"weight\"\n"),
    (
        "dearest",
        "unit = \"score\"\nview = \"groups_of_parts\"\nvalue = \"dearest\"\ndims = [\"group\"]\n",
    ),
    ("large", "unit = \"count\"\nview = \"large_groups\"\nvalue = \"parts\"\ndims = [\"group\"]\n"),
    ("so_far", "unit = \"count\"\nview = \"parts_so_far\"\nvalue = \"n\"\n"),
    (
        "fives",
        "unit = \"count\"\ncontract = \"parts\"\ntime = \"end\"\naggregate = \"count(*)\"\nfilter = \"cast(d as bigint) = 5\"\n",
    ),
    (
        "over",
        "unit = \"count\"\ncontract = \"parts\"\ntime = \"end\"\naggregate = \"count(*)\"\n\
         filter = \"cast(d as decimal(18,1)) > 5.2 and cast(d as bigint) between 5 and 5\"\n",
    ),
];

fn configure(place: &Place) {
    for folder in ["contracts", "gold", "input"] {
        std::fs::create_dir_all(place.path(folder)).unwrap();
    }
    place.configure(&format!(
        "contracts.definitions = {:?}\ngold.definitions = {:?}\n[[sources]]\nkind = \"file\"\npath = {:?}\n\
         [sources.topics]\nparts = \"parts\"\nlines = \"lines\"\n",
        place.path("contracts"),
        place.path("gold"),
        place.path("input"),
    ));
    std::fs::write(place.path("contracts/parts.toml"), PARTS).unwrap();
    std::fs::write(place.path("contracts/lines.toml"), LINES).unwrap();
    for (name, text) in [
        ("by_line", BY_LINE),
        ("prices", PRICES),
        ("cheap_parts", CHEAP),
        ("weighed_parts", WEIGHED),
        ("groups_of_parts", BY_GROUP),
        ("large_groups", LARGE),
        ("parts_so_far", SO_FAR),
        ("fives_of_parts", FIVES),
    ] {
        std::fs::write(place.path(&format!("gold/{name}.sql")), text).unwrap();
    }
    for (key, text) in KPIS {
        let text = format!("key = \"{key}\"\ntitle = \"T\"\ngood = \"up\"\n{text}");
        std::fs::write(place.path(&format!("gold/{key}.toml")), text).unwrap();
    }
}

/// A row of a topic, under its key.
fn record(topic: &str, offset: usize, key: &str, row: &Value) -> String {
    let key = json!({ key: row[key] }).to_string();
    let record = json!({
        "topic": topic, "partition": 0, "offset": offset, "timestamp": 1_764_500_000_000_u64, "key": key,
        "value": row.to_string(),
    });
    format!("{record}\n")
}

/// What a KPI says of the only day, or without a period, by dimensions.
fn cells(place: &Place, kpi: &str, more: &[&str]) -> Vec<(Value, String)> {
    let answer = place.succeeds(&[&["kpis", "get", kpi, "--json"], more].concat()).json();
    let cell = |row: &Value| {
        assert_eq!(row["status"], "ok", "{row}");
        (row["dims"].clone(), row["value"].as_str().unwrap().to_owned())
    };
    crate::surface::rows(&answer).iter().map(cell).collect()
}

#[test]
fn unusual_definitions_are_right_and_proven() {
    let place = Place::new();
    configure(&place);
    let part = |(id, d, of): (usize, &str, i64)| {
        let group = if id < 3 { "a" } else { "b" };
        json!({
            "id": id, "shop": "t", "end": "2026-11-20T10:00:00Z", "order": 10 + id, "group": group, "d": d, "of": of,
        })
    };
    let parts = [(0, "5.00", 2), (1, "5.50", 0), (2, "5.99", 1), (3, "5.24", 4), (4, "6.00", 0)];
    let mut text: String =
        parts.iter().map(|own| record("parts", own.0, "id", &part(*own))).collect();
    for line in 0..7 {
        let row = json!({ "line": line, "shop": "t", "part": line % 5 });
        text.push_str(&record("lines", line, "line", &row));
    }
    std::fs::write(place.path("input/a.ndjson"), text).unwrap();
    place.succeeds(&["run", "--until-end"]).says(&["a division by zero"]);

    let none = || json!({});
    let of = |kpi: &str| cells(&place, kpi, &["--grain", "day"]);
    // Lines 5 and 6 are of parts 0 and 1.
    assert_eq!(
        of("lines_of_parts"),
        [(json!({ "group": "a" }), "5".to_owned()), (json!({ "group": "b" }), "2".to_owned())]
    );
    assert_eq!(of("orders_of_parts"), [(none(), (10 + 11 + 12 + 13 + 14 + 10 + 11).to_string())]);
    // 5 / 2, 5.99 and 5.24 / 4.
    assert_eq!(of("prices"), [(none(), "9.8".to_owned())]);
    assert_eq!(of("priced"), [(none(), "3".to_owned())]);
    // 0 and 3: of 1 and 4 the first division is by zero, and 2 costs 5.99.
    assert_eq!(of("cheap"), [(none(), "2".to_owned())]);
    // 0 is 10, 1 comes to no division, 2 is 10, 3 is 100.
    assert_eq!(of("weighed"), [(none(), "121".to_owned())]);
    assert_eq!(of("fives"), [(none(), "4".to_owned())]);
    // 5.50 and 5.99, as one digit says, but for 6.00.
    assert_eq!(of("over"), [(none(), "2".to_owned())]);

    let group = |name: &str| json!({ "group": name });
    let dearest = [(group("a"), "5.99".to_owned()), (group("b"), "6".to_owned())];
    assert_eq!(cells(&place, "dearest", &[]), dearest);
    assert_eq!(cells(&place, "large", &[]), [(group("a"), "3".to_owned())]);
    // From the day of the rows to the running one.
    let so_far = of("so_far");
    assert!(so_far.len() > 10 && so_far.iter().all(|own| *own == (none(), "5".to_owned())));
    let told = place.succeeds(&["kpis", "show", "large"]).stdout;
    assert!(told.contains("recomputed by all"), "{told}");
    let told = place.succeeds(&["explain", "large", "--tenant", "t"]).stdout;
    assert!(told.contains("of 1 rows of") && told.matches(" parts ").count() >= 3, "{told}");

    place.succeeds(&["verify", "--deep"]);
    for (kpi, rows) in [
        ("orders_of_parts", "7"),
        ("priced", "3"),
        ("cheap", "2"),
        ("weighed", "4"),
        ("fives", "4"),
        ("over", "2"),
    ] {
        let asked = ["explain", kpi, "--tenant", "t", "--grain", "day", "--period", "2026-11-20"];
        let told = place.succeeds(&asked).stdout;
        assert!(told.contains(&format!("of {rows} rows of")), "{kpi}:\n{told}");
    }
}

#[test]
fn names_of_weirs_own_relations_are_refused() {
    for (file, from, to) in [
        ("contracts/periods.toml", "name = \"lines\"", "name = \"periods\""),
        ("contracts/kpi_current.toml", "name = \"lines\"", "name = \"kpi_current\""),
    ] {
        let place = Place::new();
        configure(&place);
        std::fs::write(place.path(file), LINES.replace(from, to)).unwrap();
        let found = place.weir(&["check"]).exits(2);
        assert!(found.stdout.contains("relation of Weir's own"), "{}", found.stdout);
    }
    let place = Place::new();
    configure(&place);
    std::fs::write(place.path("gold/periods.sql"), FIVES).unwrap();
    let found = place.weir(&["check"]).exits(2);
    assert!(found.stdout.contains("`periods` is a relation of Weir's own"), "{}", found.stdout);
}

/// Sales of which one came without its amount.
const SALES: &str = r#"name = "sales"
format = "debezium-json"
key = ["id"]
tenant = "shop"
columns = [
  { name = "id", type = "bigint" },
  { name = "shop", type = "text" },
  { name = "kind", type = "text" },
  { name = "at", type = "timestamp" },
  { name = "amount", type = "decimal(12,2)" },
]
"#;
const COMPUTED: &str = "SELECT shop AS tenant_id, kind, SUM(amount) AS plain, SUM(amount * 2.0) AS twice,
       SUM(COALESCE(amount, 1.0)) AS or_one, COUNT(*) FILTER (WHERE amount > 3) AS large, MAX(amount * 2.0) AS most,
       SUM(CASE WHEN kind = 'a' THEN amount END) AS chosen
FROM sales GROUP BY 1, 2\n";
const AT_LEAST: &str = "SELECT shop AS tenant_id, kind, SUM(amount) AS total FROM sales GROUP BY 1, 2 HAVING SUM(amount) > 1\n";
const SUMMED: &str = "SELECT shop AS tenant_id, period(at) AS period, kind,
       SUM(SUM(amount)) OVER (PARTITION BY shop, kind ORDER BY period(at)) AS total
FROM sales GROUP BY 1, 2, 3\n";

#[test]
fn what_is_computed_of_a_value_that_was_never_sent_is_in_doubt() {
    let place = Place::new();
    for folder in ["contracts", "gold", "input"] {
        std::fs::create_dir_all(place.path(folder)).unwrap();
    }
    place.configure(&format!(
        "contracts.definitions = {:?}\ngold.definitions = {:?}\n[[sources]]\nkind = \"file\"\npath = {:?}\n\
         [sources.topics]\nsales = \"sales\"\n",
        place.path("contracts"),
        place.path("gold"),
        place.path("input"),
    ));
    std::fs::write(place.path("contracts/sales.toml"), SALES).unwrap();
    for (name, text) in [("computed", COMPUTED), ("at_least", AT_LEAST), ("summed", SUMMED)] {
        std::fs::write(place.path(&format!("gold/{name}.sql")), text).unwrap();
    }
    let columns = ["plain", "twice", "or_one", "large", "most", "chosen"];
    let kpis = columns.map(|column| (column, "computed", column));
    for (key, view, value) in
        kpis.into_iter().chain([("at_least", "at_least", "total"), ("summed", "summed", "total")])
    {
        let text = format!(
            "key = \"{key}\"\ntitle = \"T\"\ngood = \"up\"\nunit = \"score\"\nview = \"{view}\"\n\
             value = \"{value}\"\ndims = [\"kind\"]\n"
        );
        std::fs::write(place.path(&format!("gold/{key}.toml")), text).unwrap();
    }
    let sale = |(id, kind, amount): (usize, &str, &str)| {
        let after = json!({
            "id": id, "shop": "t", "kind": kind, "at": "2026-11-20T10:00:00Z", "amount": amount,
        });
        let value =
            json!({ "op": "c", "before": null, "after": after, "source": { "lsn": 100 + id } });
        let record = json!({
            "topic": "sales", "partition": 0, "offset": id, "key": json!({ "id": id }).to_string(),
            "value": value.to_string(),
        });
        format!("{record}\n")
    };
    let unsent = "__debezium_unavailable_value";
    let sales = [(0, "a", "5.00"), (1, "a", unsent), (2, "b", "7.00")];
    std::fs::write(place.path("input/a.ndjson"), sales.map(sale).concat()).unwrap();
    place.succeeds(&["run", "--until-end"]);

    let status = |kpi: &str, more: &[&str]| -> Vec<(String, String)> {
        let answer = place.succeeds(&[&["kpis", "get", kpi, "--json"], more].concat()).json();
        let word = |value: &Value| value.as_str().unwrap().to_owned();
        let one = |row: &Value| (word(&row["dims"]["kind"]), word(&row["status"]));
        crate::surface::rows(&answer).iter().map(one).collect()
    };
    let cell = |kind: &str, status: &str| (kind.to_owned(), status.to_owned());
    for column in columns {
        // What is nowhere added up of `b` is said of it all the same.
        assert_eq!(status(column, &[]), [cell("a", "in_doubt"), cell("b", "ok")], "{column}");
    }
    // Whether there is one of `a` nobody knows.
    assert_eq!(status("at_least", &[]), [cell("b", "ok")]);
    let summed = status("summed", &["--grain", "year"]);
    assert_eq!(summed, [cell("a", "in_doubt"), cell("b", "ok")]);
    place.succeeds(&["verify", "--deep"]);
}
