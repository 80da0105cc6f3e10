//! Joins the API to a run: what it may listen on, what it serves, how it ends.
//!
//! # Guarantees
//! - With a development key nothing but a loopback address is listened on.
//! - What is published is in the store before any client is told of it.
//! - Where one run follows another, what the first has left is served until the second has recovered.

use std::fmt;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use alerting::Alerting;
use api::stream::{StreamLimits, Streams};
use api::{
    App, AppParts, Audits, DevKeys, Doubts, Front, Health, Jwks, JwksConfig, PageSessions, Report,
    ServerLimits, SourceLag, Store, TokenCheck, may_listen,
};
use engine::past::LakeHistory;
use engine::provenance::LakeProvenance;
use engine::{ContractDoubts, Meters, Stop, Weight};
use gold::Catalog;
use parking_lot::Mutex;
use schemas::{Clock, Contract, Feed, Micros, Published, Start, chain};
use tokio::runtime::{Handle, Runtime};
use tokio::task::JoinHandle;

use crate::alerts::ToldAlerts;
use crate::commands::UNDER_WAY;
use crate::config::Config;
use crate::decisions::{ClientDecisions, Records};
use crate::failure::Failure;
use crate::wall_clock::WallClock;

/// How long a start waits for another process to leave the port.
const PORT_WAIT: Duration = Duration::from_secs(10);
/// Between tries.
const PORT_RETRY: Duration = Duration::from_millis(100);
/// How soon the server notices that the run ends.
const STOP_POLL: Duration = Duration::from_millis(50);
/// How long the end waits for clients to be told.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How long the page's own token is valid; it asks for the next one in time.
const PAGE_TOKEN: Duration = Duration::from_secs(3600);

/// What a run's API needs to know.
pub(crate) struct Served<'a> {
    pub(crate) config: &'a Config,
    pub(crate) catalog: &'a Catalog,
    pub(crate) contracts: &'a [Contract],
    pub(crate) meters: &'a Arc<Meters>,
    pub(crate) stop: &'a Stop,
    pub(crate) runtime: &'a Handle,
    /// Whether the page is handed a token of its own.
    pub(crate) page_session: bool,
    /// Alerting, where there are routes.
    pub(crate) told: Option<&'a Alerting>,
    /// The lake's working folder, where decisions of clients are kept.
    pub(crate) work_dir: &'a Path,
}

/// A running API.
#[derive(Debug)]
pub(crate) struct Serving {
    doors: Doors,
    front: Front,
    /// What answers now.
    shown: Arc<Mutex<Surface>>,
    server: JoinHandle<()>,
}

/// Who may come in, for as long as the process lives.
struct Doors {
    tokens: Arc<dyn TokenCheck>,
    /// Where tokens are the lake's own.
    keys: Option<Arc<DevKeys>>,
    origins: Vec<String>,
}

impl Doors {
    fn new(config: &Config) -> Result<Doors, Failure> {
        let keys = match config.auth.jwks_url() {
            Some(_) => None,
            None => Some(Arc::new(dev_keys(&config.lake.uri)?)),
        };
        let clock: Arc<dyn Clock> = Arc::new(WallClock);
        let tokens: Arc<dyn TokenCheck> = match &keys {
            Some(keys) => Arc::clone(keys) as Arc<dyn TokenCheck>,
            None => Arc::new(jwks(config, &clock)?),
        };
        let origins = config.api.origins().map_err(Failure::Usage)?;
        Ok(Doors { tokens, keys, origins })
    }
}

impl fmt::Debug for Doors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Doors").field("origins", &self.origins).finish_non_exhaustive()
    }
}

/// What answers for one run.
#[derive(Debug, Clone)]
struct Surface {
    store: Arc<Store>,
    app: Arc<App>,
    streams: Arc<Streams>,
}

