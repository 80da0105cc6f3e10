//! Late changes against a fold that keeps every tombstone in a map: sealed, written, merged and read back
//! at any point, the product says the same.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use lake::state::{StateLog, read};
use proptest::prelude::*;
use schemas::Saved;

use super::TOMBSTONE_RETENTION_US;
use crate::silver::TableFold;
use crate::silver::model::{Builder, prepared, stamp, text_rows};

const PARTITIONS: i32 = 3;

/// A change as it is delivered.
#[derive(Debug, Clone, Copy)]
struct Event {
    key: u8,
    what: What,
    sequence: Option<u128>,
    source_ms: i64,
    partition: i32,
    is_snapshot: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum What {
    Row(u8),
    Delete,
    Truncate,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Event(Event),
    /// The event so many steps back once more: in its partition, or in another, or without its place in
    /// the source, or as a row of a snapshot.
    Again(usize, Twist),
    /// The topic is made anew: offsets begin at 0.
    Recreated(i32),
    Barrier {
        restart: bool,
    },
    /// Clocks go on by so many eighths of what a tombstone lives.
    Later(u8),
}

#[derive(Debug, Clone, Copy)]
enum Twist {
    Same,
    Partition(i32),
    Placeless,
    Snapshot,
}

/// Where a change stands, for the fold that keeps everything.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Place {
    sequence: Option<u128>,
    is_snapshot: bool,
    source_ms: i64,
    /// The life of the topic, by the order in which they were seen.
    topic: usize,
    partition: i32,
    offset: i64,
}

impl Place {
    fn is_before(&self, other: &Place) -> bool {
        let by_source = match (self.sequence, other.sequence) {
            (Some(mine), Some(theirs)) => mine.cmp(&theirs),
            _ => Ordering::Equal,
        };
        let is_beside = (self.topic, self.partition) == (other.topic, other.partition);
        let by_record = if is_beside {
            self.offset.cmp(&other.offset)
        } else {
            let clocks = (self.source_ms, other.source_ms);
            let has_clocks = clocks.0 != 0 && clocks.1 != 0;
            let by_clock = if has_clocks { clocks.0.cmp(&clocks.1) } else { Ordering::Equal };
            let life = |p: &Place| if has_clocks { 0 } else { p.topic };
            let rank = |p: &Place| (life(p), !p.is_snapshot, p.topic, p.partition, p.offset);
            by_clock.then(rank(self).cmp(&rank(other)))
        };
        by_source.then(by_record) == Ordering::Less
    }

    fn is_again(&self, held: &Place) -> bool {
        let same = self.sequence.is_some() && self.is_snapshot == held.is_snapshot;
        self == held || (same && self.sequence == held.sequence)
    }
}

/// Every key that was ever seen, for as long as it is to be remembered.
#[derive(Debug, Default)]
struct Everything {
    rows: BTreeMap<u8, (u8, Place)>,
    deleted: BTreeMap<u8, (Place, i64)>,
    floor: Option<(Place, i64)>,
    stale: u64,
}

impl Everything {
    fn forget(&mut self, now: i64) {
        self.deleted.retain(|_, (_, clock)| *clock + TOMBSTONE_RETENTION_US > now);
        self.floor = self.floor.filter(|(_, clock)| *clock + TOMBSTONE_RETENTION_US > now);
    }

    fn apply(&mut self, event: &Event, place: Place, now: i64) {
        if event.what == What::Truncate {
            return self.truncate(place, now);
        }
        let row = self.rows.get(&event.key).copied();
        let dead = self.deleted.get(&event.key).map(|(place, _)| *place);
        let floor = self.floor.map(|(place, _)| place);
        let held = match (row, dead, floor) {
            (Some((_, at)), _, _) => Some(at),
            (None, Some(own), Some(floor)) if own.is_before(&floor) => Some(floor),
            (None, own, floor) => own.or(floor),
        };
        if held.is_some_and(|held| place.is_before(&held)) {
            self.stale += 1;
            return;
        }
        let again = held.is_some_and(|held| place.is_again(&held));
        match event.what {
            What::Row(value) if again && row.is_some_and(|(own, _)| own == value) => {}
            What::Row(value) => {
                self.deleted.remove(&event.key);
                self.rows.insert(event.key, (value, place));
            }
            _ if row.is_none() && again && dead.is_some() => {}
            _ => {
                self.rows.remove(&event.key);
                self.deleted.insert(event.key, (place, now));
            }
        }
    }

