//! Subscribers that see the same thing: what changes for them is made into text once.
//!
//! # Guarantees
//! - [`Cohort::next`] gives frames that continue exactly where a subscriber stands, or says that there
//!   are none: that nothing has changed for it, or that it has to read from the store.
//! - What is kept is bounded by [`RING_FRAMES`] and a number of bytes.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use schemas::EpochId;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::bulk::Bulk;
use super::page::{Channel, Mark, Page};
use crate::store::CellFilter;

/// Frames that are kept for subscribers a little behind.
pub(crate) const RING_FRAMES: usize = 64;

/// A subscriber further behind than this gets the newest values instead of every step.
pub(crate) const FRAMES_BEHIND: usize = 8;

/// What the hub and the shutdown tell a connection.
#[derive(Debug, Default)]
pub(crate) struct Handle {
    /// There may be something to send.
    pub(crate) wake: Notify,
    verdict: AtomicU16,
}

impl Handle {
    /// Ends the connection with a close code. The first one counts.
    pub(crate) fn end(&self, code: u16) {
        if self.verdict.compare_exchange(0, code, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            self.wake.notify_one();
        }
    }

    /// The code that the connection is to end with.
    pub(crate) fn verdict(&self) -> Option<u16> {
        Some(self.verdict.load(Ordering::Acquire)).filter(|code| *code != 0)
    }
}

/// What changed after `from` up to `to`.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) from: EpochId,
    pub(crate) to: Mark,
    pub(crate) pages: Vec<Page>,
}

impl Frame {
    fn bytes(&self) -> usize {
        self.pages.iter().map(Page::len).sum()
    }
}

/// What there is for a subscriber.
#[derive(Debug)]
pub(crate) enum Next {
    /// Nothing: what it has is what there is at this mark.
    UpToDate(Mark),
    /// These, in order.
    Frames(Vec<Arc<Frame>>),
    /// More than is kept here.
    Read,
}

/// Whether the hub has work for a cohort.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// It has seen everything.
    No,
    /// Now; everything after this epoch.
    Now(EpochId),
    /// Not before this.
    At(Instant),
}

/// Subscribers with one filter.
#[derive(Debug)]
pub(crate) struct Cohort {
    pub(crate) channel: Channel,
    pub(crate) filter: CellFilter,
    held: Mutex<CohortState>,
    /// The last snapshot, while somebody is being sent it. Whoever makes one holds the lock, so that a
    /// crowd that comes at once shares one.
    pub(crate) snapshot: tokio::sync::Mutex<Weak<Bulk>>,
}

#[derive(Debug)]
struct CohortState {
    /// Frames and silence cover everything up to here.
    head: Mark,
    /// Changes up to this epoch are not in the ring any more.
    lost: EpochId,
    ring: VecDeque<Arc<Frame>>,
    bytes: usize,
    subscribers: HashMap<u64, Arc<Handle>>,
    not_before: Option<Instant>,
}

impl Cohort {
    /// Of nobody, as of now.
    pub(crate) fn new(channel: Channel, filter: CellFilter, head: Mark) -> Cohort {
        let held = CohortState {
            head,
            lost: head.offset,
            ring: VecDeque::new(),
            bytes: 0,
            subscribers: HashMap::new(),
            not_before: None,
        };
        Cohort { channel, filter, held: Mutex::new(held), snapshot: tokio::sync::Mutex::default() }
    }

    /// Takes a subscriber in. Its number must be its own.
    pub(crate) fn join(&self, number: u64, handle: Arc<Handle>) {
        self.held.lock().subscribers.insert(number, handle);
    }

    /// Lets a subscriber go; whether nobody is left.
    pub(crate) fn leave(&self, number: u64) -> bool {
        let mut held = self.held.lock();
        held.subscribers.remove(&number);
        held.subscribers.is_empty()
    }

    /// Whether what happened up to `offset` is to be looked at now.
    pub(crate) fn due(&self, offset: EpochId, now: Instant) -> Due {
        let held = self.held.lock();
        match held.not_before {
            _ if held.head.offset >= offset => Due::No,
            Some(at) if at > now => Due::At(at),
            _ => Due::Now(held.head.offset),
        }
    }

    /// What changed up to `to`, possibly nothing. `ring_bytes` may be kept.
    pub(crate) fn advance(
        &self,
        to: Mark,
        pages: Vec<Page>,
        ring_bytes: usize,
        pace: impl Fn(usize) -> Option<Instant>,
    ) {
        let mut held = self.held.lock();
        if to.offset <= held.head.offset {
            return;
        }
        let from = std::mem::replace(&mut held.head, to).offset;
        if pages.is_empty() {
            return;
        }
        let frame = Frame { from, to, pages };
        held.bytes += frame.bytes();
        held.ring.push_back(Arc::new(frame));
        while held.ring.len() > RING_FRAMES || held.bytes > ring_bytes {
            let Some(oldest) = held.ring.pop_front() else { break };
            held.bytes -= oldest.bytes();
            held.lost = oldest.to.offset;
        }
        held.not_before = pace(held.subscribers.len());
        held.wake();
    }

