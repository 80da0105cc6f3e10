//! The threads beside the core: each a loop over a bounded queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::thread::Scope;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use pipeline::bronze::{BronzeWriter, EpochRecords};
use pipeline::decode::Scratch;
use pipeline::epoch;
use pipeline::ledger::{Entry, Ledger, LedgerError};
use pipeline::record::{RawBatch, TopicPartition};
use pipeline::source::{Limits, Notice, Progress, Source};
use schemas::{Clock, EpochId, EpochStamp, KpiUpdate, chain};
use tokio::runtime::Handle;

use super::contact::Contact;
use super::insist::Insist;
use super::memory::MemoryBound;
use super::meters::Meters;
use super::outcome::Stopped;
use super::pace::Stride;
use super::reloads::Reloads;
use super::stop::{Reached, Stop};
use super::threads::{Turn, spawn};
use super::turns::{InTurn, NextTurn};
use crate::core::decoding::{Decoded, Decoding};
use crate::core::frozen::BarrierJob;
use crate::flush::barrier::Flusher;
use crate::settings::Settings;
use crate::tables::number;
use crate::upkeep::{Keeper, Keepers};

/// How long a source waits for records before it looks whether the run is to stop.
const POLL: Duration = Duration::from_millis(100);

/// How long the bronze thread waits for an epoch before it looks at its other work.
const TURN: Duration = Duration::from_millis(20);

/// Published lists of updates whose memory is kept.
const SPARES_MAX: usize = 4;

/// The largest of them that are kept while no backlog is read: about 2 MiB.
const LIVE_UPDATES_MAX: usize = 1 << 13;

/// The ledger drops old segments this often.
const TRIM: Duration = Duration::from_secs(60);

/// What the threads share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) stop: Stop,
    pub(super) meters: Arc<Meters>,
    /// The last epoch in the ledger, in bronze, and flushed by a barrier.
    pub(super) recorded: Reached,
    pub(super) in_bronze: Reached,
    pub(super) flushed: Reached,
    /// Ledger entries up to here are no longer needed.
    pub(super) verified: Reached,
    /// Bytes of epochs that are not in bronze.
    pub(super) unflushed: Arc<AtomicUsize>,
    /// Sources are not polled while it is passed.
    pub(super) memory: MemoryBound,
    /// Bronze commits at once instead of at its interval.
    pub(super) hurry: AtomicBool,
    /// A feed has to be told anew how everything stands.
    pub(super) start_wanted: AtomicBool,
    /// Updates that were published: memory for those of the next epochs.
    pub(super) spare_updates: Mutex<Vec<Vec<KpiUpdate>>>,
    /// Topics that were not there when a source came to its end, in words.
    pub(super) missing: Mutex<Vec<String>>,
    /// Sources that hold records back.
    pub(super) holding: AtomicUsize,
    /// What decisions ask another run for.
    pub(super) reloads: Reloads,
    /// How many records a poll takes.
    pub(super) stride: Stride,
    /// Offsets reached by bronze, for the sources' group offsets.
    pub(super) offsets: Mutex<Vec<(Arc<TopicPartition>, i64)>>,
}

impl Shared {
    /// What the threads of a run share that fills these meters.
    pub(super) fn new(stop: Stop, meters: Arc<Meters>, memory: MemoryBound) -> Shared {
        Shared {
            stop,
            recorded: meters.recorded.clone(),
            in_bronze: meters.in_bronze.clone(),
            flushed: meters.flushed.clone(),
            unflushed: Arc::clone(&meters.unflushed),
            memory,
            meters,
            ..Shared::default()
        }
    }

    /// Notes the last epoch in the ledger, in bronze and flushed, as recovery found them.
    pub(super) fn stand_at(&self, recorded: EpochId, in_bronze: EpochId, flushed: EpochId) {
        self.recorded.set(recorded);
        self.in_bronze.set(in_bronze);
        self.flushed.set(flushed);
    }

