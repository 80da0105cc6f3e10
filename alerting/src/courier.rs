//! Couriers: one for each route, which takes what waits in the outbox to its receiver.
//!
//! # Guarantees
//! - Routes do not wait for each other, and one that fails is tried again after longer and longer waits, as long as
//!   something waits. What it takes for the receiver to be well is not asked of one notice: after a failure another
//!   alert's goes first.
//! - What could not be delivered for three days is given up, and said.
//! - A route that has taken nothing for a minute, though something waits, is among Weir's troubles, and so told
//!   through the other routes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use schemas::{Clock, Micros, chain};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::backoff;
use crate::error::{DeliveryError, StoreError};
use crate::feed::Heard;
use crate::heartbeat::{SignOfLife, is_due};
use crate::outbox::{Delivery, Outbox, State};
use crate::quiet;
use crate::route::Taker;
use crate::surroundings::Surroundings;

/// How long one try may take, whatever its route allows.
const TRY: Duration = Duration::from_secs(20);
/// How long a delivery is tried, in microseconds.
const GIVEN_UP_US: i64 = 3 * 24 * 3_600 * 1_000_000;
/// How long something waits before its route is called dead, in microseconds.
const DEAD_US: i64 = 60 * 1_000_000;
/// The longest that a receiver may ask to wait.
const ASKED_MAX: Duration = Duration::from_secs(3_600);
/// How long what ended is repeated, in microseconds.
const ENDED_US: i64 = 5 * 60 * 1_000_000;
/// The longest sleep.
const LOOK: Duration = Duration::from_secs(5);

pub(crate) struct Courier {
    pub(crate) taker: Arc<Taker>,
    pub(crate) outbox: Outbox,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) heard: Arc<Heard>,
    pub(crate) around: Arc<dyn Surroundings>,
    pub(crate) heartbeat: Option<Duration>,
    /// Tries in a row that failed.
    pub(crate) failures: u32,
    /// Until when the route rests.
    pub(crate) rests: Option<Instant>,
    pub(crate) repeated: Option<Instant>,
    pub(crate) signed: Option<Instant>,
    /// Becomes true when no further delivery is to begin.
    pub(crate) ending: watch::Receiver<bool>,
}

impl Courier {
    /// Carries until it is to end.
    pub(crate) async fn run(mut self) {
        while !*self.ending.borrow() {
            let sleep = match self.step().await {
                Ok(sleep) => sleep,
                Err(error) => {
                    tracing::warn!(
                        route = self.taker.name,
                        "the outbox cannot be read: {}",
                        chain(&error)
                    );
                    LOOK
                }
            };
            if !sleep.is_zero() {
                tokio::select! {
                    () = tokio::time::sleep(sleep) => {}
                    () = self.taker.wake.notified() => {}
                    _ = self.ending.changed() => {}
                }
            }
        }
    }

    /// Does what is due, and says how long nothing is.
    async fn step(&mut self) -> Result<Duration, StoreError> {
        self.sign().await;
        self.repeat().await?;
        let now = self.clock.now();
        let waiting = self.outbox.waiting(&self.taker.name).await?;
        self.judge(waiting, now);
        let Some((due, _, _)) = waiting else { return Ok(LOOK) };
        let rest = self.rests.map(|until| until.saturating_duration_since(Instant::now()));
        if let Some(rest) = rest.filter(|rest| !rest.is_zero()) {
            return Ok(rest.min(LOOK));
        }
        if due > now {
            let micros = u64::try_from(due.0 - now.0).unwrap_or_default();
            return Ok(Duration::from_micros(micros).clamp(Duration::from_millis(1), LOOK));
        }
        match self.outbox.next(&self.taker.name, now).await? {
            Some(delivery) => {
                if !self.is_moot(&delivery).await? {
                    self.carry(&delivery).await?;
                }
                Ok(Duration::ZERO)
            }
            None => Ok(LOOK.min(Duration::from_millis(200))),
        }
    }

    /// Whether a delivery that was put off need not be sent any more; then it is marked so, and all that follows from it.
    async fn is_moot(&self, delivery: &Delivery) -> Result<bool, StoreError> {
        if delivery.held_until.is_none() || delivery.attempts > 0 {
            return Ok(false);
        }
        let alert = &delivery.notice.alert;
        let moot = quiet::moot(&self.outbox.waits(&self.taker.name, alert).await?);
        if moot.is_empty() {
            return Ok(false);
        }
        self.outbox.skip(&moot, self.clock.now()).await?;
        Ok(moot.contains(&delivery.number))
    }

