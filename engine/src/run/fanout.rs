//! Fan-out: results to any number of feeds, each on a thread of its own behind a bounded queue.
//!
//! # Guarantees
//! - Every feed is told the same in the same order: a start, then each epoch after it.
//! - A feed that lets its queue stand full for [`PATIENCE`] is left behind: from then on it costs the
//!   others nothing. When it has taken what it was given, it is told everything anew by another start
//!   and goes on from there: it misses steps, and no value.
//! - Epochs that wait are bounded: [`QUEUE`] messages a feed.
//!
//! # Non-guarantees
//! - The end of a run waits until each feed has returned from the call it is in.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::Scope;
use std::time::{Duration, Instant};

use schemas::{Clock, Feed, Micros, Published, Start};

use super::loops::{Alarm, Shared};
use super::threads::{Turn, spawn};
use super::turns::InTurn;

/// Messages that may wait for one feed.
const QUEUE: usize = 16;
/// How long the others wait for a feed that takes nothing.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between looks at a queue that is full.
const LOOK: Duration = Duration::from_millis(1);

/// An epoch's results, on their way to the feeds.
#[derive(Debug)]
pub(super) struct Results {
    pub(super) published: Published,
    /// Kafka timestamps of some live records, and how many records each stands for.
    pub(super) samples: Vec<(Micros, u64)>,
    /// Ends when the feeds have them.
    pub(super) turn: Option<InTurn>,
}

/// An epoch's results on their way, until the last feed has taken them.
pub(super) struct Delivery<'a> {
    results: Results,
    is_public: AtomicBool,
    shared: &'a Shared,
}

impl<'a> Delivery<'a> {
    pub(super) fn new(results: Results, shared: &'a Shared) -> Delivery<'a> {
        Delivery { results, is_public: AtomicBool::new(false), shared }
    }

    /// Notes when the first feed has taken it; without feeds, when it is told.
    fn is_taken(&self, clock: &dyn Clock) {
        if self.is_public.swap(true, Ordering::Relaxed) {
            return;
        }
        let now = clock.now();
        for (at, weight) in &self.results.samples {
            self.shared.meters.freshness.add(now.0 - at.0, *weight);
        }
    }
}

impl Drop for Delivery<'_> {
    fn drop(&mut self) {
        drop(self.results.turn.take());
        let cells = std::mem::take(&mut self.results.published.cells);
        self.shared.recycle(&self.results.published.stamp, cells);
    }
}

/// What one feed is told.
enum Message<'a> {
    Start(Start),
    Epoch(Arc<Delivery<'a>>),
    Idle(Micros),
}

/// How far a feed goes along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It wants a start before any epoch.
    New,
    /// It hears of every epoch.
    Following,
    /// It was too slow, and wants a start when it has taken what it was given.
    Behind,
    /// Its thread has ended.
    Gone,
}

/// One feed as the publishing thread sees it.
struct Line<'a> {
    name: &'static str,
    queue: SyncSender<Message<'a>>,
    /// Messages that it has not returned from.
    waiting: Arc<AtomicUsize>,
    stage: Stage,
}

/// All feeds of a run.
pub(super) struct Fanout<'a> {
    lines: Vec<Line<'a>>,
    patience: Duration,
    shared: &'a Shared,
    clock: &'a dyn Clock,
}

