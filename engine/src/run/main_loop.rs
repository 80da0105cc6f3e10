//! The main loop: polls in, epochs through the core, barriers out.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use gold::CellRow;
use pipeline::bronze::EpochRecords;
use pipeline::ledger::{Entry, Ledger};
use pipeline::record::RawBatch;
use pipeline::source::{ControlFile, Limits, Progress, Source};
use schemas::{Clock, EpochId, Feed, Micros, Published, Start};
use tokio::runtime::Handle;

use super::auditing::{self, Auditing};
use super::control::ControlDesk;
use super::fanout::{Fanout, Results};
use super::halts::Halts;
use super::held_back::HeldBack;
use super::loops::{self, Poll, Shared};
use super::memory::MemoryBound;
use super::outcome::{Outcome, Stopped};
use super::pace::BarrierTimer;
use super::parts::Run;
use super::present::{Now, Present};
use super::probes::Probes;
use super::publish::{self, News};
use super::samples;
use super::stop::Stop;
use super::threads::{Turn, spawn};
use super::turns::InTurn;
use crate::core::epoch::Epoch;
use crate::core::frozen::BarrierJob;
use crate::core::{Changes, Core};
use crate::flush::recover::{Inputs, Recovered, recover, restart};
use crate::flush::tail::{Tail, progress, reread};
use crate::settings::Settings;
use crate::upkeep::{self, Keeper, Keepers, offline};

/// Epochs and polls that may wait between two threads.
const QUEUE: usize = 2;
/// Epochs that may wait for the ledger and for bronze.
const EPOCH_QUEUE: usize = 1024;
/// Epochs that may wait for publication: in a backlog the results of each take some MiB.
const RESULT_QUEUE: usize = 16;
/// The main loop looks at its timers at least this often.
const TURN: Duration = Duration::from_millis(20);
/// Subscribers hear at least this often that nothing arrived.
const IDLE: Duration = Duration::from_millis(250);
/// What may have arrived without having been seen yet, in microseconds.
const UNSEEN: i64 = 200_000;
/// Timers wait this long after the start for the sources to bring what came meanwhile.
const HEAR: Duration = Duration::from_secs(10);

/// Runs until stopped, or until the end of the input.
///
/// # Errors
/// When it cannot start, or a thread cannot go on; the text says why and what to do.
pub fn run(run: Run, runtime: &Handle) -> Result<Outcome, Stopped> {
    let Run { settings, lake, contracts, catalog, topics, sources, reloads, .. } = run;
    let memory = MemoryBound::new(settings.memory_limit);
    let shared = Shared::new(run.stop.clone(), Arc::clone(&run.meters), memory);
    let shared = Shared { reloads, ..shared };
    let control = ControlFile::new(lake.work_dir(), settings.durable);
    let inputs = Inputs {
        now: run.clock.now(),
        ledger_dir: settings.ledger_dir.clone(),
        lake,
        durable: settings.durable,
        silver: settings.silver,
        contracts,
        topics,
        catalog,
        meters: Arc::clone(&run.meters),
        definitions: run.definitions.clone(),
    };
    let (clock, mut feeds) = (run.clock, run.feeds);
    let previewed: &mut [Box<dyn Feed>] = if run.goes_on { &mut [] } else { &mut feeds };
    let recovered = recover(&inputs, previewed, runtime, &run.stop)?;
    run.meters.begin_run();
    let auditing = Auditing::new(&inputs, &settings, &control).filter(|_| !run.until_end);
    let mut threads = Threads {
        settings: &settings,
        runtime,
        clock: clock.as_ref(),
        until_end: run.until_end,
        auditing,
        desk: ControlDesk::open(control, run.definitions)?,
    };
    let outcome = threads.run(recovered, sources, feeds, &shared)?;
    if run.until_end {
        offline::end_of_batch(&inputs.lake, &settings.upkeep, clock.now(), runtime, &run.stop);
    }
    Ok(outcome)
}

struct Threads<'a> {
    settings: &'a Settings,
    runtime: &'a Handle,
    clock: &'a dyn Clock,
    until_end: bool,
    auditing: Option<Auditing>,
    desk: ControlDesk,
}

