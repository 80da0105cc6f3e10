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
use schemas::{Clock, ControlRecord, Decision, DefinitionChange, DefinitionKind, InForce, chain};

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

    /// Puts the definitions of the run in force where others are.
    ///
    /// # Errors
    /// When that cannot be written.
    pub(super) fn define(&mut self, in_force: &InForce, clock: &dyn Clock) -> Result<(), Stopped> {
        let changes = in_force.changes_to(std::mem::take(&mut self.definitions));
        if changes.is_empty() {
            return Ok(());
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
        self.append(Decision::Define(changes), clock)
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

    /// Starts the source and reads everything that is there, as one poll.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(super) fn start(
        &mut self,
        progress: &Progress,
        limits: &Limits,
        decoding: &Decoding,
    ) -> Result<Option<Poll>, Stopped> {
        let own = progress.iter().filter(|(of, _)| is_control(of));
        self.source.start(&own.map(|(of, reached)| (of.clone(), *reached)).collect())?;
        self.read(limits, decoding)
    }

    fn read(&mut self, limits: &Limits, decoding: &Decoding) -> Result<Option<Poll>, Stopped> {
        let mut all: Vec<RawBatch> = Vec::new();
        loop {
            let mut batches = Vec::new();
            self.source.poll(Duration::ZERO, Duration::ZERO, limits, &mut batches)?;
            if batches.is_empty() {
                break;
            }
            for batch in batches {
                match all.iter_mut().find(|own| own.topic() == batch.topic()) {
                    Some(own) => batch.iter().for_each(|record| own.push_record(&record)),
                    None => all.push(batch),
                }
            }
        }
        if all.is_empty() {
            return Ok(None);
        }
        let decoded = decoding.decode(all, &mut Scratch::default());
        let hash = epoch::hash(&decoded.batches);
        Ok(Some(Poll { source: None, decoded, hash, at_end: false, turn: None }))
    }
}
