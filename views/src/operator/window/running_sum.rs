//! The running sum: of a column over all rows of the partition up to a row and its peers, which are equal in
//! the order.

use schemas::{Datum, RowLayout, RowRef};

use crate::operator::bag::Bag;
use crate::operator::order::Ranked;
use crate::operator::sum::Sum;

/// The sum of rows, and how many of them have a value that was never sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Running {
    pub(super) sum: Sum,
    pub(super) unknown: i64,
}

impl Running {
    /// Adds a row so many times, or takes it back as often.
    pub(super) fn add(&mut self, row: RowRef<'_>, column: usize, times: i64) {
        match row.datum(column) {
            Datum::Null if row.is_unknown(column) => {
                self.unknown = self.unknown.wrapping_add(times);
            }
            Datum::Null => {}
            value => self.sum.add(value, times),
        }
    }
}

/// Calls `give` with each row from the peers of the first of `places` on, and with the sum up to it. `total`
/// is that of all rows.
///
/// What comes before is not looked at: it is what the others leave of the total.
pub(super) fn from<'a>(
    rows: &'a Bag<Ranked>,
    layout: &RowLayout,
    column: usize,
    total: Running,
    start: &[u8],
    mut give: impl FnMut(&'a Ranked, i64, Running),
) {
    let mut sum = total;
    for (row, times) in rows.from(start) {
        sum.add(layout.row(row.row()), column, times.wrapping_neg());
    }
    let mut peers: Vec<(&Ranked, i64)> = Vec::new();
    for (row, times) in rows.from(start) {
        if peers.first().is_some_and(|(peer, _)| peer.place() != row.place()) {
            peers.drain(..).for_each(|(peer, times)| give(peer, times, sum));
        }
        sum.add(layout.row(row.row()), column, times);
        peers.push((row, times));
    }
    peers.into_iter().for_each(|(peer, times)| give(peer, times, sum));
}
