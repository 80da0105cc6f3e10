//! Tables of views against the same counted by hand, over random epochs, barriers, crashes and restarts.

use std::collections::BTreeMap;

use arrow::util::display::array_value_to_string;
use gold::view_file::ViewFile;
use lake::At;
use pipeline::bronze::EPOCH;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::shop::deleted;
use super::*;

const BY_STATUS: &str = "SELECT tenant_id, period(placed_at) AS period, status, COUNT(*) AS n, SUM(amount) AS amount \
                         FROM orders GROUP BY 1, 2, 3";
/// Equal rows come several times.
const AMOUNTS: &str = "SELECT status, amount FROM orders WHERE status <> 'cancelled'";

fn views(amounts: &str) -> Vec<ViewFile> {
    let file = |name: &str, text: &str| ViewFile {
        name: name.into(),
        text: text.into(),
        file: format!("{name}.sql"),
    };
    vec![file("by_status", BY_STATUS), file("amounts", amounts)]
}

fn open(shop: &Shop, view: &str) -> Table {
    Table::open(&shop.lake, &format!("gold/views/{view}"), At::Newest).unwrap()
}

/// Rows of a table as text, sorted: these columns of them.
fn rows(shop: &Shop, view: &str, columns: &[&str]) -> Vec<String> {
    let table = open(shop, view);
    assert_eq!(table.progress(EPOCH), i64::try_from(shop.last()).ok(), "{view}");
    if table.row_count() == 0 {
        return Vec::new();
    }
    let batch = read_all(&table);
    let text = |row: usize| {
        let cells = columns.iter().map(|name| array_value_to_string(&batch[*name], row).unwrap());
        cells.collect::<Vec<_>>().join(" ")
    };
    let mut rows: Vec<String> = (0..batch.num_rows()).map(text).collect();
    rows.sort();
    rows
}