impl Surface {
    /// For this run, with an empty store. `before`: what answered for the run before, whose counts go on.
    fn new(served: &Served<'_>, doors: &Doors, before: Option<&Surface>) -> Surface {
        let Served { config, catalog, runtime, .. } = served;
        let clock: Arc<dyn Clock> = Arc::new(WallClock);
        let tokens = Arc::clone(&doors.tokens);
        let infos = catalog.infos();
        let calendar = Arc::clone(catalog.calendar());
        let store = Store::with_calendar(infos.clone(), Arc::clone(&calendar));
        let health: Arc<dyn Health> = Arc::new(ProcessHealth(Arc::clone(served.meters)));
        let (page, origins) = (doors.keys.clone().filter(|_| served.page_session), &doors.origins);
        // The stream's hub is a task of the runtime.
        let _entered = runtime.enter();
        let streams = match before {
            Some(before) => before.streams.with_store(Arc::clone(&store)),
            None => Streams::new(
                Arc::clone(&store),
                Arc::clone(&tokens),
                Arc::clone(&health),
                Arc::clone(&clock),
                StreamLimits { allowed_origins: origins.clone(), ..stream_limits(config) },
            ),
        };
        let parts = AppParts {
            store: Arc::clone(&store),
            bands: Arc::new(anomaly::Expected::new(infos).with_calendar(Arc::clone(&calendar))),
            calendar,
            tokens,
            health,
            clock,
            history: Some(Arc::new(LakeHistory(config.lake.uri.clone()))),
            provenance: Some(Arc::new(LakeProvenance {
                folder: config.lake.uri.clone(),
                contracts: served.contracts.to_vec(),
                catalog: (*catalog).clone(),
            })),
            limits: limits(config),
            decisions: Arc::new(ClientDecisions(Arc::new(Records::new(config, served.work_dir)))),
            deliveries: served.told.map(|told| Arc::new(ToldAlerts(told.outbox().clone())) as _),
            page: page.map(|keys| PageSessions { keys, ttl: PAGE_TOKEN, origins: origins.clone() }),
        };
        let app = match before {
            Some(before) => before.app.with_parts(parts),
            None => App::new(parts),
        };
        app.metrics.register(|registry| {
            streams.register(registry);
            let tallies = served.told.map(|told| told.tallies().clone());
            alerting::register(registry, tallies.unwrap_or_default());
        });
        Surface { store, app, streams }
    }
}

impl Serving {
    /// Listens and serves; every answer is 503 until the run has recovered.
    ///
    /// `None` when the run is to stop before another process has left the port.
    ///
    /// # Errors
    /// When the address may not or cannot be listened on, or tokens cannot be checked.
    pub(crate) fn start(served: &Served<'_>) -> Result<Option<Serving>, Failure> {
        let doors = Doors::new(served.config)?;
        let listener = listen(address(served.config)?, served.stop)?;
        let Some(listener) = listener else { return Ok(None) };
        let address = listener.local_addr().map_err(|e| Failure::Stopped(e.to_string()))?;
        let surface = Surface::new(served, &doors, None);
        let (front, app) =
            (Front::new(&surface.app, surface.streams.route()), Arc::clone(&surface.app));
        let shown = Arc::new(Mutex::new(surface));
        let (stop, last) = (served.stop.clone(), Arc::clone(&shown));
        let ended = async move {
            while !stop.is_asked() {
                tokio::time::sleep(STOP_POLL).await;
            }
            let streams = Arc::clone(&last.lock().streams);
            streams.shutdown().await;
        };
        let router = front.router();
        let server = served.runtime.spawn(async move {
            if let Err(error) = api::serve(listener, app, router, ended).await {
                tracing::error!("the API ended: {}", chain(&error));
            }
        });
        tracing::info!("listening on http://{address}");
        Ok(Some(Serving { doors, front, shown, server }))
    }

    /// The newest numbers.
    pub(crate) fn store(&self) -> Arc<Store> {
        Arc::clone(&self.shown.lock().store)
    }

    /// What the first run tells of its epochs.
    pub(crate) fn feed(&self) -> Box<dyn Feed> {
        Box::new(StoreFeed { store: self.store(), showing: None })
    }

