//! What happens in a history, step by step: drawn by seed, played, and cut down when it fails.
//!
//! # Guarantees
//! - Any part of a script can be played: a step that makes no sense where it stands does nothing.

use std::fmt;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::accidents::Accidents;
use super::block::Kind;
use super::connector::{Connector, Style};
use super::database::Statement;
use super::history::History;
use super::topic::Broker;

/// How a connector begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With a whole snapshot.
    Whole,
    /// With the first rows of a snapshot, and then not at all.
    Unfinished(u8),
    /// Without a snapshot.
    Nothing,
}

/// One step; the first number is the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A session runs a statement.
    Write(u8, u8, Statement),
    /// A session commits.
    Commit(u8, u8),
    /// The table is truncated.
    Truncate(u8),
    /// The connector begins.
    Start(u8, Start),
    /// The connector streams so many transactions.
    Stream(u8, u8),
    /// It repeats so many events.
    Restart(u8, u8),
    /// A blocking snapshot of the keys in the mask.
    Snapshot(u8, u64),
    /// A chunk of an incremental snapshot with the keys in the mask.
    Chunk(u8, u64),
    /// What was not streamed is lost, and a new snapshot is taken.
    Gap(u8),
    /// Another server goes on.
    FailOver(u8),
    /// The clock is so many minutes wrong.
    Clock(u8, i8),
    /// The database is restored to so many transactions before.
    Restore(u8, u8),
    /// The table is altered.
    Alter(u8, u8),
    /// The topic gets a partition.
    Grow(u8),
    /// The topic is made anew, under the same name or another.
    Topic(u8, bool),
    /// The cleaner runs.
    Clean(u64),
}

/// A history that has not happened yet.
#[derive(Debug, Clone)]
pub struct Script {
    /// The connector.
    pub kind: Kind,
    /// What may happen.
    pub accidents: Accidents,
    /// The steps.
    pub steps: Vec<Step>,
    /// How many partitions topics have at first.
    pub partitions: usize,
    /// The seed of the order in which partitions are read.
    pub reading: u64,
}

impl Script {
    /// The script of a seed, in which nothing happens but `accidents`.
    pub fn draw(seed: u64, kind: Kind, accidents: Accidents) -> Script {
        let mut rng = StdRng::seed_from_u64(seed);
        let accidents = accidents.possible(kind);
        let databases = databases(accidents);
        let (count, keys) = (rng.random_range(6..60), rng.random_range(2..8));
        let mut steps: Vec<Step> = Vec::new();
        for _ in 0..count {
            steps.extend(draw_step(&mut rng, accidents, databases, keys));
        }
        for database in 0..databases {
            // An attempt is worth something where there are rows, and time until the next.
            let least = if accidents.has(Accidents::UNFINISHED) { 12 } else { 0 };
            let mut at = rng.random_range(steps.len().min(least)..=steps.len().min(20));
            let nothing = accidents.has(Accidents::NO_DATA) && rng.random_bool(0.7);
            let how = if nothing { Start::Nothing } else { Start::Whole };
            steps.insert(at, Step::Start(database, how));
            if accidents.has(Accidents::UNFINISHED) && !nothing {
                at = rng.random_range(0..=at);
                let rows = rng.random_range(1..5);
                steps.insert(at, Step::Start(database, Start::Unfinished(rows)));
            }
        }
        let (partitions, reading) = (rng.random_range(1..4), rng.random());
        Script { kind, accidents, steps, partitions, reading }
    }

