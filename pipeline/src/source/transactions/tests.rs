//! Random logs of a connector, read in any order, against what their transactions are known to be.

use std::collections::{BTreeMap, BTreeSet};

use schemas::split_mix::SplitMix;

use super::*;

/// Numbers of a seed.
struct Dice(SplitMix);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.0.draw() % u64::try_from(end).unwrap()).unwrap()
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

const TABLES: [&str; 3] = ["public.orders", "public.costs", "public.secret"];
const METADATA: &str = "shop.transaction";

/// A record of the log, and what it is in truth: the transaction, and the place of a row in it.
#[derive(Debug, Clone)]
struct Written {
    value: Option<String>,
    at_ms: i64,
    truth: Option<(usize, usize)>,
}

/// What a connector wrote, by partition; and all of it in the order in which it was written.
#[derive(Debug, Default)]
struct Log {
    partitions: Vec<(Arc<TopicPartition>, Vec<Written>)>,
    order: Vec<(usize, usize)>,
    /// Rows of each transaction by topics that are read, lost ones included.
    rows: Vec<usize>,
    now_ms: i64,
}

/// What is wrong with a log.
#[derive(Debug, Clone, Copy, Default)]
struct Faults {
    lost_rows: usize,
    lost_ends: usize,
    again: bool,
}

impl Log {
    /// One partition for the metadata topic and `width` for each table that is read.
    fn new(width: i32) -> Log {
        let mut log = Log { now_ms: 1_000_000, ..Log::default() };
        let topics = [(METADATA, 1), ("shop.public.orders", width), ("shop.public.costs", width)];
        for (topic, width) in topics {
            for partition in 0..width {
                let (source, topic, incarnation) = ("kafka".into(), topic.into(), "i".into());
                let of = TopicPartition { source, topic, incarnation, partition };
                log.partitions.push((Arc::new(of), Vec::new()));
            }
        }
        log
    }

    fn write(&mut self, to: usize, value: Option<String>, truth: Option<(usize, usize)>) {
        let own = &mut self.partitions[to].1;
        own.push(Written { value, at_ms: self.now_ms, truth });
        let at = own.len() - 1;
        self.order.push((to, at));
    }

    /// Where a row of a table goes; those of the last one are not read.
    fn place(&self, table: usize, dice: &mut Dice) -> Option<usize> {
        let width = (self.partitions.len() - 1) / 2;
        (table < 2).then(|| 1 + table * width + dice.below(width))
    }

