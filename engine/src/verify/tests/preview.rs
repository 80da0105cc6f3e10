//! What is served while a table is built beside the others.

use std::sync::mpsc::{SyncSender, sync_channel};

use gold::CellRow;
use schemas::{CellKey, CellValue, Contract, Feed, Micros, Published, RowSchema, Start};

use super::shop::{Shop, contracts, order};

/// Passes on every start.
struct Starts(SyncSender<Start>);

impl Feed for Starts {
    fn name(&self) -> &'static str {
        "test"
    }

    fn start(&mut self, start: Start) {
        self.0.send(start).unwrap();
    }

    fn epoch(&mut self, _: &Published) {}

    fn idle(&mut self, _: Micros) {}
}

/// The built-in contracts, the last column of one of them being required where it was not.
fn with_other(name: &str) -> Vec<Contract> {
    let mut contracts = contracts();
    for contract in contracts.iter_mut().filter(|contract| contract.name == name) {
        let mut columns = contract.columns.to_vec();
        columns.last_mut().unwrap().required ^= true;
        contract.columns = RowSchema::new(columns);
    }
    contracts
}

/// What feeds hear while a shop starts, and all values after it.
fn restart(shop: &Shop, contracts: Vec<Contract>) -> (Vec<Start>, Vec<CellRow>) {
    let (out, told) = sync_channel(4);
    let recovered = shop.restarted(contracts, Box::new(Starts(out)));
    (told.try_iter().collect(), recovered.core.gold().snapshot())
}

#[test]
fn kpis_that_a_table_does_not_feed_are_served_while_it_is_built() {
    let shop = Shop::alarmed();
    let cells = shop.cells();
    assert!(!cells.is_empty());
    let (told, loaded) = restart(&shop, contracts());
    assert!(told.is_empty(), "nothing is built");
    assert_eq!(values(&loaded), values(&cells));

    let (told, loaded) = restart(&shop, with_other("orders"));
    assert_eq!(values(&loaded), values(&cells));
    let [start] = told.as_slice() else { panic!("one preview and not {}", told.len()) };
    // What reads no orders: as it was, and doubtful.
    let both = ["roi", "gross_margin"];
    let apart: Vec<_> = cells.iter().filter(|cell| !both.contains(&&*cell.key.kpi)).collect();
    assert!(!apart.is_empty() && apart.len() < cells.len(), "{} of {}", apart.len(), cells.len());
    let own: Vec<_> = start.cells.iter().map(|(key, value, _)| (key, value)).collect();
    assert_eq!(own, apart.iter().map(|cell| (&cell.key, &cell.value)).collect::<Vec<_>>());
    assert_eq!(start.alerts.len(), 1);
    assert_eq!((start.offset, start.removals_after), (shop.last(), shop.last()));
    let reasons: Vec<&str> = start.degraded.iter().map(|reason| &*reason.text).collect();
    let [reason] = reasons.as_slice() else { panic!("{reasons:?}") };
    assert!(reason.starts_with("silver/orders: being built from bronze"), "{reason}");

    // Costs feed every KPI that there is a value of.
    let (told, _) = restart(&shop, with_other("costs"));
    assert!(told[0].cells.is_empty() && told[0].alerts.is_empty());
}

#[test]
fn a_table_that_is_built_is_what_it_was() {
    let mut shop = Shop::filled();
    shop.epoch(&[(0, "8", Some(order("8", 50, "8", "paid")))]);
    shop.commit_bronze();
    let (told, loaded) = restart(&shop, with_other("orders"));
    assert_eq!(told.len(), 1);
    assert_eq!(values(&loaded), values(&shop.cells()));
}

fn values(rows: &[CellRow]) -> Vec<(CellKey, CellValue)> {
    rows.iter().map(|row| (row.key.clone(), row.value)).collect()
}
