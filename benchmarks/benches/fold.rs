//! Typed changes to the current row of every key: what one thread folds.

use std::sync::Arc;

use benchmarks::events::Shape;
use benchmarks::prepared;
use criterion::{BatchSize, Criterion, SamplingMode, Throughput};
use pipeline::decode::{ChangeBatch, DebeziumJson, Scratch, decode_batch};
use pipeline::silver::TableFold;
use schemas::{EpochStamp, Micros};

const SHAPE: Shape =
    Shape { seed: 1, changes: 200_000, partitions: 4, end: Micros(1_795_252_754_000_000) };

fn main() {
    let contract = Arc::new(prepared::contract());
    let mut scratch = Scratch::default();
    let decode = |batch| {
        let mut out = ChangeBatch::default();
        decode_batch(&DebeziumJson, &contract, batch, &mut scratch, &mut out);
        out
    };
    let batches: Vec<ChangeBatch> = prepared::batches(SHAPE, 5_000).iter().map(decode).collect();
    let changes: usize = batches.iter().map(ChangeBatch::len).sum();
    let empty = || TableFold::new(Arc::clone(&contract));
    let fold = |table: &mut TableFold| {
        let (mut seen, mut delta) = (0, table.no_changes());
        for (id, changes) in (1_u32..).zip(&batches) {
            let clock = SHAPE.end.plus(i64::from(id) * 1000);
            let stamp = EpochStamp { id: u64::from(id), clock, quiet: false };
            table.apply(changes, &stamp, &mut delta);
            delta.consolidate();
            seen += delta.len();
            delta.clear();
        }
        assert!(seen > 0 && !table.is_empty());
    };
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("fold");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.throughput(Throughput::Elements(changes as u64));
    // Making the empty table and dropping the full one is not part of the time.
    group.bench_function("orders", |bencher| {
        bencher.iter_batched_ref(empty, fold, BatchSize::PerIteration);
    });
    group.finish();
    criterion.final_summary();
}
