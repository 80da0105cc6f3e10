//! Dead letters that are read again: decoded by the contract in force, and folded into their table.
//!
//! # Guarantees
//! - What could still not be read is said in the row of the decision in bronze, live and replayed.

use pipeline::bronze::EpochRecords;
use pipeline::decode::Scratch;
use pipeline::silver::Again;
use pipeline::source::is_control;
use schemas::{EpochStamp, Letter, StillDead};

use super::KeyedTable;
use super::decoding::Decoding;

/// How much of a reason is kept, in bytes.
const REASON_MAX: usize = 300;

/// What letters are decoded with.
#[derive(Debug)]
pub(super) struct Desk<'a> {
    pub(super) decoding: &'a Decoding,
    pub(super) scratch: &'a mut Scratch,
}

/// Reads letters of a table again. Gives those that still cannot be read.
pub(super) fn retry(
    letters: &[Letter],
    (number, table): (usize, &mut KeyedTable),
    stamp: &EpochStamp,
    desk: &mut Desk<'_>,
) -> StillDead {
    let mut still = StillDead::default();
    let mut decoded = Vec::with_capacity(letters.len());
    for letter in letters {
        match desk.decoding.decode_letter(letter, stamp.id, desk.scratch) {
            Some((own, changes)) if own == number => decoded.push((letter, changes)),
            _ => still.unread.push((letter.at(), "its topic feeds another table, or none".into())),
        }
    }
    let again = decoded.iter().map(|(letter, changes)| {
        let (epoch, clock) = (letter.epoch, letter.came());
        Again { changes, epoch, clock }
    });
    let again: Vec<Again<'_>> = again.collect();
    let reasons = table.fold.retry(&again, stamp, &mut table.delta);
    for ((letter, _), reason) in decoded.iter().zip(reasons) {
        still.unread.extend(reason.map(|reason| (letter.at(), shortened(reason))));
    }
    still
}

fn shortened(mut reason: String) -> String {
    if reason.len() > REASON_MAX {
        reason.truncate(reason.floor_char_boundary(REASON_MAX));
        reason.push_str("...");
    }
    reason
}

/// Says in the rows of decisions which letters still cannot be read. Decisions are numbered in the order of
/// their records, without those that are none.
pub(super) fn say(records: &mut EpochRecords, still_dead: Vec<(usize, StillDead)>) {
    let mut still_dead = still_dead.into_iter().peekable();
    let mut number = 0;
    for (batch, errors) in records.batches.iter().zip(&mut records.errors) {
        if !is_control(batch.topic()) {
            continue;
        }
        let wrong: Vec<usize> = errors.iter().map(|(at, _)| *at).collect();
        for at in (0..batch.len()).filter(|at| wrong.binary_search(at).is_err()) {
            if let Some((_, still)) = still_dead.next_if(|(own, _)| *own == number) {
                errors.push((at, still.to_json()));
            }
            number += 1;
        }
        errors.sort_unstable_by_key(|(at, _)| *at);
    }
}
