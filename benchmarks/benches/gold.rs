//! Row changes to KPI cells: every built-in KPI in all grains, in epochs of three sizes.

#![expect(clippy::unwrap_used, reason = "a benchmark stops at the first surprise")]

use std::sync::Arc;

use benchmarks::events::Shape;
use benchmarks::prepared;
use criterion::{Criterion, SamplingMode, Throughput};
use gold::Engine;
use pipeline::decode::{ChangeBatch, DebeziumJson, PreparedContract, Scratch, decode_batch};
use pipeline::silver::TableFold;
use schemas::{EpochStamp, Micros};

const SHAPE: Shape =
    Shape { seed: 1, changes: 40_000, partitions: 4, end: Micros(1_795_252_754_000_000) };

/// Row bytes before and after a change.
type RowChange = (Option<Vec<u8>>, Option<Vec<u8>>);

/// The changes of rows that the stream makes, ending with the deletion of every row, so that the
/// engine is empty again and the same changes can come once more.
fn row_changes(contract: &Arc<PreparedContract>) -> Vec<RowChange> {
    let mut table = TableFold::new(Arc::clone(contract));
    let stamp = EpochStamp { id: 1, clock: SHAPE.end, quiet: false };
    let mut found: Vec<RowChange> = Vec::new();
    for batch in prepared::batches(SHAPE, 5_000) {
        let mut changes = ChangeBatch::default();
        decode_batch(&DebeziumJson, contract, &batch, &mut Scratch::default(), &mut changes);
        let mut delta = table.no_changes();
        table.apply(&changes, &stamp, &mut delta);
        delta.consolidate();
        for change in delta.keys() {
            let (old, new) = change.sides().unwrap();
            found.push((old.map(|r| r.bytes().to_vec()), new.map(|r| r.bytes().to_vec())));
        }
    }
    found.extend(table.rows().map(|(_, entry)| (Some(entry.row.to_vec()), None)));
    found
}

fn main() {
    let contracts = prepared::contracts();
    let contract = Arc::new(prepared::contract());
    let layout = contract.layout();
    let orders = contracts.iter().position(|contract| contract.name == "orders").unwrap();
    let changes = row_changes(&contract);
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("gold");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.throughput(Throughput::Elements(changes.len() as u64));
    for size in [1, 100, 5_000] {
        let catalog =
            gold::catalog::with_built_in(Vec::new(), &contracts, std::sync::Arc::from([])).unwrap();
        let mut engine = Engine::new(catalog, &contracts).unwrap();
        let mut id = 0_u32;
        let mut work = || {
            for chunk in changes.chunks(size) {
                id += 1;
                let clock = SHAPE.end.plus(i64::from(id) * 1000);
                let stamp = EpochStamp { id: u64::from(id), clock, quiet: false };
                engine.begin_epoch(&stamp);
                for (old, new) in chunk {
                    let (old, new) = (old.as_deref(), new.as_deref());
                    let row = |bytes| layout.row(bytes);
                    engine.apply(orders, old.map(row), new.map(row)).unwrap();
                }
                let output = std::hint::black_box(engine.finish_epoch(&stamp));
                engine.recycle(output.updates);
            }
            drop(engine.take_changed_slots());
        };
        let name = format!("{size} changes an epoch");
        group.bench_function(name, |bencher| bencher.iter(&mut work));
    }
    group.finish();
    criterion.final_summary();
}