    /// How a step is insisted on that the disk may refuse.
    fn insist(&self, trouble: &'static str, meanwhile: &'static str) -> Insist<'_> {
        Insist { trouble, meanwhile, troubles: &self.meters.troubles, stop: &self.stop }
    }

    /// Why the run failed, if it did.
    pub(super) fn failure(&self) -> Option<String> {
        self.stop.failure()
    }

    /// Whether nothing more is read: what is held is flushed, and the run ends.
    pub(super) fn is_ending(&self) -> bool {
        self.hurry.load(Ordering::Relaxed) || self.stop.is_asked()
    }

    /// Keeps the memory of published updates; of those of a backlog, whose epochs have many, as long as
    /// it is read. They are emptied by whoever made them: names of cells are counted references, which
    /// cost little on one thread and much between two.
    pub(super) fn recycle(&self, stamp: &EpochStamp, updates: Vec<KpiUpdate>) {
        let is_usual = stamp.quiet || updates.capacity() <= LIVE_UPDATES_MAX;
        let mut spares = self.spare_updates.lock();
        if is_usual && updates.capacity() > 0 && spares.len() < SPARES_MAX {
            spares.push(updates);
        }
    }
}

/// Ends the run when the thread that holds it panics: the others would wait for it for ever.
pub(super) struct Alarm<'a>(pub(super) &'a Stop, pub(super) &'static str);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail(format!("the {} thread panicked; see above, and report it", self.1));
        }
    }
}

/// What a source thread hands to the core.
#[derive(Debug)]
pub(super) struct Poll {
    /// The number of the source; `None` for that of control records.
    pub(super) source: Option<usize>,
    pub(super) decoded: Decoded,
    /// The hash of the records.
    pub(super) hash: String,
    pub(super) at_end: bool,
    /// Ends with the poll's way to the subscribers.
    pub(super) turn: Option<InTurn>,
}

/// Starts every source; returns which of them are at their end already.
pub(super) fn start_sources(
    sources: &mut [Box<dyn Source>],
    progress: &Progress,
    until_end: bool,
) -> Result<Vec<bool>, Stopped> {
    for source in sources.iter_mut() {
        let name = source.name().to_owned();
        let own = progress.iter().filter(|(of, _)| *of.source == *name);
        let own: Progress = own.map(|(of, reached)| (of.clone(), *reached)).collect();
        source.start(&own)?;
        if until_end {
            source.stop_at_end()?;
        }
    }
    Ok(vec![false; sources.len()])
}

/// How one source is polled.
#[derive(Debug)]
pub(super) struct Polling<'a> {
    /// The number of the source; `None` for that of control records, which nobody waits for.
    pub(super) index: Option<usize>,
    pub(super) linger: Duration,
    pub(super) limits: &'a Limits,
    pub(super) max_unflushed: usize,
    /// The run is to end by itself, and not to wait for ever.
    pub(super) until_end: bool,
    pub(super) decoding: Arc<Decoding>,
}

impl<'a> Polling<'a> {
    /// The way that `settings` ask for; `index` is `None` for the control source.
    pub(super) fn new(
        index: Option<usize>,
        settings: &'a Settings,
        until_end: bool,
        decoding: &Arc<Decoding>,
    ) -> Polling<'a> {
        Polling {
            index,
            until_end,
            linger: settings.linger,
            limits: &settings.limits,
            max_unflushed: settings.max_unflushed,
            decoding: Arc::clone(decoding),
        }
    }
}

/// Starts a thread for each source.
///
/// # Errors
/// When the operating system refuses one.
pub(super) fn start_reading<'scope>(
    scope: &'scope Scope<'scope, '_>,
    sources: &'scope mut [Box<dyn Source>],
    polling: impl Fn(Option<usize>) -> Polling<'scope>,
    to_core: &SyncSender<Poll>,
    shared: &'scope Shared,
) -> Result<(), String> {
    for (index, source) in sources.iter_mut().enumerate() {
        let (out, polling) = (to_core.clone(), polling(Some(index)));
        spawn(scope, "source", Turn::Live, move || {
            read_source(&polling, source.as_mut(), &out, shared);
        })?;
    }
    Ok(())
}

