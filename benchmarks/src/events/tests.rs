//! That the stream is what its description says.

use std::collections::BTreeMap;

use pipeline::decode::{ChangeBatch, ChangeKind, DebeziumJson, Scratch, decode_batch};
use pipeline::record::{RawBatch, TopicPartition};

use super::*;
use crate::prepared::contract;

const SHAPE: Shape =
    Shape { seed: 7, changes: 20_000, partitions: 4, end: Micros(1_795_252_754_000_000) };

#[test]
fn shares_sizes_and_order_are_as_described() {
    let mut events = Events::new(SHAPE);
    let mut ops: BTreeMap<char, u64> = BTreeMap::new();
    let (mut bytes, mut changes, mut last_lsn) = (0, 0, 0);
    let mut partitions: BTreeMap<Vec<u8>, u32> = BTreeMap::new();
    let mut after_delete = false;
    while let Some(record) = events.draw() {
        let of_key = *partitions.entry(record.key.to_vec()).or_insert(record.partition);
        assert_eq!(of_key, record.partition);
        assert_eq!(record.value.is_none(), after_delete);
        let Some(value) = record.value else {
            after_delete = false;
            continue;
        };
        let parsed: serde_json::Value = serde_json::from_slice(value).unwrap();
        let op = parsed["op"].as_str().unwrap().chars().next().unwrap();
        after_delete = op == 'd';
        *ops.entry(op).or_default() += 1;
        let lsn = parsed["source"]["lsn"].as_u64().unwrap();
        assert!(lsn > last_lsn);
        last_lsn = lsn;
        changes += 1;
        bytes += value.len();
    }
    assert_eq!(changes, SHAPE.changes);
    let mean = bytes / usize::try_from(changes).unwrap();
    assert!((760..=820).contains(&mean), "{mean} bytes each");
    assert!((7_800..=8_200).contains(&ops[&'c']), "{ops:?}");
    assert!((200..=400).contains(&ops[&'d']), "{ops:?}");
}

#[test]
fn every_record_is_decoded() {
    let mut events = Events::new(SHAPE);
    let contract = contract();
    let topic = TopicPartition {
        source: "s".into(),
        topic: "t".into(),
        incarnation: "i".into(),
        partition: 0,
    };
    let mut batch = RawBatch::new(topic.into());
    let mut offset = 0;
    while let Some(record) = events.draw() {
        batch.push(offset, None, Some(record.key), record.value, &[]);
        offset += 1;
    }
    let mut out = ChangeBatch::default();
    decode_batch(&DebeziumJson, &contract, &batch, &mut Scratch::default(), &mut out);
    assert_eq!(out.errors(), []);
    let deletes = out.iter().filter(|c| c.change.kind == ChangeKind::Delete).count();
    let tombstones = out.iter().filter(|c| c.change.kind == ChangeKind::Tombstone).count();
    assert_eq!(deletes, tombstones);
    assert!(
        out.iter()
            .all(|c| c.change.kind == ChangeKind::Tombstone || c.change.position.place.is_some())
    );
}
