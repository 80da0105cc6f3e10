//! Transactions of PostgreSQL stay whole: transfers between two tables, seen by epoch.
//!
//! # Guarantees
//! - Weir is killed between and within transfers, and no epoch of bronze holds one side of a transfer.
//! - The same topics without `transactions` do show one side: the comparison can fail.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use harness::Options;
use harness::bronze::Epochs;
use rand::Rng;

use crate::live::{port, ready};
use crate::support::http::request;
use crate::support::services::{self, BROKERS, script, sql};
use crate::support::{Place, Weir, assert_clean, seeded, wait_until};

const NAME: &str = "it-whole";
const PORT: &str = "18087";
const DATABASE: &str = "weir_it_whole";
const ORDERS: &str = "itwhole.public.orders";
const COSTS: &str = "itwhole.public.costs";
const METADATA: &str = "itwhole.transaction";

/// Rows of each table, transfers of each batch, and batches.
const ROWS: u32 = 50;
const TRANSFERS: u32 = 60;
const BATCHES: u32 = 30;

/// What is said of transactions that were not kept whole.
const IN_PARTS: &str = "handed out in parts";

/// A row of each side is changed by each transfer.
const SIDES: usize = 2;

#[test]
fn no_epoch_holds_one_side_of_a_transfer() {
    let held = services::kafka();
    let mut rng = seeded("transfers");
    prepare();
    let (whole, parted) = (Place::new(), Place::new());
    let topics = format!("[sources.topics]\n\"{ORDERS}\" = \"orders\"\n\"{COSTS}\" = \"costs\"\n");
    let source =
        format!("[[sources]]\nkind = \"kafka\"\nbrokers = \"{BROKERS}\"\ngroup = \"weir-it\"\n");
    let before = "lake.flush_interval = \"200ms\"\nlake.barrier_interval = \"1s\"\n";
    whole.configure(&format!("{before}{source}transactions = \"itwhole.transactions\"\n{topics}"));
    let said = whole.succeeds(&["check"]).stdout;
    assert!(said.contains(&format!("does not exist (did you mean `{METADATA}`?)")), "{said}");
    whole.configure(&format!("{before}{source}transactions = \"{METADATA}\"\n{topics}"));
    parted.configure(&format!("{before}{source}{topics}"));
    // The snapshot is over when a change comes that names its transaction.
    sql(DATABASE, "update orders set amount = amount where order_id = 1;");
    wait_until("changes name their transactions", Duration::from_secs(60), || {
        whole.succeeds(&["check"]).stdout.contains("changes name their transactions")
    });

    let (mut one, other) = (whole.start(&["run"]), parted.start(&["run"]));
    for batch in 0..BATCHES {
        let transfers: String = (0..TRANSFERS).map(|_| transfer(&mut rng)).collect();
        sql(DATABASE, &transfers);
        if batch % 7 == 3 {
            assert!(!one.log().contains(IN_PARTS), "{}", one.log());
            one.kill();
            one = whole.start(&["run"]);
        }
    }
    let expected = usize::try_from(TRANSFERS * BATCHES).unwrap();
    for place in [&whole, &parted] {
        wait_until("every transfer is in bronze", Duration::from_secs(90), || {
            seen(place.lake()).values().map(|own| own.rows).sum::<usize>() == expected * SIDES
        });
    }
    assert!(one.is_running(), "{}", one.log());
    assert_eq!(metric(&mut one, "weir_split_transactions_total"), Some(0.0));
    assert!(!one.log().contains(IN_PARTS), "{}", one.log());
    one.stops();
    other.stops();

    let found = seen(whole.lake());
    assert_eq!(found.len(), expected);
    let halves = found.values().filter(|own| own.epochs.len() > 1).count();
    assert_eq!(halves, 0, "of {} transfers", found.len());
    let halves = seen(parted.lake()).values().filter(|own| own.epochs.len() > 1).count();
    println!("{expected} transfers: 0 in parts, {halves} without the setting");
    assert!(halves > 0, "without the setting nothing was seen in parts: this proves nothing");
    say_how_late(&whole, &parted);
    for place in [&whole, &parted] {
        place.succeeds(&["run", "--until-end"]);
        place.succeeds(&["verify"]);
        let topics = [(ORDERS.into(), "orders".into()), (COSTS.into(), "costs".into())].into();
        assert_clean(place.lake(), None, &Options { topics, bronze_only: false });
    }
    script("connect.sh", &["forget", NAME]);
    drop(held);
}

