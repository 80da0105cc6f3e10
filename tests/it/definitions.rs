//! A KPI that somebody adds: a file in a folder, no Rust, on a lake that is already there.

use std::collections::BTreeMap;

use harness::Options;
use harness::tables::{read_current, read_silver};
use schemas::{Contract, Grain, Micros};
use serde_json::Value;

use crate::support::stream::{append, options, records};
use crate::support::{Place, assert_clean, definitions};

/// Paid orders by currency, of all times.
fn paid() -> String {
    let more = "filter = \"status = 'paid' and placed_at < '9999-12-31'\"\ndims = [\"currency\"]\n";
    definitions::count_of("paid_orders", "orders", "placed_at", more)
}

/// tenant, dims, period start.
type Cell = (String, String, String);

#[test]
fn a_kpi_is_added_by_dropping_a_file() {
    let place = Place::new();
    let folder = place.path("kpis");
    std::fs::create_dir_all(&folder).unwrap();
    let setting = format!("gold.definitions = \"{}\"\n", folder.display());
    place.configure_files(&setting);
    let records = records(&options(31, 6_000));
    append(&place.path("input/a.ndjson"), &records);
    place.succeeds(&["run", "--until-end"]);

    std::fs::write(folder.join("paid_orders.toml"), paid()).unwrap();
    place.succeeds(&["run", "--until-end"]);
    for grain in Grain::ALL {
        let expected = count(&place, grain);
        assert!(!expected.is_empty());
        assert_eq!(cells(&place, grain), expected, "{grain}");
    }
    assert_clean(place.lake(), None, &Options::default());
    place.succeeds(&["verify"]);

    // A meaning that no row has, and none at all: what was computed before is gone from the table.
    std::fs::write(folder.join("paid_orders.toml"), paid().replace("'paid'", "'nothing'")).unwrap();
    place.succeeds(&["run", "--until-end"]);
    assert_eq!(cells(&place, Grain::Day), BTreeMap::new());
    place.succeeds(&["verify"]);
    std::fs::write(folder.join("paid_orders.toml"), paid()).unwrap();
    place.succeeds(&["run", "--until-end"]);
    assert_eq!(cells(&place, Grain::Day), count(&place, Grain::Day));
    assert!(is_in_table(&place));
    std::fs::remove_file(folder.join("paid_orders.toml")).unwrap();
    place.succeeds(&["run", "--until-end"]);
    assert!(!is_in_table(&place));
    place.succeeds(&["verify"]);

    let wrong = paid().replace("currency", "curency");
    std::fs::write(folder.join("paid_orders.toml"), wrong).unwrap();
    let refused = place.weir(&["run", "--until-end"]).exits(2);
    refused.says(&["paid_orders.toml", "curency", "currency"]);
}

/// Whether the table of current values has any row of it.
fn is_in_table(place: &Place) -> bool {
    let table = read_current(place.lake()).unwrap().unwrap();
    table.unknown_kpis.contains("paid_orders")
}

/// What `weir kpis get` says.
fn cells(place: &Place, grain: Grain) -> BTreeMap<Cell, i64> {
    let grain = grain.to_string();
    let answer =
        place.succeeds(&["kpis", "get", "paid_orders", "--grain", &grain, "--json"]).json();
    let rows = crate::surface::rows(&answer);
    let text = |row: &Value, name: &str| match &row[name] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let cell = |row: &Value| {
        assert_eq!(row["grain"], *grain);
        let value = text(row, "value").parse().unwrap();
        ((crate::surface::tenant(row), text(row, "dims"), text(row, "period_start")), value)
    };
    rows.iter().map(cell).collect()
}

/// The same, counted row by row over silver.
fn count(place: &Place, grain: Grain) -> BTreeMap<Cell, i64> {
    let text = include_str!("../../schemas/contracts/tables/orders.toml");
    let contract = Contract::parse(text).unwrap();
    let column = |name: &str| contract.column(name).unwrap();
    let (tenant, status) = (column("tenant_id"), column("status"));
    let (currency, placed) = (column("currency"), column("placed_at"));
    let silver = read_silver(place.lake(), &contract).unwrap().unwrap();
    let mut counts = BTreeMap::new();
    for row in silver.rows.values().map(|silver| &silver.row) {
        use harness::event::Cell as Value;
        let (Value::Text(status), Value::Time(at)) = (&row[status], &row[placed]) else { continue };
        let Value::Text(currency) = &row[currency] else { continue };
        if status == "paid" {
            let tenant = match &row[tenant] {
                Value::Text(tenant) => tenant.clone(),
                _ => "default".into(),
            };
            let start = grain.start(Micros(*at)).to_string();
            let dims = format!("{{\"currency\":\"{currency}\"}}");
            *counts.entry((tenant, dims, start)).or_insert(0) += 1;
        }
    }
    counts
}