impl<'a> Fanout<'a> {
    /// Starts a thread for each feed. They end when this is dropped.
    pub(super) fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        feeds: Vec<Box<dyn Feed>>,
        clock: &'a dyn Clock,
        shared: &'a Shared,
    ) -> Result<Fanout<'a>, String>
    where
        'a: 'scope,
    {
        let mut fanout = Fanout { lines: Vec::new(), patience: PATIENCE, shared, clock };
        for mut feed in feeds {
            let (queue, messages) = sync_channel(QUEUE);
            let waiting = Arc::new(AtomicUsize::new(0));
            let (name, done) = (feed.name(), Arc::clone(&waiting));
            spawn(scope, "feed", Turn::Live, move || {
                listen(feed.as_mut(), &messages, &done, clock, shared);
            })?;
            fanout.lines.push(Line { name, queue, waiting, stage: Stage::New });
        }
        Ok(fanout)
    }

    /// Tells how everything stands: to feeds that know nothing yet, and to those that were left behind
    /// and have caught up with what they were given.
    pub(super) fn begin(&mut self, start: Start) {
        let wanting = self.lines.iter_mut().filter(|line| line.wants_start());
        let wanting: Vec<&mut Line<'a>> = wanting.collect();
        let mut start = Some(start);
        let last = wanting.len().saturating_sub(1);
        for (at, line) in wanting.into_iter().enumerate() {
            // The last one gets the original: mostly there is one.
            let own = if at == last { start.take() } else { start.clone() };
            if let Some(own) = own {
                line.stage = Stage::Following;
                line.tell(Message::Start(own), self.patience, self.shared);
            }
        }
    }

    /// Tells an epoch to the feeds that follow.
    pub(super) fn epoch(&mut self, delivery: Delivery<'a>) {
        let delivery = Arc::new(delivery);
        for line in self.lines.iter_mut().filter(|line| line.stage == Stage::Following) {
            line.tell(Message::Epoch(Arc::clone(&delivery)), self.patience, self.shared);
        }
        if self.lines.iter().all(|line| line.stage != Stage::Following) {
            delivery.is_taken(self.clock);
        }
        let wanting =
            self.lines.iter().any(|line| line.stage == Stage::Behind && line.wants_start());
        if wanting {
            self.shared.start_wanted.store(true, Ordering::Relaxed);
        }
    }

    /// Tells that nothing more has arrived to the feeds that have time to hear it.
    pub(super) fn idle(&mut self, as_of: Micros) {
        for line in self.lines.iter().filter(|line| line.stage == Stage::Following) {
            line.waiting.fetch_add(1, Ordering::Relaxed);
            if line.queue.try_send(Message::Idle(as_of)).is_err() {
                line.waiting.fetch_sub(1, Ordering::Relaxed);
            }
        }
        let wanting =
            self.lines.iter().any(|line| line.stage == Stage::Behind && line.wants_start());
        if wanting {
            self.shared.start_wanted.store(true, Ordering::Relaxed);
        }
    }
}

impl<'a> Line<'a> {
    fn wants_start(&self) -> bool {
        match self.stage {
            Stage::New => true,
            Stage::Behind => self.waiting.load(Ordering::Acquire) == 0,
            Stage::Following | Stage::Gone => false,
        }
    }

