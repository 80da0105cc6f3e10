//! `GET /api/v1/kpis`: current cells.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use schemas::Micros;
use serde::Serialize;

use super::POINTS_MAX;
use super::accept::Form;
use super::ask::{Ask, ListAsk, in_turn};
use super::csv::{self, Csv, Field};
use super::listing::{By, Listing, Order, Rank};
use super::shapes::KpisShape;
use crate::app::App;
use crate::claims::Scope;
use crate::compare::{Against, Compared, Comparison};
use crate::problem::Problem;
use crate::query::{DIM, Query};
use crate::store::{CellFilter, History, Periods, ServedCell};
use crate::wire;

const PARAMETERS: [&str; 10] =
    ["tenant", "grain", "kpi", "from", "to", DIM, "compare", "sort", "limit", "cursor"];

#[derive(Serialize)]
struct Kpis<'a> {
    epoch: u64,
    as_of: String,
    degraded: bool,
    kpis: Vec<Shown<'a>>,
    next: Option<String>,
}

/// A cell, marked where its period has not begun, with what it is compared with, if that was asked for.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    cell: wire::Cell<'a>,
    future: bool,
    #[serde(flatten)]
    compared: Option<wire::ComparedView>,
}

/// KPI values: without `from` and `to` the newest period of each series that has begun, else every
/// period of them. Of a window its only period. Without `grain`, those of the calendar.
///
/// Ordered by tenant, KPI, dimensions, grain and period, or as `sort` says. At most 100,000 values in one answer.
#[utoipa::path(
    get,
    path = "/api/v1/kpis",
    operation_id = "kpis",
    params(super::document::KpisQuery),
    responses((status = 200, description = "The values at an epoch", content(
        (KpisShape = "application/json"), (String = "text/csv"),
    ))),
    security(("bearer" = ["kpi:read"])),
)]
pub(crate) async fn kpis(
    State(app): State<Arc<App>>,
    ListAsk(ask, form): ListAsk,
) -> Result<Response, Problem> {
    ask.claims.require(Scope::KpiRead)?;
    let query = ask.query(&PARAMETERS)?;
    let mut filter = filter(&app, &ask, &query)?;
    filter.kpis = query.kpis(app.store.kpis())?;
    let against = query.compare()?;
    let periods = match (filter.from, filter.to) {
        (None, None) => Periods::Newest,
        _ => Periods::All,
    };
    let listing = Listing::of(&ask, &query, periods, against.is_some())?;
    let troubled = !app.health.report().troubles.is_empty();
    let state = state_of(troubled, form);
    if let Some(unchanged) = ask.unchanged(&app, state)? {
        return Ok(unchanged);
    }
    let read = match against {
        Some(_) => app.store.cells_and_history(&filter, periods),
        None => {
            app.store.cells(&filter, periods).map(|(at, cells)| (at, cells, History::default()))
        }
    };
    let (position, cells, history) = read.ok_or_else(Problem::recovering)?;
    if listing.reads_all() {
        check_size(cells.len())?;
    }
    let takes_long = against.is_some() || listing.order.is_some();
    let own = Arc::clone(&app);
    let work = move || {
        let by = against.map(|against| (against, &history));
        let view = View { app: &own, by, as_of: position.as_of };
        let (page, next) = listing.page(cells.iter(), |cell| view.rank(listing.order, cell));
        let answer = Kpis {
            epoch: position.offset,
            as_of: position.as_of.to_string(),
            degraded: troubled || !position.degraded.is_empty(),
            kpis: page.into_iter().map(|cell| view.shown(cell)).collect(),
            next,
        };
        if form == Form::Csv {
            let dims = csv::dims_of(own.store.kpis(), |kpi| filter.takes_kpi(&kpi.key));
            let csv = table(&answer.kpis, &dims, against.is_some());
            let answer = csv.answer("kpis", &position, answer.next.as_deref());
            return Ok(ask.tagged(&position, state, answer));
        }
        ask.answer(&position, state, &answer)
    };
    if takes_long { in_turn(&app, work).await? } else { work() }
}

/// What an answer depends on besides what is asked.
pub(super) fn state_of(troubled: bool, form: Form) -> &'static str {
    match (form, troubled) {
        (Form::Json, false) => "",
        (Form::Json, true) => "degraded",
        (Form::Csv, false) => "csv",
        (Form::Csv, true) => "csv degraded",
    }
}