    fn truncate(&mut self, place: Place, now: i64) {
        if self.floor.is_some_and(|(floor, _)| place.is_again(&floor)) {
            return;
        }
        self.rows.retain(|_, (_, at)| !at.is_before(&place));
        if self.floor.is_none_or(|(floor, _)| floor.is_before(&place)) {
            self.floor = Some((place, now));
        }
    }

    fn text_rows(&self) -> Vec<(String, String)> {
        let text = |(key, (value, _)): (&u8, &(u8, Place))| (name(*key), value.to_string());
        let mut rows: Vec<_> = self.rows.iter().map(text).collect();
        rows.sort();
        rows
    }
}

fn name(key: u8) -> String {
    format!("key-{key}")
}

fn event() -> impl Strategy<Value = Event> {
    let what = prop_oneof![
        8 => (0..3_u8).prop_map(What::Row),
        8 => Just(What::Delete),
        1 => Just(What::Truncate),
    ];
    let place = prop_oneof![3 => Just(true), 1 => Just(false)];
    (0..24_u8, what, place, 0..3_i64, 0..PARTITIONS).prop_map(
        |(key, what, has_place, source_ms, partition)| Event {
            key,
            what,
            // Filled in where it is delivered.
            sequence: has_place.then_some(0),
            source_ms,
            partition,
            is_snapshot: false,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let twist = prop_oneof![
        4 => Just(Twist::Same),
        1 => (0..PARTITIONS).prop_map(Twist::Partition),
        1 => Just(Twist::Placeless),
        1 => Just(Twist::Snapshot),
    ];
    prop_oneof![
        20 => event().prop_map(Step::Event),
        8 => (1..60_usize, twist).prop_map(|(back, twist)| Step::Again(back, twist)),
        1 => (0..PARTITIONS).prop_map(Step::Recreated),
        6 => prop::bool::weighted(0.2).prop_map(|restart| Step::Barrier { restart }),
        1 => (0..5_u8).prop_map(Step::Later),
    ]
}

/// The fold under test, with the state that its barriers leave.
struct World {
    folder: tempfile::TempDir,
    log: StateLog,
    fold: TableFold,
    barrier: u64,
    builders: Vec<Builder>,
    /// Lives of the topic, as they were seen.
    lives: Vec<u32>,
}

impl World {
    fn new(limit: usize) -> World {
        // In memory where there is such a folder: a case has hundreds of files, and none must last.
        let shared = std::path::Path::new("/dev/shm");
        let place = if shared.is_dir() { shared.to_path_buf() } else { std::env::temp_dir() };
        let folder = tempfile::tempdir_in(place).unwrap();
        let log = StateLog::new(folder.path(), None).unwrap();
        let builders = (0..PARTITIONS).map(Builder::new).collect();
        let mut fold = TableFold::new(prepared());
        fold.tombstones.limit = limit;
        World { folder, log, fold, barrier: 0, builders, lives: Vec::new() }
    }

    fn deliver(&mut self, event: &Event, clock: i64) -> Place {
        let builder = &mut self.builders[usize::try_from(event.partition).unwrap()];
        let offset = builder.next;
        builder.at(event.source_ms).place(event.sequence);
        let (key, sequence) = (name(event.key), event.sequence.unwrap_or(0));
        match (event.what, event.is_snapshot) {
            (What::Truncate, _) => builder.truncate(sequence),
            (What::Row(value), true) => builder.incremental(&key, &value.to_string(), sequence),
            (What::Row(value), false) => builder.upsert(&key, &value.to_string(), sequence),
            (What::Delete, _) => builder.delete(&key, sequence),
        };
        let mut delta = self.fold.no_changes();
        self.fold.apply(&builder.take(), &stamp(clock), &mut delta);
        let Event { sequence, is_snapshot, source_ms, partition, .. } = *event;
        let is_snapshot = is_snapshot && matches!(event.what, What::Row(_));
        let life = self.builders[usize::try_from(partition).unwrap()].life;
        let seen = self.lives.iter().position(|seen| *seen == life);
        let topic = seen.unwrap_or_else(|| {
            self.lives.push(life);
            self.lives.len() - 1
        });
        Place { sequence, is_snapshot, source_ms, topic, partition, offset }
    }

    /// Writes a barrier, and loads it when `restart` says so.
    fn barrier(&mut self, restart: bool) {
        self.barrier += 1;
        let frozen = self.fold.freeze();
        self.log.need_runs(frozen.runs().iter()).unwrap();
        self.log.write(self.barrier, &frozen.parts()).unwrap();
        self.log.complete(self.barrier).unwrap();
        frozen.runs().merge(&mut self.log).unwrap();
        if restart {
            let read = read(self.folder.path(), self.barrier).unwrap();
            let mut fresh = TableFold::new(prepared());
            fresh.load_state(&read.saved, &|number| read.run(number)).unwrap();
            for slot in lake::keyed::FrozenRows::live_slots(&frozen) {
                fresh.load(frozen.silver_row(slot).unwrap()).unwrap();
            }
            fresh.tombstones.limit = self.fold.tombstones.limit;
            self.log = StateLog::new(self.folder.path(), Some(&read)).unwrap();
            assert_eq!(records(&Saved::of(&fresh.freeze().parts())), records(&read.saved));
            self.fold = fresh;
        }
    }
}

/// What parts hold, by part and number: one without records is none.
fn records(saved: &Saved) -> Vec<(&str, u32, &[u8])> {
    let part = |name| saved.part(name).into_iter().flat_map(schemas::SavedPart::records);
    let all = |name| part(name).map(move |(number, record)| (name, number, record));
    saved.names().flat_map(all).collect()
}

fn go(steps: &[Step], limit: usize) {
    let (mut world, mut oracle) = (World::new(limit), Everything::default());
    let mut delivered: Vec<Event> = Vec::new();
    let (mut clock, mut sequence) = (1, 0);
    for step in steps {
        let event = match step {
            Step::Event(event) => {
                sequence += 1;
                let own = event.sequence.map(|_| sequence);
                // Where a source's places grow, so does its clock: it never goes back here.
                let source_ms = own.map_or(event.source_ms, |own| i64::try_from(own).unwrap());
                Event { sequence: own, source_ms, ..*event }
            }
            Step::Again(back, twist) => {
                let Some(at) = delivered.len().checked_sub(*back) else { continue };
                let old = delivered[at];
                match twist {
                    Twist::Same => old,
                    Twist::Partition(partition) => Event { partition: *partition, ..old },
                    Twist::Placeless => Event { sequence: None, ..old },
                    Twist::Snapshot => Event { is_snapshot: true, ..old },
                }
            }
            Step::Recreated(partition) => {
                world.builders[usize::try_from(*partition).unwrap()].recreate();
                continue;
            }
            Step::Barrier { restart } => {
                world.barrier(*restart);
                continue;
            }
            Step::Later(eighths) => {
                clock += TOMBSTONE_RETENTION_US / 8 * i64::from(*eighths);
                continue;
            }
        };
        clock += 1;
        let place = world.deliver(&event, clock);
        oracle.forget(clock);
        oracle.apply(&event, place, clock);
        delivered.push(event);
        assert_eq!(text_rows(&world.fold), oracle.text_rows(), "after {event:?}");
        assert!(world.fold.halts().next().is_none() && world.fold.failure().is_none());
    }
    assert_eq!(world.fold.counters().stale, oracle.stale);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, max_shrink_iters: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_late_change_brings_a_key_back(
        steps in prop::collection::vec(step(), 1..220),
        limit in 1..4_usize,
    ) {
        go(&steps, limit);
    }
}

/// Deletes of `count` keys from `first` on, one a step, with a barrier now and then. Returns the bytes that
/// barriers and runs took on disk.
fn delete(world: &mut World, first: u64, count: u64, has_place: bool) -> u64 {
    let mut bytes = 0;
    for at in first..first + count {
        let builder = &mut world.builders[usize::try_from(at % 3).unwrap()];
        let sequence = u128::from(at + 1);
        builder.at(1).place(has_place.then_some(sequence));
        builder.delete(&format!("tenant-{}/order-{at:012}", at % 50), sequence);
        if at % 1_000 == 999 {
            let clock = i64::try_from(at).unwrap();
            for builder in &mut world.builders {
                let mut delta = world.fold.no_changes();
                world.fold.apply(&builder.take(), &stamp(clock), &mut delta);
            }
            world.barrier += 1;
            let frozen = world.fold.freeze();
            bytes += world.log.need_runs(frozen.runs().iter()).unwrap();
            bytes += world.log.write(world.barrier, &frozen.parts()).unwrap();
            world.log.complete(world.barrier).unwrap();
            frozen.runs().merge(&mut world.log).unwrap();
        }
    }
    bytes
}

#[test]
fn a_deleted_key_costs_twelve_bits_and_barriers_write_what_was_deleted() {
    for has_place in [true, false] {
        let mut world = World::new(super::LIMIT);
        let count = 80_000;
        let bytes = delete(&mut world, 0, count, has_place);
        let frozen = world.fold.freeze();
        let runs: Vec<_> = frozen.runs().iter().collect();
        let held: u64 = runs.iter().map(|run| run.len()).sum();
        let memory: usize = runs.iter().map(|run| run.memory()).sum();
        assert!(runs.len() <= 8 && held + 8_192 >= count, "{} runs of {held}", runs.len());
        assert!(memory * 8 <= 12 * usize::try_from(held).unwrap(), "{memory} bytes for {held}");
        // A key and its place are about 60 B: in the log, in a page in turn, in a run and one made of it.
        assert!(bytes / count <= 300, "{} bytes a key", bytes / count);
        assert_eq!(world.fold.tombstones(), usize::try_from(count).unwrap());
    }
}

#[test]
fn a_run_that_cannot_be_read_brings_nothing_back() {
    let mut world = World::new(3);
    let mut clock = 0;
    let mut change = |world: &mut World, key: u8, what: What, sequence: u128| {
        clock += 1;
        let sequence = Some(sequence);
        let event = Event { key, what, sequence, source_ms: 0, partition: 0, is_snapshot: false };
        world.deliver(&event, clock);
    };
    change(&mut world, 9, What::Row(1), 1);
    for key in 0..3 {
        change(&mut world, key, What::Delete, 10 + u128::from(key));
    }
    world.barrier(true);
    let run = std::fs::read_dir(world.folder.path()).unwrap().map(|file| file.unwrap().path());
    let run = run.into_iter().find(|path| path.extension().is_some_and(|e| e == "run")).unwrap();
    let whole = std::fs::read(&run).unwrap();
    let mut damaged = whole.clone();
    damaged[12] ^= 1;
    std::fs::write(&run, damaged).unwrap();
    change(&mut world, 9, What::Row(2), 14);
    assert_eq!(world.fold.failure(), None, "it stands above all that was deleted");
    change(&mut world, 1, What::Row(1), 5);
    let failure = world.fold.failure().unwrap().to_owned();
    assert!(failure.contains("is damaged") && failure.contains("delete it"), "{failure}");
    change(&mut world, 9, What::Row(3), 15);
    assert_eq!(text_rows(&world.fold), [(name(9), "2".to_owned())], "it stands still");
}

/// The resident memory of this process, in bytes.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = text.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

#[test]
#[ignore = "a measurement"]
fn resident_memory_of_deleted_keys() {
    for has_place in [true, false] {
        let mut world = World::new(super::LIMIT);
        for million in 0..4 {
            let bytes = delete(&mut world, million * 1_000_000, 1_000_000, has_place);
            let frozen = world.fold.freeze();
            let runs = frozen.runs().iter().count();
            let (resident, written) = (resident(), bytes / 1_000_000);
            eprintln!(
                "place {has_place}: {} million keys, {runs} runs: {resident} B resident, {written} B written a key",
                million + 1
            );
        }
    }
}
