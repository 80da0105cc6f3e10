//! Whole readings of the store as pages: snapshots, and what a subscriber missed.

use std::sync::Arc;

use schemas::{Alert, EpochId, Micros};
use tokio::sync::OwnedSemaphorePermit;

use super::cell_text::CellText;
use super::page::{self, Channel, Mark, Page, Piece};
use crate::compare::{Compared, Comparison, changes};
use crate::earlier::Against;
use crate::store::{CellChange, CellFilter, Periods, ServedCell, Store, StreamPosition};
use crate::wire::{CellName, json, unit_of};

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
    if let Some(against) = filter.against {
        return compared_snapshot(store, filter, against);
    }
    let (position, cells) = store.cells(filter, Periods::All)?;
    let texts = cells.iter().map(|cell| {
        let unit = unit_of(store.kpis(), &cell.series.kpi);
        page::upsert(cell, unit)
    });
    let pages = page::snapshot(&position, "upserts", texts);
    Some(Bulk::new(&position, pages))
}

fn compared_snapshot(store: &Store, filter: &CellFilter, against: Against) -> Option<Bulk> {
    let (position, as_of, cells, history) = store.compared(filter)?;
    let texts = cells.iter().map(|cell| {
        let periods = store.calendar().of(&cell.series.tenant);
        let info = store.kpi(&cell.series.kpi);
        let kind = info.map(|info| info.kind);
        let comparison = Comparison { against, history: &history, periods, kind, as_of };
        let place = (cell.grain, cell.period_start);
        let compared = comparison.of(cell.series, place, cell.value.value, cell.window);
        let unit = unit_of(store.kpis(), &cell.series.kpi);
        page::compared(cell, unit, compared)
    });
    let pages = page::snapshot(&position, "upserts", texts);
    Some(Bulk::new(&position, pages))
}

fn compared_changes(
    store: &Store,
    filter: &CellFilter,
    against: Against,
    since: EpochId,
) -> Option<Bulk> {
    let read = store.compared_changes(filter, since)?;
    let changes = changes::of(&read, filter, against, (store.kpis(), store.calendar()));
    let text = |(change, compared): &(CellChange, Option<Compared>)| {
        let key = change.series.cell(change.grain, change.period_start);
        let unit = unit_of(store.kpis(), &key.kpi);
        match &change.value {
            None => (true, json(&CellName::new(&key))),
            Some(value) => {
                let window = change.window.as_deref();
                let period_start = window.map_or(change.period_start, |window| window.start);
                let (series, grain, value) = (&*change.series, change.grain, *value);
                let cell = ServedCell { series, grain, period_start, value, window };
                (false, page::compared(cell, unit, *compared))
            }
        }
    };
    let texts: Vec<(bool, String)> = changes.iter().map(text).collect();
    let to = Mark::from(&read.position);
    let mut pieces = Vec::with_capacity(texts.len());
    for own in &texts {
        pieces.push(match own {
            (true, text) => Piece::Delete(text),
            (false, text) => Piece::Upsert(text),
        });
    }
    Some(Bulk::new(&read.position, page::updates(to, pieces.into_iter())))
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
    if let Some(against) = filter.against {
        return compared_changes(store, filter, against, since);
    }
    let (position, changes) = store.changes(Some(filter), since)?;
    let mut text = CellText::new(store.kpis(), changes.len());
    let written: Vec<_> = changes.iter().map(|change| text.write(change)).collect();
    let pieces = written.iter().map(|own| text.piece(*own));
    Some(Bulk::new(&position, page::updates(Mark::from(&position), pieces)))
}
