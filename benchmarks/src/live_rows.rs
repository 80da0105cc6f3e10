//! What a live row of `orders` takes in memory: the slope of memory over the rows of a fold.
//!
//! # Guarantees
//! - Rows come from decoded events, among them updates and deletes, so that what those leave behind
//!   counts as well. What does not grow with rows is left out.
//!
//! # Non-guarantees
//! - What other threads of the process allocate meanwhile is counted too.

use std::sync::Arc;

use pipeline::decode::{ChangeBatch, DebeziumJson, Scratch, decode_batch};
use pipeline::record::{RawBatch, TopicPartition};
use pipeline::silver::TableFold;
use schemas::{Delta, EpochStamp, Micros};

use crate::events::{Events, Shape};
use crate::failure::Failure;
use crate::prepared;

/// Orders that may still change.
const OPEN: usize = 10_000;
/// Records of one epoch.
const EPOCH: usize = 2_000;

/// Bytes that one more live row takes between `from` rows and `to`, of what `held` says that this process has.
///
/// # Errors
/// Those of `held`.
pub fn bytes_a_row(
    from: usize,
    to: usize,
    held: impl Fn() -> Result<f64, Failure>,
) -> Result<f64, Failure> {
    let mut orders = Orders::new();
    orders.grow(from);
    let before = (orders.fold.len(), held()?);
    orders.grow(to);
    let after = (orders.fold.len(), held()?);
    let rows = u32::try_from(after.0.saturating_sub(before.0)).unwrap_or(u32::MAX).max(1);
    Ok((after.1 - before.1) / f64::from(rows))
}

/// The silver table of orders, and the stream that fills it.
struct Orders {
    events: Events,
    topic: Arc<TopicPartition>,
    fold: TableFold,
    delta: Delta,
    scratch: Scratch,
    changes: ChangeBatch,
    epoch: u64,
    offset: i64,
}

impl Orders {
    fn new() -> Orders {
        let end = Micros(1_795_252_754_000_000);
        let shape = Shape { seed: 1, changes: 10_000_000, partitions: 1, end };
        let fold = TableFold::new(Arc::new(prepared::contract()));
        Orders {
            events: Events::new(shape).with_open(OPEN),
            topic: Arc::new(TopicPartition {
                source: "kafka".into(),
                topic: "shop.public.orders".into(),
                incarnation: "bench".into(),
                partition: 0,
            }),
            delta: fold.no_changes(),
            fold,
            scratch: Scratch::default(),
            changes: ChangeBatch::default(),
            epoch: 0,
            offset: 0,
        }
    }

    /// Folds epochs until there are so many rows.
    fn grow(&mut self, rows: usize) {
        while self.fold.len() < rows {
            let mut batch = RawBatch::new(Arc::clone(&self.topic));
            while batch.len() < EPOCH {
                let Some(record) = self.events.draw() else { return };
                batch.push(self.offset, Some(0), Some(record.key), record.value, &[]);
                self.offset += 1;
            }
            let contract = Arc::clone(self.fold.contract());
            decode_batch(&DebeziumJson, &contract, &batch, &mut self.scratch, &mut self.changes);
            self.epoch += 1;
            let clock = Micros(1_795_252_754_000_000);
            let stamp = EpochStamp { id: self.epoch, clock, quiet: false };
            self.fold.apply(&self.changes, &stamp, &mut self.delta);
            self.delta.clear();
            drop(self.fold.take_changed_slots());
        }
    }
}
