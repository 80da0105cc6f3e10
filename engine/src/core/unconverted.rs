//! Money that cannot be converted: no rate of its currency is known on its day.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use schemas::Date;

/// A pair of currencies that a rate is lacking for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unconverted {
    /// `None`: rows say none.
    pub(crate) from: Option<Arc<str>>,
    pub(crate) to: Arc<str>,
    /// The first day without one.
    first: Date,
    /// The converted KPIs that have money of such days.
    kpis: Vec<Arc<str>>,
}

/// What is lacking, by pair.
pub(super) fn by_pair(all: Vec<gold::Unconverted>) -> Vec<Unconverted> {
    let mut pairs: BTreeMap<_, Unconverted> = BTreeMap::new();
    for gold::Unconverted { kpi, from, to, first } in all {
        let pair = (from.clone(), Arc::clone(&to));
        let held = pairs.entry(pair).or_insert(Unconverted { from, to, first, kpis: Vec::new() });
        held.first = held.first.min(first);
        held.kpis.push(kpi);
    }
    pairs.into_values().collect()
}

impl fmt::Display for Unconverted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Unconverted { from, to, first, kpis } = self;
        let kpis = kpis.join(", ");
        match from {
            Some(from) => write!(
                f,
                "no rate of `{from}` to `{to}` is known for {first}: what holds money of such days has no value in \
                 {kpis}; a row of `fx_rates` of that day or one before ends this"
            ),
            None => write!(
                f,
                "rows of {first} have money without a currency, of which there is no rate to `{to}`: what holds such \
                 days has no value in {kpis}; a currency in those rows ends this"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_named_once_with_its_first_day_and_its_kpis() {
        let one = |kpi: &str, from: Option<&str>, first| gold::Unconverted {
            kpi: kpi.into(),
            from: from.map(Arc::from),
            to: "EUR".into(),
            first: Date(first),
        };
        let all = vec![
            one("a", Some("CHF"), 20_001),
            one("b", Some("CHF"), 20_000),
            one("b", None, 20_002),
        ];
        let told: Vec<String> = by_pair(all).iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 2);
        assert!(
            told[0].starts_with("rows of 2024-10-06 have money without a currency"),
            "{told:?}"
        );
        let pair = "no rate of `CHF` to `EUR` is known for 2024-10-04: ";
        assert!(told[1].starts_with(pair) && told[1].contains("no value in a, b;"), "{told:?}");
    }
}
