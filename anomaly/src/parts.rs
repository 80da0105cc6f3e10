//! What an alert names as the parts of a deviation.
//!
//! # Guarantees
//! - Parts have the direction of the deviation, the largest first; those of one KPI are of disjoint series where they are
//!   elements.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use schemas::{Contribution, KpiInfo, KpiKind, Unit};
use serde_json::Value;

use crate::causes::{Cause, Leaf, Measure, causes};
use crate::number::float;

/// Parts that an alert names.
const PARTS: usize = 3;

/// What a series of a KPI that breaks another down was, and was expected to be.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) dims: Arc<str>,
    pub(crate) value: i128,
    pub(crate) expected: i128,
}

impl Part {
    fn gap(&self) -> i128 {
        self.value.saturating_sub(self.expected)
    }

    fn goes(&self, down: bool) -> bool {
        self.gap() != 0 && (self.gap() < 0) == down
    }
}

/// The parts of a deviation of `whole` by the series of `child`: elements of up to three dimensions where it has two or more
/// that `whole` has not and sums that add up, else its series that have the direction.
pub(crate) fn parts(
    whole: &KpiInfo,
    child: &KpiInfo,
    series: Vec<Part>,
    down: bool,
) -> Vec<Contribution> {
    let free: Vec<&str> =
        child.dims.iter().filter(|d| !whole.dims.contains(d)).map(|d| &**d).collect();
    let searched = match free.len() > 1 && child.kind == KpiKind::Flow {
        true => elements(child, &free, &series, down),
        false => Vec::new(),
    };
    let parts = if searched.is_empty() { series } else { searched };
    let named = parts.into_iter().filter(|part| part.goes(down)).map(|part| Contribution {
        kpi: Arc::clone(&child.key),
        dims: part.dims,
        value: part.value,
        expected: part.expected,
    });
    named.collect()
}

/// The largest of all parts.
pub(crate) fn largest(mut all: Vec<Contribution>) -> Vec<Contribution> {
    let gap = |part: &Contribution| part.value.saturating_sub(part.expected).unsigned_abs();
    all.sort_by(|a, b| (Reverse(gap(a)), &a.kpi, &a.dims).cmp(&(Reverse(gap(b)), &b.kpi, &b.dims)));
    all.truncate(PARTS);
    all
}

/// The causes of what the series did together, none where that has another direction: in an hour in progress all but
/// what is far too high is still below.
fn elements(child: &KpiInfo, free: &[&str], series: &[Part], down: bool) -> Vec<Part> {
    let change = series.iter().fold(0_i128, |sum, part| sum.saturating_add(part.gap()));
    if change == 0 || (change < 0) != down {
        return Vec::new();
    }
    let measure = if child.unit == Unit::Count { Measure::Count } else { Measure::Amount };
    let named: Vec<BTreeMap<String, Value>> =
        series.iter().map(|part| serde_json::from_str(&part.dims).unwrap_or_default()).collect();
    let text = |dims: &BTreeMap<String, Value>, name: &str| {
        dims.get(name).map_or_else(|| "null".into(), |value| Arc::from(value.to_string()))
    };
    let leaf = |(part, dims): (&Part, &BTreeMap<String, Value>)| Leaf {
        values: free.iter().map(|name| text(dims, name)).collect(),
        actual: float(part.value),
        expected: float(part.expected),
    };
    let leaves: Vec<Leaf> = series.iter().zip(&named).map(leaf).collect();
    let found = causes(&leaves, measure);
    let mut taken = vec![false; series.len()];
    let summed = |cause: &Cause| summed(cause, free, (series, &named, &leaves), &mut taken);
    found.causes.iter().filter_map(summed).collect()
}

/// The exact sums of a cause's series that no cause before it has taken.
fn summed(
    cause: &Cause,
    free: &[&str],
    (series, named, leaves): (&[Part], &[BTreeMap<String, Value>], &[Leaf]),
    taken: &mut [bool],
) -> Option<Part> {
    let (mut value, mut expected) = (0_i128, 0_i128);
    let mut dims: Option<BTreeMap<String, Value>> = None;
    for (((part, names), leaf), taken) in series.iter().zip(named).zip(leaves).zip(taken) {
        let is_of = |(dim, value): &(usize, Arc<str>)| leaf.values.get(*dim) == Some(value);
        if *taken || !cause.element.iter().all(is_of) {
            continue;
        }
        *taken = true;
        value = value.saturating_add(part.value);
        expected = expected.saturating_add(part.expected);
        // The dimensions of the whole, which are the same in all, and those of the element.
        dims.get_or_insert_with(|| {
            let fixes = |name: &str| {
                let free = free.iter().position(|own| *own == name);
                free.is_none_or(|at| cause.element.iter().any(|(dim, _)| *dim == at))
            };
            let kept = names.iter().filter(|(name, _)| fixes(name));
            kept.map(|(name, value)| (name.clone(), value.clone())).collect()
        });
    }
    let dims = serde_json::to_string(&dims?).ok()?;
    Some(Part { dims: dims.into(), value, expected })
}