    /// What is known ends here: everybody has to read from the store.
    pub(crate) fn restart(&self, at: Mark) {
        let mut held = self.held.lock();
        held.ring.clear();
        held.bytes = 0;
        (held.head, held.lost) = (at, at.offset);
        held.wake();
    }

    /// What there is for a subscriber that stands at `sent`.
    pub(crate) fn next(&self, sent: Mark) -> Next {
        let held = self.held.lock();
        if held.head.offset <= sent.offset {
            return Next::UpToDate(sent);
        }
        if held.lost > sent.offset {
            return Next::Read;
        }
        let first = held.ring.partition_point(|frame| frame.to.offset <= sent.offset);
        match held.ring.get(first) {
            None => Next::UpToDate(held.head),
            // It has a part of this frame already.
            Some(frame) if frame.from < sent.offset => Next::Read,
            Some(_) if held.ring.len() - first > FRAMES_BEHIND => Next::Read,
            Some(_) => Next::Frames(held.ring.range(first..).map(Arc::clone).collect()),
        }
    }
}

impl CohortState {
    fn wake(&self) {
        for handle in self.subscribers.values() {
            handle.wake.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use schemas::Micros;

    use super::super::page;
    use super::*;

    fn mark(offset: EpochId) -> Mark {
        Mark { offset, as_of: Micros(0) }
    }

    fn step(cohort: &Cohort, to: EpochId, changes: usize) {
        let text = "x".repeat(100);
        let pieces = vec![page::Piece::Upsert(&text); changes];
        cohort.advance(mark(to), page::updates(mark(to), pieces.into_iter()), 10_000, |_| None);
    }

    fn frames(cohort: &Cohort, sent: EpochId) -> Vec<(EpochId, EpochId)> {
        match cohort.next(mark(sent)) {
            Next::Frames(frames) => frames.iter().map(|f| (f.from, f.to.offset)).collect(),
            Next::UpToDate(at) => vec![(at.offset, at.offset)],
            Next::Read => Vec::new(),
        }
    }

    #[test]
    fn gives_what_continues_and_nothing_else() {
        let cohort = Cohort::new(Channel::Kpi, CellFilter::default(), mark(5));
        assert_eq!(frames(&cohort, 5), [(5, 5)]);
        assert_eq!(frames(&cohort, 3), [], "what was before is not known");
        assert_eq!(frames(&cohort, 9), [(9, 9)], "its snapshot was newer");
        step(&cohort, 6, 0);
        assert_eq!(frames(&cohort, 5), [(6, 6)], "nothing happened");
        step(&cohort, 8, 1);
        step(&cohort, 9, 0);
        step(&cohort, 10, 1);
        assert_eq!(frames(&cohort, 5), [(6, 8), (9, 10)]);
        assert_eq!(frames(&cohort, 7), [], "it has a part of the frame that begins at 6");
        assert_eq!(frames(&cohort, 8), [(9, 10)]);
        assert_eq!(frames(&cohort, 9), [(9, 10)]);
        assert_eq!(frames(&cohort, 10), [(10, 10)]);
        step(&cohort, 10, 1);
        assert_eq!(frames(&cohort, 10), [(10, 10)], "an epoch comes once");
    }

    #[test]
    fn keeps_a_bounded_number_of_frames_and_bytes() {
        let cohort = Cohort::new(Channel::Kpi, CellFilter::default(), mark(0));
        for to in 1..=100 {
            step(&cohort, to, 1);
        }
        assert_eq!(cohort.held.lock().ring.len(), 59, "of 169 bytes each");
        assert_eq!(frames(&cohort, 10), []);
        assert_eq!(frames(&cohort, 91), [], "newest values are better than so many steps");
        assert_eq!(frames(&cohort, 98), [(98, 99), (99, 100)]);
        step(&cohort, 101, 200);
        assert_eq!(cohort.held.lock().bytes, 0, "too large to be kept");
        assert_eq!(frames(&cohort, 100), []);
        assert_eq!(frames(&cohort, 101), [(101, 101)]);
        cohort.restart(mark(200));
        assert_eq!(frames(&cohort, 101), []);
    }

    #[test]
    fn waits_when_there_are_many() {
        let now = Instant::now();
        let later = now + Duration::from_millis(100);
        let cohort = Cohort::new(Channel::Kpi, CellFilter::default(), mark(0));
        let handle = Arc::new(Handle::default());
        cohort.join(1, Arc::clone(&handle));
        assert_eq!(cohort.due(0, now), Due::No);
        assert_eq!(cohort.due(1, now), Due::Now(0));
        let pages = page::updates(mark(1), [page::Piece::Upsert("1")].into_iter());
        cohort.advance(mark(1), pages, 1_000, |subscribers| (subscribers == 1).then_some(later));
        assert_eq!(cohort.due(2, now), Due::At(later));
        assert_eq!(cohort.due(2, later), Due::Now(1));
        assert!(cohort.leave(1));
    }
}
