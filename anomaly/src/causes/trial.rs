//! How well causes are named, where they are known.
//!
//! # Guarantees
//! - An element counts as found only when it has the dimensions and values of the truth, no more and no fewer.

use std::collections::BTreeSet;

use super::layout::{Case, Named};
use super::ratio::{Parts, at_expected_rates};
use super::{Element, Leaf, Measure, causes, plain};

/// A way to name causes.
#[derive(Debug, Clone, Copy)]
pub struct Method {
    /// What it is called.
    pub name: &'static str,
    /// What it does.
    pub about: &'static str,
    named: fn(&[Parts]) -> Vec<Element>,
}

/// What is compared: the search first.
pub const METHODS: [Method; 4] = [
    Method {
        name: "weir",
        about: "the search, over what rates did",
        named: |parts| found(&at_expected_rates(parts)),
    },
    Method {
        name: "weir-sums",
        about: "the search, over numerators alone",
        named: |parts| found(&sums(parts)),
    },
    Method {
        name: "adtributor",
        about: "the values of one dimension that surprise most, over what rates did",
        named: |parts| plain::adtributor(&at_expected_rates(parts)),
    },
    Method {
        name: "largest",
        about: "the one value with the largest change, over what rates did",
        named: |parts| plain::largest(&at_expected_rates(parts)),
    },
];

fn found(leaves: &[Leaf]) -> Vec<Element> {
    causes(leaves, Measure::Count).causes.into_iter().map(|own| own.element).collect()
}

fn sums(parts: &[Parts]) -> Vec<Leaf> {
    let leaf = |own: &Parts| Leaf {
        values: own.values.clone(),
        actual: own.numerator,
        expected: own.expected_numerator,
    };
    parts.iter().map(leaf).collect()
}

impl Method {
    /// The elements it names in a case.
    #[must_use]
    pub fn name_causes(&self, case: &Case) -> BTreeSet<Named> {
        let dim = |at: usize| case.dims.get(at).cloned().unwrap_or_default();
        let named = |element: Element| {
            element.into_iter().map(|(at, value)| (dim(at), value.to_string())).collect()
        };
        (self.named)(&case.parts).into_iter().map(named).collect()
    }
}

/// What came of a method over cases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Cases that were looked at.
    pub cases: usize,
    /// Cases in which all was found, and nothing else named.
    pub right: usize,
    /// Elements that were named and are true.
    pub found: usize,
    /// Elements that were named and are not.
    pub wrong: usize,
    /// True elements that were not named.
    pub missed: usize,
}

impl Tally {
    /// Counts a case.
    pub fn count(&mut self, truth: &BTreeSet<Named>, named: &BTreeSet<Named>) {
        let found = truth.intersection(named).count();
        self.cases += 1;
        self.right += usize::from(truth == named);
        self.found += found;
        self.wrong += named.len() - found;
        self.missed += truth.len() - found;
    }

    /// What is true of what was named, from 0 to 1; 0 where nothing was.
    #[must_use]
    pub fn precision(&self) -> f64 {
        share(self.found, self.found + self.wrong)
    }

    /// What was named of what is true, from 0 to 1.
    #[must_use]
    pub fn recall(&self) -> f64 {
        share(self.found, self.found + self.missed)
    }

    /// The harmonic mean of both, over the elements of all cases together.
    #[must_use]
    pub fn f1(&self) -> f64 {
        share(2 * self.found, 2 * self.found + self.wrong + self.missed)
    }
}

fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::super::layout::{case, truths};
    use super::*;

    #[test]
    fn a_tally_counts_elements_and_whole_cases() {
        let named = |value: &str| Named::from([("cdn".to_owned(), value.to_owned())]);
        let mut tally = Tally::default();
        tally.count(&[named("1")].into(), &[named("1")].into());
        tally.count(&[named("1"), named("2")].into(), &[named("2"), named("3")].into());
        tally.count(&[named("1")].into(), &BTreeSet::new());
        assert_eq!(tally, Tally { cases: 3, right: 1, found: 2, wrong: 1, missed: 2 });
        assert!((tally.precision() - 2.0 / 3.0).abs() < 1e-12);
        assert!((tally.recall() - 0.5).abs() < 1e-12);
        assert!((tally.f1() - 4.0 / 7.0).abs() < 1e-12);
        assert!(Tally::default().f1().abs() < 1e-12);
    }

    /// One in a hundred fails, and one in five where it is iOS behind cdn 2, from minute 300 on.
    fn text() -> String {
        let mut text = "min,cdn,device,value,cnt\n".to_owned();
        for minute in (60..=300).step_by(60) {
            for cdn in 1..=3 {
                for (device, count) in [("ios", 500), ("tv", 1000), ("web", 2000)] {
                    let is_bad = minute == 300 && cdn == 2 && device == "ios";
                    let value = if is_bad { count / 5 } else { count / 100 };
                    text.push_str(&format!("{minute},{cdn},{device},{value},{count}\n"));
                }
            }
        }
        text
    }

    #[test]
    fn the_search_names_what_the_plain_ones_cannot() {
        let truth =
            truths("- data: x\n  timestamp: 300\n  cause: {'device':'ios', 'cdn':2}").unwrap();
        let case = case(&text(), 300).unwrap();
        let right = |method: &Method| method.name_causes(&case) == truth[0].causes;
        let right: Vec<&str> =
            METHODS.iter().filter(|own| right(own)).map(|own| own.name).collect();
        assert_eq!(right, ["weir", "weir-sums"]);
    }
}
