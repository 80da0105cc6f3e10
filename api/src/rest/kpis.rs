//! `GET /api/v1/kpis`: current cells.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use schemas::{KpiKind, Micros};
use serde::Serialize;

use super::POINTS_MAX;
use super::accept::Form;
use super::ask::{Ask, ListAsk, in_turn, json, private};
use super::csv::{self, Csv, Field};
use super::listing::{By, Listing, Order, Rank};
use super::past;
use super::shapes::KpisShape;
use super::top::{self, Part, Row, Top};
use crate::app::App;
use crate::claims::Scope;
use crate::compare::{Compared, Comparison};
use crate::earlier::Against;
use crate::problem::Problem;
use crate::query::{DIM, Query};
use crate::store::{CellFilter, History, Periods, ServedCell, StreamPosition};
use crate::wire;

const PARAMETERS: [&str; 13] = [
    "tenant", "grain", "kpi", "from", "to", DIM, "compare", "as_of", "by", "top", "sort", "limit",
    "cursor",
];

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
    part: Option<Part>,
    #[serde(flatten)]
    compared: Option<wire::ComparedView>,
}

/// KPI values: without `from` and `to` the newest period of each series that has begun, else every
/// period of them. Of a window its only period. Without `grain`, those of the calendar.
///
/// Ordered by tenant, KPI, dimensions, grain and period, or as `sort` says. At most 100,000 values in one answer.
///
/// With `by`, of every tenant, KPI, period and other dimensions the greatest values of that dimension, and the others
/// together.
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
    let top = Top::of(&query, app.store.kpis(), &mut filter)?;
    let listing = Listing::of(&ask, &query, periods, against.is_some())?;
    let then = past::asked(&query, &filter, against.is_some())?;
    let troubled = !app.health.report().troubles.is_empty();
    let asked = Asked { filter, against, periods, top, listing, form, troubled };
    if let Some(at) = then {
        return asked.past(app, at).await;
    }
    let state = state_of(troubled, form);
    if let Some(unchanged) = ask.unchanged(&app, state)? {
        return Ok(unchanged);
    }
    let filter = &asked.filter;
    let read = match against {
        Some(_) => app.store.cells_and_history(filter, periods),
        None => app.store.cells(filter, periods).map(|(at, cells)| (at, cells, History::default())),
    };
    let (position, cells, history) = read.ok_or_else(Problem::recovering)?;
    asked.check_size(cells.len())?;
    let own = Arc::clone(&app);
    let takes_long = asked.takes_long();
    let work = move || {
        let answer = asked.answer(&own, &position, (cells.iter(), &history))?;
        Ok(ask.tagged(&position, state, answer))
    };
    if takes_long { in_turn(&app, work).await? } else { work() }
}

/// What is asked for.
struct Asked {
    filter: CellFilter,
    against: Option<Against>,
    periods: Periods,
    top: Option<Top>,
    listing: Listing,
    form: Form,
    troubled: bool,
}

impl Asked {
    fn takes_long(&self) -> bool {
        self.against.is_some() || self.listing.order.is_some() || self.top.is_some()
    }

    fn check_size(&self, cells: usize) -> Result<(), Problem> {
        if self.listing.reads_all() { check_size(cells) } else { Ok(()) }
    }

    /// The answer from these cells.
    fn answer<'c>(
        &self,
        app: &App,
        position: &StreamPosition,
        (cells, history): (impl Iterator<Item = ServedCell<'c>>, &History),
    ) -> Result<Response, Problem> {
        let by = self.against.map(|against| (against, history));
        let view = View { app, by, as_of: position.as_of };
        let (page, next) = match &self.top {
            Some(top) => (top.rows(cells, self.periods, |kpi| view.kind(kpi)), None),
            None => {
                let rank = |cell: &ServedCell<'_>| view.rank(self.listing.order, cell);
                let (page, next) = self.listing.page(cells, rank);
                (page.into_iter().map(Row::plain).collect(), next)
            }
        };
        let is_top = self.top.is_some();
        let answer = Kpis {
            epoch: position.offset,
            as_of: position.as_of.to_string(),
            degraded: self.troubled || !position.degraded.is_empty(),
            kpis: page.iter().map(|row| view.shown(row, is_top)).collect(),
            next,
        };
        if self.form == Form::Csv {
            let dims = csv::dims_of(app.store.kpis(), |kpi| self.filter.takes_kpi(&kpi.key));
            let csv = table(&answer.kpis, &dims, (is_top, by.is_some()));
            return Ok(csv.answer("kpis", position, answer.next.as_deref()));
        }
        json(&answer)
    }

