//! `GET /api/v1/sources`: the origins of every table, how far they were read, and what waits for somebody.
//!
//! # Guarantees
//! - Values of rows and names of keys are of all tenants, so a token for one tenant gets nothing.
//! - An answer has a bound, however many origins there are: those that wait for somebody come first.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use schemas::{Contents, Micros, OriginState, Outside};
use serde::Serialize;

use super::ask::{Ask, json, private};
use super::meta::reasons;
use crate::app::App;
use crate::claims::Scope;
use crate::problem::Problem;

/// The answer.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Sources {
    /// The last epoch that is served.
    epoch: u64,
    /// Its clock.
    #[schema(format = DateTime)]
    as_of: String,
    /// Whether answers may be old or incomplete.
    degraded: bool,
    /// Why.
    reasons: Vec<String>,
    /// By contract.
    tables: Vec<SourceTable>,
}

/// A table and where it comes from, as of about a second ago.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct SourceTable {
    /// The contract.
    contract: String,
    /// Rows.
    rows: u64,
    /// Rows with a value that was never sent.
    unknown: u64,
    /// Rows with an empty tenant, which are those of tenant `default`.
    empty_tenants: u64,
    /// Values that the contract does not allow, by column.
    outside: Vec<OutsideColumn>,
    /// How many origins there are.
    origins_total: u64,
    /// At most 200 of them: those that wait for somebody first, then by name.
    origins: Vec<SourceOrigin>,
}

/// Rows with values that a contract does not allow.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct OutsideColumn {
    /// The column.
    column: String,
    /// Rows with such a value.
    rows: u64,
    /// What is allowed, in words.
    allowed: String,
    /// Whether records with such a value are dead letters from now on.
    strict: bool,
    /// Some of the values, those of most rows first.
    values: Vec<OutsideValue>,
}

/// A value that a contract does not allow.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct OutsideValue {
    /// The value, shortened.
    value: String,
    /// Rows with it.
    rows: u64,
    /// The nearest value that is allowed, in words; empty when none is near.
    advice: String,
}

/// An origin: a table of a source database, or a topic.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct SourceOrigin {
    /// As `_origin` of silver says it.
    origin: String,
    /// The topics by which it came.
    topics: Vec<SourceTopic>,
    /// `halted`, `asks` (a snapshot lacked rows), `snapshot` (one is passing), `behind`, `quiet` or `ok`.
    status: &'static str,
    /// Why, and what to do, when it is halted or asks.
    why: Option<String>,
    /// Records of its topics that are not read yet.
    lag: i64,
    /// How old the change that was read last is at its source, while there are more; 0 when there are none.
    lag_seconds: Option<i64>,
    /// Where the change that was read last stands.
    position: Option<String>,
    /// The epoch that read it.
    epoch: Option<u64>,
    /// That epoch's clock.
    #[schema(format = DateTime)]
    as_of: Option<String>,
    /// Whether that epoch was a backlog or a snapshot, which opens no alerts.
    quiet: bool,
    /// Rows that a complete snapshot lacked and that wait for a decision.
    lacking: u64,
}

/// A topic of an origin.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct SourceTopic {
    /// The configured source.
    source: String,
    /// The topic.
    topic: String,
    /// Records of it that are not read yet, those of other origins included.
    lag: i64,
}

/// By source and topic, records that are not read yet.
type Lags = HashMap<(String, String), i64>;

/// Where tables come from: origins with lag, position, what is doubtful, and why.
#[utoipa::path(
    get,
    path = "/api/v1/sources",
    operation_id = "sources",
    responses((status = 200, description = "The origins now", body = Sources)),
    security(("bearer" = ["kpi:read"])),
)]
pub(crate) async fn sources(State(app): State<Arc<App>>, ask: Ask) -> Result<Response, Problem> {
    ask.claims.require(Scope::KpiRead)?;
    ask.claims.require_all_tenants()?;
    ask.query(&[])?;
    let position = app.store.position().ok_or_else(Problem::recovering)?;
    let report = app.health.report();
    let mut lags = Lags::new();
    for lag in report.lag {
        *lags.entry((lag.source, lag.topic)).or_default() += lag.lag;
    }
    let now = app.clock.now();
    let tables = report.contents.iter().map(|table| SourceTable::new(table, &lags, now));
    let tables = tables.collect();
    let reasons = reasons(&app, report.troubles, &position);
    let answer = Sources {
        epoch: position.offset,
        as_of: position.as_of.to_string(),
        degraded: !reasons.is_empty(),
        reasons,
        tables,
    };
    // It changes without an epoch, so it has no tag.
    Ok(private(json(&answer)?))
}

impl SourceTable {
    fn new(table: &Contents, lags: &Lags, now: Micros) -> SourceTable {
        SourceTable {
            contract: table.contract.clone(),
            rows: table.rows,
            unknown: table.unknown,
            empty_tenants: table.empty_tenants,
            outside: table.outside.iter().map(OutsideColumn::new).collect(),
            origins_total: table.origins_total,
            origins: table.origins.iter().map(|own| SourceOrigin::new(own, lags, now)).collect(),
        }
    }
}

impl OutsideColumn {
    fn new(outside: &Outside) -> OutsideColumn {
        let value = |own: &schemas::OutsideValue| OutsideValue {
            value: own.value.clone(),
            rows: own.rows,
            advice: own.hint.trim().to_owned(),
        };
        OutsideColumn {
            column: outside.column.clone(),
            rows: outside.rows,
            allowed: outside.allowed.clone(),
            strict: outside.is_strict,
            values: outside.values.iter().map(value).collect(),
        }
    }
}

impl SourceOrigin {
    fn new(own: &OriginState, lags: &Lags, now: Micros) -> SourceOrigin {
        let topic = |named: &(String, String)| SourceTopic {
            source: named.0.clone(),
            topic: named.1.clone(),
            lag: lags.get(named).copied().unwrap_or(0),
        };
        let topics: Vec<SourceTopic> = own.topics.iter().map(topic).collect();
        let lag = topics.iter().map(|topic| topic.lag).sum();
        let age = |at: Micros| (now.0.saturating_sub(at.0) / 1_000_000).max(0);
        let lag_seconds = if lag == 0 { Some(0) } else { own.source_at.map(age) };
        let status = match own {
            OriginState { halted: Some(_), .. } => "halted",
            OriginState { lacking: 1.., .. } => "asks",
            OriginState { has_snapshot: true, .. } => "snapshot",
            _ if lag > 0 => "behind",
            OriginState { is_quiet: true, .. } => "quiet",
            _ => "ok",
        };
        SourceOrigin {
            origin: own.origin.clone(),
            topics,
            status,
            why: own.halted.clone().or_else(|| own.lacking_why.clone()),
            lag,
            lag_seconds,
            position: own.position.clone(),
            epoch: own.epoch,
            as_of: own.clock.map(|clock| clock.to_string()),
            quiet: own.is_quiet,
            lacking: own.lacking,
        }
    }
}
