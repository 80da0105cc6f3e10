//! Subscriptions: the hand-over from a snapshot, or from where the client was, to what follows.
//!
//! # Guarantees
//! - A subscription joins its cohort before it reads, and every frame says what it continues: nothing
//!   is missed and nothing comes twice.
//! - A client that is far behind gets each changed cell once, with its newest value. Of alerts it gets
//!   every change or is closed.

use std::sync::Arc;

use schemas::EpochId;
use tokio::time::timeout;

use super::Shared;
use super::bulk::{self, Bulk};
use super::close::{self, End, Verdict};
use super::cohort::{Cohort, Next};
use super::hub::Member;
use super::outlet::Outlet;
use super::page::{Channel, Mark, Page, quoted, text};
use super::request::{Since, Subscribe};
use super::session::scope;
use crate::claims::{Claims, Refused};
use crate::query::shown;

/// One subscription of a connection.
#[derive(Debug)]
pub(crate) struct Subscription {
    /// The client's name for it.
    pub(crate) id: u64,
    /// The generation that the client was told.
    generation: Arc<str>,
    member: Member,
    /// The client has everything up to here.
    sent: Mark,
}

impl Subscription {
    /// Opens what a client may have, and sends it a snapshot or what it missed; `None` when it was told
    /// why not.
    pub(super) async fn open(
        outlet: &mut Outlet,
        generation: &Arc<str>,
        wish: Subscribe,
    ) -> Result<Option<Subscription>, End> {
        let Subscribe { id, channel, filter, since } = wish;
        let shared = Arc::clone(&outlet.shared);
        let known = |kpi: &&Arc<str>| shared.store.kpi(kpi).is_none();
        if let Some(unknown) = filter.kpis.iter().flatten().find(known) {
            let text = format!("there is no KPI `{unknown}`");
            outlet.fail(Some(id), "unknown_kpi", &text).await?;
            return Ok(None);
        }
        let has = |name: &Arc<str>| {
            shared.store.kpis().iter().any(|kpi| kpi.dims.iter().any(|own| **own == **name))
        };
        if let Some(unknown) = filter.dims.names().find(|name| !has(name)) {
            let text = format!("no KPI has a dimension `{}`", shown(unknown));
            outlet.fail(Some(id), "unknown_dimension", &text).await?;
            return Ok(None);
        }
        let Some(member) = shared.hub.join(channel, filter, &outlet.handle) else {
            let text = "too many different filters are in use";
            return Err(outlet.fail_finally(id, (close::TOO_MANY, "too_many"), text).await);
        };
        // It has nothing yet.
        let sent = Mark::default();
        let mut own = Subscription { id, generation: Arc::clone(generation), member, sent };
        let start = match since {
            Some(since) => own.resume(outlet, &since).await?,
            None => None,
        };
        own.sent = match start {
            Some(sent) => sent,
            None => own.begin_anew(outlet).await?,
        };
        // What happened meanwhile.
        outlet.handle.wake.notify_one();
        Ok(Some(own))
    }

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

    /// Goes on where the client was, if that is known; tells it whether.
    async fn resume(&self, outlet: &mut Outlet, since: &Since) -> Result<Option<Mark>, End> {
        let Subscription { id, generation, .. } = self;
        let missed = if **generation == *since.generation {
            let bulk = self.missed(&outlet.shared, since.offset).await?;
            bulk.filter(|bulk| !self.is_too_much(&outlet.shared, &bulk.pages))
        } else {
            None
        };
        // Offsets say what the client has.
        let offset = if missed.is_some() { since.offset } else { 0 };
        let frame = format!(
            "{{\"type\":\"subscribed\",\"id\":{id},\"generation\":{},\"offset\":{offset},\
             \"recovered\":{}}}",
            quoted(generation),
            missed.is_some()
        );
        outlet.send_data(text(frame)).await?;
        let Some(bulk) = missed else { return Ok(None) };
        outlet.shared.counts.resumed();
        outlet.send_bulk(*id, &bulk).await?;
        Ok(Some(bulk.to))
    }

