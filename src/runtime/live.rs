//! The main loop: polls in, epochs through the core, barriers out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::Scope;
use std::time::{Duration, Instant};

use gold::Catalog;
use lake::Lake;
use pipeline::bronze::EpochRecords;
use pipeline::ledger::{Entry, Header, Ledger};
use pipeline::record::{RawBatch, TopicPartition};
use pipeline::source::{Limits, Progress, Reached as Offset, Source, SourceError};
use schemas::{CellKey, CellValue, Clock, Contract, EpochId, EpochStamp, KpiUpdate, Micros};
use tokio::runtime::Handle;

use super::barrier::BarrierJob;
use super::core::{Core, Cut};
use super::loops::{self, Poll, Results, Shared};
use super::meters::Meters;
use super::recover::{Inputs, Recovered, new_generation, recover};
use super::stop::Stop;
use super::tail::{Reread, reread};
use crate::config::{Config, Durability};

/// Epochs and polls that may wait between two threads.
const QUEUE: usize = 2;
/// Epochs that may wait for the ledger and for bronze.
const EPOCH_QUEUE: usize = 1024;
/// Epochs that may wait for publication: in a backlog the results of each take some MiB.
const RESULT_QUEUE: usize = 16;
/// The main loop looks at its timers at least this often.
const TURN: Duration = Duration::from_millis(20);
/// A barrier takes at most one part in this many of the time.
const BARRIER_SHARE: u32 = 4;
/// At the end of the input, timers due this soon are still waited for.
const SETTLE: i64 = 1_100_000;
/// Freshness is sampled at about this many records of a batch.
const SAMPLES: usize = 16;

/// What a run is made of.
pub(crate) struct Run {
    pub(crate) config: Config,
    pub(crate) lake: Lake,
    pub(crate) contracts: Vec<Contract>,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) topics: BTreeMap<(String, String), String>,
    pub(crate) sources: Vec<Box<dyn Source>>,
    /// Stop at the end offsets that are there at the start.
    pub(crate) until_end: bool,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) stop: Stop,
    pub(crate) meters: Arc<Meters>,
    /// Sees every published epoch, in order.
    pub(crate) publish: Publish,
}

/// A subscriber inside the process.
pub(crate) type Publish = Box<dyn FnMut(&EpochStamp, &[KpiUpdate]) + Send>;

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run").field("config", &self.config).finish_non_exhaustive()
    }
}

/// Why a run could not start, or ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Stopped {
    /// A broker that is needed at once does not answer.
    #[error("{0}")]
    Unreachable(String),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

impl From<String> for Stopped {
    fn from(reason: String) -> Stopped {
        Stopped::Failed(reason)
    }
}

impl From<SourceError> for Stopped {
    fn from(error: SourceError) -> Stopped {
        let reason = crate::commands::chain(&error);
        match error {
            SourceError::Unreachable { .. } => Stopped::Unreachable(reason),
            _ => Stopped::Failed(reason),
        }
    }
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The current cells, in key order.
    pub(crate) cells: Vec<(CellKey, CellValue)>,
    /// Live rows of silver.
    pub(crate) rows: usize,
}

/// Runs until stopped, or until the end of the input.
///
/// # Errors
/// When it cannot start, or a thread cannot go on; the text says why and what to do.
pub(crate) fn run(run: Run, runtime: &Handle) -> Result<Outcome, Stopped> {
    let Run { config, lake, contracts, catalog, topics, sources, .. } = run;
    let shared =
        Shared { stop: run.stop.clone(), meters: Arc::clone(&run.meters), ..Shared::default() };
    let inputs = Inputs {
        ledger_dir: config.ledger_dir(&lake.state_dir()),
        lake,
        durable: config.lake.durability == Durability::Fsync,
        contracts,
        topics,
        catalog,
    };
    let recovered = recover(&inputs, runtime, &run.stop)?;
    let (clock, publish) = (run.clock, run.publish);
    let threads = Threads {
        config: &config,
        runtime,
        clock: clock.as_ref(),
        publish,
        until_end: run.until_end,
    };
    threads.run(recovered, sources, inputs.ledger_dir, &shared)
}

