//! What every answer is made from: the state that all routes share.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use schemas::{Bands, Calendar, Clock, KpiHistory, KpiProvenance};
use tokio::sync::Semaphore;

use crate::auth::DevKeys;
use crate::claims::TokenCheck;
use crate::decisions::{Decisions, Deliveries};
use crate::health::Health;
use crate::metrics::Metrics;
use crate::rate::{RequestRates, quota};
use crate::store::Store;

/// Series answers that are computed at the same time; others wait their turn.
const SERIES_AT_ONCE: usize = 4;

/// Bounds on what clients may use.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerLimits {
    /// Open connections, streams included. Beyond them a connection is answered 503 and closed.
    pub connections: usize,
    /// Requests per second that one token subject may make for long.
    pub requests_per_s: u32,
    /// Requests that one token subject may make at once.
    pub requests_burst: u32,
    /// How long a client may take to send a request's headers, and may keep a connection idle.
    pub header_timeout: Duration,
    /// How long a client may take nothing of what is sent to it.
    pub write_timeout: Duration,
    /// How long open requests get to end when the server stops.
    pub shutdown: Duration,
}

impl Default for ServerLimits {
    fn default() -> ServerLimits {
        ServerLimits {
            connections: 4096,
            requests_per_s: 5_000,
            requests_burst: 10_000,
            header_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(30),
            shutdown: Duration::from_secs(2),
        }
    }
}

/// Tokens that the page gets without asking. For a demo that listens on the loopback interface.
#[derive(Debug)]
pub struct PageSessions {
    /// What signs them.
    pub keys: Arc<DevKeys>,
    /// How long each is valid.
    pub ttl: Duration,
    /// Origins (`https://weir.example`) under which the page is seen, besides loopback names.
    pub origins: Vec<String>,
}

/// What an [`App`] is made of.
pub struct AppParts {
    /// What is served.
    pub store: Arc<Store>,
    /// What was expected, for charts.
    pub bands: Arc<dyn Bands>,
    /// The periods of tenants.
    pub calendar: Arc<Calendar>,
    /// Checks tokens.
    pub tokens: Arc<dyn TokenCheck>,
    /// How the pipeline is.
    pub health: Arc<dyn Health>,
    /// Wall time.
    pub clock: Arc<dyn Clock>,
    /// What cells were, for `as_of`; without it the past is not answered.
    pub history: Option<Arc<dyn KpiHistory>>,
    /// What cells come from; without it that is not answered.
    pub provenance: Option<Arc<dyn KpiProvenance>>,
    /// Bounds on what clients may use.
    pub limits: ServerLimits,
    /// Tokens for the page.
    pub page: Option<PageSessions>,
    /// Keeps decisions of clients.
    pub decisions: Arc<dyn Decisions>,
    /// Knows what was told of alerts; `None` where nobody is told of any.
    pub deliveries: Option<Arc<dyn Deliveries>>,
}

impl fmt::Debug for AppParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppParts").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// The state of the server.
pub struct App {
    /// What is served.
    pub store: Arc<Store>,
    /// What was expected, for charts.
    pub bands: Arc<dyn Bands>,
    /// The periods of tenants.
    pub calendar: Arc<Calendar>,
    /// Checks tokens.
    pub tokens: Arc<dyn TokenCheck>,
    /// How the pipeline is.
    pub health: Arc<dyn Health>,
    /// Wall time.
    pub clock: Arc<dyn Clock>,
    /// What cells were, for `as_of`; without it the past is not answered.
    pub history: Option<Arc<dyn KpiHistory>>,
    /// What cells come from; without it that is not answered.
    pub provenance: Option<Arc<dyn KpiProvenance>>,
    /// Bounds on what clients may use.
    pub limits: ServerLimits,
    /// What `/metrics` says.
    pub metrics: Metrics,
    /// Tokens for the page.
    pub page: Option<PageSessions>,
    /// Keeps decisions of clients.
    pub decisions: Arc<dyn Decisions>,
    /// Knows what was told of alerts.
    pub deliveries: Option<Arc<dyn Deliveries>>,
    pub(crate) rates: Arc<RequestRates>,
    pub(crate) series_turns: Arc<Semaphore>,
    pub(crate) explain_turns: Arc<Semaphore>,
}

/// What bounds all clients together.
struct Shared {
    rates: Arc<RequestRates>,
    series_turns: Arc<Semaphore>,
    explain_turns: Arc<Semaphore>,
}

impl App {
    /// The state made of these parts.
    pub fn new(parts: AppParts) -> Arc<App> {
        let metrics = Metrics::new(Arc::clone(&parts.health), Arc::clone(&parts.store));
        let limits = &parts.limits;
        let rates = RequestRates::new(quota(limits.requests_per_s, limits.requests_burst));
        let rates = Arc::new(rates);
        let series_turns = Arc::new(Semaphore::new(SERIES_AT_ONCE));
        let explain_turns = Arc::new(Semaphore::new(1));
        App::of(parts, metrics, Shared { rates, series_turns, explain_turns })
    }

    /// The state made of other parts in the place of this one: what is counted and bounded goes on.
    #[must_use]
    pub fn with_parts(&self, parts: AppParts) -> Arc<App> {
        let (health, store) = (Arc::clone(&parts.health), Arc::clone(&parts.store));
        let metrics = self.metrics.with_store(health, store);
        let (rates, series_turns) = (Arc::clone(&self.rates), Arc::clone(&self.series_turns));
        let explain_turns = Arc::clone(&self.explain_turns);
        App::of(parts, metrics, Shared { rates, series_turns, explain_turns })
    }

    fn of(parts: AppParts, metrics: Metrics, shared: Shared) -> Arc<App> {
        let Shared { rates, series_turns, explain_turns } = shared;
        let AppParts { store, bands, calendar, tokens, health, clock, history, .. } = parts;
        let (limits, page, provenance) = (parts.limits, parts.page, parts.provenance);
        let (decisions, deliveries) = (parts.decisions, parts.deliveries);
        let parts = App {
            store,
            bands,
            calendar,
            tokens,
            health,
            clock,
            history,
            provenance,
            limits,
            metrics,
            page,
            decisions,
            deliveries,
            rates,
            series_turns,
            explain_turns,
        };
        Arc::new(parts)
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").field("limits", &self.limits).finish_non_exhaustive()
    }
}
