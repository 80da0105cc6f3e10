//! Publication: results to the feeds, in epoch order, once the ledger holds them.

use std::sync::mpsc::Receiver;

use schemas::{Micros, Start};

use super::fanout::{Delivery, Fanout, Results};
use super::loops::{Alarm, Shared};

/// What the publishing thread is told, in order.
#[derive(Debug)]
pub(super) enum News {
    /// How everything stands: after recovery, and when a feed asks for it.
    Start(Box<Start>),
    /// An epoch's results.
    Epoch(Results),
    /// The sources had nothing more at that time.
    Idle(Micros),
}

/// Publishes results once their epoch is in the ledger.
pub(super) fn publish<'a>(news: &Receiver<News>, mut feeds: Fanout<'a>, shared: &'a Shared) {
    let _alarm = Alarm(&shared.stop, "publishing");
    while let Ok(news) = news.recv() {
        let epoch = match &news {
            News::Start(start) => start.offset,
            News::Epoch(results) => results.published.stamp.id,
            News::Idle(_) => 0,
        };
        if !shared.recorded.wait(epoch, &shared.stop) {
            return;
        }
        match news {
            News::Start(start) => feeds.begin(*start),
            News::Idle(as_of) => feeds.idle(as_of),
            News::Epoch(results) => {
                shared.meters.kpi_updates.add(results.published.cells.len() as u64);
                feeds.epoch(Delivery::new(results, shared));
                shared.meters.published.set(epoch);
            }
        }
    }
}