    /// The answer as of an instant. It may change without an epoch, when history is written, so it has no tag.
    async fn past(self, app: Arc<App>, at: Micros) -> Result<Response, Problem> {
        let (history, position) = past::history(&app, at)?;
        let (_, now) =
            app.store.cells(&self.filter, Periods::All).ok_or_else(Problem::recovering)?;
        let own = Arc::clone(&app);
        let work = move || {
            let (epoch, cells) = past::read(&*history, at, (&self.filter, self.periods), &now)?;
            self.check_size(cells.len())?;
            let position = StreamPosition { offset: epoch, as_of: at, ..position };
            let answer = self.answer(&own, &position, (cells.iter(), &History::default()))?;
            Ok(private(answer))
        };
        in_turn(&app, work).await?
    }
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
fn table(cells: &[Shown<'_>], dims: &BTreeSet<&str>, (is_top, is_compared): (bool, bool)) -> Csv {
    let parts: &[&str] = if is_top { &["others", "parts", "adds_up"] } else { &[] };
    let compared: &[&str] = if is_compared { &COMPARED_COLUMNS } else { &[] };
    let after = [&["value", "unit", "status", "future"], parts, compared].concat();
    let header = csv::header(&["tenant", "kpi", "grain", "period_start"], dims, &after);
    let mut csv = Csv::default();
    csv.row(header.iter().map(|name| Field::Text(name)));
    let word = |is: bool| Field::Plain(if is { "true" } else { "false" });
    for Shown { cell, future, part, compared } in cells {
        let count = part.map(|part| part.parts.to_string());
        let (name, values) = (&cell.name, csv::values_of(cell.name.dims.0));
        let before = [Field::Text(name.tenant), Field::Text(name.kpi), Field::Plain(name.grain)];
        let start = [Field::plain(name.period_start.as_deref())];
        let after = [Field::Plain(cell.unit), Field::Plain(cell.status), word(*future)];
        let count = Field::plain(count.as_deref());
        let parts = part.map(|part| [word(part.others), count, word(part.adds_up)]);
        let value = [Field::plain(cell.value.as_deref())];
        let own = before.into_iter().chain(start).chain(csv::fields_of(dims, &values));
        let own = own.chain(value).chain(after).chain(parts.into_iter().flatten());
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
    fn kind(&self, kpi: &str) -> Option<KpiKind> {
        self.app.store.kpi(kpi).map(|info| info.kind)
    }

    fn comparison(&self, cell: &ServedCell<'_>) -> Option<Comparison<'_>> {
        let (against, history) = self.by?;
        let periods = self.app.calendar.of(&cell.series.tenant);
        let kind = self.kind(&cell.series.kpi);
        Some(Comparison { against, history, periods, kind, as_of: self.as_of })
    }

    fn compared(&self, cell: &ServedCell<'_>) -> Option<Option<Compared>> {
        let place = (cell.grain, cell.period_start);
        let comparison = self.comparison(cell)?;
        Some(comparison.of(cell.series, place, cell.value.value, cell.window))
    }

    /// The same of the others together.
    fn compared_others(&self, row: &Row<'_>, own: &[ServedCell<'_>]) -> Option<Option<Compared>> {
        let comparison = self.comparison(&row.cell)?;
        let parts = own.iter().map(|cell| {
            let place = (cell.grain, cell.period_start);
            let is_known = comparison.knows(cell.series, place, cell.window);
            (comparison.of(cell.series, place, cell.value.value, cell.window), is_known)
        });
        Some(top::compared(row.cell.value, row.part.adds_up, parts))
    }

    fn rank(&self, order: Option<Order>, cell: &ServedCell<'_>) -> Rank {
        let Some(order) = order else { return Rank::default() };
        order.rank(match order.by {
            By::Value => cell.value.value,
            By::Change => self.compared(cell).flatten().and_then(|compared| compared.change),
        })
    }

    fn shown<'a>(&self, row: &'a Row<'_>, is_top: bool) -> Shown<'a> {
        let cell = row.cell;
        let (series, compared) = match &row.others {
            Some((name, own)) => (name, self.compared_others(row, own)),
            None => (cell.series, self.compared(&cell)),
        };
        let unit = wire::unit_of(self.app.store.kpis(), &series.kpi);
        Shown {
            cell: wire::Cell::served(ServedCell { series, ..cell }, unit),
            future: cell.period_start > self.as_of,
            part: is_top.then_some(row.part),
            compared: compared.map(wire::ComparedView::new),
        }
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