    /// What happened.
    pub fn play(&self) -> History {
        let shared = self.accidents.has(Accidents::SHARED_TOPIC);
        let style = Style {
            kind: self.kind,
            leaves_out: self.accidents.has(Accidents::TOAST),
            has_body: self.accidents.has(Accidents::REQUIRED),
            shared,
            whole: !self.accidents.has(Accidents::ASK),
            damages: self.accidents.has(Accidents::UNREADABLE),
        };
        let mut broker = Broker::default();
        let alone = [Accidents::RESTORE, Accidents::CLOCKS];
        let is_alone = alone.into_iter().any(|one| self.accidents.has(one));
        let partitions = if is_alone { 1 } else { self.partitions };
        let numbers: Vec<u8> = (0..databases(self.accidents)).collect();
        for number in &numbers {
            if shared {
                broker.create(&numbers, "shop.items".into(), partitions);
                break;
            }
            broker.create(&[*number], format!("shop_{number}.items"), partitions);
        }
        let mut connectors: Vec<Connector> =
            numbers.iter().map(|number| Connector::new(*number, style)).collect();
        for step in &self.steps {
            self.step(*step, &mut connectors, &mut broker);
        }
        for connector in &mut connectors {
            connector.database.commit_all();
            if !connector.has_started {
                connector.start(&mut broker);
            }
            connector.stream(usize::MAX, &mut broker);
        }
        History::new(self, style, &connectors, &broker)
    }

    fn step(&self, step: Step, connectors: &mut [Connector], broker: &mut Broker) {
        match step {
            Step::Clean(seed) => broker.clean(&mut StdRng::seed_from_u64(seed)),
            Step::Grow(number) => {
                if let Some(topic) = broker.topic(number) {
                    topic.grow();
                }
            }
            Step::Topic(number, is_moved) => {
                let Some(topic) = broker.topic(number) else { return };
                let is_moved = is_moved && self.kind != Kind::Plain;
                let name = format!("{}{}", topic.name, if is_moved { "_2" } else { "" });
                broker.create(&broker.beside(number), name, self.partitions);
            }
            Step::Write(number, ..)
            | Step::Commit(number, _)
            | Step::Truncate(number)
            | Step::Start(number, _)
            | Step::Stream(number, _)
            | Step::Restart(number, _)
            | Step::Snapshot(number, _)
            | Step::Chunk(number, _)
            | Step::Gap(number)
            | Step::FailOver(number)
            | Step::Clock(number, _)
            | Step::Restore(number, _)
            | Step::Alter(number, _) => {
                if let Some(one) = connectors.get_mut(usize::from(number)) {
                    self.advance(step, one, broker);
                }
            }
        }
    }

    /// What happens to one database, and what its connector does once it has begun.
    fn advance(&self, step: Step, one: &mut Connector, broker: &mut Broker) {
        let is_in = |mask: u64| move |key: i64| mask >> (key % 64) & 1 == 1;
        let is_snapshot = matches!(step, Step::Start(..) | Step::Snapshot(..) | Step::Gap(_));
        // Snapshots find no open transaction unless that may happen.
        if is_snapshot && !self.accidents.has(Accidents::IN_FLIGHT) {
            one.database.commit_all();
        }
        match step {
            Step::Write(_, session, statement) => {
                one.database.write(session, statement);
                // No transaction spans two documents.
                if self.kind == Kind::MongoDb {
                    one.database.commit(session);
                }
            }
            Step::Clock(_, minutes) => one.database.set_clock(minutes),
            Step::Alter(_, dice) => one.database.alter(dice),
            Step::Commit(_, session) => one.database.commit(session),
            Step::Truncate(_) => one.database.truncate(),
            Step::Start(_, how) if !one.has_started => match how {
                Start::Whole => one.start(broker),
                Start::Unfinished(rows) => one.attempt(rows.into(), broker),
                Start::Nothing => one.start_here(),
            },
            _ if !one.has_started => {}
            Step::Stream(_, transactions) => one.stream(transactions.into(), broker),
            Step::Restart(_, events) => one.restart(events.into(), broker),
            Step::Snapshot(_, mask) => one.pause(is_in(mask), broker),
            Step::Chunk(_, mask) => one.chunk(is_in(mask), broker),
            Step::Gap(_) => one.start(broker),
            Step::FailOver(_) => one.fail_over(broker),
            Step::Restore(_, back) => one.restore(back.into(), broker),
            Step::Start(..) | Step::Grow(_) | Step::Topic(..) | Step::Clean(_) => {}
        }
    }

