//! Readers: what a receiver says that it does not pass on, because people silenced it or something worse goes on.
//!
//! # Guarantees
//! - What is shown is what the receiver said last, some seconds ago. It bears on nothing that is sent.
//! - A receiver that gives no answer is as it was; deliveries do not wait for it here.

use std::sync::Arc;
use std::time::Duration;

use schemas::chain;
use tokio::sync::watch;

use crate::error::StoreError;
use crate::outbox::Outbox;
use crate::route::Taker;
use crate::suppressed::Suppressed;

/// How often a receiver is asked.
const EVERY: Duration = Duration::from_secs(15);
/// How long it has for its answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks one receiver again and again.
pub(crate) struct Reader {
    pub(crate) taker: Arc<Taker>,
    pub(crate) outbox: Outbox,
    /// What it said last, sorted.
    pub(crate) last: Option<Vec<Suppressed>>,
    /// Becomes true when nothing more is asked.
    pub(crate) ending: watch::Receiver<bool>,
}

impl Reader {
    /// Asks until it is to end; at once where the receiver says nothing of that kind.
    pub(crate) async fn run(mut self) {
        while !*self.ending.borrow() {
            let taker = Arc::clone(&self.taker);
            let Some(reading) = taker.route.read_back() else { return };
            let answer = tokio::select! {
                answer = tokio::time::timeout(PATIENCE, reading) => answer,
                _ = self.ending.changed() => return,
            };
            match answer {
                Ok(Ok(found)) => self.keep(found).await,
                Ok(Err(error)) => {
                    tracing::debug!(route = taker.name, "silences are not read: {error}");
                }
                Err(_) => tracing::debug!(route = taker.name, "silences are not read: no answer"),
            }
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                _ = self.ending.changed() => {}
            }
        }
    }

    async fn keep(&mut self, mut found: Vec<Suppressed>) {
        found.sort();
        if self.last.as_ref() == Some(&found) {
            return;
        }
        let kept: Result<(), StoreError> = self.outbox.suppress(&self.taker.name, &found).await;
        match kept {
            Ok(()) => self.last = Some(found),
            Err(error) => tracing::warn!("silences cannot be kept: {}", chain(&error)),
        }
    }
}
