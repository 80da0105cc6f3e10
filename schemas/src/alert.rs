//! Alerts: what a detector says about a cell, from opening to resolution.
//!
//! # Guarantees
//! - An alert's id is a function of KPI, tenant, dimensions, grain, rule and the first anomalous
//!   bucket, so that a replay of the same epochs names the same alerts.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::epoch::EpochId;
use crate::kpi::CellKey;
use crate::time::{Grain, Micros};

/// How long after its resolution an alert is held in memory, in microseconds of epoch clock: thirty days.
pub const RESOLVED_FOR: i64 = 30 * 24 * 3_600 * 1_000_000;

/// How much an alert matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth a look.
    Info,
    /// Unusual.
    Warning,
    /// Very unusual.
    Error,
    /// Wakes people.
    Critical,
}

impl Severity {
    /// The word used in tables and HTTP.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Error => "error",
            Severity::Critical => "critical",
        }
    }

    /// Parses [`Severity::name`].
    pub fn parse(name: &str) -> Option<Severity> {
        [Severity::Info, Severity::Warning, Severity::Error, Severity::Critical]
            .into_iter()
            .find(|severity| severity.name() == name)
    }
}

/// A part of a cell's deviation: one value of a dimension that the KPI can be broken down by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Contribution {
    /// The KPI that breaks the cell down.
    pub kpi: Arc<str>,
    /// Its dimensions as canonical JSON.
    pub dims: Arc<str>,
    /// What it was, a mantissa at [`crate::decimal::VALUE_SCALE`].
    pub value: i128,
    /// What was expected of it.
    pub expected: i128,
}

/// One alert as it stands at an epoch. Money and ratios are mantissas at
/// [`crate::decimal::VALUE_SCALE`]; the statistics are plain floats.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    /// See [`alert_id`].
    pub id: Arc<str>,
    /// The cell: its newest anomalous bucket.
    pub key: CellKey,
    /// The alert that leads those of the same cause, by its id; this one, if it leads.
    pub incident: Arc<str>,
    /// The rule that found it, as `seasonal`, or as the KPI's file names it.
    pub rule: Arc<str>,
    /// What kind of anomaly it is: `spike`, `drop`, `missing`.
    pub anomaly_type: Arc<str>,
    /// How much it matters: the most it has been since it opened.
    pub severity: Severity,
    /// When it opened: an epoch's clock or the due time of a timer.
    pub opened_at: Micros,
    /// When it was resolved.
    pub resolved_at: Option<Micros>,
    /// Why it was resolved, in one sentence.
    pub resolution: Option<Arc<str>>,
    /// What the bucket says; `None` when nothing arrived.
    pub value: Option<i128>,
    /// What was expected.
    pub expected: Option<i128>,
    /// The least that would have been normal.
    pub lower: Option<i128>,
    /// The most that would have been normal.
    pub upper: Option<i128>,
    /// (value - expected) / |expected|; a ratio KPI: value - expected.
    pub deviation: f64,
    /// Distance from the expected value in robust standard deviations.
    pub z_score: f64,
    /// How likely so large a distance is by chance.
    pub p_value: f64,
    /// 1 - p-value.
    pub confidence: f64,
    /// One plain sentence.
    pub reason: Arc<str>,
    /// The largest parts of the deviation, largest first.
    pub contributions: Vec<Contribution>,
    /// The epoch that changed it last.
    pub epoch: EpochId,
}

impl Alert {
    /// Whether it is still open.
    pub fn is_open(&self) -> bool {
        self.resolved_at.is_none()
    }

    /// `firing` or `resolved`.
    pub fn state(&self) -> &'static str {
        if self.is_open() { "firing" } else { "resolved" }
    }

    /// Whether it was resolved over [`RESOLVED_FOR`] before the day of `now` began.
    pub fn is_long_over(&self, now: Micros) -> bool {
        let oldest = Grain::Day.start(now).plus(-RESOLVED_FOR);
        self.resolved_at.is_some_and(|at| at < oldest)
    }
}

/// The id of the alert of `rule` on the series and grain of `key`, whose first anomalous bucket is
/// the one of `key`: 32 hex digits.
pub fn alert_id(key: &CellKey, rule: &str) -> Arc<str> {
    let parts = [&*key.kpi, &*key.tenant, &*key.dims, key.grain.name(), rule];
    // Lengths keep neighbouring parts apart.
    let mut text: String = parts.iter().map(|part| format!("{}:{part}|", part.len())).collect();
    text.push_str(&key.period_start.0.to_string());
    format!("{:032x}", xxhash_rust::xxh3::xxh3_128(text.as_bytes())).into()
}