/// Polls one source until the run stops or the end that was fixed is reached, and decodes what it
/// gives.
pub(super) fn read_source(
    polling: &Polling<'_>,
    source: &mut dyn Source,
    out: &SyncSender<Poll>,
    shared: &Shared,
) {
    let _alarm = Alarm(&shared.stop, "source");
    let Polling { index, linger, limits, max_unflushed, .. } = *polling;
    let mut contact = index.map(|_| Contact::new(source.name(), &shared.meters.troubles));
    let (mut committed, mut scratch) = (Vec::new(), Scratch::default());
    let (mut is_first, mut is_holding) = (index.is_some(), false);
    while !shared.is_ending() {
        if shared.unflushed.load(Ordering::Relaxed) > max_unflushed {
            std::thread::sleep(Duration::from_millis(2));
            continue;
        }
        // Decisions are few, and one of them may be what helps.
        if index.is_some() && shared.memory.is_passed(&shared.meters) {
            if let Some(text) = shared.memory.lasts().filter(|_| polling.until_end) {
                shared.stop.fail(format!("the end was not reached: {text}"));
                return;
            }
            std::thread::sleep(POLL);
            continue;
        }
        let mut batches = Vec::new();
        let limits = shared.stride.within(limits);
        let pulled = match source.poll(POLL, linger, &limits, &mut batches) {
            Ok(pulled) => pulled,
            Err(error) => {
                let name = source.name();
                shared.stop.fail(format!("source `{name}`: {}", chain(&error)));
                return;
            }
        };
        shared.meters.split_transactions.add(pulled.split);
        if pulled.is_holding && !is_holding {
            shared.holding.fetch_add(1, Ordering::Relaxed);
        } else if is_holding && !pulled.is_holding {
            shared.holding.fetch_sub(1, Ordering::Relaxed);
        }
        is_holding = pulled.is_holding;
        if let Some(contact) = &mut contact {
            pulled.notices.iter().for_each(|notice| say(source.name(), notice));
            contact.heard(&pulled);
            if contact.is_lag_due() {
                shared.meters.lag.lock().insert(source.name().to_owned(), source.lag());
            }
        }
        let is_empty = batches.is_empty();
        if !is_empty && std::mem::take(&mut is_first) && batches.iter().all(RawBatch::is_timeless) {
            tracing::warn!("{}", teaches_only(source.name()));
        }
        let decoded = polling.decoding.decode(batches, &mut scratch);
        let hash = epoch::hash(&decoded.batches);
        let (turn, next) = NextTurn::after(pulled.records).unzip();
        let poll = Poll { source: index, decoded, hash, at_end: pulled.at_end, turn };
        if (!is_empty || pulled.at_end) && out.send(poll).is_err() {
            return;
        }
        if pulled.at_end {
            let missing = contact.iter().flat_map(Contact::missing);
            shared.missing.lock().extend(missing);
            return;
        }
        if let Some(next) = next {
            next.wait(linger);
        }
        let reached = shared.offsets.lock().clone();
        if reached != committed {
            let name = source.name();
            let own = reached.iter().filter(|(of, _)| &*of.source == name).cloned();
            source.commit_group_offsets(&own.collect::<Vec<_>>());
            committed = reached;
        }
    }
}

/// Said of a source whose first records carry no time.
fn teaches_only(source: &str) -> String {
    format!(
        "source `{source}`: its records say nothing of when they were written, so they only teach what is usual \
         and open no alert: give lines a `timestamp` in milliseconds, or events a `ts_ms`"
    )
}

fn say(source: &str, notice: &Notice) {
    match notice {
        Notice::Assigned { .. } | Notice::Reconnected { .. } | Notice::Transactions { .. } => {
            tracing::info!("source `{source}`: {notice}");
        }
        Notice::Halted { .. } => tracing::error!("source `{source}`: {notice}"),
        _ => tracing::warn!("source `{source}`: {notice}"),
    }
}

/// Appends entries to the ledger, many to a sync when they come fast.
pub(super) fn write_ledger(
    mut ledger: Ledger,
    entries: &Receiver<Entry>,
    clock: &dyn Clock,
    shared: &Shared,
) {
    let _alarm = Alarm(&shared.stop, "ledger");
    let mut trimmed = Instant::now();
    while let Ok(first) = entries.recv() {
        let mut group = vec![first];
        group.extend(entries.try_iter());
        let may_help = |error: &LedgerError| !matches!(error, LedgerError::Sync { .. });
        let insist = shared.insist("ledger", "nothing is published meanwhile");
        if let Err(error) = insist.on(|| ledger.append(&group), may_help) {
            return shared.stop.fail(error.to_string());
        }
        if let Some(last) = group.last() {
            shared.recorded.set(last.epoch);
        }
        if trimmed.elapsed() > TRIM {
            trimmed = Instant::now();
            if let Err(error) = ledger.trim(shared.verified.get(), clock.now()) {
                tracing::warn!("could not delete old ledger segments: {error}");
            }
        }
    }
}

