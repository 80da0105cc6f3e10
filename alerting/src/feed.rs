//! What the run tells of its epochs, as far as alerts are concerned.
//!
//! # Guarantees
//! - The run never waits for it: what nobody has looked at yet is kept by alert, the newest state of each, so that it
//!   takes no more room than the alerts themselves.
//! - Epochs in which no alert changed cost nothing but a look.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use schemas::{Alert, Answers, Feed, Micros, Published, Reason, Start};
use tokio::sync::Notify;

/// What is new of alerts.
#[derive(Debug, Default)]
pub(crate) struct News {
    /// All alerts that there are.
    pub(crate) all: Option<Vec<Alert>>,
    /// Those that changed, after that.
    pub(crate) changed: BTreeMap<Arc<str>, Alert>,
    /// Whether people said something of alerts, or a mute has ended.
    pub(crate) has_answers: bool,
}

impl News {
    fn is_empty(&self) -> bool {
        self.all.is_none() && self.changed.is_empty() && !self.has_answers
    }
}

/// What was heard and not looked at, and when the pipeline was heard last.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    last: Mutex<Last>,
    answers: Mutex<Arc<Answers>>,
    news: Mutex<News>,
    is_new: Notify,
}

#[derive(Debug, Default)]
struct Last {
    at: Option<Instant>,
    as_of: Option<Micros>,
    degraded: Arc<[Reason]>,
}

impl Heard {
    fn note(&self, as_of: Option<Micros>, degraded: Option<&Arc<[Reason]>>) {
        let mut last = self.last.lock();
        last.at = Some(Instant::now());
        last.as_of = as_of.or(last.as_of);
        if let Some(degraded) = degraded {
            last.degraded = Arc::clone(degraded);
        }
    }

    /// What people said of alerts so far.
    pub(crate) fn answers(&self) -> Arc<Answers> {
        Arc::clone(&self.answers.lock())
    }

    /// Waits for news, and takes them.
    pub(crate) async fn news(&self) -> News {
        loop {
            let news = std::mem::take(&mut *self.news.lock());
            if !news.is_empty() {
                return news;
            }
            self.is_new.notified().await;
        }
    }

    /// Whether everything that was heard was taken.
    pub(crate) fn is_taken(&self) -> bool {
        self.news.lock().is_empty()
    }

    /// How long ago.
    pub(crate) fn ago(&self) -> Option<Duration> {
        self.last.lock().at.map(|at| at.elapsed())
    }

    /// The clock of the newest numbers.
    pub(crate) fn as_of(&self) -> Option<Micros> {
        self.last.lock().as_of
    }

    /// Why they may be old or incomplete.
    pub(crate) fn degraded(&self) -> Arc<[Reason]> {
        Arc::clone(&self.last.lock().degraded)
    }
}

/// The feed.
pub(crate) struct AlertFeed(pub(crate) Arc<Heard>);

impl Feed for AlertFeed {
    fn name(&self) -> &'static str {
        "alerting"
    }

    fn start(&mut self, start: Start) {
        self.0.note(start.as_of, Some(&start.degraded));
        *self.0.answers.lock() = start.answers;
        *self.0.news.lock() = News { all: Some(start.alerts), ..News::default() };
        self.0.is_new.notify_one();
    }

    fn epoch(&mut self, published: &Published) {
        self.0.note(Some(published.stamp.clock), Some(&published.degraded));
        if !Arc::ptr_eq(&self.0.answers.lock(), &published.answers) {
            *self.0.answers.lock() = Arc::clone(&published.answers);
            self.0.news.lock().has_answers = true;
            self.0.is_new.notify_one();
        }
        if !published.alerts.is_empty() {
            let alerts = published.alerts.iter();
            self.0
                .news
                .lock()
                .changed
                .extend(alerts.map(|alert| (Arc::clone(&alert.id), alert.clone())));
            self.0.is_new.notify_one();
        }
    }

    fn idle(&mut self, as_of: Micros) {
        self.0.note(Some(as_of), None);
    }
}
