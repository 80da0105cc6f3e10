//! From published epochs to frames: one task, which reads what changed once for all subscribers.
//!
//! # Guarantees
//! - A changed cell is made into text once, however many want it.
//! - A filter nobody else has gets its frame at once. One with many subscribers gets fewer, larger
//!   frames, so that sending them cannot take all the time there is.
//! - Nobody waits for a subscriber: the hub only wakes them.

use std::collections::{BTreeMap, HashMap};
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use schemas::EpochId;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::WatchStream;

use super::bulk;
use super::cell_text::{CellText, Written};
use super::close;
use super::cohort::{Cohort, Due, Handle};
use super::limits::StreamLimits;
use super::page::{self, Channel, Mark, Page};
use crate::store::{CellFilter, Store};

/// Bytes of frames that all cohorts together may keep.
const RINGS_BYTES: usize = 64 << 20;

/// Below this it is not worth to wait for more.
const PACE_MIN: std::time::Duration = std::time::Duration::from_millis(2);

/// Cohorts by what they want.
type Cohorts = HashMap<(Channel, CellFilter), Arc<Cohort>>;

/// All cohorts and connections.
#[derive(Debug)]
pub(crate) struct Hub {
    store: Arc<Store>,
    limits: StreamLimits,
    cohorts: Mutex<Cohorts>,
    connections: Mutex<HashMap<u64, Arc<Handle>>>,
    generation: Mutex<Option<Arc<str>>>,
    poke: Notify,
    numbers: AtomicU64,
}

/// A place in a cohort, given up when dropped.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) cohort: Arc<Cohort>,
    number: u64,
    hub: Arc<Hub>,
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut cohorts = self.hub.cohorts.lock();
        if self.cohort.leave(self.number) {
            cohorts.remove(&(self.cohort.channel, self.cohort.filter.clone()));
        }
    }
}

/// A connection's entry, removed when dropped.
#[derive(Debug)]
pub(crate) struct ConnectionEntry {
    pub(crate) handle: Arc<Handle>,
    number: u64,
    hub: Arc<Hub>,
}

impl Drop for ConnectionEntry {
    fn drop(&mut self) {
        self.hub.connections.lock().remove(&self.number);
    }
}

impl Hub {
    pub(crate) fn new(store: Arc<Store>, limits: StreamLimits) -> Hub {
        Hub {
            store,
            limits,
            cohorts: Mutex::default(),
            connections: Mutex::default(),
            generation: Mutex::default(),
            poke: Notify::new(),
            numbers: AtomicU64::new(0),
        }
    }

    /// Enters a connection, so that it can be ended.
    pub(crate) fn enter(self: &Arc<Self>) -> ConnectionEntry {
        let handle = Arc::new(Handle::default());
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        self.connections.lock().insert(number, Arc::clone(&handle));
        ConnectionEntry { handle, number, hub: Arc::clone(self) }
    }

    /// Enters a subscription; `None` when there are too many different filters, or nothing is served.
    /// Everything published after this call reaches it.
    pub(crate) fn join(
        self: &Arc<Self>,
        channel: Channel,
        filter: CellFilter,
        handle: &Arc<Handle>,
    ) -> Option<Member> {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let mut cohorts = self.cohorts.lock();
        let key = (channel, filter);
        let cohort = match cohorts.get(&key) {
            Some(cohort) => Arc::clone(cohort),
            None if cohorts.len() >= self.limits.cohorts => return None,
            None => {
                let head = Mark::from(&self.store.position()?);
                let cohort = Arc::new(Cohort::new(channel, key.1.clone(), head));
                cohorts.insert(key, Arc::clone(&cohort));
                cohort
            }
        };
        cohort.join(number, Arc::clone(handle));
        drop(cohorts);
        // An epoch may have come between the look at the store and this.
        self.poke.notify_one();
        Some(Member { cohort, number, hub: Arc::clone(self) })
    }

    /// Ends every connection.
    pub(crate) fn end_all(&self, code: u16) {
        for handle in self.connections.lock().values() {
            handle.end(code);
        }
    }