    async fn begin_anew(&self, outlet: &mut Outlet) -> Result<Mark, End> {
        let bulk = self.snapshot(&outlet.shared).await?;
        self.check_generation(&bulk)?;
        outlet.send_bulk(self.id, &bulk).await?;
        outlet.shared.counts.snapshot();
        Ok(bulk.to)
    }

    /// A snapshot, one that somebody else is being sent if it can be continued.
    async fn snapshot(&self, shared: &Shared) -> Result<Arc<Bulk>, End> {
        let cohort = &self.member.cohort;
        let busy = |_| End::close(close::TRY_LATER, "too many snapshots are being made");
        let wait = shared.limits.bulk_timeout;
        let mut last = timeout(wait, cohort.snapshot.lock()).await.map_err(busy)?;
        if let Some(bulk) = last.upgrade()
            && !matches!(cohort.next(bulk.to), Next::Read)
        {
            return Ok(bulk);
        }
        let (store, of) = (Arc::clone(&shared.store), Arc::clone(cohort));
        let read = move || bulk::snapshot(&store, of.channel, &of.filter);
        let lost = || End::Close(Verdict::of(close::INSUFFICIENT_STATE));
        let bulk = Arc::new(shared.in_turn(read).await?.ok_or_else(lost)?);
        *last = Arc::downgrade(&bulk);
        Ok(bulk)
    }

    async fn missed(&self, shared: &Shared, since: EpochId) -> Result<Option<Bulk>, End> {
        let (store, of) = (Arc::clone(&shared.store), Arc::clone(&self.member.cohort));
        let read = move || bulk::missed(&store, of.channel, &of.filter, since);
        let bulk = shared.in_turn(read).await?;
        if let Some(bulk) = &bulk {
            self.check_generation(bulk)?;
        }
        Ok(bulk)
    }

    /// Offsets of another generation mean something else.
    fn check_generation(&self, bulk: &Bulk) -> Result<(), End> {
        if self.generation == bulk.generation {
            return Ok(());
        }
        Err(End::Close(Verdict::of(close::INSUFFICIENT_STATE)))
    }

    /// Whether a client is further behind than alerts are kept for it.
    fn is_too_much(&self, shared: &Shared, pages: &[Page]) -> bool {
        let limits = &shared.limits;
        self.member.cohort.channel == Channel::Alerts
            && (pages.len() > limits.alerts_behind
                || pages.iter().map(Page::len).sum::<usize>() > limits.alert_bytes_behind)
    }

    /// Sends the next frames; whether there may be more.
    pub(super) async fn feed(&mut self, outlet: &mut Outlet) -> Result<bool, End> {
        match self.member.cohort.next(self.sent) {
            Next::UpToDate(mark) => {
                self.sent = mark;
                Ok(false)
            }
            Next::Frames(frames) => {
                for frame in frames {
                    self.refuse_too_much(&outlet.shared, &frame.pages)?;
                    for page in &frame.pages {
                        outlet.send_data(page.message(self.id)).await?;
                    }
                    self.sent = frame.to;
                }
                Ok(true)
            }
            Next::Read => {
                if outlet.shared.is_far_behind(self.sent) {
                    outlet.shared.counts.conflated();
                }
                self.feed_rest(outlet).await?;
                Ok(true)
            }
        }
    }

    /// Sends everything that is published, each cell once.
    pub(super) async fn feed_rest(&mut self, outlet: &mut Outlet) -> Result<(), End> {
        let bulk = self.missed(&outlet.shared, self.sent.offset).await?;
        let lost = || End::Close(Verdict::of(close::INSUFFICIENT_STATE));
        let bulk = bulk.ok_or_else(lost)?;
        self.refuse_too_much(&outlet.shared, &bulk.pages)?;
        outlet.send_bulk(self.id, &bulk).await?;
        self.sent = bulk.to;
        Ok(())
    }

    fn refuse_too_much(&self, shared: &Shared, pages: &[Page]) -> Result<(), End> {
        if self.is_too_much(shared, pages) {
            return Err(End::close(close::SLOW, "too many alerts were not taken in time"));
        }
        Ok(())
    }
}
