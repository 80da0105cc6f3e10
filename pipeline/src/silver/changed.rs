//! A changed row in the changes of an epoch.

use schemas::{Delta, EpochStamp, RowRef};

/// Adds a changed row to the changes of an epoch.
pub(super) fn note(
    new: RowRef<'_>,
    old: Option<(RowRef<'_>, u64)>,
    is_single: bool,
    stamp: &EpochStamp,
    delta: &mut Delta,
) {
    let before = old.map(|(row, _)| row);
    // A row of an earlier epoch, and one that was not there, have not changed in this one.
    if is_single && old.is_none_or(|(_, epoch)| epoch != stamp.id) {
        delta.first_change(before, Some(new));
    } else {
        delta.change(before, Some(new));
    }
}
