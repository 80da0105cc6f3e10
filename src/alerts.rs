//! Joins alerting to a run: what it hears of the process, and what it says there.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use alerting::{Alerting, Outbox, Parts, Surroundings, Trouble, Words};
use api::wire;
use engine::Meters;
use gold::Catalog;
use schemas::{Alert, chain};
use tokio::runtime::Runtime;

use crate::config::Config;
use crate::failure::Failure;
use crate::wall_clock::WallClock;

/// How long an alert may be missing before it is withdrawn: tables that are built anew take a while.
const WITHDRAW_AFTER: Duration = Duration::from_secs(300);

/// Starts alerting; `None` without routes.
///
/// # Errors
/// When its store or a route cannot be used.
pub(crate) fn start(
    config: &Config,
    work_dir: &Path,
    catalog: &Catalog,
    meters: &Arc<Meters>,
    runtime: &Runtime,
) -> Result<Option<Alerting>, Failure> {
    let alerts = &config.alerts;
    if alerts.routes.is_empty() {
        return Ok(None);
    }
    let words = Words {
        kpis: catalog.infos(),
        public_url: config.api.public_url().map(str::to_owned),
        body: Box::new(body),
    };
    let parts = Parts {
        routes: alerts.routes.clone(),
        heartbeat: alerts.heartbeat(),
        withdraw_after: WITHDRAW_AFTER,
        words,
        around: Arc::new(Process(Arc::clone(meters))),
        clock: Arc::new(WallClock),
    };
    let store = alerts.store(work_dir);
    runtime.block_on(async {
        let outbox = Outbox::open(&store)
            .await
            .map_err(|e| Failure::Unreachable(format!("[alerts] store: {}", chain(&e))))?;
        Alerting::start(outbox, parts).await.map(Some).map_err(Failure::Usage)
    })
}

/// An alert as clients of the API see it.
fn body(alert: &Alert) -> serde_json::Value {
    serde_json::to_value(wire::AlertView::new(alert)).unwrap_or_default()
}

/// The troubles of a run.
struct Process(Arc<Meters>);

impl Surroundings for Process {
    fn troubles(&self) -> Vec<Trouble> {
        let troubles = self.0.troubles.list().into_iter();
        troubles.map(|(text, is_slight)| Trouble { text, is_slight }).collect()
    }

    fn set(&self, key: &str, trouble: Option<&str>) {
        match trouble {
            Some(text) => self.0.troubles.set_slight(key, text),
            None => self.0.troubles.clear(key),
        }
    }
}
