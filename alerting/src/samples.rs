//! An alert and a notice for tests.

use schemas::{
    Alert, Answer, Answers, CellKey, Contribution, Good, Grain, Grains, KpiInfo, KpiKind, Micros,
    Severity, Unit,
};
use serde_json::json;

use crate::notice::{Kind, Notice, Words};

/// An alert on the revenue of acme by channel web.
pub(crate) fn alert(id: &str, severity: Severity, is_open: bool) -> Alert {
    Alert {
        id: id.into(),
        key: CellKey {
            kpi: "revenue_by_channel".into(),
            tenant: "acme".into(),
            dims: r#"{"channel":"web","country":null}"#.into(),
            grain: Grain::Hour,
            period_start: at("2026-11-21T09:00:00Z"),
        },
        incident: id.into(),
        rule: "seasonal".into(),
        anomaly_type: "drop".into(),
        severity,
        opened_at: at("2026-11-21T10:00:00Z"),
        resolved_at: (!is_open).then(|| at("2026-11-21T11:00:00Z")),
        resolution: (!is_open).then(|| "2 periods in a row were as expected".into()),
        value: Some(5_000_000_000),
        expected: Some(20_000_000_000),
        lower: Some(15_000_000_000),
        upper: Some(25_000_000_000),
        deviation: -0.75,
        z_score: -7.5,
        p_value: 0.0001,
        confidence: 0.9999,
        reason: "0.5 instead of 2".into(),
        contributions: vec![Contribution {
            kpi: "revenue_by_channel".into(),
            dims: r#"{"channel":"web"}"#.into(),
            value: 0,
            expected: 15_000_000_000,
        }],
        epoch: 7,
    }
}

/// How it is told.
pub(crate) fn words() -> Words {
    let kpi = KpiInfo {
        key: "revenue_by_channel".into(),
        title: "Revenue by channel".into(),
        description: None,
        unit: Unit::Currency,
        good: Good::Up,
        group: None,
        kind: KpiKind::Flow,
        dims: vec!["channel".into()],
        grains: Grains::default(),
        windows: Grains::NONE,
        breakdown_of: None,
        parts: Vec::new(),
        is_net: false,
        currency: None,
        watching: schemas::Watching::default(),
    };
    let body = |alert: &Alert, _: &Answer| json!({"id": &*alert.id, "reason": &*alert.reason});
    let kpis = vec![kpi].into();
    Words { kpis, public_url: Some("https://weir.example".into()), body: Box::new(body) }
}

/// What is told of it.
pub(crate) fn notice(id: &str, kind: Kind, severity: Severity) -> Notice {
    words().notice(&alert(id, severity, !kind.is_last()), kind, 1, &Answers::default())
}

pub(crate) fn at(text: &str) -> Micros {
    Micros::parse(text).unwrap()
}
