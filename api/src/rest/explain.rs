//! `GET /api/v1/kpis/{kpi}/explain`: the rows and records that cells come from.
//!
//! # Guarantees
//! - Cells and rows are of one epoch, the one that was flushed last: cells are what the tables say, not what is served.
//! - One answer is worked out at a time, over at most [`ROWS_MAX`] rows and for a bounded time; another one is asked to
//!   come again.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use schemas::{
    FedCell, FedInput, FedPart, FeedingRow, Grain, Grains, KpiInfo, KpiProvenance, Micros,
    NotLedBack, Provenance, ProvenanceQuestion, SourceRecord,
};
use serde::Serialize;
use serde_json::value::RawValue;

use super::ask::{Ask, json, private};
use super::shapes::{Dims, GrainShape, StatusShape, UnitShape};
use crate::app::App;
use crate::claims::Scope;
use crate::problem::Problem;
use crate::query::{DIM, Query, find};
use crate::wire;

const PARAMETERS: [&str; 6] = ["tenant", "grain", "period_start", DIM, "limit", "cursor"];
/// Rows that are looked at for an answer.
const ROWS_MAX: usize = 100_000;
/// Rows of one answer.
const PAGE_MAX: usize = 10_000;
const PAGE: usize = 100;

/// What cells come from.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Explained {
    /// The KPI.
    #[schema(value_type = String)]
    kpi: Arc<str>,
    /// The tenant.
    #[schema(value_type = String)]
    tenant: Arc<str>,
    /// The length of the period.
    #[schema(value_type = GrainShape)]
    grain: &'static str,
    /// What the numbers are.
    #[schema(value_type = UnitShape)]
    unit: &'static str,
    /// The epoch of cells and rows: the one that was flushed last.
    epoch: u64,
    /// That epoch's clock.
    #[schema(format = DateTime)]
    as_of: String,
    /// Whether the answer may be old or incomplete; `/api/v1/status` says why.
    degraded: bool,
    /// One a cell, by dimensions.
    groups: Vec<Group>,
    /// A page of the rows of all groups, by group, part and key.
    rows: Vec<Row>,
    /// The `cursor` of the next page; null when this is the last one.
    next: Option<String>,
}

/// A cell, and what its rows add up to.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = ExplainedGroup)]
struct Group {
    /// The dimensions.
    #[schema(value_type = Dims)]
    dims: Box<RawValue>,
    /// Where the period starts; null when there is no such cell.
    #[schema(format = DateTime)]
    period_start: Option<String>,
    /// Where it ends.
    #[schema(format = DateTime)]
    period_end: Option<String>,
    /// The value.
    #[schema(pattern = r"^-?[0-9]+(\.[0-9]+)?$")]
    value: Option<String>,
    /// A ratio's numerator.
    #[schema(pattern = r"^-?[0-9]+(\.[0-9]+)?$")]
    numerator: Option<String>,
    /// A ratio's denominator.
    #[schema(pattern = r"^-?[0-9]+(\.[0-9]+)?$")]
    denominator: Option<String>,
    /// Whether there is a value; null when there is no such cell.
    #[schema(value_type = Option<StatusShape>)]
    status: Option<&'static str>,
    /// The parts of the KPI's formula.
    parts: Vec<PartOf>,
}

/// A part of a KPI's formula: an aggregate of rows of a contract, or of a view.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = ExplainedPart)]
struct PartOf {
    /// The KPI that it is.
    kpi: String,
    /// Where it stands: `value`, `numerator` or `denominator`.
    role: &'static str,
    /// Whether it is taken away.
    minus: bool,
    /// The contract of its rows, or the view.
    contract: String,
    /// The view, where its rows are those of one.
    view: Option<String>,
    /// The contracts of the rows that its rows are made of.
    contracts: Vec<String>,
    /// `exact`, or `partition`: then some of the inputs that are told make the row, all in the partition of a window
    /// function of the view.
    lineage: &'static str,
    /// What is done with the rows' amounts: `count`, `sum`, `distinct`, `min`, `max` or `percentile`.
    aggregate: &'static str,
    /// What the rows' amounts add up to; null where they do not.
    #[schema(pattern = r"^-?[0-9]+(\.[0-9]+)?$")]
    sum: Option<String>,
    /// How many rows feed it.
    rows_total: usize,
}

