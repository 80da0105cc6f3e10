//! Subscriptions: the hand-over from a snapshot, or from where the client was, to what follows.
//!
//! # Guarantees
//! - A subscription joins its cohort before it reads, and every frame says what it continues: nothing
//!   is missed and nothing comes twice.
//! - A client that is far behind gets each changed cell once, with its newest value. Of alerts it gets
//!   every change or is closed.

use std::sync::Arc;

use schemas::EpochId;
use tokio::time::{Instant, timeout};

use super::close;
use super::cohort::{Channel, Cohort, Next};
use super::connection::{Connection, End, left};
use super::hub::Member;
use super::page::{Mark, Page, quoted, text};
use super::read::{self, Bulk};
use super::request::{Since, Subscribe};
use super::session::scope;
use crate::claims::{Claims, Refused};

/// One subscription of a connection.
#[derive(Debug)]
pub(crate) struct Subscription {
    /// The client's name for it.
    pub(crate) id: u64,
    member: Member,
    /// The client has everything up to here.
    sent: Mark,
}

impl Subscription {
    /// Moves over epochs in which nothing changed; `None` when there is something to send.
    pub(super) fn catch_up(&mut self) -> Option<Mark> {
        match self.member.cohort.next(self.sent) {
            Next::UpToDate(mark) => {
                self.sent = mark;
                Some(mark)
            }
            Next::Frames(_) | Next::Read => None,
        }
    }

    /// Whether other claims allow it as it is.
    pub(super) fn recheck(&self, claims: &Claims) -> Result<(), Refused> {
        let Cohort { channel, filter, .. } = &*self.member.cohort;
        claims.require(scope(*channel))?;
        let tenant = filter.tenant.as_deref();
        let own = claims.tenant(tenant)?;
        if own.as_deref() == tenant {
            return Ok(());
        }
        // It was for all tenants, and the token is not any more.
        Err(Refused::Tenant("*".to_owned()))
    }
}

impl Connection {
    pub(super) async fn subscribe(&mut self, mut wish: Subscribe) -> Result<(), End> {
        let id = wish.id;
        if self.subscriptions.iter().any(|subscription| subscription.id == id) {
            let text = format!("there is a subscription with the id {id} already");
            return Err(self.fail_finally(id, (close::DUPLICATE_ID, "duplicate_id"), &text).await);
        }
        if self.subscriptions.len() >= self.shared.limits.subscriptions {
            let text = format!("{} subscriptions are the most", self.subscriptions.len());
            return Err(self.fail_finally(id, (close::TOO_MANY, "too_many"), &text).await);
        }
        if let Err(refused) = self.bind(&mut wish) {
            return Err(self.forbid(id, &refused).await);
        }
        let known = |kpi: &&Arc<str>| self.shared.store.kpi(kpi).is_none();
        if let Some(unknown) = wish.filter.kpis.iter().flatten().find(known) {
            let text = format!("there is no KPI `{unknown}`");
            return self.fail(Some(id), "unknown_kpi", &text).await;
        }
        let handle = Arc::clone(&self.entry.handle);
        let Some(member) = self.shared.hub.join(wish.channel, wish.filter, &handle) else {
            let text = "too many different filters are in use";
            return Err(self.fail_finally(id, (close::TOO_MANY, "too_many"), text).await);
        };
        let start = match wish.since {
            Some(since) => self.resume(id, &member.cohort, &since).await?,
            None => None,
        };
        let sent = match start {
            Some(sent) => sent,
            None => self.begin_anew(id, &member.cohort).await?,
        };
        self.subscriptions.push(Subscription { id, member, sent });
        // What happened meanwhile.
        handle.wake.notify_one();
        Ok(())
    }

    /// Goes on where the client was, if that is known; tells it whether.
    async fn resume(
        &mut self,
        id: u64,
        cohort: &Arc<Cohort>,
        since: &Since,
    ) -> Result<Option<Mark>, End> {
        let generation = self.session.as_ref().map(|session| Arc::clone(&session.generation));
        let missed = match &generation {
            Some(generation) if **generation == *since.generation => {
                let bulk = self.missed(cohort, since.offset).await?;
                bulk.filter(|bulk| !self.is_too_much(cohort, &bulk.pages))
            }
            _ => None,
        };
        // Offsets say what the client has.
        let offset = if missed.is_some() { since.offset } else { 0 };
        let frame = format!(
            "{{\"type\":\"subscribed\",\"id\":{id},\"generation\":{},\"offset\":{offset},\
             \"recovered\":{}}}",
            quoted(generation.as_deref().unwrap_or_default()),
            missed.is_some()
        );
        self.send_data(text(frame)).await?;
        let Some(bulk) = missed else { return Ok(None) };
        self.shared.counts.resumed();
        self.send_bulk(id, &bulk).await?;
        Ok(Some(bulk.to))
    }

