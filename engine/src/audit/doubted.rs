//! Groups that were not as computed, until they are: which KPIs are in doubt, and what is looked at again.
//!
//! # Guarantees
//! - A KPI is in doubt from the audit that finds a group of it other than computed, until each such group was found as
//!   computed.
//! - Every second audit is of such a group, in turn.
//!
//! # Non-guarantees
//! - So many groups of a KPI are kept and no more; it is in doubt all the same.

use std::collections::{BTreeMap, VecDeque};

use gold::audit::group::Group;

use super::{Audited, Verdict};

/// Groups of a KPI that are looked at again.
const GROUPS: usize = 8;

/// The KPIs in doubt, with their groups.
#[derive(Debug, Default)]
pub(crate) struct Doubted {
    kpis: BTreeMap<String, VecDeque<Group>>,
    /// Whether the last audit was of one of them.
    was_again: bool,
    /// The KPI that is looked at next.
    turn: usize,
}

/// What an audit changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    /// Nothing.
    None,
    /// A KPI is in doubt, that was not before.
    Doubted,
    /// Another group of such a KPI is not as computed.
    Another,
    /// A KPI is so no longer.
    Well,
}

impl Doubted {
    /// The group that is to be looked at again now.
    pub(crate) fn again(&mut self) -> Option<Group> {
        self.was_again = !self.was_again && !self.kpis.is_empty();
        if !self.was_again {
            return None;
        }
        self.turn = (self.turn + 1) % self.kpis.len();
        let groups = self.kpis.values_mut().nth(self.turn)?;
        let group = groups.pop_front()?;
        groups.push_back(group.clone());
        Some(group)
    }

    /// Takes what an audit found.
    pub(crate) fn take(&mut self, audited: &Audited) -> News {
        let group = &audited.group;
        let is_it = |own: &Group| match group.grain.is_window() {
            // It has moved, perhaps.
            true => Group { period_start: group.period_start, ..own.clone() } == *group,
            false => own == group,
        };
        match &audited.verdict {
            Verdict::PassedOver(_) => News::None,
            Verdict::Mismatch(_) => {
                let is_new = !self.kpis.contains_key(&group.kpi);
                let groups = self.kpis.entry(group.kpi.clone()).or_default();
                if groups.iter().any(is_it) {
                    return News::None;
                }
                if groups.len() < GROUPS {
                    groups.push_back(group.clone());
                }
                if is_new { News::Doubted } else { News::Another }
            }
            Verdict::Ok => {
                let Some(groups) = self.kpis.get_mut(&group.kpi) else { return News::None };
                groups.retain(|own| !is_it(own));
                if !groups.is_empty() {
                    return News::None;
                }
                self.kpis.remove(&group.kpi);
                News::Well
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use schemas::{Grain, Micros};

    use super::*;

    fn audited(kpi: &str, grain: Grain, start: i64, verdict: Verdict) -> Audited {
        Audited {
            epoch: 1,
            clock: Micros(1),
            group: Group {
                kpi: kpi.into(),
                tenant: "t".into(),
                grain,
                period_start: Micros(start),
            },
            cells: 1,
            mismatches: 0,
            verdict,
            took: Duration::ZERO,
        }
    }

    #[test]
    fn a_kpi_is_in_doubt_until_all_that_was_wrong_is_right() {
        let wrong = || Verdict::Mismatch(Vec::new());
        let mut doubted = Doubted::default();
        let mut take = |grain, start, verdict| doubted.take(&audited("k", grain, start, verdict));
        assert_eq!(take(Grain::Day, 1, Verdict::Ok), News::None);
        assert_eq!(take(Grain::Day, 1, wrong()), News::Doubted);
        assert_eq!(take(Grain::Day, 2, wrong()), News::Another);
        assert_eq!(take(Grain::Day, 1, wrong()), News::None);
        assert_eq!(take(Grain::Last7Days, 3, wrong()), News::Another);
        assert_eq!(take(Grain::Day, 1, Verdict::Ok), News::None);
        assert_eq!(take(Grain::Day, 3, Verdict::Ok), News::None, "nothing was wrong there");
        assert_eq!(take(Grain::Day, 2, Verdict::PassedOver("large".into())), News::None);
        assert_eq!(take(Grain::Day, 2, Verdict::Ok), News::None);
        assert_eq!(take(Grain::Last7Days, 4, Verdict::Ok), News::Well, "a window has moved");
    }

    #[test]
    fn every_second_audit_is_of_what_was_wrong_in_turn() {
        let mut doubted = Doubted::default();
        assert_eq!((0..4).filter_map(|_| doubted.again()).count(), 0);
        for (kpi, start) in [("a", 1), ("a", 2), ("b", 3)] {
            doubted.take(&audited(kpi, Grain::Day, start, Verdict::Mismatch(Vec::new())));
        }
        let again: Vec<Option<i64>> =
            (0..8).map(|_| doubted.again().map(|own| own.period_start.0)).collect();
        let groups: Vec<i64> = again.iter().copied().flatten().collect();
        assert_eq!(groups.len(), 4, "{again:?}");
        assert!(again.windows(2).all(|two| two[0].is_some() != two[1].is_some()), "{again:?}");
        assert!([1, 2, 3].iter().all(|own| groups.contains(own)), "{groups:?}");
    }
}
