//! Selections: the rows of one view of the plan, by what they feed of a cube's cells.
//!
//! # Guarantees
//! - Every count and every sum of a cube is fed by one selection: what no row of it changed is as it was.

use std::ops::Range;

use super::{CubeShape, Plan, Rule};

/// What a selection of rows feeds, besides its two counts, and which KPIs follow from that.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selection {
    /// The sums; those first that add up over periods.
    pub(crate) sums: Vec<usize>,
    /// How many of them do.
    pub(crate) linear: usize,
    /// The KPIs, in key order.
    pub(crate) kpis: Vec<usize>,
}

/// The number of the selection that feeds a count.
pub(crate) fn selection_of(count: usize) -> usize {
    count / 2
}

/// The counts that a selection feeds: of its rows, and of those in doubt.
pub(crate) fn counts_of(selection: usize) -> Range<usize> {
    2 * selection..2 * selection + 2
}

impl Rule {
    /// The selections that it follows from, of so many.
    fn selections(&self, of: usize) -> Vec<usize> {
        let follows = |own: &usize| self.any(|measure| selection_of(measure.count) == *own);
        (0..of).filter(follows).collect()
    }
}

impl CubeShape {
    /// By sum the selection that feeds it.
    pub(crate) fn fed_by(&self) -> Vec<usize> {
        let mut fed_by = vec![0; self.sums];
        for (number, own) in self.selections.iter().enumerate() {
            own.sums.iter().for_each(|sum| fed_by[*sum] = number);
        }
        fed_by
    }
}

impl Plan {
    /// Finds what each selection feeds and who follows from it, once all KPIs are there.
    pub(super) fn select(&mut self) {
        for shape in &mut self.cubes {
            shape.selections = vec![Selection::default(); selection_of(shape.counts)];
        }
        for view in &self.views {
            let own = &mut self.cubes[view.cube].selections[selection_of(view.count)];
            own.sums.extend(view.sums.iter().chain(&view.allocated).map(|(_, sum)| *sum));
            own.linear = own.sums.len();
            own.sums.extend(view.bags.iter().flat_map(|bag| [bag.sum, bag.present]));
            own.sums.extend(view.different.iter().map(|(_, sum)| *sum));
        }
        for own in self.conversions.iter_mut().flat_map(|all| &mut all.all) {
            let [first, _] = own.numbers.selections();
            let fed = &mut self.cubes[own.cube].selections[first];
            fed.sums.extend(own.numbers.sums());
            fed.linear = fed.sums.len();
            own.selections = own.rule.selections(self.cubes[own.from].selections.len());
        }
        for (number, kpi) in self.kpis.iter_mut().enumerate() {
            let fed = &mut self.cubes[kpi.cube].selections;
            kpi.selections = kpi.rule.selections(fed.len());
            kpi.selections.iter().for_each(|own| fed[*own].kpis.push(number));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_fed_by_one_selection_and_every_kpi_follows_from_its_own() {
        let contracts: Vec<_> = schemas::contract::all_that_come()
            .iter()
            .map(|(_, text)| schemas::Contract::parse(text).unwrap())
            .collect();
        let views = crate::view_file::accept(&crate::view_file::built_in(), &contracts).unwrap();
        let catalog = crate::catalog::with_built_in(Vec::new(), &contracts, views).unwrap();
        let plan = Plan::compile(&catalog).unwrap();
        for shape in &plan.cubes {
            let mut counts: Vec<usize> = (0..shape.selections.len()).flat_map(counts_of).collect();
            counts.sort_unstable();
            assert!(counts.into_iter().eq(0..shape.counts), "{:?}", shape.name());
            let mut sums: Vec<usize> =
                shape.selections.iter().flat_map(|own| own.sums.clone()).collect();
            sums.sort_unstable();
            assert!(sums.into_iter().eq(0..shape.sums), "{:?}", shape.name());
            let adds_up = |sum: &usize| !shape.bagged.contains(sum);
            for own in &shape.selections {
                let (linear, others) = own.sums.split_at(own.linear);
                assert!(linear.iter().all(adds_up) && !others.iter().any(adds_up), "{own:?}");
            }
        }
        for (number, kpi) in plan.kpis.iter().enumerate() {
            let selections = &plan.cubes[kpi.cube].selections;
            let is_fed = |count: usize, sums: Vec<usize>| {
                let own = kpi.selections.iter().find(|own| counts_of(**own).contains(&count));
                own.is_some_and(|own| sums.iter().all(|sum| selections[*own].sums.contains(sum)))
            };
            let lacks =
                |measure: &super::super::Measure| !is_fed(measure.count, measure.sums().collect());
            assert!(!kpi.rule.any(lacks), "{}", kpi.key);
            for (at, own) in selections.iter().enumerate() {
                assert_eq!(own.kpis.contains(&number), kpi.selections.contains(&at), "{}", kpi.key);
            }
        }
    }
}