    /// What another run tells of its epochs. What the run before has left is served until this one has recovered;
    /// then clients of the stream are told to connect again.
    pub(crate) fn next_feed(&self, served: &Served<'_>) -> Box<dyn Feed> {
        let surface = Surface::new(served, &self.doors, Some(&*self.shown.lock()));
        let store = Arc::clone(&surface.store);
        let (front, shown) = (self.front.clone(), Arc::clone(&self.shown));
        let (runtime, meters) = (served.runtime.clone(), Arc::clone(served.meters));
        let showing = Some(Showing { surface, front, shown, runtime, meters });
        Box::new(StoreFeed { store, showing })
    }

    /// Waits until clients have been told; the run's stop has begun it.
    pub(crate) fn finish(self, runtime: &Runtime) {
        let ended = runtime.block_on(async { tokio::time::timeout(LAST_WORDS, self.server).await });
        if ended.is_err() {
            tracing::debug!("some connections did not end in time");
        }
    }
}

/// The development key of a lake, made when there is none.
///
/// # Errors
/// When the file cannot be read or written.
pub(crate) fn dev_keys(lake: &Path) -> Result<DevKeys, Failure> {
    DevKeys::open(&lake.join("_weir"), Arc::new(WallClock)).map_err(|e| Failure::Stopped(chain(&e)))
}

/// Whether a run may listen and check tokens as configured; touches nothing.
///
/// # Errors
/// What [`Serving::start`] would refuse.
pub(crate) fn check(config: &Config) -> Result<(), Failure> {
    address(config)?;
    config.api.origins().map_err(Failure::Usage)?;
    alerting::check(&config.alerts.routes).map_err(Failure::Usage)?;
    let clock: Arc<dyn Clock> = Arc::new(WallClock);
    config.auth.jwks_url().map_or(Ok(()), |_| jwks(config, &clock).map(drop))
}

fn jwks(config: &Config, clock: &Arc<dyn Clock>) -> Result<Jwks, Failure> {
    let auth = &config.auth;
    let url = auth.jwks_url().unwrap_or_default();
    if auth.issuer.is_empty() {
        return Err(Failure::Usage(
            "[auth] jwks_url needs issuer beside it: the `iss` of the tokens to accept".into(),
        ));
    }
    let config = JwksConfig {
        url: url.to_owned(),
        issuer: auth.issuer.clone(),
        audience: auth.audience.clone(),
    };
    Jwks::new(config, Arc::clone(clock)).map_err(|e| Failure::Usage(chain(&e)))
}

fn limits(config: &Config) -> ServerLimits {
    ServerLimits {
        connections: config.api.max_connections,
        requests_per_s: config.api.requests_per_second,
        requests_burst: config.api.requests_per_second.saturating_mul(2),
        ..ServerLimits::default()
    }
}

fn stream_limits(config: &Config) -> StreamLimits {
    StreamLimits {
        connections: config.api.max_connections,
        per_subject: config.api.connections_per_subject,
        ..StreamLimits::default()
    }
}

/// The configured address, when it may be listened on.
pub(crate) fn address(config: &Config) -> Result<SocketAddr, Failure> {
    let text = &config.api.listen;
    let found = text.to_socket_addrs().map(|mut addresses| addresses.next());
    let address: SocketAddr = found.ok().flatten().ok_or_else(|| {
        Failure::Usage(format!("[api] listen: `{text}` is no address; write it as 127.0.0.1:8080"))
    })?;
    let has_dev_key = config.auth.jwks_url().is_none();
    may_listen(address, has_dev_key).map_err(|e| Failure::Usage(e.to_string()))?;
    Ok(address)
}

