//! The control source of a run: what was decided before it began comes before any other record, and what
//! is decided meanwhile is read beside the other sources.
//!
//! # Guarantees
//! - The definitions of the run are in force before the first record that it reads: they are in one epoch with
//!   all that was decided before it began.
//! - After the last epoch of a batch run no history row waits, unless it was asked to stop or its end could
//!   not be decided.

use std::time::Duration;

use pipeline::decode::Scratch;
use pipeline::epoch;
use pipeline::record::RawBatch;
use pipeline::source::{ControlFile, FileSource, Limits, Progress, Source, is_control};
use schemas::{
    Clock, ControlRecord, Decision, DefinitionChange, DefinitionKind, InForce, Micros, chain,
};

use super::loops::Poll;
use super::outcome::Stopped;
use crate::core::decoding::Decoding;

/// The built-in source, and what the run itself has to decide.
pub(super) struct ControlDesk {
    file: ControlFile,
    source: FileSource,
    /// The definitions that this run knows.
    definitions: Vec<DefinitionChange>,
}

impl ControlDesk {
    /// The desk over a lake's file, which is made when there is none.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(super) fn open(
        file: ControlFile,
        definitions: Vec<DefinitionChange>,
    ) -> Result<ControlDesk, Stopped> {
        file.create().map_err(|e| Stopped::Failed(chain(&e)))?;
        Ok(ControlDesk { source: file.source(), file, definitions })
    }

    /// The source, for reading recorded epochs again.
    pub(super) fn source(&mut self) -> &mut dyn Source {
        &mut self.source
    }

    /// Puts the definitions of the run in force where others are. Whether there were others.
    fn define(&mut self, in_force: &InForce, clock: &dyn Clock) -> Result<bool, Stopped> {
        let changes = in_force.changes_to(std::mem::take(&mut self.definitions));
        if changes.is_empty() {
            return Ok(false);
        }
        for DefinitionChange { of, name, identity, .. } in &changes {
            let what = if identity.is_some() { "is put in force" } else { "is in force no longer" };
            let is_changed = identity.is_some() && in_force.newest(*of, name).is_some();
            let dry_run = format!(
                "; `weir dead-letters retry --contract {name} --dry-run` says which dead letters it can read"
            );
            let is_told = *of == DefinitionKind::Contract && is_changed;
            let more = if is_told { dry_run.as_str() } else { "" };
            tracing::info!("the {of} `{name}` {what}{more}");
        }
        self.append(Decision::Define(changes), clock)?;
        Ok(true)
    }

    /// Decides that a batch run ends, and reads that and all that was decided meanwhile. No other record
    /// may come after it.
    ///
    /// # Errors
    /// When that cannot be written or read.
    pub(super) fn end_batch(
        &mut self,
        clock: &dyn Clock,
        limits: &Limits,
        decoding: &Decoding,
    ) -> Result<Option<Poll>, Stopped> {
        self.append(Decision::EndBatch, clock)?;
        self.source.stop_at_end()?;
        self.read(limits, decoding)
    }

    fn append(&self, decision: Decision, clock: &dyn Clock) -> Result<(), Stopped> {
        let id = uuid::Uuid::new_v4().simple().to_string();
        let record = ControlRecord { id, at: clock.now(), by: "weir run".to_owned(), decision };
        let appended = self.file.append(&record);
        appended.map(drop).map_err(|e| Stopped::Failed(chain(&e)))
    }

    /// Starts the source and reads everything that is there, as one poll, with the definitions of the run behind all
    /// others: where a run was killed, those that it decided on may still be to be read.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub(super) fn start(
        &mut self,
        (in_force, clock): (&InForce, &dyn Clock),
        progress: &Progress,
        limits: &Limits,
        decoding: &Decoding,
    ) -> Result<Option<Poll>, Stopped> {
        let own = progress.iter().filter(|(of, _)| is_control(of));
        let own = own.map(|(of, reached)| (of.clone(), *reached)).collect();
        self.source.start(&own)?;
        let mut all = Vec::new();
        self.read_into(&mut all, limits)?;
        if self.define(&with_pending(in_force, &all), clock)? {
            // From the beginning: the end of a file that was read is looked at again only after a while.
            all.clear();
            self.source.start(&own)?;
            self.read_into(&mut all, limits)?;
        }
        Ok(poll_of(all, decoding))
    }

    fn read(&mut self, limits: &Limits, decoding: &Decoding) -> Result<Option<Poll>, Stopped> {
        let mut all = Vec::new();
        self.read_into(&mut all, limits)?;
        Ok(poll_of(all, decoding))
    }

    fn read_into(&mut self, all: &mut Vec<RawBatch>, limits: &Limits) -> Result<(), Stopped> {
        loop {
            let mut batches = Vec::new();
            self.source.poll(Duration::ZERO, Duration::ZERO, limits, &mut batches)?;
            if batches.is_empty() {
                return Ok(());
            }
            for batch in batches {
                match all.iter_mut().find(|own| own.topic() == batch.topic()) {
                    Some(own) => batch.iter().for_each(|record| own.push_record(&record)),
                    None => all.push(batch),
                }
            }
        }
    }
}

/// The definitions in force when these records have been taken.
fn with_pending(in_force: &InForce, batches: &[RawBatch]) -> InForce {
    let mut held = in_force.clone();
    for record in batches.iter().flat_map(RawBatch::iter) {
        let parsed = record.value.and_then(|value| ControlRecord::parse(value).ok());
        if let Some(ControlRecord { decision: Decision::Define(changes), .. }) = parsed {
            held.take(&changes, 0, Micros(0));
        }
    }
    held
}

fn poll_of(all: Vec<RawBatch>, decoding: &Decoding) -> Option<Poll> {
    if all.is_empty() {
        return None;
    }
    let decoded = decoding.decode(all, &mut Scratch::default());
    let hash = epoch::hash(&decoded.batches);
    Some(Poll { source: None, decoded, hash, at_end: false, turn: None })
}
