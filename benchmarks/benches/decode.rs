//! Debezium JSON to typed changes: what one thread decodes.

use benchmarks::events::Shape;
use benchmarks::prepared;
use criterion::{Criterion, Throughput};
use pipeline::decode::{ChangeBatch, DebeziumJson, Scratch, decode_batch};
use schemas::Micros;

const SHAPE: Shape =
    Shape { seed: 1, changes: 50_000, partitions: 4, end: Micros(1_795_252_754_000_000) };

fn main() {
    let contract = prepared::contract();
    let batches = prepared::batches(SHAPE, 5_000);
    let records: usize = batches.iter().map(|batch| batch.len()).sum();
    let mut scratch = Scratch::default();
    let mut out = ChangeBatch::default();
    let mut decode = || {
        for batch in &batches {
            decode_batch(&DebeziumJson, &contract, batch, &mut scratch, &mut out);
            assert!(out.errors().is_empty());
        }
    };
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("decode");
    group.sample_size(20).throughput(Throughput::Elements(records as u64));
    group.bench_function("orders", |bencher| bencher.iter(&mut decode));
    group.finish();
    criterion.final_summary();
}
