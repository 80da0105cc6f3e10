//! The stream: snapshots and changes over WebSockets, subprotocol `kpi.v1`.
//!
//! ```text
//! Store ──published──> hub ──frames──> cohort (one filter) ──wakes──> connections
//!   ▲                                                                     │
//!   └────────── what a connection lacks and its cohort has not ───────────┘
//! ```
//!
//! # Guarantees
//! - A snapshot and what follows it give exactly what the store has at each offset told.
//! - Memory for a client does not depend on how slow it is: nothing is queued for it.
//! - A client that is slow, mute, malformed or not authenticated is closed and disturbs nobody.
//!
//! # Non-guarantees
//! - Not every value is seen: a client that is behind gets the newest one. Alerts are not left out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Json;
use axum::extract::ws::WebSocketUpgrade;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use parking_lot::Mutex;
use schemas::{Clock, Micros};
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::claims::{AuthError, Claims, TokenCheck};
use crate::health::Health;
use crate::store::Store;
use crate::wire::json;

mod admission;
mod bulk;
mod cell_text;
pub mod close;
mod cohort;
mod connection;
mod counters;
mod fields;
mod hub;
mod limits;
mod meter;
mod outlet;
mod page;
mod request;
mod route;
mod session;
mod subscription;
#[cfg(test)]
mod tests;

use admission::{Admission, PROTOCOL, bearer, is_origin_allowed};
use bulk::Bulk;
use close::End;
use connection::Connection;
use counters::Counts;
use hub::Hub;
use page::Mark;

pub use counters::Counters;
pub use limits::StreamLimits;

/// The most bytes of a message from a client.
const MESSAGE_MAX: usize = 64 << 10;
/// Eagerly allocated for each socket.
const READ_BUFFER: usize = 4 << 10;
/// A frame is written at once.
const WRITE_BUFFER: usize = 0;
/// No page is larger.
const WRITE_BUFFER_MAX: usize = 1 << 20;
/// Seconds after which a refused client should try again.
const RETRY_AFTER: &str = "2";
/// Bytes of a snapshot or catch-up that every client may have in memory.
const SMALL_BULK: usize = 64 << 10;
/// How long what is wrong around the pipeline is remembered.
const TROUBLES_FOR: Duration = Duration::from_secs(1);
/// Epochs behind from which a catch-up counts as left-out values.
const FAR_BEHIND: u64 = 8;
/// How long all clients together may take to be told that the server stops.
const SHUTDOWN_WAIT: Duration = Duration::from_millis(1_500);

/// All connections of the stream.
#[derive(Debug)]
pub struct Streams {
    shared: Arc<Shared>,
    task: AbortHandle,
}

/// What connections share.
pub(crate) struct Shared {
    store: Arc<Store>,
    tokens: Arc<dyn TokenCheck>,
    health: Arc<dyn Health>,
    clock: Arc<dyn Clock>,
    limits: StreamLimits,
    hub: Arc<Hub>,
    admission: Arc<Admission>,
    counts: Arc<Counts>,
    bulk: Arc<Semaphore>,
    troubles: Mutex<Option<(Instant, Arc<[String]>)>>,
    is_closing: AtomicBool,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("counts", &self.counts).finish_non_exhaustive()
    }
}

impl Streams {
    /// Starts to follow what is published. To be called inside a tokio runtime.
    pub fn new(
        store: Arc<Store>,
        tokens: Arc<dyn TokenCheck>,
        health: Arc<dyn Health>,
        clock: Arc<dyn Clock>,
        limits: StreamLimits,
    ) -> Arc<Streams> {
        Streams::of(store, tokens, health, clock, (limits, Arc::default()))
    }

    /// Starts to follow another store in the place of this one, whose connections are still to be shut down. What
    /// is counted goes on. To be called inside a tokio runtime.
    #[must_use]
    pub fn with_store(&self, store: Arc<Store>) -> Arc<Streams> {
        let Shared { tokens, health, clock, limits, counts, .. } = &*self.shared;
        let (tokens, health, clock) = (Arc::clone(tokens), Arc::clone(health), Arc::clone(clock));
        Streams::of(store, tokens, health, clock, (limits.clone(), Arc::clone(counts)))
    }

    fn of(
        store: Arc<Store>,
        tokens: Arc<dyn TokenCheck>,
        health: Arc<dyn Health>,
        clock: Arc<dyn Clock>,
        (limits, counts): (StreamLimits, Arc<Counts>),
    ) -> Arc<Streams> {
        let hub = Arc::new(Hub::new(Arc::clone(&store), limits.clone()));
        let task = tokio::spawn(Arc::clone(&hub).run()).abort_handle();
        let shared = Shared {
            store,
            tokens,
            health,
            clock,
            hub,
            admission: Arc::new(Admission::new(&limits)),
            counts,
            bulk: Arc::new(Semaphore::new(limits.bulk_reads.max(1))),
            troubles: Mutex::default(),
            is_closing: AtomicBool::new(false),
            limits,
        };
        Arc::new(Streams { shared: Arc::new(shared), task })
    }

    /// Answers an upgrade. A token in `headers` is checked now; without one the first message must
    /// bring it.
    pub async fn upgrade(self: Arc<Self>, headers: &HeaderMap, ws: WebSocketUpgrade) -> Response {
        match self.admit(headers, ws).await {
            Ok(response) => response,
            Err((status, detail)) => {
                self.shared.counts.refused(status.as_u16());
                problem(status, &detail)
            }
        }
    }

