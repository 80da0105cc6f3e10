//! Alerts of one cause, of two, and those that only look alike.

use schemas::{CellKey, Good, Grains, KpiKind, KpiPart, Severity, Unit};

use super::*;

const HOUR: i64 = 3_600_000_000;

fn kpis() -> Vec<KpiInfo> {
    let kpi = |key: &str, breakdown_of: Option<&str>, parts: &[(&str, bool)]| KpiInfo {
        key: key.into(),
        title: key.into(),
        description: None,
        unit: Unit::Currency,
        good: Good::Up,
        group: None,
        kind: if parts.is_empty() { KpiKind::Flow } else { KpiKind::Ratio },
        dims: Vec::new(),
        grains: Grains::ALL,
        windows: Grains::NONE,
        breakdown_of: breakdown_of.map(Arc::from),
        is_net: false,
        currency: None,
        watching: schemas::Watching::default(),
        parts: parts
            .iter()
            .map(|(kpi, lowers)| KpiPart { kpi: (*kpi).into(), lowers: *lowers })
            .collect(),
    };
    vec![
        kpi("cost", None, &[]),
        kpi("cost_by_service", Some("cost"), &[]),
        kpi("revenue", None, &[]),
        kpi("roi", None, &[("revenue", false), ("cost", true)]),
    ]
}

/// An alert: its KPI, its dimensions, its grain and the hour in which it starts, and its deviation.
fn alert(kpi: &str, dims: &str, grain: Grain, hour: i64, deviation: f64) -> Alert {
    let dims = dims.split(',').filter(|dim| !dim.is_empty());
    let dims: Vec<String> = dims
        .map(|dim| dim.split_once('=').unwrap())
        .map(|(name, value)| format!("\"{name}\":\"{value}\""))
        .collect();
    Alert {
        id: format!("{kpi} {} {grain} {hour}", dims.join(",")).into(),
        key: CellKey {
            kpi: kpi.into(),
            tenant: "t".into(),
            dims: format!("{{{}}}", dims.join(",")).into(),
            grain,
            period_start: Micros(hour * HOUR),
        },
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
        deviation,
        z_score: 0.0,
        p_value: 0.0,
        confidence: 1.0,
        reason: "".into(),
        contributions: Vec::new(),
        epoch: 1,
    }
}

/// The incidents of alerts that open in one epoch after another.
fn incidents(epochs: &[&[&Alert]]) -> Vec<String> {
    let mut book = AlertBook::new(Vec::new());
    for alerts in epochs {
        let mut opened = Vec::new();
        for alert in *alerts {
            book.get_or_insert_with(&alert.id, || (*alert).clone()).unwrap();
            opened.push(Arc::clone(&alert.id));
        }
        group(&mut book, (&kpis(), &Calendar::default()), opened);
    }
    let all = epochs.iter().flat_map(|alerts| alerts.iter());
    all.map(|alert| book.find(&alert.id).unwrap().1.incident.to_string()).collect()
}

#[test]
fn forty_services_and_their_sum_are_one_incident_which_the_sum_leads() {
    let parts: Vec<Alert> = (0..40)
        .map(|n| alert("cost_by_service", &format!("service=s{n:02}"), Grain::Hour, 10, 0.6))
        .collect();
    let sum = alert("cost", "", Grain::Hour, 10, 0.6);
    let of_day = alert("cost", "", Grain::Day, 0, 0.4);
    let ratio = alert("roi", "", Grain::Hour, 10, -0.6);
    let mut first: Vec<&Alert> = parts.iter().collect();
    first.extend([&sum, &ratio]);
    let all = incidents(&[&first, &[&of_day]]);
    assert_eq!(all.len(), 43);
    assert!(all.iter().all(|incident| **incident == *sum.id), "{all:?}");
}

#[test]
fn what_leads_goes_on_leading() {
    let (early, late) = (
        alert("cost_by_service", "service=a", Grain::Hour, 10, 0.6),
        alert("cost", "", Grain::Hour, 10, 0.6),
    );
    assert_eq!(incidents(&[&[&early], &[&late]]), [&*early.id, &*early.id]);
}

#[test]
fn what_differs_in_time_direction_or_kind_is_another_incident() {
    let cost = alert("cost", "", Grain::Hour, 10, 0.6);
    for other in [
        alert("cost", "", Grain::Hour, 12, 0.6),
        alert("cost_by_service", "service=a", Grain::Hour, 10, -0.6),
        alert("revenue", "", Grain::Hour, 10, 0.6),
        // What makes cost more makes the return less.
        alert("roi", "", Grain::Hour, 10, 0.6),
    ] {
        assert_eq!(incidents(&[&[&cost], &[&other]]), [&*cost.id, &*other.id], "{}", other.id);
    }
    // The next hour is the same incident.
    let next = alert("cost", "", Grain::Hour, 11, 0.6);
    assert_eq!(incidents(&[&[&cost], &[&next]]), [&*cost.id, &*cost.id]);
}

#[test]
fn a_ratio_and_its_part_have_no_dimension_that_differs() {
    let cost = alert("cost", "currency=EUR", Grain::Hour, 10, 0.6);
    let other = alert("roi", "currency=USD", Grain::Hour, 10, -0.6);
    let same = alert("roi", "currency=EUR", Grain::Hour, 10, -0.6);
    assert_eq!(incidents(&[&[&cost, &other, &same]]), [&*cost.id, &*other.id, &*cost.id]);
}

#[test]
fn one_that_is_over_leads_nothing_more() {
    let mut book = AlertBook::new(Vec::new());
    let (first, second) =
        (alert("cost", "", Grain::Hour, 10, 0.6), alert("cost", "", Grain::Hour, 11, 0.6));
    let known = (kpis(), Calendar::default());
    book.get_or_insert_with(&first.id, || first.clone()).unwrap();
    group(&mut book, (&known.0, &known.1), vec![Arc::clone(&first.id)]);
    book.get_mut(&first.id).unwrap().resolved_at = Some(Micros(1));
    book.get_or_insert_with(&second.id, || second.clone()).unwrap();
    group(&mut book, (&known.0, &known.1), vec![Arc::clone(&second.id)]);
    assert_eq!(book.find(&second.id).unwrap().1.incident, second.id);
}
