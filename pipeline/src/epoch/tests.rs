//! Clocks, and which rows are quiet against the rule read out record by record.

use proptest::prelude::*;

use super::*;
use crate::decode::Change;
use crate::record::TopicPartition;

/// The machine's clock in seconds.
const WALL_S: i64 = 1_000;

fn of(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition { source: "s".into(), topic: topic.into(), incarnation: "i".into(), partition }
}

fn batch(partition: i32, timestamp_ms: Option<i64>) -> RawBatch {
    let mut batch = RawBatch::new(Arc::new(of("t", partition)));
    batch.push(4, timestamp_ms, None, Some(b"v"), &[]);
    batch
}

#[test]
fn clocks_ascend_when_the_wall_clock_goes_back() {
    let first = stamp(None, Micros(100), false);
    let second = stamp(Some(first), Micros(50), true);
    assert_eq!((first.id, second.id), (1, 2));
    assert_eq!((first.clock, second.clock), (Micros(100), Micros(101)));
    assert!(!first.quiet && second.quiet && !tick(Some(second), Micros(200)).quiet);
}

#[test]
fn order_and_hash_do_not_depend_on_arrival() {
    let mut one = vec![batch(1, None), batch(0, None)];
    let mut other = vec![batch(0, None), batch(1, None)];
    sort(&mut one);
    sort(&mut other);
    assert_eq!(hash(&one), hash(&other));
    assert_eq!(spans(&one).iter().map(|span| span.partition).collect::<Vec<_>>(), [0, 1]);
}

/// A record: which of three origins its event names, its age in seconds, and whether it is a snapshot row.
#[derive(Debug, Clone, Copy)]
struct Record {
    says: Says,
    age_s: Option<i64>,
    snapshot: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Says {
    Table(usize),
    /// A null value, which looks as if it were of the first table of its batch.
    Null,
    /// It can be read so far that its table is known.
    Dead(usize),
    /// It cannot be read at all, or is no record of a contract.
    Nothing,
    NoChange,
}

const TABLES: [&str; 3] = ["shop.db.a", "shop.db.b", "eu.db.a"];

impl Record {
    fn origin(self, topic: &str) -> String {
        match self.says {
            Says::Table(table) | Says::Dead(table) => TABLES[table].to_owned(),
            _ => topic.to_owned(),
        }
    }

