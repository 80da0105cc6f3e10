//! The shapes of answers that are written by [`crate::wire`], for the description of the API.
//!
//! # Non-guarantees
//! - Nothing here is ever made: a test compares what is answered with these shapes.
#![expect(dead_code, reason = "the fields are read by the derived descriptions only")]

use std::collections::BTreeMap;

/// Names of dimensions with their values.
#[derive(utoipa::ToSchema)]
#[schema(as = Dims)]
pub(super) struct Dims(BTreeMap<String, Option<String>>);

/// A period's length: of the calendar, or of a window, which ends with the running day or hour.
#[derive(utoipa::ToSchema)]
#[schema(as = Grain, rename_all = "lowercase")]
pub(super) enum GrainShape {
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
    #[schema(rename = "last_24h")]
    Last24Hours,
    #[schema(rename = "last_7d")]
    Last7Days,
    #[schema(rename = "last_30d")]
    Last30Days,
    #[schema(rename = "last_90d")]
    Last90Days,
    #[schema(rename = "all")]
    Always,
}

/// The values at an epoch.
#[derive(utoipa::ToSchema)]
#[schema(as = Kpis)]
pub(super) struct KpisShape {
    /// The epoch of the answer.
    epoch: u64,
    /// That epoch's clock.
    #[schema(format = DateTime)]
    as_of: String,
    /// Whether the answer may be old or incomplete; `/api/v1/status` says why.
    degraded: bool,
    /// By tenant, KPI, dimensions, grain and period, or as `sort` says.
    kpis: Vec<CellShape>,
    /// The `cursor` of the next page; null when this is the last one.
    next: Option<String>,
}

/// One value.
#[derive(utoipa::ToSchema)]
#[schema(as = Cell)]
pub(super) struct CellShape {
    /// The KPI.
    kpi: String,
    /// The tenant.
    tenant: String,
    /// The dimensions.
    dims: Dims,
    /// The length of the period.
    grain: GrainShape,
    /// Where the period starts.
    #[schema(format = DateTime)]
    period_start: String,
    /// Where the period of a window ends. There of windows only.
    #[schema(format = DateTime, required = false)]
    period_end: String,
    /// The value; null unless the status is `ok` or `in_doubt`.
    #[schema(pattern = r"^-?[0-9]+(\.[0-9]+)?$")]
    value: Option<String>,
    /// What the number is.
    unit: UnitShape,
    /// Whether there is a value.
    status: StatusShape,
    /// Whether the period had not begun at the answer's clock: its rows are dated later.
    future: bool,
    /// Whether it is all the values together that are not among the greatest; `dims` is without that dimension then.
    /// There only with `by`.
    others: bool,
    /// Of how many values it is made. There only with `by`.
    parts: u64,
    /// Whether the KPI's values add up; where they do not, that of the others is null. There only with `by`.
    adds_up: bool,
    /// The counterpart; null when the calendar has none. There only with `compare`.
    previous: Option<PreviousShape>,
    /// The value less that of the counterpart; null when one of them is. There only with `compare`.
    #[schema(pattern = r"^-?[0-9]+(\.[0-9]+)?$")]
    change: Option<String>,
    /// The change as a part of the counterpart; null where that is not above 0. There only with `compare`.
    #[schema(pattern = r"^-?[0-9]+(\.[0-9]+)?$")]
    change_ratio: Option<String>,
}