    async fn begin_anew(&mut self, id: u64, cohort: &Arc<Cohort>) -> Result<Mark, End> {
        let bulk = self.snapshot(cohort).await?;
        self.check_generation(&bulk)?;
        self.send_bulk(id, &bulk).await?;
        self.shared.counts.snapshot();
        Ok(bulk.to)
    }

    /// A snapshot, one that somebody else is being sent if it can be continued.
    async fn snapshot(&mut self, cohort: &Arc<Cohort>) -> Result<Arc<Bulk>, End> {
        let busy = |_| End::close(close::TRY_LATER, "too many snapshots are being made");
        let wait = self.shared.limits.bulk_timeout;
        let mut last = timeout(wait, cohort.snapshot.lock()).await.map_err(busy)?;
        if let Some(bulk) = last.upgrade()
            && !matches!(cohort.next(bulk.to), Next::Read)
        {
            return Ok(bulk);
        }
        let (store, of) = (Arc::clone(&self.shared.store), Arc::clone(cohort));
        let read = move || read::snapshot(&store, of.channel, &of.filter);
        let lost = || End::Close(close::Verdict::of(close::INSUFFICIENT_STATE));
        let bulk = Arc::new(self.shared.in_turn(read).await?.ok_or_else(lost)?);
        *last = Arc::downgrade(&bulk);
        Ok(bulk)
    }

    async fn missed(&mut self, cohort: &Arc<Cohort>, since: EpochId) -> Result<Option<Bulk>, End> {
        let (store, of) = (Arc::clone(&self.shared.store), Arc::clone(cohort));
        let read = move || read::missed(&store, of.channel, &of.filter, since);
        let bulk = self.shared.in_turn(read).await?;
        if let Some(bulk) = &bulk {
            self.check_generation(bulk)?;
        }
        Ok(bulk)
    }

    /// Offsets of another generation mean something else.
    fn check_generation(&self, bulk: &Bulk) -> Result<(), End> {
        let own = self.session.as_ref().map(|session| &session.generation);
        if own == Some(&bulk.generation) {
            return Ok(());
        }
        Err(End::Close(close::Verdict::of(close::INSUFFICIENT_STATE)))
    }

    /// Whether a client is further behind than alerts are kept for it.
    fn is_too_much(&self, cohort: &Cohort, pages: &[Page]) -> bool {
        let limits = &self.shared.limits;
        cohort.channel == Channel::Alerts
            && (pages.len() > limits.alerts_behind
                || pages.iter().map(Page::len).sum::<usize>() > limits.alert_bytes_behind)
    }

    /// Sends a subscription its next frames; whether there may be more.
    pub(super) async fn feed(&mut self, subscription: &mut Subscription) -> Result<bool, End> {
        let cohort = Arc::clone(&subscription.member.cohort);
        match cohort.next(subscription.sent) {
            Next::UpToDate(mark) => {
                subscription.sent = mark;
                Ok(false)
            }
            Next::Frames(frames) => {
                for frame in frames {
                    self.refuse_too_much(&cohort, &frame.pages)?;
                    for page in &frame.pages {
                        self.send_data(page.message(subscription.id)).await?;
                    }
                    subscription.sent = frame.to;
                }
                Ok(true)
            }
            Next::Read => {
                if self.shared.is_far_behind(subscription.sent) {
                    self.shared.counts.conflated();
                }
                self.feed_rest(subscription).await?;
                Ok(true)
            }
        }
    }

    /// Sends a subscription everything that is published, each cell once.
    pub(super) async fn feed_rest(&mut self, subscription: &mut Subscription) -> Result<(), End> {
        let cohort = Arc::clone(&subscription.member.cohort);
        let bulk = self.missed(&cohort, subscription.sent.offset).await?;
        let lost = || End::Close(close::Verdict::of(close::INSUFFICIENT_STATE));
        let bulk = bulk.ok_or_else(lost)?;
        self.refuse_too_much(&cohort, &bulk.pages)?;
        self.send_bulk(subscription.id, &bulk).await?;
        subscription.sent = bulk.to;
        Ok(())
    }

    fn refuse_too_much(&self, cohort: &Cohort, pages: &[Page]) -> Result<(), End> {
        if self.is_too_much(cohort, pages) {
            return Err(End::close(close::SLOW, "too many alerts were not taken in time"));
        }
        Ok(())
    }

    async fn send_bulk(&mut self, id: u64, bulk: &Bulk) -> Result<(), End> {
        let until = Instant::now() + self.shared.limits.bulk_timeout;
        for page in &bulk.pages {
            if left(until).is_zero() {
                return Err(End::close(close::SLOW, "a snapshot was not taken in time"));
            }
            if let Some(code) = self.entry.handle.verdict().filter(|_| !self.is_leaving) {
                return Err(End::Close(close::Verdict::of(code)));
            }
            self.send_data(page.message(id)).await?;
        }
        Ok(())
    }
}