    /// More than a minute old, or without a time.
    fn makes_quiet(self) -> bool {
        let is_old = self.age_s.is_none_or(|age| age > 60);
        is_old || (self.snapshot && matches!(self.says, Says::Table(_)))
    }
}

fn record() -> impl Strategy<Value = Record> {
    let says = prop_oneof![
        8 => (0..3_usize).prop_map(Says::Table),
        1 => Just(Says::Null),
        1 => (0..3_usize).prop_map(Says::Dead),
        1 => Just(Says::Nothing),
        1 => Just(Says::NoChange),
    ];
    let age = prop_oneof![20 => (0..61_i64).prop_map(Some), 1 => (61..99_i64).prop_map(Some), 1 => Just(None)];
    (says, age, prop::bool::weighted(0.1)).prop_map(|(says, age_s, snapshot)| Record {
        says,
        age_s,
        snapshot,
    })
}

fn decoded(of: TopicPartition, records: &[Record]) -> (RawBatch, ChangeBatch) {
    let mut changes = ChangeBatch::default();
    changes.clear(&of);
    let mut batch = RawBatch::new(Arc::new(of));
    for (at, record) in records.iter().enumerate() {
        let offset = i64::try_from(at).unwrap();
        let timestamp = record.age_s.map(|age| (WALL_S - age) * 1_000);
        batch.push(offset, timestamp, None, Some(b"v"), &[]);
        changes.begin_record(at, offset);
        let (kind, table) = match record.says {
            Says::Table(table) => (ChangeKind::Upsert, Some(table)),
            Says::Null => (ChangeKind::Tombstone, None),
            Says::Dead(table) => (ChangeKind::Unreadable, Some(table)),
            Says::Nothing => (ChangeKind::Unreadable, None),
            Says::NoChange => continue,
        };
        let mut change = Change::new(kind, 0);
        change.position.snapshot = record.snapshot && kind == ChangeKind::Upsert;
        match table {
            Some(table) => change.origin = changes.origin(TABLES[table]),
            None if kind == ChangeKind::Unreadable => change.origin = NO_ORIGIN,
            None => {}
        }
        changes.push(change, b"k", b"", &[]);
    }
    (batch, changes)
}

fn bits(batches: &[RawBatch]) -> Vec<Vec<bool>> {
    let bits = |batch: &RawBatch| (0..batch.len()).map(|at| batch.quiet().has(at)).collect();
    batches.iter().map(bits).collect()
}

fn hushed(changes: &[ChangeBatch]) -> Vec<Vec<String>> {
    let named = |own: &ChangeBatch| own.quiet_origins().map(|origin| origin.to_string()).collect();
    changes.iter().map(named).collect()
}

proptest! {
    #[test]
    fn a_row_is_quiet_when_its_origin_is(
        lanes in prop::collection::vec((0..2_usize, prop::collection::vec(record(), 1..6)), 1..5),
    ) {
        let topic = |number: usize| ["one", "two"][number];
        let decoded = lanes.iter().enumerate().map(|(partition, (number, records))| {
            decoded(of(topic(*number), i32::try_from(partition).unwrap()), records)
        });
        let (mut batches, mut changes): (Vec<RawBatch>, Vec<ChangeBatch>) = decoded.unzip();
        let (unmarked, unhushed) = (batches.clone(), changes.clone());

        let mut expected = BTreeSet::new();
        for (number, records) in &lanes {
            let quiet = records.iter().filter(|record| record.makes_quiet());
            expected.extend(quiet.map(|record| Arc::<str>::from(record.origin(topic(*number)))));
        }
        let is_quiet = |number: usize, record: &Record| {
            expected.contains(record.origin(topic(number)).as_str())
        };
        let rows = lanes.iter().map(|(number, records)| {
            records.iter().map(|record| is_quiet(*number, record)).collect::<Vec<bool>>()
        });
        let rows: Vec<Vec<bool>> = rows.collect();

        let quiet = hush(&mut batches, &mut changes, Micros(WALL_S * 1_000_000));
        prop_assert_eq!(&quiet, &expected);
        prop_assert_eq!(bits(&batches), rows.clone());
        for own in &changes {
            for (at, origin) in (0..).zip(own.origins()) {
                prop_assert_eq!(own.is_quiet(at), expected.contains(origin));
            }
        }
        // From the ledger's list.
        let (mut marked, mut told) = (unmarked, unhushed.clone());
        mark(&mut marked, &mut told, &expected);
        prop_assert_eq!(bits(&marked), rows);
        prop_assert_eq!(hushed(&told), hushed(&changes));
        // From the rows.
        let mut recalled = unhushed;
        recall(&batches, &mut recalled);
        prop_assert_eq!(hushed(&recalled), hushed(&changes));
    }
}

#[test]
fn decisions_are_never_quiet_and_the_lakes_time_may_be_ahead() {
    let mut control = of("definitions", 0);
    control.source = schemas::CONTROL.into();
    let old = Record { says: Says::NoChange, age_s: Some(900), snapshot: false };
    let (own, other) = decoded(control, &[old]);
    let (mut batches, mut changes) = (vec![own], vec![other]);
    let wall = Micros(WALL_S * 1_000_000);
    assert!(hush(&mut batches, &mut changes, wall).is_empty());
    let fresh = Record { says: Says::Table(0), age_s: Some(1), snapshot: false };
    let (own, other) = decoded(of("t", 0), &[fresh]);
    assert!(hush(&mut [own], &mut [other], wall).is_empty());
}
