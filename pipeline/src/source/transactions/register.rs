//! Transactions of which something is held back, and those that are over with.
//!
//! # Guarantees
//! - A change that is sent again counts once, by its place in its transaction.
//! - What has been cut, whole or not, waits no more: its rows that come later, or again, are free.
//! - One whose rows have left together without their END was whole if its END, within a minute, says no more; else it
//!   counts as parted.
//!
//! # Non-guarantees
//! - Only the newest that are over with are remembered.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use schemas::Micros;

use super::marks::{Mark, Marks};

/// How much later than a transaction a record is that nothing of it follows, in microseconds.
pub(super) const WAIT_US: i64 = 1_000_000;

/// Transactions that are over with and remembered.
const PAST_MAX: usize = 16_384;

/// For how long an END may be late.
pub(super) const LATE: Duration = Duration::from_secs(60);

/// Rows that are remembered of transactions whose END is late.
const UNSURE_ROWS_MAX: usize = 1 << 20;

/// Before every timestamp.
pub(super) const NEVER: Micros = Micros(i64::MIN);

/// The number of no transaction.
pub(super) const NONE: u64 = 0;

/// Changes of a transaction.
#[derive(Debug, Default)]
struct Rows {
    orders: BTreeSet<u64>,
    /// Those that do not say where they stand.
    unordered: u64,
}

impl Rows {
    fn count(&self) -> u64 {
        self.unordered.saturating_add(self.orders.len() as u64)
    }
}

/// Changes of each collection, as an END lists them.
type Listed = Vec<(Box<str>, u64)>;

/// How many of those are of topics that are read.
fn wanted(listed: &Listed, marks: &Marks) -> u64 {
    let read = |(name, rows): &(Box<str>, u64)| marks.is_read(name).then_some(*rows);
    listed.iter().filter_map(read).sum()
}

/// One of which something is held back.
#[derive(Debug)]
pub(super) struct Transaction {
    id: Box<str>,
    rows: Rows,
    /// What its END says, once it has come.
    end: Option<Listed>,
    /// How many of those are of topics that are read.
    wanted: Option<u64>,
    /// Its END is not waited for any longer: what there is of it leaves together.
    is_given_up: bool,
    /// When its first record came.
    pub(super) since: Instant,
    /// The newest timestamp of its records.
    pub(super) newest: Micros,
    /// Records of it that are held.
    pub(super) records: usize,
    /// Their bytes.
    pub(super) bytes: usize,
    /// Its first place in each lane.
    pub(super) places: Vec<(usize, usize)>,
}

/// A record that is held: where it stands, and what it weighs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    pub(super) lane: usize,
    pub(super) at: usize,
    pub(super) timestamp: Option<Micros>,
    pub(super) bytes: usize,
}

impl Transaction {
    fn new(id: &str, since: Instant) -> Transaction {
        Transaction {
            id: id.into(),
            rows: Rows::default(),
            end: None,
            wanted: None,
            is_given_up: false,
            since,
            newest: NEVER,
            records: 0,
            bytes: 0,
            places: Vec::new(),
        }
    }

    /// Whether all of it is here.
    pub(super) fn is_whole(&self) -> bool {
        self.wanted.is_some_and(|wanted| self.rows.count() >= wanted)
    }

    /// Whether its END has come.
    pub(super) fn is_ended(&self) -> bool {
        self.end.is_some()
    }

    /// Whether a partition that has been read up to `front` has nothing more of it.
    pub(super) fn is_passed(&self, front: Micros) -> bool {
        self.newest > NEVER && self.newest.plus(WAIT_US) < front
    }

    fn count(&mut self, marks: &Marks) {
        self.wanted = self.end.as_ref().map(|end| wanted(end, marks));
    }

    fn hold(&mut self, held: Held) {
        self.records += 1;
        self.bytes = self.bytes.saturating_add(held.bytes);
        self.newest = self.newest.max(held.timestamp.unwrap_or(NEVER));
        if self.places.iter().all(|(lane, _)| *lane != held.lane) {
            self.places.push((held.lane, held.at));
        }
    }
}

/// How one is over with.
#[derive(Debug)]
enum Past {
    /// It was whole, or is said to have been cut.
    Told,
    /// Its rows have not come: they were read before it was asked for, or are lost, or late.
    Unseen,
    /// These rows of it have left together, and its END has not come.
    Unsure(Rows),
}

