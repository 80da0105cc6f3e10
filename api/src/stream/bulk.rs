//! Whole readings of the store as pages: snapshots, and what a subscriber missed.

use std::sync::Arc;

use schemas::{Alert, EpochId, Micros};
use tokio::sync::OwnedSemaphorePermit;

use super::cell_text::CellText;
use super::page::{self, Channel, Mark, Page};
use crate::store::{CellFilter, Periods, Store, StreamPosition};
use crate::wire::{CellName, unit_of};

/// How long a resolved alert stays in snapshots.
const RESOLVED_FOR_US: i64 = 24 * 3_600 * 1_000_000;

/// Pages that belong together.
#[derive(Debug)]
pub(crate) struct Bulk {
    pub(crate) generation: Arc<str>,
    pub(crate) to: Mark,
    pub(crate) pages: Vec<Page>,
    /// Of a large one, kept for as long as it is in memory.
    pub(crate) permit: Option<OwnedSemaphorePermit>,
}

impl Bulk {
    fn new(position: &StreamPosition, pages: Vec<Page>) -> Bulk {
        Bulk {
            generation: Arc::clone(&position.generation),
            to: position.into(),
            pages,
            permit: None,
        }
    }

    /// Bytes of all pages.
    pub(crate) fn bytes(&self) -> usize {
        self.pages.iter().map(Page::len).sum()
    }
}

/// Everything that a filter takes; `None` before recovery.
pub(crate) fn snapshot(store: &Store, channel: Channel, filter: &CellFilter) -> Option<Bulk> {
    if channel == Channel::Alerts {
        let (position, alerts) = store.alerts(filter.tenant.as_ref(), None)?;
        let wanted = alerts
            .iter()
            .filter(|alert| filter.takes(&alert.key) && is_shown(alert, position.as_of));
        let pages = page::snapshot(&position, "alerts", wanted.map(|alert| page::alert(alert)));
        return Some(Bulk::new(&position, pages));
    }
    let (position, cells) = store.cells(filter, Periods::All)?;
    let texts = cells.iter().map(|cell| {
        let unit = unit_of(store.kpis(), &cell.series.kpi);
        page::upsert(CellName::served(cell), &cell.value, unit)
    });
    let pages = page::snapshot(&position, "upserts", texts);
    Some(Bulk::new(&position, pages))
}

fn is_shown(alert: &Alert, as_of: Micros) -> bool {
    alert.resolved_at.is_none_or(|at| at >= as_of.plus(-RESOLVED_FOR_US))
}

/// What changed after `since`; `None` when that is not known.
pub(crate) fn missed(
    store: &Store,
    channel: Channel,
    filter: &CellFilter,
    since: EpochId,
) -> Option<Bulk> {
    if channel == Channel::Alerts {
        let (position, alerts) = store.alerts(filter.tenant.as_ref(), Some(since))?;
        let wanted = alerts.iter().filter(|alert| filter.takes(&alert.key));
        let texts: Vec<(EpochId, String)> =
            wanted.map(|alert| (alert.epoch, page::alert(alert))).collect();
        let texts: Vec<(EpochId, &str)> = texts.iter().map(|(e, t)| (*e, t.as_str())).collect();
        return Some(Bulk::new(&position, page::alerts(&texts)));
    }
    let (position, changes) = store.changes(filter, since)?;
    let mut text = CellText::new(store.kpis(), changes.len());
    let written: Vec<_> = changes.iter().map(|change| text.write(change)).collect();
    let pieces = written.iter().map(|own| text.piece(*own));
    Some(Bulk::new(&position, page::updates(Mark::from(&position), pieces)))
}