impl Threads<'_> {
    fn run(
        &mut self,
        recovered: Recovered,
        mut sources: Vec<Box<dyn Source>>,
        feeds: Vec<Box<dyn Feed>>,
        shared: &Shared,
    ) -> Result<Outcome, Stopped> {
        let Recovered { core, bronze, held, lasts, flusher, mut ledger, tail } = recovered;
        let recorded_last = tail.last().map_or(held.epoch, |entry| entry.epoch);
        shared.stand_at(recorded_last, held.epoch, held.flushed);
        let tail = self.reread(tail, &mut sources, &mut ledger, &shared.stop)?;
        let progress = progress(&held.next, &lasts, &tail);
        let ended = loops::start_sources(&mut sources, &progress, self.until_end)?;
        let (to_core, polls) = sync_channel(QUEUE);
        let (to_ledger, entries) = sync_channel(EPOCH_QUEUE);
        let (to_publish, results) = sync_channel(RESULT_QUEUE);
        let (to_bronze, epochs) = sync_channel(EPOCH_QUEUE);
        let (to_flusher, jobs) = sync_channel(1);
        let (to_upkeep, tasks) = sync_channel(upkeep::QUEUE);
        let mut main = Main {
            core,
            present: Present::new(self.clock),
            shared,
            to_ledger,
            to_publish,
            to_bronze,
            to_flusher,
            barrier: BarrierTimer::new(self.settings.barrier_interval, held.flushed),
            halts: Halts::default(),
            held_back: HeldBack::default(),
            ended,
            has_feeds: !feeds.is_empty(),
            generation: ledger.header().generation.clone(),
            started: Instant::now(),
            heard: false,
            said: Instant::now(),
            probes: Probes::default(),
        };
        let (auditing, audited_from) = (self.auditing.take(), main.audited_from(recorded_last));
        let Threads { settings, clock, runtime, until_end, ref mut desk, .. } = *self;
        let meters = || Arc::clone(&shared.meters);
        let keeper = Keeper::new(bronze.table(), settings.upkeep, to_upkeep.clone(), meters());
        let keepers = Keepers::new(settings.upkeep, to_upkeep.clone(), meters());
        std::thread::scope(|scope| {
            spawn(scope, "ledger", Turn::Live, move || {
                loops::write_ledger(ledger, &entries, clock, shared)
            })?;
            let feeds = Fanout::start(scope, feeds, clock, shared)?;
            spawn(scope, "publish", Turn::Live, move || publish::publish(&results, feeds, shared))?;
            spawn(scope, "bronze", Turn::Live, move || {
                loops::write_bronze(bronze, &epochs, settings, keeper, (clock, runtime), shared);
            })?;
            spawn(scope, "barrier", Turn::Background, move || {
                loops::flush_barriers(flusher, &jobs, keepers, (clock, runtime), shared);
            })?;
            spawn(scope, "upkeep", Turn::Background, move || {
                upkeep::work(&tasks, &shared.meters, &|| !shared.is_ending());
            })?;
            let surroundings = (to_upkeep, clock, runtime, shared);
            let _going = auditing::start(auditing, scope, audited_from, surroundings)?;
            main.recover(tail);
            main.decide(desk, &progress, settings)?;
            let decoding = Arc::clone(main.core.decoding());
            let polling = |index| loops::Polling::new(index, settings, until_end, &decoding);
            loops::start_reading(scope, &mut sources, polling, &to_core, shared)?;
            // At a fixed end nobody follows decisions: the end reads what was decided meanwhile.
            if until_end {
                drop(to_core);
                return main.run(polls, Some((desk, &settings.limits)));
            }
            let (out, polling) = (to_core, polling(None));
            spawn(scope, "control", Turn::Live, move || {
                loops::read_source(&polling, desk.source(), &out, shared);
            })?;
            main.run(polls, None)
        })
    }

    /// The recorded epochs after bronze with their records. When these are gone, the ledger starts over.
    fn reread(
        &mut self,
        tail: Vec<Entry>,
        sources: &mut [Box<dyn Source>],
        ledger: &mut Ledger,
        stop: &Stop,
    ) -> Result<Vec<(Entry, Vec<RawBatch>)>, Stopped> {
        let sources = sources.iter_mut().map(|source| source.as_mut() as &mut dyn Source);
        match reread(tail, sources.chain([self.desk.source()]), stop, self.until_end) {
            Tail::Same(tail) => Ok(tail),
            Tail::Other(reason) => {
                tracing::error!(
                    "recorded epochs cannot be read again: {reason}. A new stream generation starts; what the broker lost is not in bronze"
                );
                *ledger = restart(ledger, &self.settings.ledger_dir, self.settings.durable)?;
                Ok(Vec::new())
            }
            Tail::Unreachable(reason) => Err(Stopped::Unreachable(reason)),
            Tail::Stopped => Err(Stopped::Asked),
        }
    }
}

