//! Silver against simulated source databases: what is decoded and folded is what the source has, after
//! everything that may happen to connectors, topics and readers.
//!
//! | variable | what it sets |
//! |---|---|
//! | `WEIR_HISTORIES` | how many histories of each class and connector are played |
//! | `WEIR_SEED` | the first seed, 0 unless set |
//! | `WEIR_CLASS` | the one class that is played, `all` or accidents as a failure prints them |
//!
//! # Guarantees
//! - The changes of rows that the fold says add up to its rows, and a fold that is loaded from what was
//!   saved goes on like one that was not.
//! - A change that was refused, because a required value that it left out was read after it, is read again at the
//!   end, as somebody would do it: then it is there.
//!
//! # Non-guarantees
//! - Of some 10,000 histories of the class `all` one ends wrong. An older change that PostgreSQL streams behind a
//!   snapshot may lie in another partition than what it is compared with, and be swept; a snapshot may overtake a change
//!   of a key, and have another row under the old one, or a row may get a third key before its second is read: then a
//!   value is unknown that was sent. Two snapshots of MySQL at one place of two logs are taken for one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "helpers of tests may panic and print"
)]

use std::collections::BTreeMap;
use std::sync::Arc;

use harness::bronze::Record;
use harness::simulator::{
    Accidents, Cell, DOUBT, Kind, Rows, Script, Start, Statement, Step, doubt, judge,
};
use lake::keyed::FrozenRows;
use pipeline::decode::{ChangeBatch, PreparedContract, Scratch, decode_batch, registry};
use pipeline::record::{RawBatch, TopicPartition};
use pipeline::silver::{Again, SilverRow, TableFold};
use schemas::{Contract, EpochStamp, Micros, RowRef, Saved};

const COLUMNS: [&str; 6] = ["tenant_id", "name", "quantity", "amount", "note", "body"];

fn contract(has_body: bool) -> Arc<PreparedContract> {
    let body = if has_body { ",{name='body',type='text',required=true}" } else { "" };
    let text = format!(
        "name='items'\nformat='debezium-json'\nkey=['id']\ntenant='tenant_id'\ncolumns=[\
         {{name='id',type='bigint',required=true}},{{name='tenant_id',type='text'}},\
         {{name='name',type='text'}},{{name='quantity',type='bigint'}},\
         {{name='amount',type='decimal(18,4)'}},{{name='note',type='text'}}{body}]"
    );
    Arc::new(PreparedContract::new(Contract::parse(&text).unwrap()).unwrap())
}

/// The fold with what has to hold of it at all times.
struct Driver {
    fold: TableFold,
    scratch: Scratch,
    /// The sum of all changes of rows.
    sum: BTreeMap<Vec<u8>, i64>,
    /// Whether snapshots are promised to be whole.
    is_whole: bool,
    /// Records that were refused.
    refused: Vec<Record>,
    /// Why origins stood still, though they may go on by now.
    halts: Vec<String>,
}

impl Driver {
    fn epoch(&mut self, records: &[Record]) {
        let stamp = stamp(&records[0]);
        let mut delta = self.fold.no_changes();
        let mut lanes: BTreeMap<TopicPartition, Vec<&Record>> = BTreeMap::new();
        for record in records {
            lanes.entry(lane(record)).or_default().push(record);
        }
        for (of, records) in lanes {
            let changes = self.decode(of, &records);
            let refused = self.fold.apply(&changes, &stamp, &mut delta);
            self.refused.extend(refused.iter().map(|(at, _)| records[*at].clone()));
            self.halts.extend(self.fold.halts().map(ToString::to_string));
        }
        self.add(delta);
    }

    /// Reads again what was refused, until that helps no more.
    fn retry(&mut self, clock: Micros) {
        let mut left = usize::MAX;
        while self.refused.len() < left {
            left = self.refused.len();
            for record in std::mem::take(&mut self.refused) {
                let changes = self.decode(lane(&record), &[&record]);
                let came = stamp(&record);
                let again = Again { changes: &changes, epoch: came.id, clock: came.clock };
                let now = EpochStamp { id: u64::MAX / 2, clock, quiet: false };
                let mut delta = self.fold.no_changes();
                if self.fold.retry(&[again], &now, &mut delta).iter().any(Option::is_some) {
                    self.refused.push(record);
                }
                self.add(delta);
            }
        }
    }