struct Threads<'a> {
    config: &'a Config,
    runtime: &'a Handle,
    clock: &'a dyn Clock,
    publish: Publish,
    until_end: bool,
}

impl Threads<'_> {
    fn run(
        mut self,
        recovered: Recovered,
        mut sources: Vec<Box<dyn Source>>,
        ledger_dir: PathBuf,
        shared: &Shared,
    ) -> Result<Outcome, Stopped> {
        let Recovered { core, bronze, held, flusher, mut ledger, tail } = recovered;
        let recorded_last = tail.last().map_or(held.epoch, |entry| entry.epoch);
        shared.recorded.set(recorded_last);
        shared.in_bronze.set(held.epoch);
        shared.flushed.set(held.flushed);
        let tail = self.reread(tail, &mut sources, (&mut ledger, &ledger_dir), &shared.stop)?;
        let progress = progress(&held.next, &tail);
        let ended = self.start_sources(&mut sources, &progress)?;
        let (to_core, polls) = sync_channel(QUEUE);
        let (to_ledger, entries) = sync_channel(EPOCH_QUEUE);
        let (to_publish, results) = sync_channel(RESULT_QUEUE);
        let (to_bronze, epochs) = sync_channel(EPOCH_QUEUE);
        let (to_flusher, jobs) = sync_channel(1);
        let mut main = Main {
            core,
            clock: self.clock,
            shared,
            to_ledger,
            to_publish,
            to_bronze,
            to_flusher,
            barrier: BarrierTimer::new(self.config.lake.barrier_interval(), held.flushed),
            ended,
        };
        let (config, clock, runtime) = (self.config, self.clock, self.runtime);
        let publish = &mut self.publish;
        let limits = limits(config);
        std::thread::scope(|scope| {
            spawn(scope, "ledger", move || loops::write_ledger(ledger, &entries, clock, shared))?;
            spawn(scope, "publish", move || {
                loops::publish(&results, clock, publish.as_mut(), shared);
            })?;
            spawn(scope, "bronze", move || {
                let (interval, bytes) = (config.lake.flush_interval(), config.lake.flush_bytes());
                loops::write_bronze(bronze, &epochs, interval, bytes, runtime, shared);
            })?;
            spawn(scope, "barrier", move || {
                let vacuum = config.lake.vacuum_after();
                loops::flush_barriers(flusher, &jobs, vacuum, clock, shared);
            })?;
            for (index, source) in sources.iter_mut().enumerate() {
                let out = to_core.clone();
                let polling = loops::Polling {
                    index,
                    linger: config.epoch.linger(),
                    limits: &limits,
                    max_unflushed: config.epoch.max_unflushed(),
                    decoding: Arc::clone(main.core.decoding()),
                };
                spawn(scope, "source", move || {
                    loops::read_source(&polling, source.as_mut(), &out, shared);
                })?;
            }
            drop(to_core);
            for (entry, batches) in tail {
                main.replay(&entry, batches);
            }
            if main.core.is_rebuilt() {
                // Tables may stand at the last epoch already, with other rows: write at a later one.
                let cut = main.core.cut_tick(clock.now());
                main.process(cut);
            }
            main.turn_until_stopped(&polls);
            drop(polls);
            main.finish(self.until_end)
        })
    }

    /// The recorded epochs after bronze with their records. When these are gone, the ledger starts over.
    fn reread(
        &self,
        tail: Vec<Entry>,
        sources: &mut [Box<dyn Source>],
        (ledger, folder): (&mut Ledger, &Path),
        stop: &Stop,
    ) -> Result<Vec<(Entry, Vec<RawBatch>)>, Stopped> {
        match reread(tail, sources, stop) {
            Reread::Same(tail) => Ok(tail),
            Reread::Other(reason) => {
                tracing::error!(
                    "recorded epochs cannot be read again: {reason}. A new stream generation starts; what the broker lost is not in bronze"
                );
                *ledger = restart(ledger, folder, self.config)?;
                Ok(Vec::new())
            }
            Reread::Stopped => Err(Stopped::Failed("stopped before recovery was complete".into())),
        }
    }

    /// Starts every source; returns which of them are at their end already.
    fn start_sources(
        &self,
        sources: &mut [Box<dyn Source>],
        progress: &Progress,
    ) -> Result<Vec<bool>, Stopped> {
        for source in sources.iter_mut() {
            let name = source.name().to_owned();
            let own = progress.iter().filter(|(of, _)| *of.source == *name);
            let own: Progress = own.map(|(of, reached)| (of.clone(), *reached)).collect();
            source.start(&own)?;
            if self.until_end {
                source.stop_at_end()?;
            }
        }
        Ok(vec![false; sources.len()])
    }
}