struct Main<'a> {
    core: Core,
    present: Present<'a>,
    shared: &'a Shared,
    to_ledger: SyncSender<Entry>,
    to_publish: SyncSender<News>,
    to_bronze: SyncSender<Arc<EpochRecords>>,
    to_flusher: SyncSender<BarrierJob>,
    barrier: BarrierTimer,
    halts: Halts,
    held_back: HeldBack,
    ended: Vec<bool>,
    /// Whether anybody wants the cells that an epoch changed.
    has_feeds: bool,
    /// The stream generation.
    generation: String,
    started: Instant,
    /// Whether a source has brought anything since the start.
    heard: bool,
    /// When subscribers were told something last.
    said: Instant,
    probes: Probes,
}

impl Main<'_> {
    /// Takes the recorded epochs that bronze does not hold, and tells subscribers how things stand.
    fn recover(&mut self, tail: Vec<(Entry, Vec<RawBatch>)>) {
        for (entry, batches) in tail {
            self.replay(&entry, batches);
        }
        self.halts.update(&self.core, self.core.last().map_or(Micros(0), |stamp| stamp.clock));
        self.shared.meters.doubts.update(&self.core);
        self.shared.meters.dead_letters.add(self.core.take_dead_letters());
        self.begin();
        self.shared.reloads.ask(self.core.take_wish());
        self.core.expect_decisions(true);
        if self.core.is_rebuilt() {
            // Tables may stand at the last epoch already, with other rows: write at a later one.
            self.tick(self.present.now(&self.core));
        }
    }

    /// The first epoch at which tables are of the definitions of this run. Where they are to be written anew, what they hold
    /// meanwhile may be of others.
    fn audited_from(&self, recorded_last: EpochId) -> EpochId {
        let last = self.core.last().map_or(0, |stamp| stamp.id).max(recorded_last);
        if self.core.is_rebuilt() { last + 1 } else { 0 }
    }

    /// Takes what has been decided so far, the definitions of this run included.
    fn decide(
        &mut self,
        desk: &mut ControlDesk,
        progress: &Progress,
        settings: &Settings,
    ) -> Result<(), Stopped> {
        let decoding = Arc::clone(self.core.decoding());
        let known = (self.core.in_force(), self.present.clock());
        let polls = desk.start(known, progress, &settings.limits, &decoding)?;
        polls.into_iter().for_each(|poll| self.take(poll));
        self.core.expect_decisions(false);
        Ok(())
    }

    /// From the first poll to the last barrier; `batch`: what the end of a batch run is decided with.
    fn run(
        mut self,
        polls: Receiver<Poll>,
        batch: Option<(&mut ControlDesk, &Limits)>,
    ) -> Result<Outcome, Stopped> {
        self.turn_until_stopped(&polls);
        drop(polls);
        self.finish(batch)
    }

    /// Tells how everything stands.
    fn begin(&mut self) {
        let (removed, removals_after) = self.core.watch().removed();
        let cells = self.core.gold().snapshot().into_iter();
        let last = self.core.last();
        let offset = last.map_or(0, |stamp| stamp.id);
        // Windows may have moved since the epoch that changed them, so all of them are news.
        let epoch = |row: &CellRow| if row.key.grain.is_window() { offset } else { row.epoch };
        let start = Start {
            generation: self.generation.clone(),
            offset,
            as_of: last.map(|stamp| stamp.clock),
            cells: cells.map(|row| (row.key.clone(), row.value, epoch(&row))).collect(),
            windows: self.core.gold().windows(),
            removed,
            removals_after,
            alerts: self.core.watch().published(),
            answers: Arc::clone(self.core.answers()),
            models: self.core.watch().models(),
            degraded: self.held_back.with(self.halts.reasons()),
        };
        self.tell(News::Start(Box::new(start)));
    }

    fn tell(&mut self, news: News) {
        self.said = Instant::now();
        if self.to_publish.send(news).is_err() {
            self.shared.stop.ask();
        }
    }

    /// Says that nothing more has arrived, when that is known.
    fn tell_idle(&mut self) {
        let is_holding = self.shared.holding.load(Ordering::Relaxed) > 0;
        let all_well = self.shared.meters.troubles.is_ready() && !is_holding;
        if self.heard_all() && all_well && self.said.elapsed() >= IDLE {
            let as_of = self.present.now(&self.core).clock.plus(-UNSEEN);
            self.tell(News::Idle(as_of));
        }
    }

    /// Whether the sources have had their say since the start: before that, timers that became due
    /// while nobody read would see a backlog as silence.
    fn heard_all(&self) -> bool {
        self.heard || self.started.elapsed() >= HEAR
    }

    fn turn_until_stopped(&mut self, polls: &Receiver<Poll>) {
        while !self.shared.stop.is_asked() && !self.ended.iter().all(|ended| *ended) {
            match polls.recv_timeout(self.wait()) {
                Ok(poll) => {
                    self.heard |= poll.source.is_some();
                    self.take(poll);
                }
                Err(RecvTimeoutError::Timeout) => self.tell_idle(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.present.say(&self.core, &self.shared.meters.troubles);
            if self.heard_all() {
                self.tick_if_due();
            }
            if self.shared.start_wanted.swap(false, Ordering::Relaxed) {
                self.begin();
            }
            self.start_barrier_if_due();
            self.probes.tell(&self.core, &self.shared.meters);
        }
    }

    fn wait(&self) -> Duration {
        if !self.heard_all() {
            return TURN;
        }
        let due = self
            .core
            .next_due()
            .map(|due| due.0.saturating_sub(self.present.now(&self.core).clock.0));
        let due = due.and_then(|micros| u64::try_from(micros.max(0)).ok());
        due.map_or(TURN, |micros| TURN.min(Duration::from_micros(micros)))
    }

    fn take(&mut self, poll: Poll) {
        if !poll.decoded.batches.is_empty() {
            let last = self.core.last();
            let Now { clock, wall } = self.present.now(&self.core);
            let epoch = Epoch::cut(last, poll.decoded, poll.hash, (clock, wall));
            self.present.decide(&epoch);
            self.process(epoch, poll.turn);
        }
        let ended = poll.source.and_then(|source| self.ended.get_mut(source));
        ended.into_iter().for_each(|ended| *ended |= poll.at_end);
    }

    fn tick_if_due(&mut self) {
        let now = self.present.now(&self.core);
        let mut due = self.core.next_due().into_iter().chain(self.held_back.due());
        if due.any(|due| due <= now.clock) {
            self.tick(now);
        }
    }

    fn tick(&mut self, now: Now) {
        self.process(Epoch::tick(self.core.last(), now.clock), None);
    }

    /// A cut epoch: recorded while it is folded, then handed on.
    fn process(&mut self, epoch: Epoch, turn: Option<InTurn>) {
        if self.to_ledger.send(epoch.entry()).is_err() {
            return self.shared.stop.ask();
        }
        self.held_back.see(&epoch, self.core.decoding());
        let spare = self.shared.spare_updates.lock().pop();
        spare.into_iter().for_each(|spare| self.core.recycle(spare));
        let begun = Instant::now();
        let (records, changes) = self.core.fold(epoch);
        self.shared.stride.took(records.batches.iter().map(RawBatch::len).sum(), begun.elapsed());
        self.hand_on(records, changes, turn);
    }

    /// An epoch that the ledger already holds.
    fn replay(&mut self, entry: &Entry, batches: Vec<RawBatch>) {
        let (records, changes) = self.core.replay_recorded(entry, batches);
        self.hand_on(records, changes, None);
    }

    fn hand_on(&mut self, records: EpochRecords, changes: Changes, turn: Option<InTurn>) {
        if let Some(reason) = self.core.failure() {
            return self.shared.stop.fail(reason.to_owned());
        }
        let meters = &self.shared.meters;
        meters.events.add(records.events().map(|batch| batch.len() as u64).sum());
        meters.bytes.add(records.events().map(|batch| batch.bytes() as u64).sum());
        meters.epochs.add(u64::from(records.has_events()));
        meters.dead_letters.add(self.core.take_dead_letters());
        meters.doubts.update(&self.core);
        self.shared.unflushed.fetch_add(records.bytes(), Ordering::Relaxed);
        self.halts.update(&self.core, records.stamp.clock);
        self.shared.reloads.ask(self.core.take_wish());
        let Changes { mut updates, alerts } = changes;
        if !self.has_feeds {
            self.core.recycle(std::mem::take(&mut updates));
        }
        let samples = samples::of(&records);
        let degraded = self.held_back.with(self.halts.reasons());
        let (stamp, models) = (records.stamp, self.core.watch().models());
        let answers = Arc::clone(self.core.answers());
        let published = Published { stamp, cells: updates, alerts, answers, models, degraded };
        if self.to_bronze.send(Arc::new(records)).is_err() {
            self.shared.stop.ask();
        }
        self.tell(News::Epoch(Results { published, samples, turn }));
    }

    fn start_barrier_if_due(&mut self) {
        let last = self.core.last().map_or(0, |stamp| stamp.id);
        if self.barrier.is_due(last, self.shared.flushed.get()) {
            self.start_barrier();
        }
    }

    fn start_barrier(&mut self) {
        let begun = Instant::now();
        *self.shared.meters.table_rows.lock() = self.core.table_rows();
        if let Some(job) = self.core.barrier() {
            let epoch = job.stamp.id;
            tracing::debug!(epoch, took_us = begun.elapsed().as_micros(), "barrier frozen");
            self.barrier.started(epoch);
            if self.to_flusher.send(job).is_err() {
                self.shared.stop.ask();
            }
        }
    }

    /// Flushes everything: the last barrier, then bronze with the word that it is complete.
    fn finish(mut self, batch: Option<(&mut ControlDesk, &Limits)>) -> Result<Outcome, Stopped> {
        let shared = self.shared;
        shared.hurry.store(true, Ordering::Relaxed);
        if let Some((desk, limits)) = batch.filter(|_| shared.failure().is_none()) {
            self.end_batch(desk, limits);
        }
        let last = self.core.last().map_or(0, |stamp| stamp.id);
        let running = self.barrier.running;
        if shared.failure().is_none()
            && shared.flushed.wait(running, &shared.stop)
            && last > running
            && let Some(job) = self.core.barrier()
            && self.to_flusher.send(job).is_ok()
        {
            shared.flushed.wait(last, &shared.stop);
        }
        let snapshot = self.core.gold().snapshot();
        let cells = snapshot.into_iter().map(|row| (row.key, row.value)).collect();
        let rows = self.core.rows();
        // Dropping the queues ends the threads: each finishes what it was sent.
        let Main { halts, .. } = self;
        let halted = halts.into_reasons();
        let missing = std::mem::take(&mut *shared.missing.lock());
        let outcome = Outcome { cells, rows, halted, missing };
        shared.failure().map_or(Ok(outcome), |reason| Err(Stopped::Failed(reason)))
    }

    /// The end of a batch run: history rows that wait for a timer are written in an epoch of its own.
    fn end_batch(&mut self, desk: &mut ControlDesk, limits: &Limits) {
        self.tick_if_due();
        if !self.core.gold().is_history_behind() || self.shared.stop.is_asked() {
            return;
        }
        let decoding = Arc::clone(self.core.decoding());
        match desk.end_batch(self.present.clock(), limits, &decoding) {
            Ok(polls) => polls.into_iter().for_each(|poll| self.take(poll)),
            Err(error) => tracing::warn!("history rows wait for the next run: {error}"),
        }
    }
}