    /// Runs until the store is gone.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut published = WatchStream::from_changes(self.store.published());
        let mut next = self.round(Instant::now());
        loop {
            let later = async {
                match next {
                    Some(at) => sleep_until(at).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                epoch = published.next() => {
                    if epoch.is_none() {
                        return;
                    }
                }
                () = self.poke.notified() => {}
                () = later => {}
            }
            next = self.round(Instant::now());
        }
    }

    /// Brings every cohort that is due up to date; when to come again without a new epoch.
    pub(crate) fn round(&self, now: Instant) -> Option<Instant> {
        let position = self.store.position()?;
        let cohorts: Vec<Arc<Cohort>> = self.cohorts.lock().values().map(Arc::clone).collect();
        let known = self.generation.lock().replace(Arc::clone(&position.generation));
        if known.is_some_and(|known| known != position.generation) {
            for cohort in &cohorts {
                cohort.restart(Mark::from(&position));
            }
            self.end_all(close::INSUFFICIENT_STATE);
            return None;
        }
        let ring_bytes = RINGS_BYTES / cohorts.len().max(1);
        let mut next: Option<Instant> = None;
        let mut groups: BTreeMap<(Channel, EpochId), Vec<Arc<Cohort>>> = BTreeMap::new();
        for cohort in cohorts {
            match cohort.due(position.offset, now) {
                Due::No => {}
                Due::At(at) => next = Some(next.map_or(at, |before| before.min(at))),
                Due::Now(since) => {
                    groups.entry((cohort.channel, since)).or_default().push(cohort);
                }
            }
        }
        for ((channel, since), cohorts) in groups {
            let built = match channel {
                Channel::Kpi => self.build_cells(since, &cohorts, ring_bytes),
                Channel::Alerts => self.build_alerts(since, &cohorts, ring_bytes),
            };
            if built.is_none() {
                for cohort in cohorts {
                    cohort.restart(Mark::from(&position));
                }
            }
        }
        next
    }

    fn build_cells(&self, since: EpochId, cohorts: &[Arc<Cohort>], bytes: usize) -> Option<()> {
        let is_compared = |cohort: &&Arc<Cohort>| cohort.filter.against.is_some();
        for cohort in cohorts.iter().filter(is_compared) {
            let bulk = bulk::missed(&self.store, cohort.channel, &cohort.filter, since)?;
            self.advance(cohort, bulk.to, bulk.pages, bytes);
        }
        if cohorts.iter().all(|cohort| is_compared(&cohort)) {
            return Some(());
        }
        let (position, changes) = self.store.changes(None, since)?;
        let to = Mark::from(&position);
        let mut text = CellText::new(self.store.kpis(), changes.len());
        let mut written: Vec<Option<Written>> = vec![None; changes.len()];
        for cohort in cohorts.iter().filter(|cohort| !is_compared(cohort)) {
            let own: Vec<Written> = changes
                .iter()
                .zip(&mut written)
                .filter(|(change, _)| change.is_taken_by(&cohort.filter))
                .map(|(change, written)| *written.get_or_insert_with(|| text.write(change)))
                .collect();
            let pages = page::updates(to, own.iter().map(|own| text.piece(*own)));
            self.advance(cohort, to, pages, bytes);
        }
        Some(())
    }

    fn build_alerts(&self, since: EpochId, cohorts: &[Arc<Cohort>], bytes: usize) -> Option<()> {
        let (position, alerts) = self.store.alerts(None, Some(since))?;
        let texts: Vec<String> = alerts.iter().map(|alert| page::alert(alert)).collect();
        for cohort in cohorts {
            let own =
                alerts.iter().zip(&texts).filter(|(alert, _)| cohort.filter.takes(&alert.key));
            let own: Vec<(EpochId, &str)> =
                own.map(|(alert, text)| (alert.epoch, text.as_str())).collect();
            self.advance(cohort, Mark::from(&position), page::alerts(&own), bytes);
        }
        Some(())
    }

    fn advance(&self, cohort: &Cohort, to: Mark, pages: Vec<Page>, bytes: usize) {
        let pace = |subscribers: usize| {
            let subscribers = u32::try_from(subscribers).unwrap_or(u32::MAX);
            let pace = self.limits.pace.saturating_mul(subscribers).min(self.limits.pace_max);
            (pace >= PACE_MIN).then(|| Instant::now() + pace)
        };
        cohort.advance(to, pages, bytes, pace);
    }
}