/// Starts a thread that tools show by `name`.
fn spawn<'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &str,
    work: impl FnOnce() + Send + 'scope,
) -> Result<(), String> {
    let started = std::thread::Builder::new().name(name.to_owned()).spawn_scoped(scope, work);
    started.map(drop).map_err(|e| format!("could not start the {name} thread: {e}"))
}

fn limits(config: &Config) -> Limits {
    let (records, bytes) = (config.epoch.max_records, config.epoch.max_bytes());
    Limits {
        records,
        bytes,
        partition_records: records.div_ceil(2),
        partition_bytes: bytes.div_ceil(2),
    }
}

fn restart(ledger: &Ledger, folder: &Path, config: &Config) -> Result<Ledger, String> {
    let header = Header { generation: new_generation(), ..ledger.header().clone() };
    let durable = config.lake.durability == Durability::Fsync;
    Ledger::open(folder, header, durable)
        .map_err(|e| format!("could not open the ledger in `{}`: {e}", folder.display()))
}

/// Where each partition goes on: after bronze and the tail.
fn progress(held: &BTreeMap<TopicPartition, i64>, tail: &[(Entry, Vec<RawBatch>)]) -> Progress {
    let at = |next| Offset { next, last: None };
    let mut progress: Progress = held.iter().map(|(of, next)| (of.clone(), at(*next))).collect();
    for batch in tail.iter().flat_map(|(_, batches)| batches) {
        if let Some((_, to)) = batch.span() {
            progress.insert(batch.topic().as_ref().clone(), at(to));
        }
    }
    progress
}

struct Main<'a> {
    core: Core,
    clock: &'a dyn Clock,
    shared: &'a Shared,
    to_ledger: SyncSender<Entry>,
    to_publish: SyncSender<Results>,
    to_bronze: SyncSender<Arc<EpochRecords>>,
    to_flusher: SyncSender<BarrierJob>,
    barrier: BarrierTimer,
    ended: Vec<bool>,
}