/// A row that feeds a cell. Of a row of a view key, origin and records are those of the first of its inputs.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = ExplainedRow)]
struct Row {
    /// The place of its cell in `groups`, from 0.
    group: usize,
    /// The place of its part in the cell's `parts`, from 0.
    part: usize,
    /// The columns of its key with their values.
    key: BTreeMap<String, String>,
    /// The table of the source that it came from.
    origin: String,
    /// What it brings: the number that is added, or the value that is counted.
    amount: Option<String>,
    /// Why it is in doubt.
    doubt: Option<String>,
    /// The epoch that changed it last.
    epoch: i64,
    /// The record that wrote it last, then those of values that this left out.
    records: Vec<Record>,
    /// Of a row of a view the rows of contracts that it is made of.
    inputs: Vec<Input>,
    /// Whether it is made of more of them.
    more_inputs: bool,
    /// How many rows of other tenants it is made of, which this token may not see.
    withheld: usize,
}

/// A row of a contract that a row of a view is made of.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = ExplainedInput)]
struct Input {
    /// Its contract.
    contract: String,
    /// The columns of its key with their values.
    key: BTreeMap<String, String>,
    /// The table of the source that it came from.
    origin: String,
    /// Why it is in doubt.
    doubt: Option<String>,
    /// The epoch that changed it last.
    epoch: i64,
    /// The record that wrote it last, then those of values that this left out.
    records: Vec<Record>,
}

/// A record of a source.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = ExplainedRecord)]
struct Record {
    /// The configured source; null when that life of the topic is not known any more.
    source: Option<String>,
    /// The topic, or file.
    topic: Option<String>,
    /// The partition.
    partition: i32,
    /// The offset.
    offset: i64,
    /// The column whose value it sent; null of the record that wrote the row.
    column: Option<String>,
}

/// What a page ended with.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Place {
    question: String,
    dims: String,
    part: usize,
    key: Vec<(String, String)>,
    origin: String,
    tie: String,
}

/// Which page of the rows is asked for.
struct Page {
    question: String,
    limit: usize,
    after: Option<Place>,
}

/// The rows and records that the cells of one period come from, as the tables say it.
///
/// Of a KPI over a view these are the rows of the view, each with the rows of contracts that it is made of, of which a
/// hundred are told. Over at most 100,000 rows.
#[utoipa::path(
    get,
    path = "/api/v1/kpis/{kpi}/explain",
    operation_id = "explain",
    params(
        ("kpi" = String, Path, description = "The KPI's key.", min_length = 1, max_length = 256),
        super::document::ExplainQuery,
    ),
    responses((status = 200, description = "Cells, rows and records at an epoch", body = Explained)),
    security(("bearer" = ["kpi:read"])),
)]
pub(crate) async fn explain(
    State(app): State<Arc<App>>,
    ask: Ask,
    kpi: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    ask.claims.require(Scope::KpiRead)?;
    let query = ask.query(&PARAMETERS)?;
    let Path(kpi) = kpi.map_err(|_| Problem::not_found("the KPI's key is not UTF-8 text"))?;
    let (question, tenant) = asked(&app, &ask, &query, &kpi)?;
    let page = Page::of(&ask, &query)?;
    let position = app.store.position().ok_or_else(Problem::recovering)?;
    let info = find(app.store.kpis(), &kpi)?.clone();
    let troubled = !app.health.report().troubles.is_empty();
    let degraded = troubled || !position.degraded.is_empty();
    let Some(provenance) = app.provenance.as_ref().map(Arc::clone) else {
        let detail = "this server reads no tables, so cells cannot be led back to their rows";
        return Err(Problem::not_found(detail));
    };
    let turn = Arc::clone(&app.explain_turns).try_acquire_owned().map_err(|_| {
        let detail =
            "other cells are being led back to their rows, one answer at a time; ask again";
        Problem::not_now(detail, 1)
    })?;
    let work = move || {
        let found = read(&*provenance, &question)?;
        // The turn ends when the work does, also when the client has gone.
        drop(turn);
        let answer = answer(found, (&info, tenant), question.grain, &page, degraded);
        Ok(private(json(&answer)?))
    };
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| {
        tracing::error!(%error, "leading cells back to their rows failed");
        let detail = "the answer cannot be computed; the log of the server says why";
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
    })?
}