    /// A transaction with rows of these tables.
    fn transaction(&mut self, tables: &[usize], faults: Faults, dice: &mut Dice) {
        let number = self.rows.len();
        let id = |lsn: usize| format!("{}:{}", 700 + number, 53_000 + lsn);
        let begin = format!(r#"{{"status":"BEGIN","id":"{}","event_count":null}}"#, id(0));
        self.write(0, Some(begin), None);
        let mut counts = [0; 3];
        for (at, &table) in tables.iter().enumerate() {
            counts[table] += 1;
            if dice.chance(20) {
                self.now_ms += 1;
            }
            let Some(to) = self.place(table, dice) else { continue };
            if dice.chance(faults.lost_rows) {
                continue;
            }
            let (order, id) = (at + 1, id(at + 1));
            let order = if dice.chance(50) { format!("\"{order}\"") } else { order.to_string() };
            let value = format!(
                r#"{{"op":"u","source":{{"name":"shop"}},"transaction":{{"id":"{id}","total_order":{order}}}}}"#
            );
            self.write(to, Some(value), Some((number, at)));
        }
        self.rows.push(counts[0] + counts[1]);
        let listed = TABLES.iter().zip(counts).filter(|(_, count)| *count > 0);
        let listed: Vec<String> = listed
            .map(|(name, count)| {
                format!(r#"{{"data_collection":"{name}","event_count":"{count}"}}"#)
            })
            .collect();
        if !dice.chance(faults.lost_ends) {
            let (id, count, all) = (id(tables.len() + 1), tables.len(), listed.join(","));
            let end = format!(
                r#"{{"status":"END","id":"{id}","event_count":{count},"data_collections":[{all}]}}"#
            );
            self.write(0, Some(end), None);
        }
    }

    fn random(dice: &mut Dice, transactions: usize, faults: Faults) -> Log {
        let width = i32::try_from(1 + dice.below(3)).unwrap();
        let mut log = Log::new(width);
        for _ in 0..transactions {
            let tables: Vec<usize> = (0..1 + dice.below(6)).map(|_| dice.below(3)).collect();
            log.transaction(&tables, faults, dice);
            log.now_ms += i64::try_from(dice.below(4)).unwrap();
            if dice.chance(20) {
                let to = 1 + dice.below(log.partitions.len() - 1);
                let snapshot = r#"{"op":"r","source":{"name":"shop"},"transaction":null}"#;
                let value = dice.chance(50).then(|| snapshot.to_owned());
                log.write(to, value, None);
            }
            if faults.again && dice.chance(10) {
                log.repeat(dice);
            }
        }
        log
    }

    /// The connector starts over some records ago, and writes those again.
    fn repeat(&mut self, dice: &mut Dice) {
        let from = self.order.len().saturating_sub(1 + dice.below(20));
        let again = self.order.split_off(from);
        self.order.extend(&again);
        for (partition, at) in again {
            let Written { value, truth, .. } = self.partitions[partition].1[at].clone();
            self.write(partition, value, truth);
        }
    }
}

/// A reader of a log, in any order and with restarts.
struct Reader<'a> {
    log: &'a Log,
    cut: Cut,
    now: Instant,
    /// How much of each partition is written, has been read, and has left.
    written: Vec<usize>,
    read: Vec<usize>,
    left: Vec<usize>,
    /// Rows of each transaction that have left.
    seen: Vec<BTreeSet<usize>>,
    /// When each record was read.
    arrived: BTreeMap<(usize, usize), Instant>,
    split: u64,
    /// Transactions of which a part was seen alone.
    halves: BTreeSet<usize>,
    most: usize,
}

fn stage(now: Instant) -> Cut {
    Cut::new(METADATA, ["shop.public.orders", "shop.public.costs"].into_iter(), now)
}

impl<'a> Reader<'a> {
    fn new(log: &'a Log) -> Reader<'a> {
        let (now, none) = (Instant::now(), vec![0; log.partitions.len()]);
        Reader {
            log,
            cut: stage(now),
            now,
            written: none.clone(),
            read: none.clone(),
            left: none,
            seen: vec![BTreeSet::new(); log.rows.len()],
            arrived: BTreeMap::new(),
            split: 0,
            halves: BTreeSet::new(),
            most: 0,
        }
    }

    /// Everything is there.
    fn write_all(&mut self) {
        self.written = self.log.partitions.iter().map(|(_, own)| own.len()).collect();
    }

    /// The next `count` records are there.
    fn write(&mut self, count: usize) {
        let done: usize = self.written.iter().sum();
        for &(partition, _) in self.log.order.iter().skip(done).take(count) {
            self.written[partition] += 1;
        }
    }

    fn is_written(&self) -> bool {
        self.written.iter().sum::<usize>() == self.log.order.len()
    }

    /// Reads up to `count` records of a partition.
    fn read(&mut self, partition: usize, count: usize) -> usize {
        let (of, own) = &self.log.partitions[partition];
        let from = self.read[partition];
        let to = self.written[partition].min(from.saturating_add(count));
        let mut batch = RawBatch::new(Arc::clone(of));
        batch.set_first_prev_offset(i64::try_from(from).unwrap());
        for (at, Written { value, at_ms, .. }) in own.iter().enumerate().take(to).skip(from) {
            let value = value.as_ref().map(String::as_bytes);
            batch.push(i64::try_from(at).unwrap(), Some(*at_ms), Some(b"k"), value, &[]);
            self.arrived.insert((partition, at), self.now);
        }
        self.read[partition] = to;
        if to > from {
            self.cut.take(batch, self.now);
        }
        to - from
    }

    /// Reads all that is there.
    fn read_all(&mut self) {
        for partition in 0..self.partitions() {
            self.read(partition, usize::MAX);
        }
    }

    /// Cuts, and looks at what has left.
    fn cut(&mut self) {
        let behind = self.log.partitions.iter().enumerate();
        let behind = behind.map(|(at, (of, _))| Outlook {
            partition: Arc::clone(of),
            is_behind: self.read[at] < self.written[at],
        });
        let sight = Sight { partitions: behind.collect(), ..Sight::default() };
        let mut out = Vec::new();
        self.cut.cut(self.now, &sight, &mut out);
        self.took(out);
    }

    fn took(&mut self, out: Vec<RawBatch>) {
        self.split += self.cut.take_split();
        let mut once = BTreeSet::new();
        for batch in out {
            let found = self.log.partitions.iter().position(|(of, _)| of == batch.topic());
            let partition = found.unwrap();
            assert!(once.insert(partition), "one batch of a partition");
            assert_eq!(batch.span().unwrap().0, i64::try_from(self.left[partition]).unwrap());
            for record in batch.iter() {
                let at = self.left[partition];
                assert_eq!(record.offset, i64::try_from(at).unwrap(), "in order, each once");
                let written = &self.log.partitions[partition].1[at];
                assert_eq!(record.value, written.value.as_ref().map(String::as_bytes));
                if let Some((transaction, row)) = written.truth {
                    self.seen[transaction].insert(row);
                }
                self.left[partition] += 1;
            }
        }
        for (number, (seen, rows)) in self.seen.iter().zip(&self.log.rows).enumerate() {
            if !seen.is_empty() && seen.len() < *rows {
                self.halves.insert(number);
            }
        }
        let held = self.read.iter().zip(&self.left).map(|(read, left)| read - left).sum();
        self.most = self.most.max(held);
        // Of those without an END nobody knows yet.
        let said = self.split + u64::try_from(self.cut.register.unsure.len()).unwrap();
        assert!(
            u64::try_from(self.halves.len()).unwrap() <= said,
            "{:?} were seen in parts, {said} were said to be",
            self.halves,
        );
    }

    /// How long the record that has waited longest has been here.
    fn longest(&self) -> Duration {
        let held = self.left.iter().zip(&self.read).enumerate();
        let held = held.filter(|(_, (left, read))| left < read);
        let waited = held.map(|(of, (left, _))| self.now - self.arrived[&(of, *left)]);
        waited.max().unwrap_or_default()
    }

    fn restart(&mut self) {
        self.cut = stage(self.now);
        self.read.clone_from(&self.left);
    }

    fn pass(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
    }

    fn partitions(&self) -> usize {
        self.log.partitions.len()
    }

    /// Records come, and are read as they come, in any order.
    fn follow(&mut self, dice: &mut Dice, restarts: bool) {
        while !self.is_written() || self.read != self.written {
            let count = 1 + dice.below(20);
            self.write(count);
            for _ in 0..self.partitions() {
                let partition = dice.below(self.partitions());
                self.read(partition, 1 + dice.below(10));
            }
            if dice.chance(50) {
                self.cut();
            }
            self.pass(1);
            if restarts && !self.is_written() && dice.chance(5) {
                self.restart();
            }
        }
        self.pass(u64::try_from(WAIT.as_millis()).unwrap());
        self.cut();
        assert_eq!(self.left, self.written, "all has left");
    }
}

#[test]
fn no_part_of_a_transaction_leaves_alone() {
    for seed in 0..400 {
        let mut dice = Dice(SplitMix::new(seed));
        let again = dice.chance(50);
        let log = Log::random(&mut dice, 80, Faults { again, ..Faults::default() });
        let mut reader = Reader::new(&log);
        reader.follow(&mut dice, !again);
        assert_eq!((reader.split, reader.halves.len()), (0, 0), "seed {seed}");
    }
}

#[test]
fn what_is_lost_is_said_and_all_else_leaves() {
    let mut split = 0;
    for seed in 0..400 {
        let mut dice = Dice(SplitMix::new(seed));
        let faults = Faults { lost_rows: 5, lost_ends: 3, again: dice.chance(30) };
        let log = Log::random(&mut dice, 80, faults);
        let mut reader = Reader::new(&log);
        reader.follow(&mut dice, true);
        split += reader.split;
    }
    assert!(split > 1_000, "{split} were cut");
}

#[test]
fn nothing_waits_longer_than_a_second_behind_what_never_comes() {
    for seed in 0..100 {
        let mut dice = Dice(SplitMix::new(seed));
        let faults = Faults { lost_rows: 5, lost_ends: 5, ..Faults::default() };
        let log = Log::random(&mut dice, 60, faults);
        let mut reader = Reader::new(&log);
        while !reader.is_written() || reader.left != reader.written {
            reader.write(dice.below(4));
            reader.read_all();
            reader.cut();
            assert!(reader.longest() < WAIT, "seed {seed}: {:?}", reader.longest());
            reader.pass(20);
        }
    }
}

/// Reads a log that is all there, as a source does: a slice of each partition in turn.
fn catch_up(reader: &mut Reader<'_>, slice: usize) -> Duration {
    let begun = reader.now;
    reader.write_all();
    for _ in 0..100_000 {
        let paused = reader.cut.paused(reader.now);
        let mut pulled = 0;
        loop {
            let before = pulled;
            for partition in 0..reader.partitions() {
                if !paused.contains(&reader.log.partitions[partition].0) && pulled < POLL_MAX {
                    pulled += reader.read(partition, slice);
                }
            }
            if pulled == before || pulled >= POLL_MAX {
                break;
            }
        }
        reader.cut();
        if reader.left == reader.written {
            return reader.now - begun;
        }
        reader.pass(if pulled == 0 { 100 } else { 5 });
    }
    panic!("it stands still: {:?} of {:?}", reader.left, reader.written);
}

/// A log of one table with most of the rows, at some transactions a millisecond.
fn backlog(dice: &mut Dice, transactions: usize, faults: Faults) -> Log {
    let mut log = Log::new(2);
    for number in 0..transactions {
        let mut tables = vec![0; 1 + dice.below(8)];
        if dice.chance(20) {
            tables.push(1);
        }
        log.transaction(&tables, faults, dice);
        if number % 4 == 0 {
            log.now_ms += 1;
        }
    }
    log
}

#[test]
fn in_a_backlog_partitions_that_are_ahead_wait() {
    for slice in [16, 256, 5_000] {
        let mut dice = Dice(SplitMix::new(7));
        let log = backlog(&mut dice, 30_000, Faults::default());
        let mut reader = Reader::new(&log);
        let took = catch_up(&mut reader, slice);
        assert_eq!((reader.split, reader.halves.len()), (0, 0), "slice {slice}");
        assert!(took < Duration::from_secs(2), "slice {slice}: {took:?}");
        assert!(reader.most <= 2 * RECORDS_MAX + POLL_MAX, "{} were held", reader.most);
    }
}

#[test]
fn a_backlog_with_lost_rows_is_not_waited_through() {
    let mut dice = Dice(SplitMix::new(8));
    let faults = Faults { lost_rows: 3, lost_ends: 1, ..Faults::default() };
    let log = backlog(&mut dice, 30_000, faults);
    let mut reader = Reader::new(&log);
    let took = catch_up(&mut reader, 256);
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert!(reader.split > 3_000, "{} were cut", reader.split);
}

#[test]
fn one_that_is_too_large_is_cut_once_and_no_other() {
    let mut dice = Dice(SplitMix::new(9));
    let mut log = Log::new(1);
    log.transaction(&[0, 1], Faults::default(), &mut dice);
    log.transaction(&vec![0; RECORDS_MAX + 5_000], Faults::default(), &mut dice);
    log.transaction(&[0, 1], Faults::default(), &mut dice);
    let mut reader = Reader::new(&log);
    catch_up(&mut reader, 256);
    assert_eq!(reader.split, 1);
    assert!(reader.most <= RECORDS_MAX + POLL_MAX, "{} were held", reader.most);
    let mut log = Log::new(1);
    log.transaction(&vec![0; RECORDS_MAX - 10], Faults::default(), &mut dice);
    let mut reader = Reader::new(&log);
    catch_up(&mut reader, 256);
    assert_eq!(reader.split, 0, "as large as may be");
}

#[test]
fn an_end_that_is_late_shows_whether_all_was_there() {
    let mut dice = Dice(SplitMix::new(14));
    let mut log = Log::new(1);
    log.transaction(&[0, 1, 1], Faults::default(), &mut dice);
    // Whole; with a row behind; and one that is sent again, which is no other row.
    for (missing, again, expected) in [(0, 0, 0), (1, 0, 1), (0, 1, 0)] {
        let mut reader = Reader::new(&log);
        reader.written = vec![0, 1, 2 - missing];
        reader.read_all();
        reader.cut();
        assert_eq!(reader.left, [0, 0, 0]);
        reader.pass(1_000);
        reader.cut();
        assert_eq!(reader.left, [0, 1, 2 - missing], "it is not waited for any longer");
        assert_eq!(reader.split, 0, "nobody knows yet");
        if again > 0 {
            let of = Arc::clone(&log.partitions[1].0);
            let mut batch = RawBatch::new(of);
            let value = log.partitions[1].1[0].value.as_ref().map(String::as_bytes);
            batch.push(1, Some(1), None, value, &[]);
            reader.cut.take(batch, reader.now);
            reader.cut.cut(reader.now, &Sight::default(), &mut Vec::new());
        }
        reader.written[0] = 2;
        reader.read_all();
        reader.split += reader.cut.take_split();
        assert_eq!(reader.split, u64::try_from(expected).unwrap(), "{missing} missing");
        reader.pass(60_000);
        reader.cut.cut(reader.now, &Sight::default(), &mut Vec::new());
        assert_eq!(reader.cut.take_split(), 0, "told once");
    }
    let mut reader = Reader::new(&log);
    reader.written = vec![0, 1, 2];
    reader.read_all();
    for (ms, expected) in [(1_000, 0), (59_999, 0), (1, 1)] {
        reader.pass(ms);
        reader.cut.cut(reader.now, &Sight::default(), &mut Vec::new());
        assert_eq!(reader.cut.take_split(), expected, "without any END");
    }
}

#[test]
fn at_a_fixed_end_what_has_no_end_is_left_and_what_lacks_rows_is_not() {
    let mut dice = Dice(SplitMix::new(10));
    let mut log = Log::new(1);
    log.transaction(&[0, 1], Faults::default(), &mut dice);
    log.transaction(&[0, 1], Faults::default(), &mut dice);
    log.partitions[2].1.pop();
    log.transaction(&[0, 1], Faults { lost_ends: 100, ..Faults::default() }, &mut dice);
    let mut reader = Reader::new(&log);
    reader.write_all();
    reader.read_all();
    reader.cut();
    let mut out = Vec::new();
    assert_eq!(reader.cut.finish(&mut out), 1);
    reader.took(out);
    assert_eq!((reader.split, reader.halves.len()), (1, 1));
    assert_eq!(reader.seen.iter().map(BTreeSet::len).collect::<Vec<_>>(), [2, 1, 0]);
    assert_eq!(reader.left, [4, 2, 1], "all but the last transaction");
}

#[test]
fn markers_of_rows_that_were_read_before_are_no_parts() {
    let mut dice = Dice(SplitMix::new(13));
    let mut log = Log::new(1);
    for _ in 0..100 {
        log.transaction(&[0, 1], Faults::default(), &mut dice);
    }
    let mut reader = Reader::new(&log);
    reader.write_all();
    for partition in [1, 2] {
        (reader.left[partition], reader.read[partition]) = (90, 90);
    }
    reader.read_all();
    for _ in 0..2 {
        reader.cut();
        reader.pass(1_000);
    }
    assert_eq!((reader.left == reader.written, reader.split), (true, 0));
}

#[test]
fn without_the_metadata_topic_nothing_waits() {
    let mut dice = Dice(SplitMix::new(11));
    let mut log = Log::new(1);
    log.transaction(&[0, 1], Faults::default(), &mut dice);
    let mut reader = Reader::new(&log);
    reader.write_all();
    reader.read(1, 100);
    reader.cut();
    assert_eq!(reader.left, [0, 0, 0]);
    reader.cut.set_waits(false);
    let mut out = Vec::new();
    reader.cut.cut(reader.now, &Sight::default(), &mut out);
    assert_eq!(out.iter().map(RawBatch::len).sum::<usize>(), 1);
}

#[test]
fn markers_leave_with_rows_or_after_a_second() {
    let mut dice = Dice(SplitMix::new(12));
    let mut log = Log::new(1);
    log.transaction(&[2, 2], Faults::default(), &mut dice);
    let mut reader = Reader::new(&log);
    reader.write_all();
    reader.read(0, 100);
    reader.cut();
    assert_eq!(reader.left[0], 0, "no epoch of its own");
    reader.pass(1_000);
    reader.cut();
    assert_eq!(reader.left[0], 2);
}

#[test]
fn it_is_told_whether_changes_name_their_transactions() {
    let now = Instant::now();
    let mut cut = stage(now);
    let mut take = |value: &str, count: i64| {
        let log = Log::new(1);
        let mut batch = RawBatch::new(Arc::clone(&log.partitions[1].0));
        (0..count).for_each(|at| batch.push(at, Some(1), None, Some(value.as_bytes()), &[]));
        cut.take(batch, now);
        cut.blocks()
    };
    let bare = r#"{"op":"c","source":{"name":"shop"},"transaction":null}"#;
    assert_eq!(take(&bare.replace(r#""c""#, r#""r""#), 500), Blocks::Unknown, "snapshot rows");
    assert_eq!(take(bare, 1), Blocks::Missing, "the first change tells");
    assert_eq!(take(&bare.replace("null", r#"{"id":"1:2"}"#), 1), Blocks::Sent);
}