#[test]
fn a_table_whose_contract_changes_is_built_again_from_bronze() {
    let place = Place::new();
    let folder = place.path("contracts");
    std::fs::create_dir_all(&folder).unwrap();
    let contract = folder.join("refunds.toml");
    let note = "{ name = \"note\", type = \"text\" },\n";
    let reason = "{ name = \"reason\", type = \"text\" },\n";
    std::fs::write(&contract, definitions::refunds("decimal(18,4)", note)).unwrap();
    let input = place.path("refunds.ndjson");
    let line = |id: u32, amount: &str| {
        format!(
            "{{\"op\":\"c\",\"after\":{{\"refund_id\":\"{id}\",\"amount\":\"{amount}\",\"note\":\"n\",\
             \"reason\":\"r\"}},\"source\":{{\"lsn\":{id}}}}}\n"
        )
    };
    std::fs::write(&input, line(1, "1.5") + &line(2, "2")).unwrap();
    place.configure(&format!(
        "contracts.definitions = {folder:?}\n[[sources]]\nkind = \"file\"\npath = {input:?}\n\
         contract = \"refunds\"\n"
    ));
    place.succeeds(&["run", "--until-end"]);
    place.succeeds(&["verify", "--deep"]);
    let rows = |text: &str| {
        let contract = Contract::parse(text).unwrap();
        read_silver(place.lake(), &contract).unwrap().unwrap().rows.len()
    };
    let changes = [
        (definitions::refunds("decimal(18,4)", &format!("{note}{reason}")), 2),
        (definitions::refunds("decimal(18,4)", ""), 2),
        (definitions::refunds("decimal(20,4)", note), 2),
        (definitions::refunds("decimal(20,4)", &format!("{reason}{note}")), 3),
    ];
    for (at, (text, expected)) in (0_u32..).zip(changes) {
        std::fs::write(&contract, &text).unwrap();
        if at == 3 {
            let mut lines = std::fs::read_to_string(&input).unwrap();
            lines.push_str(&line(3, "3"));
            std::fs::write(&input, lines).unwrap();
        }
        place.succeeds(&["run", "--until-end"]);
        assert_eq!(rows(&text), expected, "{text}");
        place.succeeds(&["verify", "--deep"]);
    }
}

/// Contract, columns, and whether it is configured and in force.
type Listed = (String, usize, bool, bool);

fn contracts(place: &Place) -> Vec<Listed> {
    let list = place.succeeds(&["contracts", "list", "--json"]).json();
    let one = |own: &Value| {
        let flag = |name: &str| own[name].as_bool().unwrap();
        let columns = own["columns"].as_array().unwrap().len();
        assert_eq!(own["version"].is_u64(), flag("in_force"), "{own}");
        (
            own["contract"].as_str().unwrap().to_owned(),
            columns,
            flag("configured"),
            flag("in_force"),
        )
    };
    let all = list.as_array().unwrap().iter().map(one);
    all.filter(|(name, ..)| name.starts_with("refund")).collect()
}

