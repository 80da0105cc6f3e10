//! Joins alerting to a run: what it hears of the process, and what it says there.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use alerting::{Alerting, Outbox, Parts, Surroundings, Trouble, Words};
use api::{Deliveries, Pending, wire};
use engine::{Meters, Weight};
use gold::Catalog;
use schemas::{Alert, Answer, Clock, chain};
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
        kpis: catalog.infos().into(),
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
fn body(alert: &Alert, answer: &Answer) -> serde_json::Value {
    serde_json::to_value(wire::AlertView::new(alert, answer)).unwrap_or_default()
}

/// What was told of alerts, for clients of the API.
#[derive(Debug)]
pub(crate) struct ToldAlerts(pub(crate) Outbox);

impl Deliveries for ToldAlerts {
    fn of(&self, alert: &str, most: u32) -> Pending<'_, Option<Vec<api::Delivery>>> {
        let alert = alert.to_owned();
        let read = async move {
            match self.0.of_alert(&alert, most).await {
                Ok(found) => Some(found.into_iter().map(as_served).collect()),
                Err(error) => {
                    tracing::warn!("[alerts] store: what was told is not read: {}", chain(&error));
                    None
                }
            }
        };
        Box::pin(read)
    }
}

fn as_served(told: alerting::Delivery) -> api::Delivery {
    let quiet_until = told.quiet_until(WallClock.now());
    api::Delivery {
        route: told.route,
        kind: told.notice.kind.name(),
        state: told.state.name(),
        attempts: told.attempts,
        made_at: told.made_at,
        quiet_until,
        ended_at: told.ended_at,
        error: told.error,
        silenced_by: told.silenced_by,
        inhibited_by: told.inhibited_by,
    }
}

/// The troubles of a run.
struct Process(Arc<Meters>);

impl Surroundings for Process {
    fn troubles(&self) -> Vec<Trouble> {
        let troubles = self.0.troubles.list().into_iter();
        let trouble = |(text, weight): (String, Weight)| Trouble {
            text,
            is_slight: weight == Weight::Slight,
        };
        troubles.map(trouble).collect()
    }

    fn set(&self, key: &str, trouble: Option<&str>) {
        match trouble {
            Some(text) => self.0.troubles.set_around(key, text),
            None => self.0.troubles.clear(key),
        }
    }
}