/// Binds the address, waiting for another process to leave it.
fn listen(address: SocketAddr, stop: &Stop) -> Result<Option<TcpListener>, Failure> {
    let begin = Instant::now();
    let mut said = false;
    loop {
        match TcpListener::bind(address) {
            Ok(listener) => return Ok(Some(listener)),
            Err(_) if stop.is_asked() => return Ok(None),
            Err(error) if begin.elapsed() >= PORT_WAIT => {
                return Err(Failure::Stopped(format!(
                    "could not listen on {address}: {error}; end the process that has the port, or set \
                     [api] listen (`--listen` of the demo)"
                )));
            }
            Err(error) => {
                if !said {
                    tracing::warn!("{address} is in use; trying for 10 s: {error}");
                    said = true;
                }
                std::thread::sleep(PORT_RETRY);
            }
        }
    }
}

/// What is to be shown in the place of what the run before has left.
struct Showing {
    surface: Surface,
    front: Front,
    shown: Arc<Mutex<Surface>>,
    runtime: Handle,
    meters: Arc<Meters>,
}

impl Showing {
    fn show(self) {
        self.front.show(&self.surface.app, self.surface.streams.route());
        let before = std::mem::replace(&mut *self.shown.lock(), self.surface);
        self.runtime.spawn(async move { before.streams.shutdown().await });
        self.meters.troubles.clear(UNDER_WAY);
        tracing::info!("another run serves");
    }
}

/// The store as the feed of the run.
struct StoreFeed {
    store: Arc<Store>,
    /// What shows it, as long as it is not shown.
    showing: Option<Showing>,
}

impl Feed for StoreFeed {
    fn name(&self) -> &'static str {
        "api"
    }

    fn start(&mut self, start: Start) {
        self.store.start(start);
        self.showing.take().into_iter().for_each(Showing::show);
    }

    fn epoch(&mut self, published: &Published) {
        self.store.publish(published);
    }

    fn idle(&mut self, as_of: Micros) {
        self.store.idle(as_of);
    }
}

fn doubts_of(of: ContractDoubts) -> (String, Doubts) {
    (of.contract, Doubts { rows: of.rows as u64, unplaced: of.unplaced })
}

fn audits_of(audits: &engine::Audits) -> Audits {
    Audits {
        ok: audits.ok.get(),
        mismatch: audits.mismatch.get(),
        passed_over: audits.passed_over.get(),
        cells: audits.cells.get(),
    }
}

/// The meters of a run as its probes show them.
struct ProcessHealth(Arc<Meters>);

impl Health for ProcessHealth {
    fn report(&self) -> Report {
        let meters = &self.0;
        let troubles = meters.troubles.list();
        let unready = troubles.iter().filter(|(_, weight)| *weight == Weight::Grave);
        let unready = unready.map(|(text, _)| text.clone()).collect();
        let lag = meters.lag.lock();
        let lag = lag.values().flatten().map(|lag| SourceLag {
            source: lag.partition.source.to_string(),
            topic: lag.partition.topic.to_string(),
            partition: lag.partition.partition,
            lag: (lag.end - lag.next).max(0),
        });
        let seconds =
            |share| Some(std::time::Duration::from_micros(meters.freshness.quantile(share)?));
        let freshness = seconds(0.5).zip(seconds(0.99));
        Report {
            troubles: troubles.into_iter().map(|(text, _)| text).collect(),
            unready,
            events: meters.events.get(),
            epochs: meters.epochs.get(),
            dead_letters: meters.dead_letters.get(),
            split_transactions: meters.split_transactions.get(),
            kpi_updates: meters.kpi_updates.get(),
            bronze_commits: meters.bronze_commits.get(),
            barriers: meters.barriers.get(),
            barrier_ms: meters.barrier_ms.get(),
            audits: audits_of(&meters.audits),
            epoch_recorded: meters.recorded.get(),
            epoch_bronze: meters.in_bronze.get(),
            epoch_flushed: meters.flushed.get(),
            unflushed_bytes: meters.unflushed.load(Ordering::Relaxed) as u64,
            freshness: freshness.map(|(half, most)| (half.as_secs_f64(), most.as_secs_f64())),
            lag: lag.collect(),
            debt: meters.debt.lock().clone(),
            contents: Arc::clone(&meters.contents.lock()),
            doubts: meters.doubts.list().into_iter().map(doubts_of).collect(),
        }
    }
}