impl Past {
    /// Whether what comes now shows that it was seen in parts, or that it was whole; `None` where it shows nothing.
    fn shown_parted(&self, mark: &Mark, marks: &Marks) -> Option<bool> {
        match (self, mark) {
            (Past::Unseen, Mark::Row { .. }) => Some(true),
            (Past::Unsure(rows), Mark::Row { order, .. }) => {
                let is_known = order.is_some_and(|order| rows.orders.contains(&order));
                (!is_known).then_some(true)
            }
            (Past::Unsure(rows), Mark::End { rows: listed, .. }) => {
                Some(wanted(listed, marks) > rows.count())
            }
            _ => None,
        }
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Register {
    open: BTreeMap<u64, Transaction>,
    numbers: BTreeMap<Box<str>, u64>,
    last: u64,
    /// Those that turned out to have been seen in parts when they were over with.
    late: u64,
    /// Those that are over with, and whether a part of them was handed out that is not told of.
    past: BTreeMap<Box<str>, Past>,
    past_order: VecDeque<Box<str>>,
    /// Those of which nobody knows whether they were whole, since when, and their rows.
    pub(super) unsure: VecDeque<(Instant, Box<str>, usize)>,
    unsure_rows: usize,
    /// Tables that the marks had learnt when wanted changes were last counted.
    learnt: usize,
}

impl Register {
    /// Notes a record that will be held. The number of its transaction, [`NONE`] where it waits for none.
    pub(super) fn note(&mut self, mark: Mark, held: Held, marks: &Marks, now: Instant) -> u64 {
        if self.learnt != marks.learnt() {
            self.learnt = marks.learnt();
            self.open.values_mut().for_each(|own| own.count(marks));
        }
        let (Mark::Row { id, .. } | Mark::Begin { id } | Mark::End { id, .. }) = &mark else {
            return NONE;
        };
        if let Some(past) = self.past.get_mut(id) {
            if let Some(is_parted) = past.shown_parted(&mark, marks) {
                *past = Past::Told;
                self.late += u64::from(is_parted);
            }
            return NONE;
        }
        let number = match self.numbers.get(id) {
            Some(number) => *number,
            None => {
                self.last += 1;
                self.numbers.insert(id.clone(), self.last);
                self.last
            }
        };
        let own = self.open.entry(number).or_insert_with(|| Transaction::new(id, now));
        own.hold(held);
        match mark {
            Mark::Row { order: Some(order), .. } => drop(own.rows.orders.insert(order)),
            Mark::Row { order: None, .. } => own.rows.unordered += 1,
            Mark::End { rows, .. } => {
                own.end = Some(rows);
                own.count(marks);
            }
            Mark::Begin { .. } | Mark::Free | Mark::Bare => {}
        }
        number
    }

    /// Those of which something is held, by number.
    pub(super) fn open(&self) -> impl Iterator<Item = (u64, &Transaction)> {
        self.open.iter().map(|(number, own)| (*number, own))
    }

    /// One of them.
    pub(super) fn get(&self, number: u64) -> Option<&Transaction> {
        self.open.get(&number)
    }

    /// Those that are not whole, and waited for.
    pub(super) fn lacking(&self) -> impl Iterator<Item = (u64, &Transaction)> {
        self.open().filter(|(_, own)| !own.is_whole() && !own.is_given_up)
    }

    /// Waits no longer for the END of one.
    pub(super) fn give_up(&mut self, number: u64) {
        if let Some(own) = self.open.get_mut(&number) {
            own.is_given_up = true;
        }
    }

    /// How many turned out to have been seen in parts when they were over with, since this was last asked.
    pub(super) fn take_late(&mut self) -> u64 {
        std::mem::take(&mut self.late)
    }

    /// One is over with: what is held of it, and what comes of it, waits no more. Whether this parts it: of one
    /// without a row nothing is seen.
    pub(super) fn close(&mut self, number: u64) -> bool {
        let Some(own) = self.open.remove(&number) else { return false };
        let (is_whole, has_rows) = (own.is_whole(), own.rows.count() > 0);
        let past = if is_whole || has_rows { Past::Told } else { Past::Unseen };
        self.remember(own.id, past);
        !is_whole && has_rows
    }

    /// The same for one of which all that is held leaves at `now`. That parts it if more is known to be of it.
    pub(super) fn leave(&mut self, number: u64, now: Instant) -> bool {
        let unsure = |own: &Transaction| own.is_given_up && !own.is_ended() && own.rows.count() > 0;
        if !self.get(number).is_some_and(unsure) {
            return self.close(number);
        }
        if let Some(own) = self.open.remove(&number) {
            let rows = own.rows.orders.len();
            self.unsure_rows += rows;
            self.unsure.push_back((now, own.id.clone(), rows));
            self.remember(own.id, Past::Unsure(own.rows));
        }
        false
    }

    fn remember(&mut self, id: Box<str>, past: Past) {
        self.numbers.remove(&id);
        if self.past.insert(id.clone(), past).is_none() {
            self.past_order.push_back(id);
        }
        if self.past_order.len() > PAST_MAX
            && let Some(oldest) = self.past_order.pop_front()
            && let Some(Past::Unsure(_)) = self.past.remove(&oldest)
        {
            self.late += 1;
        }
    }

    /// Counts those as parted whose END has been late for too long at `now`; all of them at the end.
    pub(super) fn settle(&mut self, now: Option<Instant>) {
        while let Some((since, id, rows)) = self.unsure.front() {
            let is_late = now.is_none_or(|now| now.saturating_duration_since(*since) >= LATE);
            if !is_late && self.unsure_rows <= UNSURE_ROWS_MAX {
                break;
            }
            self.unsure_rows = self.unsure_rows.saturating_sub(*rows);
            if let Some(past @ Past::Unsure(_)) = self.past.get_mut(id) {
                *past = Past::Told;
                self.late += 1;
            }
            self.unsure.pop_front();
        }
    }
}
