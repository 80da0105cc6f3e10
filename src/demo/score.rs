//! How the alerts of a demo compare with the incidents that its generator put into the events.
//!
//! # Guarantees
//! - An alert counts for an incident when it is about the same tenant, about a KPI that this kind of
//!   incident moves, and about a bucket that the incident touched. What counts for none is false.
//!
//! # Non-guarantees
//! - Alerts of one incident on several KPIs are not merged: each is counted as true.

use std::borrow::Borrow;

use schemas::{Alert, Micros};

use super::generator::Incident;
use super::generator::incidents::{IncidentKind, REACH_BACK};

/// KPIs that follow from costs alone.
const COST_KPIS: [&str; 6] = [
    "total_cost",
    "cost_by_service",
    "cost_per_conversion",
    "cac",
    "scored_charges",
    "accuracy_points",
];
/// KPIs that follow from orders alone.
const ORDER_KPIS: [&str; 15] = [
    "revenue_booked",
    "revenue_recognized",
    "orders",
    "average_order_value",
    "revenue_by_channel",
    "revenue_by_country",
    "revenue_by_segment",
    "revenue_by_category",
    "revenue_per_buyer",
    "costed_revenue",
    "order_profit",
    "order_margin",
    "mrr_orders",
    "units_sold",
    "buyers",
];
/// KPIs that follow from both.
const BOTH: [&str; 2] = ["gross_margin", "roi"];

/// The result of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Score {
    pub(crate) injected: usize,
    pub(crate) caught: usize,
    /// Alerts that no incident explains.
    pub(crate) false_alerts: usize,
}

/// Compares alerts with the incidents that began before `until`.
pub(crate) fn score(incidents: &[Incident], alerts: &[impl Borrow<Alert>], until: Micros) -> Score {
    let alerts: Vec<&Alert> = alerts.iter().map(Borrow::borrow).collect();
    let begun: Vec<&Incident> = incidents.iter().filter(|i| i.start < until).collect();
    let caught = |incident: &&&Incident| alerts.iter().any(|alert| explains(incident, alert));
    let is_false = |alert: &&&Alert| !begun.iter().any(|incident| explains(incident, alert));
    Score {
        injected: begun.len(),
        caught: begun.iter().filter(caught).count(),
        false_alerts: alerts.iter().filter(is_false).count(),
    }
}

fn explains(incident: &Incident, alert: &Alert) -> bool {
    let kpi = &*alert.key.kpi;
    let moves = BOTH.contains(&kpi)
        || match incident.kind {
            IncidentKind::CostSpike => COST_KPIS.contains(&kpi),
            IncidentKind::OrderDrop | IncidentKind::PaymentOutage | IncidentKind::DiscountError => {
                ORDER_KPIS.contains(&kpi)
            }
        };
    let touched = incident.start.plus(-REACH_BACK);
    let (start, end) = (alert.key.period_start, alert.key.grain.end(alert.key.period_start));
    moves && *alert.key.tenant == *incident.tenant && start < incident.end && end > touched
}

#[cfg(test)]
mod tests {
    use schemas::{CellKey, Grain, Severity};

    use super::*;

    const HOUR: i64 = 3_600_000_000;

    fn incident(kind: IncidentKind, tenant: &str, start: i64) -> Incident {
        let (start, end) = (Micros(start), Micros(start + HOUR / 60));
        let tenant = tenant.to_owned();
        Incident { kind, tenant, service: None, channel: None, factor: 3, start, end }
    }

    fn alert(kpi: &str, tenant: &str, hour: i64) -> Alert {
        let key = CellKey {
            kpi: kpi.into(),
            tenant: tenant.into(),
            dims: "{}".into(),
            grain: Grain::Hour,
            period_start: Micros(hour * HOUR),
        };
        Alert {
            id: format!("{kpi}{tenant}{hour}").into(),
            key,
            incident: "".into(),
            rule: "seasonal".into(),
            anomaly_type: "spike".into(),
            severity: Severity::Error,
            opened_at: Micros(0),
            resolved_at: None,
            resolution: None,
            value: None,
            expected: None,
            lower: None,
            upper: None,
            deviation: 0.0,
            z_score: 0.0,
            p_value: 0.0,
            confidence: 1.0,
            reason: "".into(),
            contributions: Vec::new(),
            epoch: 1,
        }
    }

    #[test]
    fn counts_caught_missed_and_false() {
        let incidents = [
            incident(IncidentKind::CostSpike, "a", 100 * HOUR + 5),
            incident(IncidentKind::OrderDrop, "b", 100 * HOUR + 5),
            incident(IncidentKind::CostSpike, "a", 200 * HOUR),
        ];
        let alerts = [
            alert("cost_by_service", "a", 100),
            alert("total_cost", "a", 100),
            // Order incidents reach back two hours, but not three.
            alert("orders", "b", 97),
            // Not what a cost spike moves.
            alert("orders", "a", 100),
        ];
        let got = score(&incidents, &alerts, Micros(150 * HOUR));
        assert_eq!(got, Score { injected: 2, caught: 1, false_alerts: 2 });
        let more = [alert("orders", "b", 98), alert("roi", "b", 100)];
        let got = score(&incidents, &more, Micros(150 * HOUR));
        assert_eq!(got, Score { injected: 2, caught: 1, false_alerts: 0 });
    }
}