    fn decode(&mut self, of: TopicPartition, records: &[&Record]) -> ChangeBatch {
        let mut batch = RawBatch::new(Arc::new(of));
        batch.set_first_prev_offset(records[0].prev_offset);
        for record in records {
            let headers: Vec<(&str, Option<&[u8]>)> =
                record.headers.iter().map(|(name, value)| (&**name, value.as_deref())).collect();
            let (key, value) = (record.key.as_deref(), record.value.as_deref());
            let at = record.timestamp.map(|at| at / 1000);
            batch.push(record.offset, at, key, value, &headers);
        }
        let decoder = registry::find("debezium-json").unwrap();
        let mut changes = ChangeBatch::default();
        decode_batch(decoder, self.fold.contract(), &batch, &mut self.scratch, &mut changes);
        changes.promise_whole(self.is_whole);
        changes
    }

    fn add(&mut self, mut delta: schemas::Delta) {
        delta.consolidate();
        for (row, weight) in delta.iter() {
            *self.sum.entry(row.bytes().to_vec()).or_default() += weight;
        }
        self.sum.retain(|_, weight| *weight != 0);
    }

    fn silver(&mut self) -> Vec<SilverRow> {
        let frozen = self.fold.freeze();
        frozen.live_slots().filter_map(|slot| frozen.silver_row(slot)).collect()
    }

    /// Ends, and starts from what was saved.
    fn restart(&mut self) {
        let mut fresh = TableFold::new(Arc::clone(self.fold.contract()));
        let saved = Saved::of(&self.fold.freeze().parts());
        fresh.load_state(&saved, &|number| panic!("run {number} was never written")).unwrap();
        for row in self.silver() {
            fresh.load(row).unwrap();
        }
        self.fold = fresh;
    }

    fn rows(&mut self, wrong: &mut Vec<String>) -> Rows {
        let contract = Arc::clone(self.fold.contract());
        let (mut rows, mut held) = (Rows::new(), BTreeMap::new());
        for silver in self.silver() {
            *held.entry(silver.row.to_vec()).or_default() += 1;
            let row = contract.layout().row(&silver.row);
            let key = row.bigint(0).map(|key| key.to_string()).unwrap_or_default();
            let columns = COLUMNS.iter().take(contract.columns().len() - 1).enumerate();
            let cells = columns.map(|(at, name)| ((*name).to_owned(), cell(&row, at + 1)));
            let mut cells: BTreeMap<String, Cell> = cells.collect();
            cells.insert(DOUBT.into(), doubt(row.is_outdated()));
            rows.insert((silver.origin.to_string(), key), cells);
        }
        if self.sum != held {
            wrong.push("the changes of rows do not add up to the rows".into());
        }
        rows
    }
}

fn lane(record: &Record) -> TopicPartition {
    TopicPartition {
        source: record.source.as_str().into(),
        topic: record.topic.as_str().into(),
        incarnation: record.incarnation.as_str().into(),
        partition: record.partition,
    }
}

fn stamp(record: &Record) -> EpochStamp {
    let id = u64::try_from(record.epoch).unwrap();
    EpochStamp { id, clock: Micros(record.epoch_clock), quiet: false }
}

fn cell(row: &RowRef<'_>, column: usize) -> Cell {
    if row.is_unknown(column) {
        return Cell::Unknown;
    }
    if row.is_null(column) {
        return Cell::Null;
    }
    let whole = || row.bigint(column).map(|number| number.to_string());
    let decimal =
        || row.decimal(column).map(|units| format!("{}.{:04}", units / 10_000, units % 10_000));
    let text = match COLUMNS[column - 1] {
        "quantity" => whole(),
        "amount" => decimal(),
        _ => row.text(column).map(str::to_owned),
    };
    Cell::Value(text.unwrap())
}