    /// The script without what its failure does not need: `fails` says of a shorter one whether it
    /// fails too.
    #[must_use]
    pub fn shrunk(&self, mut fails: impl FnMut(&Script) -> bool) -> Script {
        let mut script = self.clone();
        let mut size = script.steps.len().div_ceil(2);
        while size > 0 {
            let mut at = 0;
            while at < script.steps.len() {
                let mut shorter = script.clone();
                let end = (at + size).min(shorter.steps.len());
                shorter.steps.drain(at..end);
                if fails(&shorter) {
                    script = shorter;
                } else {
                    at += size;
                }
            }
            size /= 2;
        }
        for partitions in 1..script.partitions {
            let fewer = Script { partitions, ..script.clone() };
            if fails(&fewer) {
                return fewer;
            }
        }
        script
    }
}

fn databases(accidents: Accidents) -> u8 {
    let two = [Accidents::SHARDS, Accidents::SHARED_TOPIC].iter().any(|one| accidents.has(*one));
    if two { 2 } else { 1 }
}

fn draw_step(rng: &mut StdRng, accidents: Accidents, databases: u8, keys: i64) -> Option<Step> {
    let at = rng.random_range(0..databases);
    let sessions = if accidents.has(Accidents::IN_FLIGHT) { 3 } else { 1 };
    let session = rng.random_range(0..sessions);
    let key = rng.random_range(0..keys);
    let other = (key + rng.random_range(1..keys)) % keys;
    let (dice, mask, few) = (rng.random(), rng.random(), rng.random_range(1..6));
    let rekey = Step::Write(at, session, Statement::Rekey { from: key, to: other, dice });
    let choices = [
        (12, Accidents::NONE, Step::Write(at, session, Statement::Put { key, dice })),
        (3, Accidents::NONE, Step::Write(at, session, Statement::Delete { key })),
        (6, Accidents::NONE, Step::Commit(at, session)),
        (5, Accidents::NONE, Step::Stream(at, few)),
        (4, Accidents::KEYS, rekey),
        (2, Accidents::REDELIVERY, Step::Restart(at, few * 2)),
        (2, Accidents::SNAPSHOT, Step::Snapshot(at, u64::MAX)),
        (2, Accidents::FILTERED, Step::Snapshot(at, mask)),
        (2, Accidents::INCREMENTAL, Step::Chunk(at, mask)),
        (2, Accidents::GAP, Step::Gap(at)),
        (1, Accidents::FAILOVER, Step::FailOver(at)),
        (4, Accidents::COMPACTION, Step::Clean(mask)),
        (1, Accidents::PARTITIONS, Step::Grow(at)),
        // An older change is read after one that cannot be read where a key moves between the two.
        (4, Accidents::PARTITIONS | Accidents::UNREADABLE, Step::Grow(at)),
        (1, Accidents::TOPICS, Step::Topic(at, dice % 2 == 0)),
        (1, Accidents::TRUNCATE, Step::Truncate(at)),
        (3, Accidents::CLOCKS, Step::Clock(at, [-90, -1, 0, 1, 90][usize::from(dice % 5)])),
        (2, Accidents::RESTORE, Step::Restore(at, few)),
        (2, Accidents::ALTER, Step::Alter(at, dice)),
    ];
    let possible = choices.into_iter().filter(|(_, needed, _)| accidents.has(*needed));
    let possible: Vec<(u32, Accidents, Step)> = possible.collect();
    let mut drawn = rng.random_range(0..possible.iter().map(|(weight, ..)| weight).sum());
    for (weight, _, step) in possible {
        if drawn < weight {
            return Some(step);
        }
        drawn -= weight;
    }
    None
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Script { kind, accidents, partitions, .. } = self;
        writeln!(f, "{kind:?}, {partitions} partitions, {accidents}")?;
        self.steps.iter().try_for_each(|step| writeln!(f, "  {step:?}"))
    }
}
