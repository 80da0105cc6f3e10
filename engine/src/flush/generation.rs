//! The stream generation of a run, and the ledger that it goes on behind.
//!
//! # Guarantees
//! - A generation goes on only behind a whole ledger of this lake that continues bronze and was written while
//!   KPIs and detectors computed what they do now. Anything else begins a new one, and is said.

use std::collections::BTreeMap;
use std::path::Path;

use pipeline::bronze::Held;
use pipeline::ledger::{Entry, Header, Ledger, Segments};
use schemas::EpochId;

use super::error::RecoverError;
use super::inputs::Inputs;
use crate::identities::{Identities, Seen};

/// A name for a stream generation that no other has.
pub(super) fn new_generation() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

/// A ledger in place of one whose epochs cannot be read again: of a new stream generation.
pub(crate) fn restart(
    ledger: &Ledger,
    folder: &Path,
    durable: bool,
) -> Result<Ledger, RecoverError> {
    let header = Header { generation: new_generation(), ..ledger.header().clone() };
    Ledger::open(folder, header, Segments::default(), durable)
        .map_err(RecoverError::ledger("open", folder))
}

/// The header to go on under, the recorded epochs after bronze, and the segments to go on behind. A
/// ledger that does not continue bronze is a lost one.
pub(super) fn read_ledger(
    inputs: &Inputs,
    held: &Held,
    identities: &Identities,
    is_repaired: bool,
) -> Result<(Header, Vec<Entry>, Segments), RecoverError> {
    let folder = &inputs.ledger_dir;
    let found =
        Ledger::recover(folder, held.epoch).map_err(RecoverError::ledger("read", folder))?;
    let fingerprint = identities.to_text();
    let shows = |header: &Header| {
        let before = Identities::parse(header.fingerprint.as_bytes());
        let renewal = |before| identities.renewal(&before, &seen(held), &inputs.catalog);
        before.map(renewal).is_none_or(|renewal| renewal.shows())
    };
    let lake = inputs.lake.id().to_owned();
    let fresh = || {
        let generation = new_generation();
        let header = Header { lake: lake.clone(), generation, fingerprint: fingerprint.clone() };
        (header, Vec::new(), Segments::default())
    };
    let problem = match (&found.header, &found.damage) {
        (_, Some(damage)) => Some(damage.clone()),
        (None, None) if held.epoch == 0 => return Ok(fresh()),
        (None, None) => Some("it is missing".to_owned()),
        (Some(header), None) if header.lake != lake => Some("it is of another lake".to_owned()),
        (Some(_), None) if is_repaired => {
            Some("KPIs were computed anew, as was decided".to_owned())
        }
        (Some(header), None) if shows(header) => {
            Some("what KPIs or detectors compute has changed".to_owned())
        }
        (Some(_), None) => continues(found.range, &found.entries, held).err(),
    };
    match (found.header, problem) {
        (Some(header), None) => {
            Ok((Header { fingerprint, ..header }, found.entries, found.segments))
        }
        (_, problem) => {
            let problem = problem.unwrap_or_default();
            tracing::warn!(
                "the ledger is not used: {problem}. A new stream generation starts; no data is lost"
            );
            Ok(fresh())
        }
    }
}

/// The topics that bronze holds records of.
fn seen(held: &Held) -> Seen {
    let mut seen = Seen::new();
    for of in held.next.keys() {
        seen.entry(of.source.to_string()).or_default().insert(of.topic.to_string());
    }
    seen
}

/// `entries` are those after bronze's last epoch, of a ledger that holds the epochs of `range`.
fn continues(
    range: Option<(EpochId, EpochId)>,
    entries: &[Entry],
    held: &Held,
) -> Result<(), String> {
    let (first, last) = range.unwrap_or((0, 0));
    if last < held.epoch || first > held.epoch + 1 {
        let bronze = held.epoch;
        return Err(format!("it holds epochs {first} to {last} and bronze ends at {bronze}"));
    }
    let mut next: BTreeMap<(&str, &str, &str, i32), i64> = BTreeMap::new();
    for (of, offset) in &held.next {
        next.insert((&of.source, &of.topic, &of.incarnation, of.partition), *offset);
    }
    for span in entries.iter().flat_map(|entry| &entry.spans) {
        let key = (&*span.source, &*span.topic, &*span.incarnation, span.partition);
        let expected = next.insert(key, span.to);
        if expected.is_some_and(|expected| expected != span.from) {
            let (topic, partition) = (&span.topic, span.partition);
            return Err(format!("its offsets of {topic}/{partition} do not continue bronze"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_that_cannot_begin_names_its_folder_and_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let held = Header {
            lake: "lake".to_owned(),
            generation: "one".to_owned(),
            fingerprint: "it".to_owned(),
        };
        let own = folder.path().join("ledger");
        let ledger = Ledger::open(&own, held, Segments::default(), false).unwrap();
        let again = restart(&ledger, &own, false).unwrap();
        assert_ne!(again.header().generation, "one");
        assert_eq!((&*again.header().lake, &*again.header().fingerprint), ("lake", "it"));
        let taken = folder.path().join("taken");
        std::fs::write(&taken, "a file").unwrap();
        let error = restart(&ledger, &taken.join("ledger"), false).unwrap_err();
        let RecoverError::Ledger { folder, .. } = &error else { panic!("{error}") };
        assert_eq!(*folder, taken.join("ledger"));
        let text = error.to_string();
        for says in ["open the ledger", "taken/ledger", "ot a directory", "permissions", "no data"]
        {
            assert!(text.contains(says), "{text}");
        }
    }
}
