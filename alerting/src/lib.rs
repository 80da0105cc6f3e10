//! Alerts brought to people: which route takes which alert, an outbox that loses none, and the routes.
//!
//! ```text
//! epochs -> feed -> keeper: what is new against what people know -> outbox -> couriers, one a route -> receivers
//! ```
//!
//! # Guarantees
//! - Every alert that opens is told to each route that takes it, at least once and under one id, whenever the process
//!   ends; what follows on one alert follows on its route in order.
//! - Nobody is told twice because of a start, a rebuild of tables, or a store that is as it was.
//! - Nothing here is waited for by the pipeline.
//!
//! # Non-guarantees
//! - A receiver may get a notice twice: it has the same id then.
//! - Silences, groups and shifts are the receiver's: that is what Alertmanager and its kin are for.

mod backoff;
mod courier;
mod digest;
mod error;
mod feed;
mod heartbeat;
mod http;
mod keeper;
mod kpi_infos;
mod matching;
mod metrics;
mod migrations;
mod notice;
mod outbox;
mod own_troubles;
mod quiet;
mod read_back;
mod route;
#[cfg(test)]
mod samples;
mod settings;
mod suppressed;
mod surroundings;
mod tally;
mod times;
mod told;
mod trial;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use schemas::{Clock, Feed};
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use digest::DigestSettings;
pub use error::{DeliveryError, StoreError};
pub use kpi_infos::KpiInfos;
pub use matching::Match;
pub use metrics::{Tallies, register};
pub use notice::{About, Kind, Notice, Words};
pub use outbox::{Delivery, Outbox, State};
pub use own_troubles::Trouble;
pub use quiet::{QuietSettings, Weekday};
pub use route::kinds;
pub use settings::{ROUTE_KEYS, RouteSettings, Urls};
pub use surroundings::Surroundings;
pub use tally::Tally;
pub use trial::try_route;

use courier::Courier;
use feed::{AlertFeed, Heard};
use keeper::Keeper;
use own_troubles::OwnTroubles;
use read_back::Reader;
use route::Taker;

/// How long the end waits until what was heard is written, and then until what is under way has arrived.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What alerting needs to know.
pub struct Parts {
    /// The routes.
    pub routes: Vec<RouteSettings>,
    /// How often a sign of life is given.
    pub heartbeat: Option<Duration>,
    /// How long an alert that people know may be missing in the lake before it is withdrawn.
    pub withdraw_after: Duration,
    /// What alerts do not say of themselves.
    pub words: Words,
    /// The process around.
    pub around: Arc<dyn Surroundings>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts").field("routes", &self.routes).finish_non_exhaustive()
    }
}

/// Alerting under way. When it is dropped, what waits stays in the outbox.
#[derive(Debug)]
pub struct Alerting {
    outbox: Outbox,
    heard: Arc<Heard>,
    tallies: Tallies,
    kpis: KpiInfos,
    tasks: JoinSet<()>,
    /// Tells the tasks to end when they have done what they are at.
    ends: watch::Sender<bool>,
}

/// Refuses settings with which alerting could not start; connects to nothing.
///
/// # Errors
/// The route and the setting.
pub fn check(routes: &[RouteSettings]) -> Result<(), String> {
    takers(routes).map(drop)
}

fn takers(routes: &[RouteSettings]) -> Result<Vec<Arc<Taker>>, String> {
    settings::have_names(routes)?;
    let client = http::client()?;
    routes.iter().map(|route| Taker::make(route, &client).map(Arc::new)).collect()
}

impl Alerting {
    /// Starts on a store that is open. Needs to be called in a runtime.
    ///
    /// # Errors
    /// The setting that is wrong, or what the store says.
    pub async fn start(outbox: Outbox, parts: Parts) -> Result<Alerting, String> {
        let takers = takers(&parts.routes)?;
        let say = |e: StoreError| schemas::chain(&e);
        let told: HashMap<_, _> = outbox.told().await.map_err(say)?.into_iter().collect();
        let is_new = outbox.is_new().await.map_err(say)?;
        let heard = Arc::new(Heard::default());
        let mut tasks = JoinSet::new();
        let (ends, ending) = watch::channel(false);
        for taker in &takers {
            let courier = Courier {
                taker: Arc::clone(taker),
                outbox: outbox.clone(),
                clock: Arc::clone(&parts.clock),
                heard: Arc::clone(&heard),
                around: Arc::clone(&parts.around),
                heartbeat: parts.heartbeat,
                failures: 0,
                rests: None,
                repeated: None,
                signed: None,
                ending: ending.clone(),
            };
            tasks.spawn(courier.run());
            let (taker, outbox) = (Arc::clone(taker), outbox.clone());
            let reader = Reader { taker, outbox, last: None, ending: ending.clone() };
            tasks.spawn(reader.run());
        }
        let tallies =
            takers.iter().map(|taker| (taker.name.clone(), Arc::clone(&taker.tally))).collect();
        let kpis = parts.words.kpis.clone();
        let keeper = Keeper {
            own: OwnTroubles::resume(told.iter()),
            outbox: outbox.clone(),
            takers,
            words: parts.words,
            heard: Arc::clone(&heard),
            around: parts.around,
            clock: parts.clock,
            told,
            is_new,
            missing: HashMap::new(),
            withdraw_after: parts.withdraw_after,
            waiting: BTreeMap::new(),
            digested: HashMap::new(),
            ending,
        };
        tasks.spawn(keeper.run());
        Ok(Alerting { outbox, heard, tallies, kpis, tasks, ends })
    }

    /// What the run tells of its epochs.
    pub fn feed(&self) -> Box<dyn Feed> {
        Box::new(AlertFeed(Arc::clone(&self.heard)))
    }

    /// The KPIs that notices name.
    pub fn kpis(&self) -> &KpiInfos {
        &self.kpis
    }

    /// The store of what is told.
    pub fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// What became of the deliveries of each route.
    pub fn tallies(&self) -> &Tallies {
        &self.tallies
    }

    /// Ends: what was heard is written, and what is under way is marked when it arrives soon. What does not is ended,
    /// and sent again by the next start.
    pub async fn stop(mut self) {
        let begin = tokio::time::Instant::now();
        while !self.heard.is_taken() && begin.elapsed() < LAST_WORDS {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.ends.send_replace(true);
        let done = async { while self.tasks.join_next().await.is_some() {} };
        drop(tokio::time::timeout(LAST_WORDS, done).await);
        self.tasks.shutdown().await;
    }
}