    /// Tries a delivery and marks what came of it.
    async fn carry(&mut self, delivery: &Delivery) -> Result<(), StoreError> {
        let now = self.clock.now();
        let tried =
            tokio::time::timeout(TRY, self.taker.route.deliver(&delivery.notice, now)).await;
        let tried = tried.unwrap_or_else(|_| Err(DeliveryError::later("no answer")));
        let now = self.clock.now();
        let (route, id) = (self.taker.name.as_str(), delivery.notice.id.as_str());
        let since = delivery.held_until.unwrap_or(delivery.made_at);
        match tried {
            Ok(()) => {
                self.rested();
                self.taker.tally.delivered.fetch_add(1, Ordering::Relaxed);
                self.outbox.end(delivery.number, State::Delivered, None, now).await
            }
            Err(DeliveryError::Refused { why }) => {
                tracing::error!(route, id, "the receiver will not take a notice: {why}");
                self.rested();
                self.taker.tally.lost.fetch_add(1, Ordering::Relaxed);
                self.outbox.end(delivery.number, State::Refused, Some(&why), now).await
            }
            Err(DeliveryError::Later { why, .. }) if now.0 - since.0 > GIVEN_UP_US => {
                tracing::error!(route, id, "a notice is given up after three days: {why}");
                self.taker.tally.lost.fetch_add(1, Ordering::Relaxed);
                self.outbox.end(delivery.number, State::GivenUp, Some(&why), now).await
            }
            Err(DeliveryError::Later { why, after }) => {
                tracing::warn!(route, id, "a notice is not delivered yet: {why}");
                self.taker.tally.failed.fetch_add(1, Ordering::Relaxed);
                self.failures = self.failures.saturating_add(1);
                let wait = backoff::wait(self.failures, chance(now));
                let wait = after.map_or(wait, |after| wait.max(after.min(ASKED_MAX)));
                self.rests = Some(Instant::now() + wait);
                *self.taker.why.lock() = why.clone();
                let micros = i64::try_from(wait.as_micros()).unwrap_or(i64::MAX);
                self.outbox.later(delivery.number, &why, now.plus(micros)).await
            }
        }
    }

    /// The receiver answers.
    fn rested(&mut self) {
        self.failures = 0;
        self.rests = None;
    }

    /// Says whether the route is dead.
    fn judge(&self, waiting: Option<(Micros, Micros, u64)>, now: Micros) {
        let taker = &self.taker;
        taker.tally.waiting.store(waiting.map_or(0, |(_, _, count)| count), Ordering::Relaxed);
        let key = format!("alerts.route.{}", taker.name);
        match waiting {
            Some((_, made, count)) if self.failures > 0 && now.0 - made.0 > DEAD_US => {
                let text = format!(
                    "alerts do not reach route `{}`, {count} wait: {}",
                    taker.name,
                    taker.why.lock()
                );
                self.around.set(&key, Some(&text));
            }
            _ => self.around.set(&key, None),
        }
    }

    /// Says again what goes on, to a receiver that forgets.
    async fn repeat(&mut self) -> Result<(), StoreError> {
        let Some(every) = self.taker.route.repeats() else { return Ok(()) };
        if self.repeated.is_some_and(|last| last.elapsed() < every) {
            return Ok(());
        }
        self.repeated = Some(Instant::now());
        let now = self.clock.now();
        let mut standing = self.outbox.standing(&self.taker.name, now.plus(-ENDED_US)).await?;
        let answers = self.heard.answers();
        standing.iter_mut().for_each(|notice| notice.answered(&answers));
        if !standing.is_empty() {
            let repeated = tokio::time::timeout(TRY, self.taker.route.repeat(&standing, now)).await;
            if let Ok(Err(error)) = repeated {
                tracing::warn!(route = self.taker.name, "what goes on is not said again: {error}");
            }
        }
        Ok(())
    }

    /// Gives a sign of life, when one is due.
    async fn sign(&mut self) {
        let Some(every) = self.heartbeat else { return };
        if !is_due(every, self.signed.map(|last| last.elapsed()), self.heard.ago()) {
            return;
        }
        self.signed = Some(Instant::now());
        let at = self.clock.now();
        let troubles = self.around.troubles().into_iter().map(|trouble| trouble.text);
        let reasons = self.heard.degraded();
        let troubles = troubles.chain(reasons.iter().map(|reason| reason.told(at))).collect();
        let sign = SignOfLife { at, every, as_of: self.heard.as_of(), troubles };
        if let Some(sending) = self.taker.route.sign_of_life(&sign) {
            let sent = tokio::time::timeout(TRY, sending).await;
            if let Ok(Err(error)) = sent {
                tracing::warn!(route = self.taker.name, "a sign of life is not delivered: {error}");
            }
        }
    }
}

/// A number between 0 and 1 that differs between processes that failed at nearly the same time.
fn chance(now: Micros) -> f64 {
    f64::from(u32::try_from(now.0.rem_euclid(997)).unwrap_or_default()) / 997.0
}
