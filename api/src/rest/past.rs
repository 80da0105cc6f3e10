//! Cells as they were at an instant: `as_of`.
//!
//! # Guarantees
//! - A cell is as the newest row of its history at or before the instant says. One that is known and had no row yet has
//!   no data.
//! - Only periods that had begun are told.
//!
//! # Non-guarantees
//! - The history has a row a minute of a running period, and one in five seconds of one that is over.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::http::StatusCode;
use schemas::{CellValue, Grain, KpiHistory, Micros, PastQuestion, Status};

use crate::app::App;
use crate::problem::Problem;
use crate::query::Query;
use crate::store::{CellFilter, Periods, SeriesName, ServedCell, Snapshot, StreamPosition};

/// Cells of one instant of the past, by name, grain and period.
#[derive(Debug, Default)]
pub(super) struct Past(BTreeMap<(SeriesName, Grain, Micros), CellValue>);

impl Past {
    /// Every cell, in the order of names, grains and periods.
    pub(super) fn iter(&self) -> impl Iterator<Item = ServedCell<'_>> {
        self.0.iter().map(|((series, grain, start), value)| ServedCell {
            series,
            grain: *grain,
            period_start: *start,
            value: *value,
            window: None,
        })
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// The instant that a query asks for.
pub(super) fn asked(
    query: &Query,
    filter: &CellFilter,
    is_compared: bool,
) -> Result<Option<Micros>, Problem> {
    let Some(at) = query.instant("as_of")? else { return Ok(None) };
    let refuse = |detail: String| Err(Problem::bad_parameter("as_of", detail));
    if let Some(grain) = filter.window() {
        return refuse(format!(
            "`{grain}` moves with time and has no history, so `as_of` does not go with it; use {}",
            Grain::names()
        ));
    }
    if is_compared {
        return refuse(
            "`as_of` does not go with `compare`; ask for both periods as of that instant"
                .to_owned(),
        );
    }
    Ok(Some(at))
}

/// The history that is asked, and how it stands now.
pub(super) fn history(
    app: &App,
    at: Micros,
) -> Result<(Arc<dyn KpiHistory>, StreamPosition), Problem> {
    let position = app.store.position().ok_or_else(Problem::recovering)?;
    let refuse = |detail: String| Problem::bad_parameter("as_of", detail);
    let Some(history) = &app.history else {
        return Err(refuse("this server has no history to read; leave `as_of` out".to_owned()));
    };
    if at > position.as_of {
        let now = position.as_of;
        return Err(refuse(format!("`as_of` is later than what is served, which is as of {now}")));
    }
    Ok((Arc::clone(history), position))
}

/// Reads the cells of an instant, and the epoch up to which their history is written. `now` are those that are known.
pub(super) fn read(
    history: &dyn KpiHistory,
    at: Micros,
    (filter, periods): (&CellFilter, Periods),
    now: &Snapshot,
) -> Result<(u64, Past), Problem> {
    let question = PastQuestion {
        kpis: filter.kpis.as_ref().map(|own| own.iter().map(ToString::to_string).collect()),
        tenant: filter.tenant.as_deref().map(str::to_owned),
        grain: filter.grain,
        from: filter.from,
        last: Some(at),
    };
    let read = history.cells_at(at, &question).map_err(|error| {
        tracing::error!(%error, "the history cannot be read");
        let detail = "the history cannot be read; the log of the server says why";
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
    })?;
    let mut cells = BTreeMap::new();
    for (key, value) in read.cells.into_iter().filter(|(key, _)| filter.takes(key)) {
        let name = SeriesName { tenant: key.tenant, kpi: key.kpi, dims: key.dims };
        cells.insert((name, key.grain, key.period_start), value);
    }
    for cell in now.iter().filter(|cell| cell.period_start <= at) {
        let name = (cell.series.clone(), cell.grain, cell.period_start);
        cells.entry(name).or_insert(NOTHING);
    }
    if periods == Periods::Newest {
        let mut newest: BTreeMap<(SeriesName, Grain), Micros> = BTreeMap::new();
        for (name, grain, start) in cells.keys() {
            // They ascend by period.
            newest.insert((name.clone(), *grain), *start);
        }
        cells.retain(|(name, grain, start), _| newest.get(&(name.clone(), *grain)) == Some(start));
    }
    Ok((read.epoch, Past(cells)))
}

const NOTHING: CellValue =
    CellValue { value: None, numerator: None, denominator: None, status: Status::NoData };