#[cfg(test)]
mod tests {
    use schemas::decimal::{VALUE_SCALE, parse};
    use schemas::{Good, Grains, Watching};

    use super::*;

    fn kpi(key: &str, dims: &[&str], kind: KpiKind) -> KpiInfo {
        KpiInfo {
            key: key.into(),
            title: key.into(),
            description: None,
            unit: Unit::Count,
            good: Good::Up,
            group: None,
            kind,
            dims: dims.iter().map(|name| (*name).to_owned()).collect(),
            grains: Grains::ALL,
            windows: Grains::WINDOWS,
            breakdown_of: None,
            parts: Vec::new(),
            is_net: false,
            currency: None,
            watching: Watching::default(),
        }
    }

    fn exact(text: &str) -> i128 {
        parse(text.as_bytes(), VALUE_SCALE).unwrap()
    }

    /// A hundred expected of each of four shops and four devices, and what shop 2 sells on phones.
    fn series(phones: &str) -> Vec<Part> {
        let mut series = Vec::new();
        for shop in 1..=4 {
            for device in ["phone", "pos", "tablet", "web"] {
                let value = if shop == 2 && device == "phone" { phones } else { "101.000001" };
                let dims = format!(r#"{{"currency":"USD","device":"{device}","shop":"{shop}"}}"#);
                let (value, expected) = (exact(value), exact("100"));
                series.push(Part { dims: dims.into(), value, expected });
            }
        }
        series
    }

    fn of(kind: KpiKind, series: Vec<Part>, down: bool) -> Vec<Contribution> {
        let child = kpi("by_both", &["currency", "device", "shop"], kind);
        largest(parts(&kpi("whole", &["currency"], kind), &child, series, down))
    }

    #[test]
    fn an_element_is_named_with_its_exact_sums() {
        let named = of(KpiKind::Flow, series("350.5"), false);
        let [only] = named.as_slice() else { panic!("{named:#?}") };
        assert_eq!(&*only.dims, r#"{"currency":"USD","device":"phone","shop":"2"}"#);
        assert_eq!(
            (&*only.kpi, only.value, only.expected),
            ("by_both", exact("350.5"), exact("100"))
        );
        let mut whole_shop = series("350");
        for part in whole_shop.iter_mut().filter(|part| part.dims.contains(r#""shop":"2""#)) {
            part.value = exact("350.1");
        }
        let named = of(KpiKind::Flow, whole_shop, false);
        let [only] = named.as_slice() else { panic!("{named:#?}") };
        assert_eq!(&*only.dims, r#"{"currency":"USD","shop":"2"}"#);
        assert_eq!((only.value, only.expected), (exact("1400.4"), exact("400")));
    }

    #[test]
    fn series_are_named_where_there_is_no_element() {
        // Nothing is beyond chance.
        assert_eq!(of(KpiKind::Flow, series("103"), false).len(), PARTS);
        // Together they went up, and the alert is about what went down.
        let mut mixed = series("350");
        mixed[0].value = exact("60");
        let named = of(KpiKind::Flow, mixed, true);
        assert_eq!(named.iter().map(|part| part.value).collect::<Vec<_>>(), [exact("60")]);
        // What does not add up has no elements.
        let named = of(KpiKind::Distinct, series("350"), false);
        assert_eq!(named.len(), PARTS);
        assert_eq!(named[0].value, exact("350"));
    }

    #[test]
    fn one_free_dimension_is_as_its_series() {
        let whole = kpi("whole", &["currency", "device"], KpiKind::Flow);
        let child = kpi("by_both", &["currency", "device", "shop"], KpiKind::Flow);
        let named = largest(parts(&whole, &child, series("350"), false));
        assert_eq!(named.len(), PARTS);
        assert_eq!(named[0].value, exact("350"));
    }
}
