//! The built-in contracts, ready for decoding, and records in memory.

use std::sync::Arc;

use pipeline::decode::PreparedContract;
use pipeline::record::{RawBatch, TopicPartition};
use schemas::Contract;
use schemas::contract::{all_that_come, built_in};

use crate::events::{Events, Shape};

/// Every built-in contract.
///
/// # Panics
/// When one of them cannot be read, which a test of its own excludes.
pub fn contracts() -> Vec<Contract> {
    built_in().iter().map(parse).collect()
}

/// Every contract that comes with Weir, those too that rest until a topic is of them.
///
/// # Panics
/// As [`contracts`].
pub fn all_contracts() -> Vec<Contract> {
    all_that_come().iter().map(parse).collect()
}

fn parse((name, text): &(&str, &str)) -> Contract {
    Contract::parse(text).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// The contract of orders.
///
/// # Panics
/// When there is none.
pub fn contract() -> PreparedContract {
    let orders = contracts().into_iter().find(|contract| contract.name == "orders");
    let prepared = orders.map(PreparedContract::new);
    match prepared {
        Some(Ok(prepared)) => prepared,
        other => panic!("the built-in contract of orders is not usable: {other:?}"),
    }
}

/// A stream as batches of `records` records at most, as a poll of several partitions gives them.
pub fn batches(shape: Shape, records: usize) -> Vec<RawBatch> {
    let topic = |partition| {
        Arc::new(TopicPartition {
            source: "kafka".into(),
            topic: "shop.public.orders".into(),
            incarnation: "bench".into(),
            partition,
        })
    };
    let partitions = i32::try_from(shape.partitions).unwrap_or(i32::MAX);
    let topics: Vec<_> = (0..partitions).map(topic).collect();
    let mut open: Vec<RawBatch> =
        topics.iter().map(|topic| RawBatch::new(Arc::clone(topic))).collect();
    let mut offsets = vec![0; topics.len()];
    let mut done = Vec::new();
    let mut events = Events::new(shape);
    while let Some(record) = events.draw() {
        let at = usize::try_from(record.partition).unwrap_or(usize::MAX);
        let (Some(batch), Some(offset)) = (open.get_mut(at), offsets.get_mut(at)) else { continue };
        batch.push(*offset, Some(0), Some(record.key), record.value, &[]);
        *offset += 1;
        if batch.len() == records {
            let next = RawBatch::new(Arc::clone(batch.topic()));
            done.push(std::mem::replace(batch, next));
        }
    }
    done.extend(open.into_iter().filter(|batch| !batch.is_empty()));
    done
}
