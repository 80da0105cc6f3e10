//! A KPI and its cells for tests.

use schemas::{
    CellValue, Good, Grain, KnownSeries, KpiInfo, KpiKind, Micros, Status, Unit, Watching,
};

use crate::number::mantissa;

/// The cost of a tenant, watched so.
pub(crate) fn kpi(watching: Watching) -> KpiInfo {
    KpiInfo {
        key: "total_cost".into(),
        title: "Total cost".into(),
        description: None,
        unit: Unit::Currency,
        good: Good::Down,
        group: None,
        kind: KpiKind::Flow,
        dims: vec!["currency".into()],
        currency: None,
        grains: schemas::Grains::ALL,
        windows: schemas::Grains::WINDOWS,
        breakdown_of: None,
        parts: Vec::new(),
        is_net: false,
        watching,
    }
}

/// A cell of one value.
pub(crate) fn cell(value: f64) -> CellValue {
    CellValue { value: mantissa(value), numerator: None, denominator: None, status: Status::Ok }
}

/// What is known of the cost of a tenant, for which no model is in force.
pub(crate) fn known(grain: Grain, points: &[(Micros, CellValue)]) -> KnownSeries<'_> {
    KnownSeries { kpi: "total_cost", tenant: "acme", grain, points, model: None }
}

/// An instant.
pub(crate) fn at(text: &str) -> Micros {
    Micros::parse(text).unwrap()
}