    fn tell(&mut self, mut message: Message<'a>, patience: Duration, shared: &Shared) {
        let mut full_since = None;
        self.waiting.fetch_add(1, Ordering::Relaxed);
        loop {
            message = match self.queue.try_send(message) {
                Ok(()) => return,
                Err(TrySendError::Disconnected(_)) => {
                    self.stage = Stage::Gone;
                    break;
                }
                Err(TrySendError::Full(back)) => back,
            };
            let since = *full_since.get_or_insert_with(Instant::now);
            if since.elapsed() >= patience || shared.stop.failure().is_some() {
                tracing::warn!(
                    "feed `{}` has taken nothing for {patience:?}: it is left behind, and told everything anew \
                     when it goes on",
                    self.name
                );
                self.stage = Stage::Behind;
                break;
            }
            std::thread::sleep(LOOK);
        }
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The thread of one feed.
fn listen(
    feed: &mut dyn Feed,
    messages: &Receiver<Message<'_>>,
    waiting: &AtomicUsize,
    clock: &dyn Clock,
    shared: &Shared,
) {
    let _alarm = Alarm(&shared.stop, "feed");
    while let Ok(message) = messages.recv() {
        match message {
            Message::Start(start) => feed.start(start),
            Message::Idle(as_of) => feed.idle(as_of),
            Message::Epoch(delivery) => {
                feed.epoch(&delivery.results.published);
                delivery.is_taken(clock);
            }
        }
        waiting.fetch_sub(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::RecvTimeoutError;

    use parking_lot::Mutex;
    use schemas::EpochStamp;

    use super::*;

    /// How long a test waits for what must come.
    const SOON: Duration = Duration::from_secs(20);

    struct Still;

    impl Clock for Still {
        fn now(&self) -> Micros {
            Micros(0)
        }
    }

    /// Says what it heard; each epoch waits for the gate.
    struct Heard {
        name: &'static str,
        out: SyncSender<String>,
        gate: Arc<Mutex<()>>,
    }

    impl Feed for Heard {
        fn name(&self) -> &'static str {
            self.name
        }

        fn start(&mut self, start: Start) {
            self.out.send(format!("start {}", start.offset)).unwrap();
        }

        fn epoch(&mut self, published: &Published) {
            drop(self.gate.lock());
            self.out.send(published.stamp.id.to_string()).unwrap();
        }

        fn idle(&mut self, _: Micros) {}
    }

    fn epoch(id: u64, shared: &Shared) -> Delivery<'_> {
        let stamp = EpochStamp { id, clock: Micros(0), quiet: false };
        let published = Published {
            stamp,
            cells: Vec::new(),
            alerts: Vec::new(),
            answers: Arc::default(),
            models: Arc::default(),
            degraded: Arc::default(),
        };
        Delivery::new(Results { published, samples: Vec::new(), turn: None }, shared)
    }

    fn heard(from: &Receiver<String>, count: usize) -> Vec<String> {
        (0..count).map(|_| from.recv_timeout(SOON).unwrap()).collect()
    }

    #[test]
    fn a_feed_that_is_stuck_is_left_behind_and_told_everything_anew() {
        let shared = Shared::default();
        let (gate, open) = (Arc::new(Mutex::new(())), Arc::new(Mutex::new(())));
        let (slow_out, slow) = sync_channel(1000);
        let (fast_out, fast) = sync_channel(1000);
        let feeds: Vec<Box<dyn Feed>> = vec![
            Box::new(Heard { name: "slow", out: slow_out, gate: Arc::clone(&gate) }),
            Box::new(Heard { name: "fast", out: fast_out, gate: open }),
        ];
        std::thread::scope(|scope| {
            let mut fanout = Fanout::start(scope, feeds, &Still, &shared).unwrap();
            fanout.patience = Duration::from_secs(2);
            let start = |offset| Start { offset, ..Start::default() };
            fanout.begin(start(0));
            let stuck = gate.lock();
            for id in 1..=100 {
                fanout.epoch(epoch(id, &shared));
            }
            let told: Vec<String> = (1..=100).map(|id: u64| id.to_string()).collect();
            assert_eq!(heard(&fast, 101)[1..], told, "the other one hears of every epoch");
            assert!(!shared.start_wanted.load(Ordering::Relaxed), "it is still stuck");
            drop(stuck);
            // One it is in, and a queue of others.
            let taken = heard(&slow, 1 + 1 + QUEUE);
            assert_eq!(taken[0], "start 0");
            assert_eq!(taken[1..], told[..=QUEUE]);
            let mut id = 100;
            let begun = Instant::now();
            while !shared.start_wanted.load(Ordering::Relaxed) {
                assert!(begun.elapsed() < SOON, "it is never told anew");
                std::thread::sleep(Duration::from_millis(1));
                id += 1;
                fanout.epoch(epoch(id, &shared));
            }
            fanout.begin(start(id));
            fanout.epoch(epoch(id + 1, &shared));
            assert_eq!(heard(&slow, 2), [format!("start {id}"), (id + 1).to_string()]);
            let more = heard(&fast, usize::try_from(id + 1 - 100).unwrap());
            assert_eq!(more.last(), Some(&(id + 1).to_string()), "and no second start");
            drop(fanout);
        });
        assert_eq!(slow.recv_timeout(SOON), Err(RecvTimeoutError::Disconnected));
    }

    #[test]
    fn epochs_before_the_start_are_in_it() {
        let shared = Shared::default();
        let (out, told) = sync_channel(10);
        let gate = Arc::default();
        let feeds: Vec<Box<dyn Feed>> = vec![Box::new(Heard { name: "one", out, gate })];
        std::thread::scope(|scope| {
            let mut fanout = Fanout::start(scope, feeds, &Still, &shared).unwrap();
            fanout.epoch(epoch(1, &shared));
            fanout.begin(Start { offset: 1, ..Start::default() });
            fanout.epoch(epoch(2, &shared));
            drop(fanout);
        });
        assert_eq!(told.try_iter().collect::<Vec<_>>(), ["start 1", "2"]);
    }
}
