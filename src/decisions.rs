//! Decisions as records: made here, whoever makes them, and kept in the control file of a lake.
//!
//! # Guarantees
//! - A decision that is kept is on disk, if the lake is to be.

use std::path::Path;
use std::sync::Arc;

use api::{Decisions, NotKept, Pending};
use pipeline::source::{ControlFile, ControlFileError};
use schemas::{Clock, ControlRecord, Decision, chain};

use crate::config::{Config, Durability};
use crate::wall_clock::WallClock;

/// The control file of a lake, for whoever decides.
#[derive(Debug, Clone)]
pub(crate) struct Records {
    file: ControlFile,
}

impl Records {
    /// Of the lake with this working folder.
    pub(crate) fn new(config: &Config, work_dir: &Path) -> Records {
        let durable = config.lake.durability == Durability::Fsync;
        Records { file: ControlFile::new(work_dir, durable) }
    }

    /// Keeps a decision; its id, and its offset in the file.
    ///
    /// # Errors
    /// When it could not be kept, or nobody knows whether it is.
    pub(crate) fn keep(
        &self,
        decision: Decision,
        by: &str,
    ) -> Result<(String, i64), ControlFileError> {
        let record = ControlRecord {
            id: uuid::Uuid::new_v4().simple().to_string(),
            at: WallClock.now(),
            by: by.to_owned(),
            decision,
        };
        let offset = self.file.append(&record)?;
        Ok((record.id, offset))
    }
}

/// The same for clients of the API.
#[derive(Debug)]
pub(crate) struct ClientDecisions(pub(crate) Arc<Records>);

impl Decisions for ClientDecisions {
    fn keep(&self, decision: Decision, by: &str) -> Pending<'_, Result<String, NotKept>> {
        let (records, by) = (Arc::clone(&self.0), by.to_owned());
        // It waits for a disk, and for other processes.
        let kept = tokio::task::spawn_blocking(move || records.keep(decision, &by));
        let answer = async move {
            match kept.await {
                Ok(Ok((id, _))) => Ok(id),
                Ok(Err(error)) => {
                    tracing::error!("a decision of a client is not kept: {}", chain(&error));
                    Err(match error {
                        ControlFileError::Unknown { .. } => NotKept::Unknown,
                        ControlFileError::Write { .. } | ControlFileError::Busy { .. } => {
                            NotKept::Nothing
                        }
                    })
                }
                Err(error) => {
                    tracing::error!("keeping a decision of a client ended early: {error}");
                    Err(NotKept::Unknown)
                }
            }
        };
        Box::pin(answer)
    }
}
