//! How much memory a KPI cell takes in the engine: the slope of the resident set from few cells to many.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests may panic, and a figure is shown"
)]

use std::sync::Arc;

use gold::{Catalog, Engine};
use lake::keyed::FrozenRows;
use schemas::{Contract, EpochStamp, Micros, RowBuilder, RowLayout};

const HOUR: i64 = 3_600_000_000;
/// 2026-01-01.
const START: i64 = 1_767_225_600_000_000;
/// Bytes that a cell may take: what is measured, and a quarter more.
const MOST: u64 = 160;

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = status.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4_096
}

struct Shop {
    contracts: Vec<Contract>,
    layouts: Vec<RowLayout>,
    builder: RowBuilder,
}

impl Shop {
    fn new() -> Shop {
        let texts = schemas::contract::built_in();
        let contracts: Vec<Contract> =
            texts.iter().map(|(_, text)| Contract::parse(text).unwrap()).collect();
        let layouts = contracts.iter().map(|contract| RowLayout::new(&contract.columns)).collect();
        Shop { contracts, layouts, builder: RowBuilder::default() }
    }

    fn engine(&self) -> Engine {
        let catalog: Arc<Catalog> =
            gold::catalog::with_built_in(Vec::new(), &self.contracts, std::sync::Arc::from([]))
                .unwrap();
        Engine::new(catalog, &self.contracts).unwrap()
    }

    fn add(
        &mut self,
        engine: &mut Engine,
        table: &str,
        texts: &[(&str, &str)],
        number: &str,
        at: &[(&str, i64)],
    ) {
        let index = self.contracts.iter().position(|contract| contract.name == table).unwrap();
        let column = |name: &str| self.contracts[index].column(name).unwrap();
        self.builder.reset(self.layouts[index].len());
        texts.iter().for_each(|(name, text)| self.builder.set_text(column(name), text));
        self.builder.set_decimal(column(number), 12_345_678);
        at.iter().for_each(|(name, at)| self.builder.set_timestamp(column(name), Micros(*at)));
        let mut bytes = Vec::new();
        self.builder.finish(&self.layouts[index], &mut bytes);
        engine.apply(index, None, Some(self.layouts[index].row(&bytes))).unwrap();
    }

    /// Ten orders, half of them recognized a day later, and five costs.
    fn tenant(&mut self, engine: &mut Engine, number: usize) {
        let tenant = format!("tenant-{number:06}");
        for at in 0..10_i64 {
            let placed = START + at * 26 * HOUR;
            let status = if at % 2 == 0 { "recognized" } else { "paid" };
            let texts = [
                ("tenant_id", tenant.as_str()),
                ("status", status),
                ("currency", "USD"),
                ("channel", if at % 3 == 0 { "web" } else { "app" }),
            ];
            let times = [("placed_at", placed), ("recognized_at", placed + 24 * HOUR)];
            self.add(engine, "orders", &texts, "amount", &times);
            if at % 2 == 0 {
                let texts = [
                    ("tenant_id", tenant.as_str()),
                    ("billing_currency", "USD"),
                    ("service_name", "compute"),
                ];
                self.add(
                    engine,
                    "costs",
                    &texts,
                    "effective_cost",
                    &[("charge_period_start", placed)],
                );
            }
        }
    }

    /// An engine, its cells, and the bytes that they brought.
    fn filled(&mut self, tenants: usize) -> (Engine, u64, u64) {
        let before = resident();
        let mut engine = self.engine();
        let mut stamp = EpochStamp { id: 1, clock: Micros(START - HOUR), quiet: true };
        for number in 0..tenants {
            if number % 100 == 0 {
                engine.begin_epoch(&stamp);
            }
            self.tenant(&mut engine, number);
            if number % 100 == 99 {
                let updates = engine.finish_epoch(&stamp).updates;
                engine.recycle(updates);
                stamp.id += 1;
            }
        }
        let bytes = resident() - before;
        let cells = FrozenRows::live_slots(&engine.freeze()).count() as u64;
        (engine, cells, bytes)
    }
}

#[test]
fn a_cell_takes_few_bytes() {
    let mut shop = Shop::new();
    // The first is kept: what it gave back would be taken again by the second, and not be counted.
    let (first, few, few_bytes) = shop.filled(1_000);
    let (_, many, many_bytes) = shop.filled(8_000);
    drop(first);
    let slope = (many_bytes - few_bytes) / (many - few);
    println!("{slope} bytes a cell: {few} cells in {few_bytes}, {many} in {many_bytes}");
    assert!(slope <= MOST, "{slope} bytes a cell");
}