    async fn admit(
        &self,
        headers: &HeaderMap,
        ws: WebSocketUpgrade,
    ) -> Result<Response, (StatusCode, String)> {
        let shared = &self.shared;
        let later = |detail: &str| (StatusCode::SERVICE_UNAVAILABLE, detail.to_owned());
        if shared.is_closing.load(Ordering::Acquire) {
            return Err(later("the server stops"));
        }
        if shared.store.position().is_none() {
            return Err(later("the pipeline has not recovered yet"));
        }
        if !is_origin_allowed(headers, &shared.limits.allowed_origins) {
            let detail = "pages of this origin may not connect";
            return Err((StatusCode::FORBIDDEN, detail.to_owned()));
        }
        let offers = ws.requested_protocols().next().is_some();
        let ws = ws.protocols([PROTOCOL]);
        if offers && ws.selected_protocol().is_none() {
            let detail = format!("the subprotocol is `{PROTOCOL}`");
            return Err((StatusCode::BAD_REQUEST, detail));
        }
        let claims = match bearer(headers) {
            None => None,
            Some(token) => Some(shared.tokens.check(token).await.map_err(|error| match error {
                AuthError::Unavailable(_) => later(&error.to_string()),
                _ => (StatusCode::UNAUTHORIZED, error.to_string()),
            })?),
        };
        let subject = claims.as_ref().map(|claims| &claims.subject);
        let slot = shared.admission.enter(subject).ok_or_else(|| later("too many connections"))?;
        let shared = Arc::clone(shared);
        let serve = |socket| Connection::new(shared, slot, socket).run(claims);
        Ok(ws
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(WRITE_BUFFER)
            .max_write_buffer_size(WRITE_BUFFER_MAX)
            .max_message_size(MESSAGE_MAX)
            .max_frame_size(MESSAGE_MAX)
            .on_upgrade(serve))
    }

    /// Sends everybody what is published, tells them when to come again, and closes. Nobody is let
    /// in any more. It takes at most a moment, whoever is slow.
    pub async fn shutdown(&self) {
        self.shared.is_closing.store(true, Ordering::Release);
        let until = Instant::now() + SHUTDOWN_WAIT;
        while self.connections() > 0 && Instant::now() < until {
            // Again and again: an upgrade may have been under way.
            self.shared.hub.end_all(close::SHUTDOWN);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.task.abort();
    }

    /// Connections at the moment, not yet authenticated ones included.
    pub fn connections(&self) -> usize {
        self.shared.connections()
    }

    /// What has been counted since the start.
    pub fn counters(&self) -> Counters {
        self.shared.counts.now()
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    pub(crate) fn connections(&self) -> usize {
        self.admission.connections()
    }

    /// How long a token is valid from now on.
    pub(crate) fn ttl(&self, claims: &Claims) -> Duration {
        let left = claims.expires_at.0.saturating_sub(self.clock.now().0);
        Duration::from_micros(u64::try_from(left).unwrap_or(0))
    }

    /// The fields `degraded` and `reasons` as of an epoch: what is wrong around the pipeline, at most a
    /// second old, and what the epochs up to it make doubtful.
    pub(crate) fn degradation(&self, mark: Mark) -> String {
        let doubts = self.store.degraded_at(mark.offset);
        let now = self.clock.now();
        let mut reasons = self.troubles().to_vec();
        reasons.extend(doubts.iter().map(|reason| reason.told(now)));
        format!("\"degraded\":{},\"reasons\":{}", !reasons.is_empty(), json(&reasons))
    }

    fn troubles(&self) -> Arc<[String]> {
        let now = Instant::now();
        let mut held = self.troubles.lock();
        if let Some((at, troubles)) = &*held
            && now < *at + TROUBLES_FOR
        {
            return Arc::clone(troubles);
        }
        let troubles: Arc<[String]> = self.health.report().troubles.into();
        *held = Some((now, Arc::clone(&troubles)));
        troubles
    }

    /// Runs a reading of the store beside the runtime, when it is its turn. What is large keeps its
    /// turn until it is dropped.
    pub(crate) async fn in_turn(
        &self,
        read: impl FnOnce() -> Option<Bulk> + Send + 'static,
    ) -> Result<Option<Bulk>, End> {
        let turn = async {
            let permit = Arc::clone(&self.bulk).acquire_owned().await.ok()?;
            let mut bulk = tokio::task::spawn_blocking(read).await.ok()??;
            bulk.permit = (bulk.bytes() > SMALL_BULK).then_some(permit);
            Some(bulk)
        };
        let busy = |_| End::close(close::TRY_LATER, "too many clients are being sent snapshots");
        tokio::time::timeout(self.limits.bulk_timeout, turn).await.map_err(busy)
    }

    /// The clock of what stands at `mark`: the store's own, which goes on while nothing changes, when it
    /// stands there too.
    pub(crate) fn clock_at(&self, mark: Mark) -> Micros {
        let position = self.store.position().filter(|position| position.offset == mark.offset);
        position.map_or(mark.as_of, |position| position.as_of.max(mark.as_of))
    }

    /// Whether so much happened since that a client certainly missed values.
    pub(crate) fn is_far_behind(&self, sent: Mark) -> bool {
        let position = self.store.position();
        position.is_some_and(|position| position.offset.saturating_sub(sent.offset) > FAR_BEHIND)
    }
}

fn problem(status: StatusCode, detail: &str) -> Response {
    let title = status.canonical_reason().unwrap_or_default();
    let body = serde_json::json!({
        "type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail,
    });
    let mut response = (status, Json(body)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER));
    }
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}
