//! KPI cells: one value per KPI, tenant, dimensions, grain and period.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::epoch::EpochId;
use crate::time::{Grain, Grains, Micros};
use crate::watching::Watching;
use crate::window::Window;

/// What names a cell.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CellKey {
    /// The KPI.
    pub kpi: Arc<str>,
    /// The tenant.
    pub tenant: Arc<str>,
    /// The dimensions as canonical JSON: keys sorted, no blanks, `{"currency":"USD"}`.
    pub dims: Arc<str>,
    /// The grain.
    pub grain: Grain,
    /// Where the period starts; of a window, whose period moves, [`crate::window::NO_START`].
    pub period_start: Micros,
}

/// Whether a cell's value can be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// It has a value.
    Ok,
    /// It has a value, or none, that may be another one: a row that feeds it is in doubt, because a value of
    /// it was never sent or its newest change could not be read.
    InDoubt,
    /// It has none: a ratio whose denominator is zero or absent, money that a rate is lacking for, or a cell whose
    /// last row left.
    NoData,
    /// It could not be computed: a sum or quotient beyond `decimal(38, 10)`.
    Error,
}

impl Status {
    /// Every one of them.
    pub const ALL: [Status; 4] = [Status::Ok, Status::InDoubt, Status::NoData, Status::Error];

    /// The word used in tables, files and HTTP.
    pub fn name(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::InDoubt => "in_doubt",
            Status::NoData => "no_data",
            Status::Error => "error",
        }
    }
}

/// What a KPI's numbers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unit {
    /// Money in the currency of the `currency` dimension.
    Currency,
    /// A number of things.
    Count,
    /// A number without a unit.
    Ratio,
    /// Seconds.
    Duration,
    /// Points of a scale that the KPI describes.
    Score,
}

impl Unit {
    /// Every unit.
    pub const ALL: [Unit; 5] =
        [Unit::Currency, Unit::Count, Unit::Ratio, Unit::Duration, Unit::Score];

    /// The word used in tables, files and HTTP.
    pub fn name(self) -> &'static str {
        match self {
            Unit::Currency => "currency",
            Unit::Count => "count",
            Unit::Ratio => "ratio",
            Unit::Duration => "duration",
            Unit::Score => "score",
        }
    }
}

/// Which direction is good news.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Good {
    /// More is better.
    Up,
    /// Less is better.
    Down,
}

impl Good {
    /// The word used in files and HTTP.
    pub fn name(self) -> &'static str {
        match self {
            Good::Up => "up",
            Good::Down => "down",
        }
    }
}

/// How the values of a KPI's periods and dimensions go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KpiKind {
    /// They add up.
    Flow,
    /// A quotient, which rolls up by its parts.
    Ratio,
    /// A number of different values, which does not add up.
    Distinct,
    /// A least or greatest value, which does not add up.
    Extreme,
    /// The value that a share of all are not above, which does not add up.
    Percentile,
    /// What there is at the end of a period: a longer one has that of its last day.
    Stock,
    /// What is left at the end of a period of what there was before, as a share of that: a quotient of stocks.
    Retention,
}

impl KpiKind {
    /// Every kind.
    pub const ALL: [KpiKind; 7] = [
        KpiKind::Flow,
        KpiKind::Ratio,
        KpiKind::Distinct,
        KpiKind::Extreme,
        KpiKind::Percentile,
        KpiKind::Stock,
        KpiKind::Retention,
    ];

    /// Whether it is a quotient.
    pub fn is_ratio(self) -> bool {
        matches!(self, KpiKind::Ratio | KpiKind::Retention)
    }

    /// The word used in files and HTTP.
    pub fn name(self) -> &'static str {
        match self {
            KpiKind::Flow => "flow",
            KpiKind::Ratio => "ratio",
            KpiKind::Distinct => "distinct",
            KpiKind::Extreme => "extreme",
            KpiKind::Percentile => "percentile",
            KpiKind::Stock => "stock",
            KpiKind::Retention => "retention",
        }
    }
}

/// What the parts of Weir beyond the KPI engine need to know of a definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KpiInfo {
    /// Its key in tables, files and HTTP.
    pub key: Arc<str>,
    /// Its name for people.
    pub title: String,
    /// One sentence on what it says.
    pub description: Option<String>,
    /// What its numbers are.
    pub unit: Unit,
    /// Which direction is good news.
    pub good: Good,
    /// The group that pages show it in.
    pub group: Option<Arc<str>>,
    /// How its values go together.
    pub kind: KpiKind,
    /// The names of its dimensions, sorted.
    pub dims: Vec<String>,
    /// The lengths of its periods.
    pub grains: Grains,
    /// Its windows.
    pub windows: Grains,
    /// The KPI whose cells this one splits up by more dimensions.
    pub breakdown_of: Option<Arc<str>>,
    /// The KPIs that a ratio is a quotient of, each once.
    pub parts: Vec<KpiPart>,
    /// Whether it is a ratio above whose line what is below is taken away: (revenue - cost) / cost.
    pub is_net: bool,
    /// The currency that all its money is in, where that is no dimension.
    pub currency: Option<Arc<str>>,
    /// How it is watched.
    pub watching: Watching,
}

/// A KPI that a ratio is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KpiPart {
    /// Its key.
    pub kpi: Arc<str>,
    /// Whether more of it makes the ratio less.
    pub lowers: bool,
}

impl KpiInfo {
    /// Whether it is a quotient of sums.
    pub fn is_ratio(&self) -> bool {
        self.kind.is_ratio()
    }
}

/// A short name of a KPI's series (tenant and dimensions) that holds while the process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SeriesId {
    /// The KPI's number.
    pub kpi: u32,
    /// The number of its tenant and dimensions.
    pub series: u32,
}

/// What a cell says. Numbers are mantissas at [`crate::decimal::VALUE_SCALE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CellValue {
    /// The value, when `status` is ok or in doubt.
    pub value: Option<i128>,
    /// A ratio's numerator.
    pub numerator: Option<i128>,
    /// A ratio's denominator.
    pub denominator: Option<i128>,
    /// Whether the value can be shown.
    pub status: Status,
}

/// One change of one cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KpiUpdate {
    /// The cell.
    pub key: CellKey,
    /// Its series for quick look-ups.
    pub series: SeriesId,
    /// Its new value, or `None` when no row feeds it any more.
    pub value: Option<CellValue>,
    /// The epoch that changed it.
    pub epoch: EpochId,
    /// That epoch's clock, or when its window moved.
    pub as_of: Micros,
    /// Of a window that has a value: where it lies, and what it is compared with.
    pub window: Option<Box<Window>>,
}
