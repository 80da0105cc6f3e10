//! What the stream counts.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// The counts since the start of the process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames sent.
    pub frames: u64,
    /// Bytes of frames sent, as text.
    pub bytes: u64,
    /// Snapshots sent whole.
    pub snapshots: u64,
    /// Subscriptions that went on where they had been.
    pub resumed: u64,
    /// Times that a client was so far behind that it got the newest values only.
    pub conflated: u64,
    /// Connections ended by the client, or broken.
    pub gone: u64,
    /// Connections ended by the server, by close code.
    pub closes: BTreeMap<u16, u64>,
    /// Upgrades refused, by HTTP status.
    pub refused: BTreeMap<u16, u64>,
}

impl Counters {
    /// Connections that were ended because the client was too slow.
    pub fn slow_closes(&self) -> u64 {
        self.closes.get(&super::close::SLOW).copied().unwrap_or(0)
    }
}

/// The counters as they are counted.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    frames: AtomicU64,
    bytes: AtomicU64,
    snapshots: AtomicU64,
    resumed: AtomicU64,
    conflated: AtomicU64,
    gone: AtomicU64,
    closes: Mutex<BTreeMap<u16, u64>>,
    refused: Mutex<BTreeMap<u16, u64>>,
}

impl Counts {
    pub(crate) fn frame(&self, bytes: usize) {
        self.frames.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn snapshot(&self) {
        self.snapshots.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn resumed(&self) {
        self.resumed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn conflated(&self) {
        self.conflated.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn gone(&self) {
        self.gone.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn closed(&self, code: u16) {
        *self.closes.lock().entry(code).or_default() += 1;
    }

    pub(crate) fn refused(&self, status: u16) {
        *self.refused.lock().entry(status).or_default() += 1;
    }

    pub(crate) fn now(&self) -> Counters {
        Counters {
            frames: self.frames.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            snapshots: self.snapshots.load(Ordering::Relaxed),
            resumed: self.resumed.load(Ordering::Relaxed),
            conflated: self.conflated.load(Ordering::Relaxed),
            gone: self.gone.load(Ordering::Relaxed),
            closes: self.closes.lock().clone(),
            refused: self.refused.lock().clone(),
        }
    }
}
