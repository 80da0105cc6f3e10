//! A preview: what a barrier holds, told to feeds while other tables are built beside it.
//!
//! # Guarantees
//! - It holds every KPI that none of the tables in question feed, as the barrier left it, and is doubtful:
//!   the reason names the tables.
//! - It is of a stream generation that no epoch is ever told under: what follows replaces it whole.
//!
//! # Non-guarantees
//! - It stands still: records that arrive meanwhile wait.

use std::sync::Arc;

use schemas::{Alert, EpochStamp, Feed, Micros, ModelsInForce, Reason, Start};

use super::generation::new_generation;
use crate::core::Core;
use crate::identities::Renewal;

/// Tells feeds how everything stood at a barrier, but for what is renewed from now on.
pub(super) fn tell(
    feeds: &mut [Box<dyn Feed>],
    core: &Core,
    at: (EpochStamp, Micros),
    detected: (&[Alert], ModelsInForce),
    renewal: &Renewal,
) {
    if feeds.is_empty() {
        return;
    }
    let start = of(core, at, detected, renewal);
    for feed in feeds {
        feed.start(start.clone());
    }
}

fn of(
    core: &Core,
    (barrier, now): (EpochStamp, Micros),
    (alerts, models): (&[Alert], ModelsInForce),
    renewal: &Renewal,
) -> Start {
    let cells = core.gold().snapshot().into_iter();
    // Those left out are told in part: what their other tables hold is there.
    let cells = cells.filter(|row| !renewal.kpis.contains(&*row.key.kpi));
    let windows = core.gold().windows().into_iter();
    let windows = windows.filter(|(key, _)| !renewal.kpis.contains(&*key.kpi));
    Start {
        generation: new_generation(),
        offset: barrier.id,
        as_of: Some(barrier.clock),
        cells: cells.map(|row| (row.key, row.value, row.epoch)).collect(),
        windows: windows.collect(),
        removed: Vec::new(),
        removals_after: barrier.id,
        alerts: alerts.to_vec(),
        answers: Arc::clone(core.answers()),
        models: Arc::new(models),
        degraded: building(renewal, now),
    }
}

/// That the tables are being built, since `now`.
fn building(renewal: &Renewal, now: Micros) -> Arc<[Reason]> {
    let names = renewal.tables.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let text = format!(
        "{names}: being built from bronze, because the definition is new or differs; KPIs over it, and new \
         records, show when that is done"
    );
    Arc::new([Reason { text, since: now }])
}