/// Cells as rows.
fn table(cells: &[Shown<'_>], dims: &BTreeSet<&str>, is_compared: bool) -> Csv {
    let compared = COMPARED_COLUMNS.get(..if is_compared { COMPARED_COLUMNS.len() } else { 0 });
    let after = [&["value", "unit", "status", "future"], compared.unwrap_or_default()].concat();
    let header = csv::header(&["tenant", "kpi", "grain", "period_start"], dims, &after);
    let mut csv = Csv::default();
    csv.row(header.iter().map(|name| Field::Text(name)));
    for Shown { cell, future, compared } in cells {
        let (name, values) = (&cell.name, csv::values_of(cell.name.dims.0));
        let before = [Field::Text(name.tenant), Field::Text(name.kpi), Field::Plain(name.grain)];
        let start = [Field::plain(name.period_start.as_deref())];
        let future = if *future { "true" } else { "false" };
        let after = [Field::Plain(cell.unit), Field::Plain(cell.status), Field::Plain(future)];
        let value = [Field::plain(cell.value.as_deref())];
        let own = before.into_iter().chain(start).chain(csv::fields_of(dims, &values));
        let own = own.chain(value).chain(after);
        csv.row(own.chain(compared.iter().flat_map(compared_fields)));
    }
    csv
}

/// The columns of a comparison.
pub(super) const COMPARED_COLUMNS: [&str; 5] =
    ["previous_start", "previous_end", "previous_value", "change", "change_ratio"];

/// The fields of [`COMPARED_COLUMNS`].
pub(super) fn compared_fields(compared: &wire::ComparedView) -> [Field<'_>; 5] {
    let wire::ComparedView { previous, change, change_ratio } = compared;
    let previous = previous.as_ref();
    [
        Field::plain(previous.map(|own| own.period_start.as_str())),
        Field::plain(previous.map(|own| own.period_end.as_str())),
        Field::plain(previous.and_then(|own| own.value.as_deref())),
        Field::plain(change.as_deref()),
        Field::plain(change_ratio.as_deref()),
    ]
}

/// How cells are shown.
#[derive(Clone, Copy)]
struct View<'v> {
    app: &'v App,
    by: Option<(Against, &'v History)>,
    as_of: Micros,
}

impl View<'_> {
    fn compared(&self, cell: &ServedCell<'_>) -> Option<Option<Compared>> {
        let (against, history) = self.by?;
        let periods = self.app.calendar.of(&cell.series.tenant);
        let kind = self.app.store.kpi(&cell.series.kpi).map(|info| info.kind);
        let comparison = Comparison { against, history, periods, kind, as_of: self.as_of };
        let place = (cell.grain, cell.period_start);
        Some(comparison.of(cell.series, place, cell.value.value, cell.window))
    }

    fn rank(&self, order: Option<Order>, cell: &ServedCell<'_>) -> Rank {
        let Some(order) = order else { return Rank::default() };
        order.rank(match order.by {
            By::Value => cell.value.value,
            By::Change => self.compared(cell).flatten().and_then(|compared| compared.change),
        })
    }

    fn shown<'a>(&self, cell: ServedCell<'a>) -> Shown<'a> {
        let compared = self.compared(&cell).map(wire::ComparedView::new);
        let unit = wire::unit_of(self.app.store.kpis(), &cell.series.kpi);
        let future = cell.period_start > self.as_of;
        Shown { cell: wire::Cell::served(cell, unit), future, compared }
    }
}

/// The part of a filter that all routes with cells share.
pub(super) fn filter(app: &App, ask: &Ask, query: &Query) -> Result<CellFilter, Problem> {
    let (from, to) = query.span()?;
    let (tenant, grain) = (ask.claims.tenant(query.tenant()?)?, query.grain()?);
    if let Some(grain) = grain.filter(|grain| grain.is_window() && from.or(to).is_some()) {
        let detail = format!("`{grain}` is one period, which moves; leave `from` and `to` out");
        return Err(Problem::bad_parameter("grain", detail));
    }
    let dims = query.dims(app.store.kpis())?;
    Ok(CellFilter { tenant, kpis: None, dims, grain, from, to, against: None })
}

/// Refuses an answer that would be too long.
pub(super) fn check_size(points: usize) -> Result<(), Problem> {
    if points <= POINTS_MAX {
        return Ok(());
    }
    let detail = format!(
        "this would answer {points} values, and one answer has at most {POINTS_MAX}; narrow it by \
         tenant, kpi, grain, from and to, or take pages by `limit`"
    );
    Err(Problem::new(StatusCode::BAD_REQUEST, detail))
}
