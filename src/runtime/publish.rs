//! Publication: what subscribers inside the process are told, in epoch order.
//!
//! # Guarantees
//! - A subscriber hears of an epoch only after the ledger holds it, and of epochs in order.
//! - [`Subscriber::start`] comes once, before any epoch that is not in it.

use std::sync::mpsc::Receiver;

use api::Start;
use schemas::{Alert, Clock, EpochStamp, KpiUpdate, Micros};

use super::loops::{Alarm, Shared};

/// Listens to what is published.
pub(crate) trait Subscriber: Send {
    /// Recovery is complete: this is how things stand.
    fn start(&mut self, start: Start);

    /// An epoch changed these cells and alerts.
    fn epoch(&mut self, stamp: &EpochStamp, updates: &[KpiUpdate], alerts: &[Alert]);

    /// Nothing more had arrived by then.
    fn idle(&mut self, as_of: Micros);
}

/// Nobody listens.
#[derive(Debug)]
pub(crate) struct Nobody;

impl Subscriber for Nobody {
    fn start(&mut self, _: Start) {}

    fn epoch(&mut self, _: &EpochStamp, _: &[KpiUpdate], _: &[Alert]) {}

    fn idle(&mut self, _: Micros) {}
}

/// What the publishing thread is told, in order.
#[derive(Debug)]
pub(super) enum News {
    /// What recovery brought.
    Start(Box<Start>),
    /// An epoch's results.
    Epoch(Results),
    /// The sources had nothing more at that time.
    Idle(Micros),
}

/// An epoch's results, on their way to subscribers.
#[derive(Debug)]
pub(super) struct Results {
    pub(super) stamp: EpochStamp,
    pub(super) updates: Vec<KpiUpdate>,
    pub(super) alerts: Vec<Alert>,
    /// Kafka timestamps of some live records, and how many records each stands for.
    pub(super) samples: Vec<(Micros, u64)>,
}

/// Publishes results once their epoch is in the ledger.
pub(super) fn publish(
    news: &Receiver<News>,
    clock: &dyn Clock,
    subscriber: &mut dyn Subscriber,
    shared: &Shared,
) {
    let _alarm = Alarm(&shared.stop, "publishing");
    let mut started = false;
    while let Ok(news) = news.recv() {
        let results = match news {
            News::Start(start) => {
                subscriber.start(*start);
                started = true;
                continue;
            }
            News::Idle(as_of) => {
                subscriber.idle(as_of);
                continue;
            }
            News::Epoch(results) => results,
        };
        if !shared.recorded.wait(results.stamp.id, &shared.stop) {
            return;
        }
        if started {
            subscriber.epoch(&results.stamp, &results.updates, &results.alerts);
        }
        let now = clock.now();
        for (at, weight) in results.samples {
            shared.meters.freshness.add(now.0 - at.0, weight);
        }
        shared.meters.kpi_updates.add(results.updates.len() as u64);
        shared.meters.published.set(results.stamp.id);
        shared.recycle(&results.stamp, results.updates);
    }
}