/// Which cells are asked for, within what the token allows.
fn asked(
    app: &App,
    ask: &Ask,
    query: &Query,
    kpi: &str,
) -> Result<(ProvenanceQuestion, Arc<str>), Problem> {
    let tenant = ask.claims.tenant(query.tenant()?)?;
    let info = find(app.store.kpis(), kpi)?;
    let tenant = tenant.ok_or_else(|| {
        Problem::bad_parameter("tenant", "say whose cells by `tenant`; this token is for several")
    })?;
    // What has no period is of all time.
    let usual = if info.grains == Grains::NONE { Grain::Always } else { Grain::Day };
    let grain = query.grain()?.unwrap_or(usual);
    let start = start(app, query, &tenant, grain)?;
    let dims = query.own_dims(info)?;
    let others = ask.claims.require_all_tenants().is_ok();
    let (kpi, own) = (kpi.to_owned(), tenant.to_string());
    Ok((ProvenanceQuestion { kpi, tenant: own, grain, start, dims, others }, tenant))
}

/// Where the period starts that is asked for: the one that holds the instant, or that begins on the tenant's date.
fn start(app: &App, query: &Query, tenant: &str, grain: Grain) -> Result<Micros, Problem> {
    let given = query.instant("period_start")?;
    let at = match (given, grain.is_window()) {
        (None, true) => return Ok(Micros(0)),
        (Some(_), true) => {
            let detail = format!("`{grain}` is one period, which moves; leave `period_start` out");
            return Err(Problem::bad_parameter("period_start", detail));
        }
        (Some(at), false) => at,
        (None, false) => app.store.position().ok_or_else(Problem::recovering)?.as_of,
    };
    let periods = app.calendar.of(tenant);
    let is_date = query.text("period_start").is_some_and(|text| !text.contains(['T', 't']));
    Ok(match is_date && grain != Grain::Hour {
        true => periods.start(grain, periods.midnight(at.day())),
        false => periods.start(grain, at),
    })
}

fn read(
    provenance: &dyn KpiProvenance,
    question: &ProvenanceQuestion,
) -> Result<Provenance, Problem> {
    let narrow = "narrow it by a shorter `grain` or by `dim.NAME`";
    provenance.provenance(question, ROWS_MAX).map_err(|error| match error {
        NotLedBack::Never(detail) => Problem::new(StatusCode::BAD_REQUEST, detail),
        NotLedBack::TooMany => {
            let detail = format!("more than {ROWS_MAX} rows feed these cells; {narrow}");
            Problem::new(StatusCode::BAD_REQUEST, detail)
        }
        NotLedBack::TooLong => Problem::not_now(
            format!("reading the tables took too long and was given up; {narrow}"),
            10,
        ),
        NotLedBack::NotYet(detail) => Problem::not_now(detail, 5),
        NotLedBack::Failed(error) => {
            tracing::error!(%error, "tables cannot be read");
            let detail = "the tables cannot be read; the log of the server says why";
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
        }
    })
}

fn answer(
    found: Provenance,
    (info, tenant): (&KpiInfo, Arc<str>),
    grain: Grain,
    page: &Page,
    degraded: bool,
) -> Explained {
    let Provenance { epoch, as_of, groups, rows } = found;
    let (rows, next) = page.cut(&groups, rows);
    Explained {
        kpi: Arc::clone(&info.key),
        tenant,
        grain: grain.name(),
        unit: info.unit.name(),
        epoch,
        as_of: as_of.to_string(),
        degraded,
        groups: groups.iter().filter_map(Group::shown).collect(),
        rows: rows.into_iter().map(Row::shown).collect(),
        next,
    }
}

impl Page {
    fn of(ask: &Ask, query: &Query) -> Result<Page, Problem> {
        let limit = query.count("limit", PAGE_MAX)?.unwrap_or(PAGE);
        let question = ask.question(&["cursor", "limit"]);
        let after = query.text("cursor").map(|text| Place::read(text, &question)).transpose()?;
        Ok(Page { question, limit, after })
    }