/// Two tables whose sum never changes, and a connector that tells of transactions.
fn prepare() {
    script("postgres.sh", &["start"]);
    script("connect.sh", &["forget", NAME]);
    sql("postgres", &format!("drop database if exists {DATABASE} with (force)"));
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/services/sql/shop.sql");
    script("postgres.sh", &["load", DATABASE, root]);
    for (topic, partitions) in [(ORDERS, 3), (COSTS, 2), (METADATA, 2)] {
        services::fresh_topic(topic, partitions);
    }
    sql(
        DATABASE,
        &format!(
            "insert into orders select n, 't', 'c', 'recognized', 1000, 'EUR', 'web', null, now(), now(), now() \
             from generate_series(1, {ROWS}) n;\n\
             insert into costs select 'c' || n, 't', 's', 'Usage', 1000, 1000, 'EUR', null, now(), now(), '{{}}', \
             now() from generate_series(1, {ROWS}) n;\n"
        ),
    );
    let connector = script("connect.sh", &["render", "shop", "NAME=it-whole", "PREFIX=itwhole"]);
    let connector = connector.replace("\"shop\"", &format!("\"{DATABASE}\""));
    let metadata = "\"provide.transaction.metadata\": \"true\",\n    \"tombstones.on.delete\"";
    let connector = connector.replace("\"tombstones.on.delete\"", metadata);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), connector).unwrap();
    script("connect.sh", &["start", NAME, PORT, &file.path().display().to_string()]);
}

/// An amount goes from an order to a cost.
fn transfer(rng: &mut impl Rng) -> String {
    let (order, cost) = (rng.random_range(1..=ROWS), rng.random_range(1..=ROWS));
    let amount = rng.random_range(1..20);
    format!(
        "begin;\nupdate orders set amount = amount - {amount} where order_id = {order};\n\
         update costs set effective_cost = effective_cost + {amount} where charge_id = 'c{cost}';\ncommit;\n"
    )
}

/// Prints how late transfers are published that come one by one, with and without the setting.
fn say_how_late(whole: &Place, parted: &Place) {
    let mut runs = [whole.start(&["run"]), parted.start(&["run"])];
    for run in &mut runs {
        ready(port(run));
    }
    let transfers = "begin;\nupdate orders set amount = amount - 1 where order_id = 1;\n\
         update costs set effective_cost = effective_cost + 1 where charge_id = 'c1';\ncommit;\n\
         select pg_sleep(0.02);\n";
    sql(DATABASE, &transfers.repeat(400));
    std::thread::sleep(Duration::from_secs(2));
    for quantile in ["0.5", "0.99"] {
        let name = format!("weir_freshness_seconds{{quantile=\"{quantile}\"}}");
        let [with, without] = runs.each_mut().map(|run| metric(run, &name));
        println!("{quantile}: {with:?} s, {without:?} s without");
    }
    runs.into_iter().for_each(|run| drop(run.stops()));
}

fn metric(run: &mut Weir, name: &str) -> Option<f64> {
    let metrics = request("GET", port(run), "/metrics", None).body;
    let line = metrics.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().parse().ok()
}

/// What bronze has of a transfer.
#[derive(Debug, Default)]
struct Seen {
    rows: usize,
    epochs: BTreeSet<i64>,
}

/// By the number of the transaction, those that changed both sides.
fn seen(lake: &Path) -> BTreeMap<String, Seen> {
    let mut found: BTreeMap<String, Seen> = BTreeMap::new();
    let Ok(mut epochs) = Epochs::open(lake) else { return found };
    while let Ok(Some(records)) = epochs.next_epoch() {
        for record in records.iter().filter(|r| [ORDERS, COSTS].contains(&r.topic.as_str())) {
            let value: serde_json::Value =
                serde_json::from_slice(record.value.as_deref().unwrap_or(b"null")).unwrap();
            let Some(id) = value["transaction"]["id"].as_str() else { continue };
            let number = id.split(':').next().unwrap().to_owned();
            let own = found.entry(number).or_default();
            own.rows += 1;
            own.epochs.insert(record.epoch);
        }
    }
    found.retain(|_, own| own.rows == SIDES);
    found
}