#[test]
fn a_lake_is_verified_by_what_is_in_force_in_it() {
    let place = Place::new();
    let (folder, kpis) = (place.path("contracts"), place.path("kpis"));
    for folder in [&folder, &kpis] {
        std::fs::create_dir_all(folder).unwrap();
    }
    let settings = format!("contracts.definitions = {folder:?}\ngold.definitions = {kpis:?}\n");
    place.configure_files(&settings);
    append(&place.path("input/a.ndjson"), &records(&options(32, 2_000)));
    let note = "{ name = \"note\", type = \"text\" },\n";
    let contract = folder.join("refunds.toml");
    std::fs::write(&contract, definitions::refunds("decimal(18,4)", "")).unwrap();
    let listed =
        |columns, configured, in_force| ("refunds".to_owned(), columns, configured, in_force);
    assert_eq!(contracts(&place), [listed(3, true, false)]);
    std::fs::write(kpis.join("paid_orders.toml"), paid()).unwrap();
    place.succeeds(&["run", "--until-end"]);
    assert!(!place.succeeds(&["verify", "--deep"]).stdout.contains("note: the"));
    assert_eq!(contracts(&place), [listed(3, true, true)]);

    // Configured, and not started with: another column, another table, another meaning, one KPI more.
    std::fs::write(&contract, definitions::refunds("decimal(18,4)", note)).unwrap();
    let more = definitions::refunds("decimal(18,4)", "").replace("\"refunds\"", "\"refunds_b\"");
    std::fs::write(folder.join("refunds_b.toml"), more).unwrap();
    std::fs::write(kpis.join("paid_orders.toml"), paid().replace("'paid'", "'placed'")).unwrap();
    let time = definitions::count_of("orders_b", "orders", "placed_at", "");
    std::fs::write(kpis.join("orders_b.toml"), time).unwrap();
    let said = place.succeeds(&["verify", "--deep"]).stdout;
    for says in [
        "the contract `refunds` is configured otherwise than it is in force (version 1, since epoch 2)",
        "the contract `refunds_b` is configured, and not in force until the next start",
        "the KPI `paid_orders` is configured otherwise",
        "the KPI `orders_b` is configured, and not in force",
    ] {
        assert!(said.contains(says), "{says}: {said}");
    }
    let other = ("refunds_b".to_owned(), 3, true, false);
    assert_eq!(contracts(&place), [listed(3, false, true), listed(4, true, false), other]);
    let table = place.succeeds(&["contracts", "list"]).stdout;
    assert!(
        table.contains("from the next start on") && table.contains("until the next start"),
        "{table}"
    );
    let kpis = place.succeeds(&["kpis", "list"]).stdout;
    assert!(kpis.contains("another, version 1 since epoch 2"), "{kpis}");
    // What is damaged shows all the same.
    std::fs::remove_dir_all(place.lake().join("silver/refunds")).unwrap();
    place.weir(&["verify"]).exits(1);
}

#[test]
fn a_view_is_accepted_or_refused_with_its_place() {
    let place = Place::new();
    let folder = place.path("views");
    std::fs::create_dir_all(&folder).unwrap();
    place.configure(&format!("gold.definitions = \"{}\"\n", folder.display()));
    let none = place.weir(&["views", "check"]).exits(2);
    assert!(none.stderr.contains("no views"), "{}", none.stderr);

    let sums = "SELECT tenant_id, period(placed_at) AS period, channel, SUM(amount) AS revenue\n\
                FROM orders WHERE status <> 'cancelled' GROUP BY 1, 2, 3\n";
    std::fs::write(folder.join("sums.sql"), sums).unwrap();
    let rows = "SELECT tenant_id, order_id, amount FROM orders WHERE amount > 10\n";
    std::fs::write(folder.join("rows_of.sql"), rows).unwrap();
    std::fs::write(folder.join("a_count.sql"), "SELECT COUNT(*) AS n FROM rows_of").unwrap();
    let done = place.succeeds(&["views", "check", "--json"]);
    let told = done.json();
    let names = told.as_array().unwrap().iter().map(|view| view["view"].as_str().unwrap());
    assert_eq!(names.collect::<Vec<_>>(), ["rows_of", "sums", "a_count"]);
    let roles = told[1]["columns"].as_array().unwrap().iter();
    let roles: Vec<_> = roles.map(|column| column["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["tenant", "period", "group", "measure"]);
    assert_eq!(told[1]["columns"][3]["type"], "decimal(28,4)");

    let wrong = place.path("wrong.sql");
    std::fs::write(&wrong, "SELECT n\nFROM a_count\nWHERE now() > m").unwrap();
    let refused = place.weir(&["views", "check", &wrong.display().to_string()]).exits(1);
    let said = refused.stdout;
    assert!(said.contains("wrong: refused:") && said.contains("VOLATILE, line 3"), "{said}");
    assert!(!said.contains("sums"), "only what was asked for: {said}");
}