/// Writes epochs to bronze, one commit per `interval` or `flush_bytes`.
pub(super) fn write_bronze(
    mut writer: BronzeWriter,
    epochs: &Receiver<Arc<EpochRecords>>,
    settings: &Settings,
    mut keeper: Keeper,
    (clock, runtime): (&dyn Clock, &Handle),
    shared: &Shared,
) {
    let _alarm = Alarm(&shared.stop, "bronze");
    let (interval, flush_bytes) = (settings.flush_interval, settings.flush_bytes);
    let mut due = Instant::now() + interval;
    let (mut held_bytes, mut open) = (0, true);
    let mut last = 0;
    let mut offsets = std::collections::BTreeMap::new();
    while open {
        // Nothing is due while nothing is held: an epoch that comes wakes this thread at once.
        let idle = !writer.is_pending(shared.flushed.get());
        let left = if idle { TURN } else { due.saturating_duration_since(Instant::now()) };
        let wait = left.min(TURN);
        match epochs.recv_timeout(wait) {
            Ok(epoch) => {
                held_bytes += epoch.bytes();
                last = epoch.stamp.id;
                for batch in &epoch.batches {
                    if let Some((_, to)) = batch.span() {
                        offsets.insert(Arc::clone(batch.topic()), to);
                    }
                }
                if let Err(error) = writer.append(epoch) {
                    tracing::warn!("{error}; the epoch is held and written again");
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => open = false,
        }
        let hurry = shared.hurry.load(Ordering::Relaxed);
        let is_due = Instant::now() >= due || held_bytes >= flush_bytes || hurry || !open;
        if !is_due || !writer.is_pending(shared.flushed.get()) {
            continue;
        }
        if !shared.recorded.wait(last, &shared.stop) || !commit(&mut writer, runtime, shared) {
            return;
        }
        keeper.barrier(writer.table(), number(writer.flushed()));
        keeper.tend(writer.table_mut(), clock.now(), runtime);
        shared.unflushed.fetch_sub(held_bytes, Ordering::Relaxed);
        held_bytes = 0;
        *shared.offsets.lock() = offsets.iter().map(|(of, to)| (Arc::clone(of), *to)).collect();
        due = Instant::now() + interval;
    }
}

/// Commits what the writer holds, however long the disk refuses. Returns whether it did.
fn commit(writer: &mut BronzeWriter, runtime: &Handle, shared: &Shared) -> bool {
    let insist = shared.insist("bronze", "polling pauses when the memory bound is reached");
    let step = || runtime.block_on(writer.commit(shared.flushed.get()));
    match insist.on(step, |error| error.is_retryable()) {
        Ok(reached) => {
            shared.meters.bronze_commits.add(1);
            if let Some(stamp) = reached {
                shared.verified.set(shared.in_bronze.get());
                shared.in_bronze.set(stamp.id);
            }
            true
        }
        Err(error) => {
            shared.stop.fail(error.to_string());
            false
        }
    }
}

/// Tables are tidied this often while no barrier comes.
const TIDY: Duration = Duration::from_secs(30);

/// Writes barriers once bronze holds their epoch.
pub(super) fn flush_barriers(
    mut flusher: Flusher,
    jobs: &Receiver<BarrierJob>,
    mut keepers: Keepers,
    (clock, runtime): (&dyn Clock, &Handle),
    shared: &Shared,
) {
    let _alarm = Alarm(&shared.stop, "barrier");
    loop {
        let job = match jobs.recv_timeout(TIDY) {
            Ok(job) => job,
            // An idle table is tidied too.
            Err(RecvTimeoutError::Timeout) => {
                if keepers.compacts() {
                    flusher.compact();
                }
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let epoch = job.stamp.id;
        if !shared.in_bronze.wait(epoch, &shared.stop) {
            return;
        }
        let started = Instant::now();
        if !flusher.flush(job) {
            let behind = "stopped while silver and gold could not be written; the next start goes on \
                          from what is in bronze";
            return shared.stop.fail(behind.into());
        }
        let took = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        shared.meters.barriers.add(1);
        shared.meters.barrier_ms.add(took);
        shared.flushed.set(epoch);
        tracing::debug!(epoch, took_ms = took, "barrier complete");
        if keepers.compacts() {
            flusher.compact();
        }
        for table in flusher.tables_mut() {
            keepers.after_barrier(table, number(epoch), clock.now(), runtime);
        }
    }
}