/// One period of a series.
#[derive(utoipa::ToSchema)]
#[schema(as = Point)]
pub(super) struct PointShape {
    /// Where the period starts.
    #[schema(format = DateTime)]
    period_start: String,
    /// The value; null unless the status is `ok` or `in_doubt`.
    #[schema(pattern = r"^-?[0-9]+(\.[0-9]+)?$")]
    value: Option<String>,
    /// Whether there is a value.
    status: StatusShape,
    /// Whether the period had ended at the answer's clock.
    closed: bool,
    /// Whether the period had not begun at the answer's clock: its rows are dated later.
    future: bool,
    /// What was expected; null while that cannot be said.
    #[schema(pattern = r"^-?[0-9]+(\.[0-9]+)?$")]
    expected: Option<String>,
    /// The least that is normal.
    #[schema(pattern = r"^-?[0-9]+(\.[0-9]+)?$")]
    lower: Option<String>,
    /// The most that is normal.
    #[schema(pattern = r"^-?[0-9]+(\.[0-9]+)?$")]
    upper: Option<String>,
    /// What people have planned for some of the period. There only where something is.
    planned: Option<String>,
    /// The counterpart; null when the calendar has none. There only with `compare`.
    previous: Option<PreviousShape>,
    /// The value less that of the counterpart; null when one of them is. There only with `compare`.
    #[schema(pattern = r"^-?[0-9]+(\.[0-9]+)?$")]
    change: Option<String>,
    /// The change as a part of the counterpart; null where that is not above 0. There only with `compare`.
    #[schema(pattern = r"^-?[0-9]+(\.[0-9]+)?$")]
    change_ratio: Option<String>,
}

/// An earlier period, of one that runs as much as has passed of it.
#[derive(utoipa::ToSchema)]
#[schema(as = Previous)]
struct PreviousShape {
    /// Where it starts.
    #[schema(format = DateTime)]
    period_start: String,
    /// Where the comparison ends.
    #[schema(format = DateTime)]
    period_end: String,
    /// Its value; null without data, and of a part of a period when the KPI does not add up.
    #[schema(pattern = r"^-?[0-9]+(\.[0-9]+)?$")]
    value: Option<String>,
}

/// What a number is.
#[derive(utoipa::ToSchema)]
#[schema(as = Unit, rename_all = "lowercase")]
pub(super) enum UnitShape {
    Currency,
    Count,
    Ratio,
    Duration,
    Score,
}

/// Whether there is a value, and whether it may be another one: `in_doubt` when a row that feeds it lacks a
/// value, or its newest change could not be read.
#[derive(utoipa::ToSchema)]
#[schema(as = CellStatus, rename_all = "snake_case")]
pub(super) enum StatusShape {
    Ok,
    InDoubt,
    NoData,
    Error,
}

/// The alerts at an epoch.
#[derive(utoipa::ToSchema)]
#[schema(as = Alerts)]
pub(super) struct AlertsShape {
    /// The epoch of the answer.
    epoch: u64,
    /// That epoch's clock.
    #[schema(format = DateTime)]
    as_of: String,
    /// Whether the answer may be old or incomplete; `/api/v1/status` says why.
    degraded: bool,
    /// Those that opened last first.
    #[schema(max_items = 10_000)]
    alerts: Vec<AlertShape>,
    /// Whether there are more than one answer can have.
    more: bool,
}

/// How much an alert matters.
#[derive(utoipa::ToSchema)]
#[schema(as = Severity, rename_all = "lowercase")]
pub(super) enum SeverityShape {
    Info,
    Warning,
    Error,
    Critical,
}

/// Whether an alert goes on. A notice may also say `withdrawn`: it should not have been, and is not in the lake.
#[derive(utoipa::ToSchema)]
#[schema(as = AlertState, rename_all = "lowercase")]
enum StateShape {
    Firing,
    Resolved,
    Withdrawn,
}

