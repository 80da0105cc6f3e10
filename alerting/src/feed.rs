//! What the run tells of its epochs, as far as alerts are concerned.
//!
//! # Guarantees
//! - Epochs in which no alert changed cost nothing but a look.
//! - When more waits than the queue holds, the run waits, and leaves this feed behind at last: it hears how everything
//!   stands then, and compares that with what people know.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use schemas::{Alert, Feed, Micros, Published, Reason, Start};
use tokio::sync::mpsc::Sender;

/// What is new.
#[derive(Debug)]
pub(crate) enum News {
    /// All alerts that there are.
    All(Vec<Alert>),
    /// Alerts that changed.
    Changed(Vec<Alert>),
}

/// When the pipeline was heard last, and what of.
#[derive(Debug, Default)]
pub(crate) struct Heard(Mutex<Last>);

#[derive(Debug, Default)]
struct Last {
    at: Option<Instant>,
    as_of: Option<Micros>,
    degraded: Arc<[Reason]>,
}

impl Heard {
    fn note(&self, as_of: Option<Micros>, degraded: Option<&Arc<[Reason]>>) {
        let mut last = self.0.lock();
        last.at = Some(Instant::now());
        last.as_of = as_of.or(last.as_of);
        if let Some(degraded) = degraded {
            last.degraded = Arc::clone(degraded);
        }
    }

    /// How long ago.
    pub(crate) fn ago(&self) -> Option<Duration> {
        self.0.lock().at.map(|at| at.elapsed())
    }

    /// The clock of the newest numbers.
    pub(crate) fn as_of(&self) -> Option<Micros> {
        self.0.lock().as_of
    }

    /// Why they may be old or incomplete.
    pub(crate) fn degraded(&self) -> Arc<[Reason]> {
        Arc::clone(&self.0.lock().degraded)
    }
}

/// The feed.
pub(crate) struct AlertFeed {
    pub(crate) news: Sender<News>,
    pub(crate) heard: Arc<Heard>,
}

impl AlertFeed {
    /// After the end nobody hears it, and the next start says how everything stands.
    fn tell(&self, news: News) {
        drop(self.news.blocking_send(news));
    }
}

impl Feed for AlertFeed {
    fn name(&self) -> &'static str {
        "alerting"
    }

    fn start(&mut self, start: Start) {
        self.heard.note(start.as_of, Some(&start.degraded));
        self.tell(News::All(start.alerts));
    }

    fn epoch(&mut self, published: &Published) {
        self.heard.note(Some(published.stamp.clock), Some(&published.degraded));
        if !published.alerts.is_empty() {
            self.tell(News::Changed(published.alerts.clone()));
        }
    }

    fn idle(&mut self, as_of: Micros) {
        self.heard.note(Some(as_of), None);
    }
}