/// What is wrong with silver after a history.
fn wrong(script: &Script) -> Vec<String> {
    let history = script.play();
    let fold = TableFold::new(contract(history.has_body));
    let is_whole = history.whole;
    let (scratch, sum, refused) = (Scratch::default(), BTreeMap::new(), Vec::new());
    let halts = Vec::new();
    let mut driver = Driver { fold, scratch, sum, is_whole, refused, halts };
    let epochs = history.records.chunk_by(|a, b| a.epoch == b.epoch);
    for (number, records) in epochs.enumerate() {
        driver.epoch(records);
        if number % 7 == 3 {
            driver.restart();
        }
    }
    let mut delta = driver.fold.no_changes();
    driver.fold.fire(Micros(history.end_clock), &mut delta);
    driver.add(delta);
    driver.retry(Micros(history.end_clock));
    let mut wrong = std::mem::take(&mut driver.halts);
    if history.may_halt && !wrong.is_empty() {
        return Vec::new();
    }
    wrong.truncate(1);
    let rows = driver.rows(&mut wrong);
    wrong.extend(judge(&history, &rows));
    wrong
}

fn variable(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// What happens. Of all accidents each history draws about half.
const CLASSES: [Accidents; 43] = [
    Accidents::NONE,
    Accidents::REDELIVERY,
    Accidents::REDELIVERY.with(Accidents::PARTITIONS),
    Accidents::REDELIVERY.with(Accidents::COMPACTION),
    Accidents::SNAPSHOT,
    Accidents::SNAPSHOT.with(Accidents::IN_FLIGHT),
    Accidents::FILTERED.with(Accidents::ASK),
    Accidents::INCREMENTAL.with(Accidents::NO_DATA),
    Accidents::INCREMENTAL.with(Accidents::IN_FLIGHT),
    Accidents::GAP,
    Accidents::GAP.with(Accidents::ASK),
    Accidents::UNFINISHED,
    Accidents::UNFINISHED.with(Accidents::ASK),
    Accidents::FAILOVER,
    Accidents::COMPACTION,
    Accidents::PARTITIONS,
    Accidents::PARTITIONS.with(Accidents::TOAST),
    Accidents::COMPACTION.with(Accidents::TOAST),
    Accidents::TOPICS,
    Accidents::SHARDS,
    Accidents::SHARDS.with(Accidents::TRUNCATE),
    Accidents::SHARED_TOPIC,
    Accidents::IN_FLIGHT,
    Accidents::KEYS,
    Accidents::KEYS.with(Accidents::TOAST),
    Accidents::REQUIRED.with(Accidents::TOAST),
    Accidents::TRUNCATE,
    Accidents::TRUNCATE.with(Accidents::PARTITIONS),
    Accidents::UNREADABLE,
    Accidents::UNREADABLE.with(Accidents::REDELIVERY),
    Accidents::UNREADABLE.with(Accidents::PARTITIONS),
    Accidents::UNREADABLE.with(Accidents::INCREMENTAL),
    Accidents::UNREADABLE.with(Accidents::TRUNCATE),
    Accidents::CLOCKS,
    Accidents::CLOCKS.with(Accidents::GAP),
    Accidents::CLOCKS.with(Accidents::REDELIVERY),
    Accidents::RESTORE,
    Accidents::RESTORE.with(Accidents::TRUNCATE),
    Accidents::RESTORE.with(Accidents::KEYS.with(Accidents::TOAST)),
    Accidents::RESTORE.with(Accidents::COMPACTION),
    Accidents::ALTER,
    Accidents::ALTER.with(Accidents::INCREMENTAL),
    Accidents::ALL,
];

/// The seeds of a test that plays so many histories unless told otherwise.
fn seeds(usual: u64) -> std::ops::Range<u64> {
    let first = variable("WEIR_SEED", 0);
    first..first + variable("WEIR_HISTORIES", usual)
}

/// The smallest history like this one that silver gets wrong, in at most so many lines.
fn smallest(script: &Script, lines: usize) -> String {
    let script = script.shrunk(|shorter| !wrong(shorter).is_empty());
    let what = wrong(&script);
    let text = format!("{script}  {}\n{}", what.join("\n  "), script.play());
    text.lines().take(lines).collect::<Vec<_>>().join("\n")
}

fn first_failing(seeds: std::ops::Range<u64>, kind: Kind, accidents: Accidents) -> Option<Script> {
    let mut scripts = seeds.map(|seed| {
        let drawn = accidents == Accidents::ALL;
        Script::draw(seed, kind, if drawn { Accidents::together(seed) } else { accidents })
    });
    scripts.find(|script| !wrong(script).is_empty())
}

#[test]
fn silver_is_the_source() {
    let class = std::env::var("WEIR_CLASS").ok();
    let is_played = |accidents: &Accidents| match class.as_deref() {
        None => true,
        Some("all") => *accidents == Accidents::ALL,
        Some(name) => accidents.to_string() == name,
    };
    let classes: Vec<Accidents> = CLASSES.into_iter().filter(is_played).collect();
    assert!(!classes.is_empty(), "WEIR_CLASS names no class");
    for accidents in classes {
        for kind in Kind::ALL {
            let failing = first_failing(seeds(17), kind, accidents);
            assert!(failing.is_none(), "{}", smallest(&failing.unwrap(), 40));
        }
    }
}

/// Every order in which these are read gives what the source has.
fn is_right(kind: Kind, accidents: &[Accidents], partitions: usize, steps: &[Step]) {
    let accidents = accidents.iter().fold(Accidents::NONE, |all, one| all.with(*one));
    for reading in 0..50 {
        let script = Script { kind, accidents, steps: steps.to_vec(), partitions, reading };
        assert!(wrong(&script).is_empty(), "{}", smallest(&script, 40));
    }
}

fn put(key: i64) -> Step {
    Step::Write(0, 0, Statement::Put { key, dice: 0b1111 })
}

const WHOLE: Step = Step::Start(0, Start::Whole);

#[test]
fn a_second_snapshot_may_be_read_to_its_end_before_the_first() {
    let steps = [put(0), put(1), put(5), WHOLE, put(3), Step::Snapshot(0, 0b1010)];
    is_right(Kind::Postgres, &[Accidents::FILTERED, Accidents::ASK], 3, &steps);
}

#[test]
fn rows_of_an_incremental_snapshot_are_no_rest_of_an_unfinished_one() {
    let (nothing, delete) = (Step::Start(0, Start::Nothing), Statement::Delete { key: 0 });
    let chunk = Step::Chunk(0, u64::MAX);
    let steps = [put(0), nothing, chunk, put(1), Step::Write(0, 0, delete), Step::Gap(0)];
    for kind in Kind::ALL {
        is_right(kind, &[Accidents::INCREMENTAL, Accidents::GAP, Accidents::ASK], 1, &steps);
    }
}

#[test]
fn snapshots_of_two_servers_are_ordered_by_their_clocks() {
    let steps = [put(3), put(4), WHOLE, Step::FailOver(0), Step::Snapshot(0, 1 << 4)];
    let happens = [Accidents::FILTERED, Accidents::FAILOVER, Accidents::ASK];
    is_right(Kind::MySql, &happens, 1, &steps);
}

#[test]
fn a_later_snapshot_speaks_for_what_an_earlier_one_lacked() {
    let again = Step::Snapshot(0, u64::MAX);
    let steps = [WHOLE, put(4), again, Step::Grow(0), again];
    for kind in Kind::ALL {
        is_right(kind, &[Accidents::SNAPSHOT, Accidents::PARTITIONS], 2, &steps);
    }
}

#[test]
fn without_positions_a_topic_that_was_made_anew_is_later() {
    let steps = [WHOLE, put(4), Step::Stream(0, 5), put(4), Step::Topic(0, false), Step::Gap(0)];
    for more in [Accidents::NONE, Accidents::ASK] {
        is_right(Kind::Plain, &[Accidents::GAP, Accidents::TOPICS, more], 1, &steps);
    }
}

/// An update that leaves out a required value is read, in a new topic, before the create that sent it.
#[test]
fn a_change_that_needs_one_read_after_it_is_there_once_it_is_read_again() {
    let put = |key, dice| Step::Write(1, 0, Statement::Put { key, dice });
    let (commit, start) = (Step::Commit(1, 0), Step::Start(1, Start::Whole));
    let begun = [start, put(2, 200), put(0, 36), commit, Step::Stream(1, 1)];
    let steps: Vec<Step> = begun.into_iter().chain([put(0, 237), Step::Topic(1, true)]).collect();
    let happens = Accidents::TOPICS.with(Accidents::SHARDS);
    let accidents = happens.with(Accidents::TOAST).with(Accidents::REQUIRED);
    for reading in 0..50 {
        let steps = steps.clone();
        let script = Script { kind: Kind::Postgres, accidents, steps, partitions: 1, reading };
        assert!(wrong(&script).is_empty(), "{}", smallest(&script, 40));
    }
}

/// The table is truncated behind the first complete snapshot, which took away what an unfinished one had left; a row of it
/// is read after that.
#[test]
fn a_truncate_takes_what_is_kept_aside() {
    let unfinished = Step::Start(0, Start::Unfinished(2));
    let steps = [put(2), put(0), put(1), unfinished, WHOLE, Step::Truncate(0)];
    let happens = [Accidents::UNFINISHED, Accidents::TRUNCATE, Accidents::ASK];
    for kind in [Kind::Postgres, Kind::MySql, Kind::SqlServer, Kind::Oracle] {
        is_right(kind, &happens, 2, &steps);
    }
}

/// A later complete snapshot is over before the first, and the unfinished one is not followed any more.
#[test]
fn what_an_unfinished_snapshot_left_stays_away_when_an_earlier_one_turns_out_complete() {
    let unfinished = Step::Start(0, Start::Unfinished(1));
    let delete = Step::Write(0, 0, Statement::Delete { key: 2 });
    let begun = [put(2), put(4), put(6), unfinished, delete, WHOLE];
    let again = [put(1), Step::Gap(0), put(5), Step::Snapshot(0, u64::MAX)];
    let steps: Vec<Step> = begun.into_iter().chain(again).collect();
    let happens = [Accidents::UNFINISHED, Accidents::GAP, Accidents::SNAPSHOT, Accidents::ASK];
    for kind in Kind::ALL {
        is_right(kind, &happens, 3, &steps);
    }
}

/// The cleaner has taken the delete; the row with this key that was read last is of the other database.
#[test]
fn a_null_value_in_a_shared_topic_is_of_the_table_that_its_key_names() {
    let on = |database, statement| Step::Write(database, 0, statement);
    let put = |database| on(database, Statement::Put { key: 1, dice: 0b1111 });
    let start = |database| Step::Start(database, Start::Whole);
    let gone = [on(1, Statement::Delete { key: 1 }), Step::Stream(1, 4)];
    let begun = [start(1), put(1), put(0), Step::Stream(1, 5), start(0)];
    for kind in [Kind::MySql, Kind::SqlServer, Kind::Oracle, Kind::MongoDb, Kind::Postgres] {
        for seed in 0..20 {
            let steps: Vec<Step> =
                begun.into_iter().chain(gone).chain([Step::Clean(seed)]).collect();
            is_right(kind, &[Accidents::SHARED_TOPIC, Accidents::COMPACTION], 1, &steps);
        }
    }
}

/// Each of another fault: what came to a key, what a restore shows, what a snapshot has seen, what came again, and what a
/// topic that was made anew brings.
const ONCE_WRONG: [(u64, Kind); 12] = [
    (5_000_283, Kind::SqlServer),
    (5_001_588, Kind::MySql),
    (7_117_411, Kind::MySql),
    (7_310_331, Kind::MySql),
    (7_018_628, Kind::Oracle),
    (7_010_764, Kind::Postgres),
    (7_000_356, Kind::Postgres),
    (7_004_878, Kind::Postgres),
    (7_129_594, Kind::Postgres),
    (7_103_850, Kind::Postgres),
    (7_107_017, Kind::Postgres),
    (7_312_089, Kind::Plain),
];

#[test]
fn histories_that_ended_wrong_once_end_right() {
    for (seed, kind) in ONCE_WRONG {
        let script = Script::draw(seed, kind, Accidents::together(seed));
        assert!(wrong(&script).is_empty(), "{seed}\n{}", smallest(&script, 40));
    }
}

#[path = "simulator/moves.rs"]
mod moves;
#[path = "simulator/restores.rs"]
mod restores;