impl Main<'_> {
    fn turn_until_stopped(&mut self, polls: &Receiver<Poll>) {
        while !self.shared.stop.is_asked() && !self.ended.iter().all(|ended| *ended) {
            match polls.recv_timeout(self.wait()) {
                Ok(poll) => self.take(poll),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.tick_if_due();
            self.start_barrier_if_due();
        }
    }

    fn wait(&self) -> Duration {
        let due = self.core.next_due().map(|due| due.0 - self.clock.now().0);
        let due = due.and_then(|micros| u64::try_from(micros.max(0)).ok());
        due.map_or(TURN, |micros| TURN.min(Duration::from_micros(micros)))
    }

    fn take(&mut self, poll: Poll) {
        if !poll.decoded.batches.is_empty() {
            let cut = self.core.cut_decoded(poll.decoded, poll.hash, self.clock.now());
            self.process(cut);
        }
        if let (true, Some(ended)) = (poll.at_end, self.ended.get_mut(poll.source)) {
            *ended = true;
        }
    }

    fn tick_if_due(&mut self) {
        let now = self.clock.now();
        if self.core.next_due().is_some_and(|due| due <= now) {
            let cut = self.core.cut_tick(now);
            self.process(cut);
        }
    }

    /// A cut epoch: recorded while it is folded, then handed on.
    fn process(&mut self, cut: Cut) {
        let Cut { records, entry } = cut;
        if self.to_ledger.send(entry).is_err() {
            return self.shared.stop.ask();
        }
        let spare = self.shared.spare_updates.lock().pop();
        spare.into_iter().for_each(|spare| self.core.recycle(spare));
        let updates = self.core.fold(&records);
        self.hand_on(records, updates);
    }

    /// An epoch that the ledger already holds.
    fn replay(&mut self, entry: &Entry, batches: Vec<RawBatch>) {
        let (records, updates) = self.core.replay(entry.stamp(), batches);
        self.hand_on(records, updates);
    }

    fn hand_on(&mut self, records: EpochRecords, updates: Vec<KpiUpdate>) {
        let meters = &self.shared.meters;
        meters.events.add(records.len() as u64);
        meters.bytes.add(records.bytes() as u64);
        meters.epochs.add(u64::from(!records.is_empty()));
        meters.dead_letters.set(self.core.counts.dead_letters);
        self.shared.unflushed.fetch_add(records.bytes(), Ordering::Relaxed);
        let results = Results { stamp: records.stamp, updates, samples: samples(&records) };
        let sent = self.to_bronze.send(Arc::new(records)).is_ok();
        if !sent || self.to_publish.send(results).is_err() {
            self.shared.stop.ask();
        }
    }

    fn start_barrier_if_due(&mut self) {
        let last = self.core.last().map_or(0, |stamp| stamp.id);
        if self.barrier.is_due(last, self.shared.flushed.get()) {
            self.start_barrier();
        }
    }

    fn start_barrier(&mut self) {
        if let Some(job) = self.core.barrier() {
            self.barrier.started(job.stamp.id);
            if self.to_flusher.send(job).is_err() {
                self.shared.stop.ask();
            }
        }
    }

    /// Flushes everything: the last barrier, then bronze with the word that it is complete.
    fn finish(mut self, until_end: bool) -> Result<Outcome, Stopped> {
        let shared = self.shared;
        shared.hurry.store(true, Ordering::Relaxed);
        if until_end && shared.failure().is_none() {
            self.settle();
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
        drop(self);
        shared.failure().map_or(Ok(Outcome { cells, rows }), |reason| Err(Stopped::Failed(reason)))
    }

    /// Waits for the timers that are due within about a second: the end of a backlog. What has been
    /// read is flushed meanwhile, so that the last barrier has only what the timers add.
    fn settle(&mut self) {
        let until = self.clock.now().plus(SETTLE);
        let mut early = false;
        while self.core.next_due().is_some_and(|due| due <= until) && !self.shared.stop.is_asked() {
            let flushed = self.shared.flushed.get() >= self.barrier.running;
            if !early && flushed && self.core.last().is_some_and(|l| l.id > self.barrier.running) {
                early = true;
                self.start_barrier();
            }
            std::thread::sleep(self.wait());
            self.tick_if_due();
        }
    }
}

impl Shared {
    fn failure(&self) -> Option<String> {
        self.stop.failure()
    }
}

/// When the next barrier starts: after the interval, the one before it being complete, and not more
/// often than its cost allows.
#[derive(Debug)]
struct BarrierTimer {
    interval: Duration,
    last_start: Instant,
    last_cost: Duration,
    running: EpochId,
    is_running: bool,
}

impl BarrierTimer {
    fn new(interval: Duration, flushed: EpochId) -> BarrierTimer {
        let (last_start, last_cost) = (Instant::now(), Duration::ZERO);
        BarrierTimer { interval, last_start, last_cost, running: flushed, is_running: false }
    }

    fn is_due(&mut self, last: EpochId, flushed: EpochId) -> bool {
        if self.is_running && flushed >= self.running {
            self.is_running = false;
            self.last_cost = self.last_start.elapsed();
        }
        let wait = self.interval.max(self.last_cost * BARRIER_SHARE);
        !self.is_running && last > self.running && self.last_start.elapsed() >= wait
    }

    fn started(&mut self, epoch: EpochId) {
        (self.running, self.is_running, self.last_start) = (epoch, true, Instant::now());
    }
}

/// Timestamps of some records of a live epoch, each with the number of records it stands for.
fn samples(records: &EpochRecords) -> Vec<(Micros, u64)> {
    if records.stamp.quiet {
        return Vec::new();
    }
    let mut samples = Vec::new();
    for batch in &records.batches {
        let step = batch.len().div_ceil(SAMPLES).max(1);
        let of = |record: pipeline::record::RawRecord<'_>| Some((record.timestamp?, step as u64));
        samples.extend((0..batch.len()).step_by(step).filter_map(|at| of(batch.get(at)?)));
    }
    samples
}
