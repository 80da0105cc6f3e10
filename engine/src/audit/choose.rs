//! Which group of cells is computed again: pure, and the same for the same seed.
//!
//! # Guarantees
//! - Half of the draws are among files with cells of running periods, where there are any: those change.
//! - Of the cells that were drawn, those of running periods come first, then those that closed lately.
//! - Now and then it is the period after a cell's, or another KPI of its tenant: so what has no cell at all, and
//!   should have, is found too.

use std::sync::Arc;

use gold::audit::group::Group;
use schemas::split_mix::SplitMix;
use schemas::{Grain, Micros};

/// How much likelier than an old one a cell is drawn whose period runs, or ended lately.
const RUNNING: u64 = 8;
const LATELY: u64 = 3;
/// Lately: so many times the period's own length ago.
const LENGTHS: i64 = 3;
/// Of so many draws one is of the next period, and one of another KPI.
const ELSEWHERE: usize = 8;

/// Numbers that follow from a seed.
#[derive(Debug)]
pub(super) struct Dice(SplitMix);

impl Dice {
    pub(super) fn new(seed: u64) -> Dice {
        Dice(SplitMix::new(seed))
    }

    /// A number below `bound`, which is not 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0.draw() % bound.max(1)
    }

    fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or(0)
    }
}

/// A cell that was drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) group: Group,
    pub(super) period_end: Micros,
}

impl Seen {
    fn weight(&self, clock: Micros) -> u64 {
        let length = self.period_end.0.saturating_sub(self.group.period_start.0);
        let lately = self.period_end.0.saturating_add(length.saturating_mul(LENGTHS));
        if self.period_end > clock {
            RUNNING
        } else if lately > clock.0 {
            LATELY
        } else {
            1
        }
    }
}

/// The number of a file, by the last ends of periods in each, those that are known.
pub(super) fn file(ends: &[Option<i64>], clock: Micros, dice: &mut Dice) -> Option<usize> {
    let runs = |end: &Option<i64>| end.is_none_or(|end| end > clock.0);
    let running: Vec<usize> =
        (0..ends.len()).filter(|at| ends.get(*at).is_some_and(runs)).collect();
    if !running.is_empty() && dice.below(2) == 0 {
        return running.get(dice.index(running.len())).copied();
    }
    (!ends.is_empty()).then(|| dice.index(ends.len()))
}

/// At most `most` rows of so many, ascending.
pub(super) fn places(rows: u64, most: usize, dice: &mut Dice) -> Vec<u64> {
    let draws = if rows == 0 { 0 } else { most };
    let mut places: Vec<u64> = (0..draws).map(|_| dice.below(rows)).collect();
    places.sort_unstable();
    places.dedup();
    places
}

/// One of the cells, by their weights.
pub(super) fn pick<'a>(seen: &'a [Seen], clock: Micros, dice: &mut Dice) -> Option<&'a Seen> {
    let total: u64 = seen.iter().map(|own| own.weight(clock)).sum();
    let mut left = dice.below(total);
    seen.iter().find(|own| {
        let weight = own.weight(clock);
        let is_it = left < weight;
        left = left.saturating_sub(weight);
        is_it
    })
}

/// The group of a cell, or, now and then, one beside it.
pub(super) fn group(
    seen: &Seen,
    audited: &[(Arc<str>, Grain)],
    clock: Micros,
    dice: &mut Dice,
) -> Group {
    let Seen { group, period_end } = seen;
    match dice.index(ELSEWHERE) {
        0 if !group.grain.is_window() && *period_end <= clock => {
            Group { period_start: *period_end, ..group.clone() }
        }
        1 => {
            let others: Vec<&Arc<str>> =
                audited.iter().filter(|own| own.1 == group.grain).map(|own| &own.0).collect();
            let kpi = others.get(dice.index(others.len()));
            let kpi = kpi.map_or_else(|| group.kpi.clone(), |kpi| kpi.to_string());
            Group { kpi, ..group.clone() }
        }
        _ => group.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000_000;
    const NOW: Micros = Micros(1_000 * HOUR + 5);

    fn seen(hours_ago: i64) -> Seen {
        let start = Micros((1_000 - hours_ago) * HOUR);
        let group = Group {
            kpi: "revenue".into(),
            tenant: "t".into(),
            grain: Grain::Hour,
            period_start: start,
        };
        Seen { group, period_end: start.plus(HOUR) }
    }

    #[test]
    fn the_same_seed_draws_the_same_groups() {
        let all: Vec<Seen> = (0..50).map(seen).collect();
        let draw = |seed| {
            let mut dice = Dice::new(seed);
            let mut one = || pick(&all, NOW, &mut dice).unwrap().clone();
            (0..20).map(|_| one()).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn running_periods_come_before_those_that_closed_lately_and_these_before_old_ones() {
        let all = [seen(0), seen(2), seen(500)];
        let mut dice = Dice::new(1);
        let mut times = [0; 3];
        for _ in 0..12_000 {
            let drawn = pick(&all, NOW, &mut dice).unwrap();
            times[all.iter().position(|own| own == drawn).unwrap()] += 1;
        }
        for (times, share) in times.into_iter().zip([8_000, 3_000, 1_000]) {
            assert!((share * 8 / 10..share * 12 / 10).contains(&times), "{times} of {share}");
        }
        assert_eq!(pick(&[], NOW, &mut dice), None);
    }

    #[test]
    fn every_file_and_every_row_may_be_drawn_and_running_ones_more_often() {
        let ends = [Some(HOUR), Some(2 * HOUR), Some(NOW.0 + 1), Some(3 * HOUR)];
        let mut dice = Dice::new(2);
        let mut times = [0; 4];
        (0..4_000).for_each(|_| times[file(&ends, NOW, &mut dice).unwrap()] += 1);
        assert!(times.iter().all(|own| *own > 300) && times[2] > 2_000, "{times:?}");
        assert_eq!(file(&[], NOW, &mut dice), None);
        let mut rows = [false; 40];
        for _ in 0..200 {
            let drawn = places(40, 8, &mut dice);
            assert!(drawn.len() <= 8 && drawn.is_sorted());
            drawn.iter().for_each(|at| rows[usize::try_from(*at).unwrap()] = true);
        }
        assert_eq!(rows, [true; 40]);
        assert_eq!(places(0, 8, &mut dice), Vec::<u64>::new());
    }

    #[test]
    fn what_has_no_cell_is_drawn_now_and_then() {
        let audited = ["revenue", "orders"].map(|kpi| (Arc::from(kpi), Grain::Hour));
        let audited = [&audited[..], &[(Arc::from("other"), Grain::Day)]].concat();
        let own = seen(3);
        let mut dice = Dice::new(3);
        let groups: Vec<Group> = (0..800).map(|_| group(&own, &audited, NOW, &mut dice)).collect();
        let count = |is: &dyn Fn(&Group) -> bool| groups.iter().filter(|own| is(own)).count();
        let next = count(&|group| group.period_start == own.period_end);
        let other = count(&|group| group.kpi == "orders");
        assert!((50..150).contains(&next) && (20..90).contains(&other), "{next}, {other}");
        assert_eq!(count(&|group| *group == own.group), 800 - next - other);
        // The period after a running one has not begun, and a window has none.
        let running = seen(0);
        let window = Group { grain: Grain::Last7Days, ..own.group.clone() };
        let window = Seen { group: window, ..own };
        for own in [running, window] {
            let moved = |_| group(&own, &audited, NOW, &mut dice).period_start;
            assert!((0..100).map(moved).all(|start| start == own.group.period_start));
        }
    }
}
