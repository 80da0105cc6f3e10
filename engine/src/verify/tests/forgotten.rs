//! Alerts that are long over: gone from memory, whole in `gold/anomalies`, and cheap for a barrier.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;

use schemas::Micros;

use super::shop::{DAY, Shop, charge};
use super::{broken, told};
use crate::tables::ANOMALIES;

const TENANTS: usize = 80;

type Change = (i32, String, Option<String>);

fn take(shop: &mut Shop, changes: &[Change]) {
    let records: Vec<_> =
        changes.iter().map(|(partition, key, value)| (*partition, &**key, value.clone())).collect();
    shop.epoch(&records);
}

fn today(shop: &Shop) -> Micros {
    Micros(shop.now.0.div_euclid(DAY) * DAY)
}

/// One charge of each of some tenants on `day`.
fn charges(tenants: Range<usize>, day: Micros, name: &str, cost: &str, lsn: u64) -> Vec<Change> {
    let change = |tenant: usize| {
        let key = format!("{tenant}-{name}");
        let charge = charge(&key, &format!("t{tenant}"), day, cost, lsn);
        (0, key, Some(charge))
    };
    tenants.map(change).collect()
}

/// Nine days of the same cost of every tenant and one more, and then of each too high and corrected.
fn resolved() -> Shop {
    let mut shop = Shop::of_costs();
    let today = today(&shop);
    let history = (0..9_i64).flat_map(|day| {
        charges(0..TENANTS + 1, today.plus(-day * DAY), &format!("c{day}"), "100", 1)
    });
    take(&mut shop, &history.collect::<Vec<_>>());
    shop.tick();
    take(&mut shop, &charges(0..TENANTS, today, "c0", "500", 2));
    shop.tick();
    shop.flush();
    take(&mut shop, &charges(0..TENANTS, today, "c0", "100", 3));
    shop.tick();
    shop.flush();
    shop
}

fn files(shop: &Shop) -> BTreeMap<PathBuf, u64> {
    let folder = std::fs::read_dir(shop.lake.root().join(ANOMALIES)).unwrap();
    let files = folder.map(Result::unwrap).filter(|file| file.file_type().unwrap().is_file());
    files.map(|file| (file.path(), file.metadata().unwrap().len())).collect()
}

/// The bytes that a barrier writes to the table.
fn written(shop: &mut Shop) -> u64 {
    let before = files(shop);
    shop.flush();
    files(shop).iter().filter(|(file, _)| !before.contains_key(*file)).map(|(_, bytes)| bytes).sum()
}

/// As many alerts as bronze gives, to the last bit.
fn assert_whole(shop: &Shop, alerts: u64) {
    let report = shop.verify(true);
    assert!(broken(&report).is_empty(), "{}", told(&report));
    let check = report.checks.iter().find(|check| check.name == "alerts").unwrap();
    let counted = check.counts.iter().find(|(name, _)| *name == "alerts").unwrap();
    assert_eq!(counted.1, alerts, "{check:?}");
}

/// One more alert, of the last tenant.
fn alarm(shop: &mut Shop, lsn: u64) {
    let today = today(shop);
    let changes = charges(TENANTS..TENANTS + 1, today, &format!("late{lsn}"), "900", lsn);
    take(shop, &changes);
    shop.tick();
}

#[test]
fn alerts_long_over_leave_memory_and_stay_in_gold() {
    let mut shop = resolved();
    let alerts = shop.alerts_held();
    assert!(alerts >= TENANTS, "{alerts}");
    assert_whole(&shop, alerts as u64);
    let all: u64 = files(&shop).values().sum();

    alarm(&mut shop, 4);
    let more = shop.alerts_held();
    assert!(more > alerts, "the last tenant has an alert");
    let bytes = written(&mut shop);
    assert!(
        bytes < 16 * 1024 && all > 2 * bytes,
        "{} changed alerts wrote {bytes} bytes beside {all}",
        more - alerts
    );
    assert_whole(&shop, more as u64);

    shop.now = shop.now.plus(29 * DAY);
    shop.tick();
    shop.flush();
    assert_eq!(shop.alerts_held(), more, "not yet");
    shop.now = shop.now.plus(3 * DAY);
    shop.tick();
    shop.flush();
    let held = shop.alerts_held();
    assert!(held <= more - alerts, "{held} alerts are held");
    assert_whole(&shop, more as u64);
    shop.tick();
    assert_eq!(written(&mut shop), 0, "nothing changed");

    let mut shop = shop.restart();
    assert_eq!(shop.alerts_held(), held, "what is long over is not loaded");
    assert!(written(&mut shop) < 16 * 1024, "a restart writes no alert again");
    assert_whole(&shop, more as u64);
}

#[test]
fn a_crash_between_tables_loses_no_alert_and_doubles_none() {
    let mut shop = resolved();
    let alerts = shop.alerts_held() as u64;
    shop.now = shop.now.plus(32 * DAY);
    shop.tick();
    // The state that is loaded holds them, the table that is found has let them go.
    shop.flush_unsaid();
    assert_eq!(shop.alerts_held(), 0);
    let mut shop = shop.restart();
    shop.flush();
    assert_whole(&shop, alerts);

    // And the other way round: forgotten ones of the state in files with younger ones.
    let mut shop = shop.restart();
    assert_eq!(shop.alerts_held(), 0);
    alarm(&mut shop, 5);
    shop.flush_unsaid();
    let more = alerts + shop.alerts_held() as u64;
    let mut shop = shop.restart();
    shop.flush();
    assert_whole(&shop, more);
}

#[test]
fn alerts_are_all_there_when_built_from_bronze() {
    let mut shop = resolved();
    let alerts = shop.alerts_held() as u64;
    shop.now = shop.now.plus(32 * DAY);
    shop.tick();
    shop.flush();
    alarm(&mut shop, 4);
    shop.flush();
    let more = alerts + shop.alerts_held() as u64;
    std::fs::remove_dir_all(shop.lake.state_dir().join("state")).unwrap();
    let mut shop = shop.restart();
    assert_eq!(shop.alerts_held() as u64, more, "no barrier has let them go");
    shop.flush();
    assert_whole(&shop, more);
    shop.now = shop.now.plus(2 * DAY);
    shop.tick();
    shop.flush();
    assert!(shop.alerts_held() < TENANTS);
    assert_whole(&shop, more);
}
