//! Incidents: alerts of one cause go under the one that says it most broadly.
//!
//! # Guarantees
//! - Every alert is of one incident, whose name is the id of the alert that leads it; one that leads stands under
//!   itself. Who leads does not change while it is open.
//! - Alerts are of one incident when they are of one tenant, about buckets that overlap or follow each other, and of
//!   one KPI, of KPIs that break the same one down, or of a ratio and one of its parts, each in the direction that
//!   the cause gives it.
//! - Of alerts that open in one epoch, the one with the fewest dimensions leads, and of those the one of the longest
//!   period; a ratio leads only where none of its parts does.
//!
//! # Non-guarantees
//! - Two causes that move one KPI the same way at the same time are one incident.

use std::cmp::Reverse;
use std::sync::Arc;

use schemas::{Alert, Calendar, Grain, KpiInfo, Micros};

use crate::alert_book::AlertBook;
use crate::reason;

/// Gives the alerts that have opened their incidents.
pub(crate) fn group(
    alerts: &mut AlertBook,
    (kpis, calendar): (&[KpiInfo], &Calendar),
    opened: Vec<Arc<str>>,
) {
    let known = |id: Arc<str>| Some(Rank::of(alerts.find(&id)?.1, kpis));
    let mut opened: Vec<Rank> = opened.into_iter().filter_map(known).collect();
    opened.sort();
    opened.dedup();
    for rank in opened {
        let Some(alert) = alerts.find(&rank.id).map(|(_, alert)| alert.clone()) else { continue };
        // One that opens again and led before has others under it.
        if alert.incident == alert.id {
            continue;
        }
        let leads = |own: &&Alert| own.incident == own.id && is_one(own, &alert, kpis, calendar);
        let leaders = alerts.open_of(&alert.key.tenant);
        let leader = leaders.into_iter().filter(leads).map(|own| Rank::of(own, kpis)).min();
        let incident = leader.map_or(rank.id, |leader| leader.id);
        if let Some(held) = alerts.get_mut(&alert.id) {
            held.incident = incident;
        }
    }
}

/// Who leads comes first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    is_ratio: bool,
    dims: usize,
    grain: Reverse<Grain>,
    opened_at: Micros,
    kpi: Arc<str>,
    id: Arc<str>,
}

impl Rank {
    fn of(alert: &Alert, kpis: &[KpiInfo]) -> Rank {
        let Alert { id, key, opened_at, .. } = alert;
        Rank {
            is_ratio: info(kpis, &key.kpi).is_some_and(KpiInfo::is_ratio),
            dims: reason::dims(&key.dims).len(),
            grain: Reverse(key.grain),
            opened_at: *opened_at,
            kpi: Arc::clone(&key.kpi),
            id: Arc::clone(id),
        }
    }
}

fn info<'a>(kpis: &'a [KpiInfo], key: &str) -> Option<&'a KpiInfo> {
    kpis.iter().find(|kpi| &*kpi.key == key)
}

/// Whether two alerts of one tenant have one cause.
fn is_one(one: &Alert, two: &Alert, kpis: &[KpiInfo], calendar: &Calendar) -> bool {
    one.id != two.id && is_near(one, two, calendar) && is_related(one, two, kpis)
}

/// Whether their buckets overlap, or one begins where the other ends.
fn is_near(one: &Alert, two: &Alert, calendar: &Calendar) -> bool {
    let periods = calendar.of(&one.key.tenant);
    let end = |alert: &Alert| periods.later(alert.key.grain, alert.key.period_start, 1);
    one.key.period_start <= end(two) && two.key.period_start <= end(one)
}

/// Whether what moves one moves the other, and the same way.
fn is_related(one: &Alert, two: &Alert, kpis: &[KpiInfo]) -> bool {
    let (Some(first), Some(second)) = (info(kpis, &one.key.kpi), info(kpis, &two.key.kpi)) else {
        return false;
    };
    if whole(first) == whole(second) {
        return is_low(one) == is_low(two);
    }
    let agree = |ratio: (&KpiInfo, &Alert), part: (&KpiInfo, &Alert)| {
        let moves = ratio.0.parts.iter().find(|own| own.kpi == part.0.key);
        moves.is_some_and(|own| own.lowers == (is_low(ratio.1) != is_low(part.1)))
            && are_compatible(ratio.1, part.1)
    };
    agree((first, one), (second, two)) || agree((second, two), (first, one))
}

/// The KPI that this one breaks down, or itself.
fn whole(kpi: &KpiInfo) -> &str {
    kpi.breakdown_of.as_deref().unwrap_or(&kpi.key)
}

fn is_low(alert: &Alert) -> bool {
    alert.deviation < 0.0
}

/// Whether no dimension that both have differs.
fn are_compatible(one: &Alert, two: &Alert) -> bool {
    let (one, two) = (reason::dims(&one.key.dims), reason::dims(&two.key.dims));
    one.iter().all(|(name, value)| two.get(name).is_none_or(|own| own == value))
}

#[cfg(test)]
mod tests;