    /// The rows of the page, and the cursor of the next one.
    fn cut(&self, groups: &[FedCell], rows: Vec<FeedingRow>) -> (Vec<FeedingRow>, Option<String>) {
        let place = |row: &FeedingRow| Place {
            question: self.question.clone(),
            dims: groups.get(row.group).map(|group| group.dims.clone()).unwrap_or_default(),
            part: row.part,
            key: row.key.clone(),
            origin: row.origin.clone(),
            tie: row.tie.clone(),
        };
        let is_behind = |row: &FeedingRow| {
            self.after.as_ref().is_none_or(|after| place(row).order() > after.order())
        };
        let mut own: Vec<FeedingRow> =
            rows.into_iter().filter(is_behind).take(self.limit + 1).collect();
        let has_more = own.len() > self.limit;
        own.truncate(self.limit);
        let last = own.last().filter(|_| has_more);
        let next = last.map(|row| URL_SAFE_NO_PAD.encode(wire::json(&place(row))));
        (own, next)
    }
}

impl Place {
    fn order(&self) -> (&str, usize, &[(String, String)], &str, &str) {
        (&self.dims, self.part, &self.key, &self.origin, &self.tie)
    }

    fn read(text: &str, question: &str) -> Result<Place, Problem> {
        let read = || serde_json::from_slice::<Place>(&URL_SAFE_NO_PAD.decode(text).ok()?).ok();
        let refuse = |what: &str| {
            let detail =
                format!("`cursor` {what}; take `next` of an answer, or leave it out to begin");
            Problem::bad_parameter("cursor", detail)
        };
        let place = read().ok_or_else(|| refuse("is none that this route gave"))?;
        if place.question != question {
            return Err(refuse("is of another question or token: only `limit` may change"));
        }
        Ok(place)
    }
}

impl Group {
    fn shown(group: &FedCell) -> Option<Group> {
        let FedCell { dims, cell, parts } = group;
        let number = |of: fn(&schemas::CellValue) -> Option<i128>| {
            cell.as_ref().and_then(|(_, _, value)| of(value)).map(wire::decimal)
        };
        Some(Group {
            dims: RawValue::from_string(dims.clone()).ok()?,
            period_start: cell.as_ref().map(|(start, ..)| start.to_string()),
            period_end: cell.as_ref().map(|(_, end, _)| end.to_string()),
            value: number(|own| own.value),
            numerator: number(|own| own.numerator),
            denominator: number(|own| own.denominator),
            status: cell.as_ref().map(|(_, _, value)| value.status.name()),
            parts: parts.iter().map(PartOf::shown).collect(),
        })
    }
}

impl PartOf {
    fn shown(part: &FedPart) -> PartOf {
        let FedPart { kpi, role, minus, contract, view, contracts, lineage, .. } = part.clone();
        let FedPart { aggregate, sum, rows, .. } = *part;
        PartOf {
            kpi,
            role,
            minus,
            contract,
            view,
            contracts,
            lineage,
            aggregate,
            sum: sum.map(wire::decimal),
            rows_total: rows,
        }
    }
}

impl Row {
    fn shown(row: FeedingRow) -> Row {
        let FeedingRow { group, part, key, origin, amount, doubt, epoch, .. } = row;
        Row {
            group,
            part,
            key: key.into_iter().collect(),
            origin,
            amount,
            doubt,
            epoch,
            records: row.records.iter().map(Record::shown).collect(),
            inputs: row.inputs.iter().map(|own| Input::shown(own)).collect(),
            more_inputs: row.more_inputs,
            withheld: row.withheld,
        }
    }
}

impl Input {
    fn shown(input: &FedInput) -> Input {
        let FedInput { contract, key, origin, doubt, epoch, records } = input.clone();
        let key = key.into_iter().collect();
        let records = records.iter().map(Record::shown).collect();
        Input { contract, key, origin, doubt, epoch, records }
    }
}

impl Record {
    fn shown(record: &SourceRecord) -> Record {
        let SourceRecord { topic, partition, offset, column } = record.clone();
        let (source, topic) = topic.unzip();
        Record { source, topic, partition, offset, column }
    }
}
