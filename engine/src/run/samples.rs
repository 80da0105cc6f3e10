//! Which records of an epoch stand for the others when freshness is measured.

use pipeline::bronze::EpochRecords;
use pipeline::record::RawRecord;
use schemas::Micros;

/// Freshness is sampled at about this many records of a batch.
const SAMPLES: usize = 16;

/// Timestamps of some records that are not quiet, each with the number of records it stands for.
pub(super) fn of(records: &EpochRecords) -> Vec<(Micros, u64)> {
    let mut samples = Vec::new();
    for batch in records.events() {
        let step = batch.len().div_ceil(SAMPLES).max(1);
        let of = |record: RawRecord<'_>| Some((record.timestamp?, step as u64));
        let live = (0..batch.len()).step_by(step).filter(|at| !batch.quiet().has(*at));
        samples.extend(live.filter_map(|at| of(batch.get(at)?)));
    }
    samples
}
