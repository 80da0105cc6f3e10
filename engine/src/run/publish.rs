//! Publication: results to the feed inside the process, in epoch order.
//!
//! # Guarantees
//! - A feed hears of an epoch only after the ledger holds it, and of epochs in order.
//! - [`Feed::start`] comes once, before any epoch that is not in it.

use std::sync::mpsc::Receiver;

use schemas::{Clock, Feed, Micros, Published, Start};

use super::loops::{Alarm, Shared};

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

/// An epoch's results, on their way to the feed.
#[derive(Debug)]
pub(super) struct Results {
    pub(super) published: Published,
    /// Kafka timestamps of some live records, and how many records each stands for.
    pub(super) samples: Vec<(Micros, u64)>,
}

/// Publishes results once their epoch is in the ledger.
pub(super) fn publish(
    news: &Receiver<News>,
    clock: &dyn Clock,
    mut feed: Option<&mut (dyn Feed + 'static)>,
    shared: &Shared,
) {
    let _alarm = Alarm(&shared.stop, "publishing");
    let mut started = false;
    while let Ok(news) = news.recv() {
        let results = match news {
            News::Start(start) => {
                started = true;
                if let Some(feed) = feed.as_deref_mut() {
                    feed.start(*start);
                }
                continue;
            }
            News::Idle(as_of) => {
                if let Some(feed) = feed.as_deref_mut() {
                    feed.idle(as_of);
                }
                continue;
            }
            News::Epoch(results) => results,
        };
        let Results { published, samples } = results;
        if !shared.recorded.wait(published.stamp.id, &shared.stop) {
            return;
        }
        if let (true, Some(feed)) = (started, feed.as_deref_mut()) {
            feed.epoch(&published);
        }
        let now = clock.now();
        for (at, weight) in samples {
            shared.meters.freshness.add(now.0 - at.0, weight);
        }
        shared.meters.kpi_updates.add(published.cells.len() as u64);
        shared.meters.published.set(published.stamp.id);
        shared.recycle(&published.stamp, published.cells);
    }
}
