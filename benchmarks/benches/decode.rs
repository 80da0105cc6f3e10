//! Debezium JSON to typed changes: what one thread decodes.

use benchmarks::events::Shape;
use benchmarks::{prepared, stopwatch};
use pipeline::decode::{ChangeBatch, DebeziumJson, Scratch, decode_batch};
use schemas::Micros;

const SHAPE: Shape =
    Shape { seed: 1, changes: 50_000, partitions: 4, end: Micros(1_795_252_754_000_000) };

fn main() {
    let contract = prepared::contract();
    let batches = prepared::batches(SHAPE, 5_000);
    let records = batches.iter().map(|batch| batch.len()).sum();
    let mut scratch = Scratch::default();
    let mut out = ChangeBatch::default();
    let decode = |(): &mut ()| {
        for batch in &batches {
            decode_batch(&DebeziumJson, &contract, batch, &mut scratch, &mut out);
            assert!(out.errors().is_empty());
        }
    };
    stopwatch::measure("decode, orders", stopwatch::elements(records), 20, || (), decode);
}