/// Orders by their keys: what they cost, in whole units, and their status.
type Orders = BTreeMap<String, (i64, &'static str)>;

fn by_hand(orders: &Orders) -> (Vec<String>, Vec<String>) {
    let mut groups: BTreeMap<&str, (i64, i64)> = BTreeMap::new();
    for (amount, status) in orders.values() {
        let group = groups.entry(status).or_default();
        *group = (group.0 + 1, group.1 + amount);
    }
    let grains = ["hour", "day", "week", "month", "quarter", "year"];
    let group = |(status, (n, amount)): (&&str, &(i64, i64))| {
        grains.map(|grain| format!("{grain} {status} {n} {amount}.0000"))
    };
    let mut by_status: Vec<String> = groups.iter().flat_map(group).collect();
    by_status.sort();
    let kept = orders.values().filter(|(_, status)| *status != "cancelled");
    let mut amounts: Vec<String> = kept.map(|(n, status)| format!("{status} {n}.0000")).collect();
    amounts.sort();
    (by_status, amounts)
}

fn is_as_by_hand(shop: &Shop, orders: &Orders) {
    let (by_status, amounts) = by_hand(orders);
    assert_eq!(rows(shop, "by_status", &["grain", "status", "n", "amount"]), by_status);
    assert_eq!(rows(shop, "amounts", &["status", "amount"]), amounts);
}

fn change(shop: &mut Shop, rng: &mut StdRng, orders: &mut Orders, lsn: &mut u64) {
    let mut records = Vec::new();
    let keys: Vec<String> =
        (0..rng.random_range(1..6)).map(|_| rng.random_range(0..15).to_string()).collect();
    for key in &keys {
        *lsn += 1;
        let value = if rng.random_range(0..4) == 0 && orders.remove(key).is_some() {
            deleted(key, *lsn)
        } else {
            let status = ["placed", "paid", "cancelled"][rng.random_range(0..3)];
            let amount = rng.random_range(1..4);
            orders.insert(key.clone(), (amount, status));
            order(key, *lsn, &amount.to_string(), status)
        };
        records.push((0, key.as_str(), Some(value)));
    }
    shop.epoch(&records);
}

#[test]
fn tables_of_views_follow_epochs_crashes_and_restarts() {
    for seed in 0..3 {
        let mut rng = StdRng::seed_from_u64(seed);
        let (mut shop, mut orders, mut lsn) = (Shop::with_views(views(AMOUNTS)), Orders::new(), 0);
        for _ in 0..25 {
            for _ in 0..rng.random_range(1..4) {
                change(&mut shop, &mut rng, &mut orders, &mut lsn);
            }
            match rng.random_range(0..4) {
                // A crash behind the tables, before the word that they are whole.
                0 => drop(shop.flush_unsaid()),
                // And one before them.
                1 => shop.commit_bronze(),
                _ => {
                    shop.flush();
                    is_as_by_hand(&shop, &orders);
                    continue;
                }
            }
            shop = shop.restart();
            shop.flush();
            is_as_by_hand(&shop, &orders);
        }
        shop.flush();
        let report = shop.verify(false);
        assert_eq!(broken(&report), BTreeSet::new(), "{}", told(&report));
        let checked = report.checks.iter().filter(|check| check.name == "view").count();
        assert_eq!(checked, 2);
        let files =
            open(&shop, "amounts").files().count() + open(&shop, "by_status").files().count();
        assert!(files < 20, "{files} files");
    }
}

#[test]
fn a_start_writes_what_differs_and_nothing_else() {
    let mut rng = StdRng::seed_from_u64(9);
    let (mut shop, mut orders, mut lsn) = (Shop::with_views(views(AMOUNTS)), Orders::new(), 0);
    for _ in 0..6 {
        change(&mut shop, &mut rng, &mut orders, &mut lsn);
    }
    shop.flush();
    let files = |shop: &Shop, view: &str| -> Vec<String> {
        open(shop, view).files().map(|file| file.path.clone()).collect()
    };
    let before = ["by_status", "amounts"].map(|view| files(&shop, view));
    shop = shop.restart();
    shop.flush();
    assert_eq!(["by_status", "amounts"].map(|view| files(&shop, view)), before);
    is_as_by_hand(&shop, &orders);
    // A row is gone from the table: it is seen, and comes back.
    let spec = crate::tables::view_specs(&shop.catalog);
    let spec = spec.into_iter().find(|spec| spec.name == "gold/views/amounts").unwrap();
    rewrite(&shop, &spec, |rows| rows.slice(1, rows.num_rows() - 1));
    let report = shop.verify(false);
    assert_eq!(broken(&report), [("view", "gold/views/amounts".to_owned())].into());
    assert!(told(&report).contains("1 missing: status "), "{}", told(&report));
    shop = shop.restart();
    shop.flush();
    is_as_by_hand(&shop, &orders);
    assert_eq!(files(&shop, "by_status"), before[0]);
    // Another meaning, and other columns.
    shop = shop.restart_with(views("SELECT status, amount FROM orders WHERE status = 'paid'"));
    shop.flush();
    let (_, amounts) = by_hand(&orders);
    let paid: Vec<String> = amounts.into_iter().filter(|row| row.starts_with("paid")).collect();
    assert_eq!(rows(&shop, "amounts", &["status", "amount"]), paid);
    shop = shop.restart_with(views("SELECT order_id, status FROM orders"));
    shop.flush();
    let expected: Vec<String> =
        orders.iter().map(|(key, (_, status))| format!("{key} {status}")).collect();
    let mut expected = expected;
    expected.sort();
    assert_eq!(rows(&shop, "amounts", &["order_id", "status"]), expected);
    assert_eq!(broken(&shop.verify(false)), BTreeSet::new());
    // What is left of a view that is gone is nobody's.
    shop = shop.restart_with(Vec::new());
    change(&mut shop, &mut rng, &mut orders, &mut lsn);
    shop.flush();
    let report = shop.verify(false);
    assert_eq!(broken(&report), BTreeSet::new(), "{}", told(&report));
    let copy = tempfile::tempdir().unwrap();
    let to = copy.path().join("lake");
    crate::upkeep::backup::export(&shop.lake, &to, &mut |_, _| ()).unwrap();
    shop = shop.restart_with(views(AMOUNTS));
    shop.flush();
    is_as_by_hand(&shop, &orders);
    assert_eq!(broken(&shop.verify(false)), BTreeSet::new());
    assert!(shop.lake.root().join("gold/_metrics.json").is_file());
}
