//! LAG: a value of the row that comes so many rows before, in the order of its partition.

use std::collections::VecDeque;

use crate::operator::bag::Bag;
use crate::operator::order::Ranked;

/// Calls `give` with each row that stands at one of `places`, or up to `by` rows behind one, and with the row
/// that comes `by` rows before it. The places are in order; no row need be there.
///
/// When rows came or went at these places and nowhere else, the rows that are given before and after that
/// are the same but for those: a row that is further behind has the same one before it.
pub(super) fn behind<'a>(
    rows: &'a Bag<Ranked>,
    places: &[&[u8]],
    by: usize,
    mut give: impl FnMut(&'a Ranked, Option<&'a Ranked>),
) {
    let mut at = 0;
    while let Some(start) = places.get(at) {
        let mut past = copies(rows.before(*start)).take(by).collect::<VecDeque<_>>();
        past.make_contiguous().reverse();
        // How many rows are still to be given.
        let mut left = 0;
        let mut is_end = true;
        'rows: for (row, times) in rows.from(*start) {
            let mut is_changed = false;
            while let Some(place) = places.get(at).filter(|place| **place <= row.bytes()) {
                is_changed = *place == row.bytes();
                left = by;
                at += 1;
            }
            for row in copies(std::iter::once((row, times))) {
                if !is_changed {
                    // From the next place on: between the two no row is given, nor looked at.
                    if left == 0 {
                        is_end = false;
                        break 'rows;
                    }
                    left -= 1;
                }
                give(row, if past.len() == by { past.front().copied() } else { None });
                past.push_back(row);
                if past.len() > by {
                    past.pop_front();
                }
            }
        }
        if is_end {
            return;
        }
    }
}

/// Each row as often as it is there.
fn copies<'a>(rows: impl Iterator<Item = (&'a Ranked, i64)>) -> impl Iterator<Item = &'a Ranked> {
    rows.flat_map(|(row, times)| {
        std::iter::repeat_n(row, usize::try_from(times).unwrap_or_default())
    })
}