/// One alert.
#[derive(utoipa::ToSchema)]
#[schema(as = Alert)]
pub(super) struct AlertShape {
    /// Its id, the same for as long as it exists.
    id: String,
    /// The KPI.
    kpi: String,
    /// The tenant.
    tenant: String,
    /// The dimensions.
    dims: Dims,
    /// The length of the period.
    grain: GrainShape,
    /// Where the anomalous period starts.
    #[schema(format = DateTime)]
    period_start: String,
    /// How much it matters: the most it has been since it opened.
    severity: SeverityShape,
    /// Whether it goes on.
    state: StateShape,
    /// The alert that leads those of the same cause, by its id; this one, if it leads.
    incident: String,
    /// Who looks after it: the newest of those who said so.
    acknowledged_by: Option<String>,
    /// When they said so.
    #[schema(format = DateTime)]
    acknowledged_at: Option<String>,
    /// With which words.
    acknowledged_comment: Option<String>,
    /// Whether it was right, in somebody's opinion.
    feedback: Option<FeedbackShape>,
    /// Whether nobody is told of it for a while.
    muted: bool,
    /// Until when.
    #[schema(format = DateTime)]
    muted_until: Option<String>,
    /// What the period says; null when nothing arrived.
    #[schema(pattern = r"^-?[0-9]+(\.[0-9]+)?$")]
    value: Option<String>,
    /// What was expected.
    #[schema(pattern = r"^-?[0-9]+(\.[0-9]+)?$")]
    expected: Option<String>,
    /// The least that would have been normal.
    #[schema(pattern = r"^-?[0-9]+(\.[0-9]+)?$")]
    lower: Option<String>,
    /// The most that would have been normal.
    #[schema(pattern = r"^-?[0-9]+(\.[0-9]+)?$")]
    upper: Option<String>,
    /// One plain sentence.
    reason: String,
    /// When it opened.
    #[schema(format = DateTime)]
    opened_at: String,
    /// When it was resolved.
    #[schema(format = DateTime)]
    resolved_at: Option<String>,
    /// Why it was resolved.
    resolution: Option<String>,
    /// The rule that found it.
    rule: String,
    /// `spike`, `drop` or `missing`.
    anomaly_type: String,
    /// (value - expected) / |expected|; of a ratio KPI value - expected. Null when it is not finite.
    deviation: Option<f64>,
    /// The largest parts of the deviation, largest first.
    contributions: Vec<ContributionShape>,
}

/// What somebody thinks of an alert.
#[derive(utoipa::ToSchema)]
#[schema(as = GivenFeedback)]
struct FeedbackShape {
    /// Whether it was right.
    verdict: super::answers::VerdictBody,
    /// Who said so.
    by: String,
    /// When.
    #[schema(format = DateTime)]
    at: String,
    /// With which words.
    comment: Option<String>,
}

/// An alert and what was told of it.
#[derive(utoipa::ToSchema)]
#[schema(as = OneAlert)]
pub(super) struct OneAlertShape {
    /// The epoch of the answer.
    epoch: u64,
    /// That epoch's clock.
    #[schema(format = DateTime)]
    as_of: String,
    /// Whether the answer may be old or incomplete; `/api/v1/status` says why.
    degraded: bool,
    /// The alert.
    alert: AlertShape,
    /// What was told of it, the newest first; null when that cannot be read at the moment.
    #[schema(max_items = 100)]
    deliveries: Option<Vec<DeliveryShape>>,
}

/// What became of one thing that was told.
#[derive(utoipa::ToSchema)]
#[schema(as = Delivery)]
struct DeliveryShape {
    /// Whom it is for.
    route: String,
    /// What is told: `opened`, `updated`, `resolved` or `withdrawn`.
    kind: String,
    /// `waiting`, `delivered`, `refused`, `given up`, `skipped`, `collected` or `digested`.
    state: String,
    /// How often it was tried.
    attempts: u32,
    /// When it was written.
    #[schema(format = DateTime)]
    made_at: String,
    /// Until when it waits because of the quiet hours of its route, if it does.
    #[schema(format = DateTime)]
    quiet_until: Option<String>,
    /// When it was delivered, given up or skipped.
    #[schema(format = DateTime)]
    ended_at: Option<String>,
    /// Why the last try failed.
    error: Option<String>,
    /// Silences of the receiver that keep it from passing the alert on, as it said last.
    #[schema(max_items = 1000)]
    silenced_by: Vec<String>,
    /// Alerts that keep the receiver from passing this one on: their ids, or how the receiver names them.
    #[schema(max_items = 1000)]
    inhibited_by: Vec<String>,
}

/// A part of an alert's deviation.
#[derive(utoipa::ToSchema)]
#[schema(as = Contribution)]
struct ContributionShape {
    /// The KPI that breaks the cell down.
    kpi: String,
    /// Its dimensions.
    dims: Dims,
    /// What it was.
    #[schema(pattern = r"^-?[0-9]+(\.[0-9]+)?$")]
    value: String,
    /// What was expected of it.
    #[schema(pattern = r"^-?[0-9]+(\.[0-9]+)?$")]
    expected: String,
}
