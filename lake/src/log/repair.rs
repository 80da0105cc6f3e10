//! Damage at the end of a log: looked for, and moved aside by the lake's writer.
//!
//! # Guarantees
//! - Repair moves files aside and loses nothing that was consistent: the *newest* entry, whose rows and
//!   progress go together, and checkpoints, which the entries can replace.

use serde::Deserialize;

use super::files::{Listing, Log};
use crate::error::LakeError;
use crate::folder::Lake;
use crate::seal::Fault;

/// A log that was looked through for damage at its end.
#[derive(Debug, Default)]
pub(crate) struct Surveyed {
    pub(crate) listing: Listing,
    pub(crate) warnings: Vec<String>,
}

impl Surveyed {
    /// The newest whole version.
    pub(crate) fn newest(&self) -> Option<i64> {
        self.listing.entries.last().copied()
    }
}

impl Log {
    /// Looks at the end of the log. With `repair` (the lake's writer), damaged files at the end are
    /// moved aside; without, they are left alone and passed over. Both are told as warnings.
    pub(crate) fn survey(&self, repair: Option<&Lake>) -> Result<Surveyed, LakeError> {
        let mut surveyed = Surveyed { listing: self.list()?, warnings: Vec::new() };
        let Some(newest) = surveyed.newest() else {
            let Some(checkpoint) = surveyed.listing.checkpoints.last() else {
                return Ok(surveyed);
            };
            return Err(self.refuse(*checkpoint, Fault::Damaged("is missing".to_owned())));
        };
        match self.entry(newest)? {
            Ok(_) => {}
            Err(fault @ Fault::Foreign(_)) => return Err(self.refuse(newest, fault)),
            Err(Fault::Damaged(detail)) => {
                surveyed.listing.entries.pop();
                self.set_aside(&mut surveyed, repair, &Log::entry_name(newest), &detail)?;
            }
        }
        let newest = surveyed.newest().unwrap_or(-1);
        for version in surveyed.listing.checkpoints.clone() {
            let name = Log::checkpoint_name(version);
            let checked = if version > newest {
                Err("has no log entry of its version".to_owned())
            } else if Some(&version) == surveyed.listing.checkpoints.last() {
                self.checkpoint(version)?.map(|_| ())
            } else {
                Ok(())
            };
            if let Err(detail) = checked {
                surveyed.listing.checkpoints.retain(|other| *other != version);
                self.set_aside(&mut surveyed, repair, &name, &detail)?;
            }
        }
        self.survey_pointer(&mut surveyed, repair)?;
        Ok(surveyed)
    }

    /// `_last_checkpoint` is a hint for other readers, some of which fail if it misleads them.
    fn survey_pointer(
        &self,
        surveyed: &mut Surveyed,
        repair: Option<&Lake>,
    ) -> Result<(), LakeError> {
        #[derive(Deserialize)]
        struct Pointer {
            version: i64,
        }
        let name = Log::pointer_name();
        let Ok(bytes) = self.store.read(&name) else { return Ok(()) };
        let detail = match serde_json::from_slice::<Pointer>(&bytes) {
            Ok(pointer) if surveyed.listing.checkpoints.contains(&pointer.version) => return Ok(()),
            Ok(pointer) => format!("names version {}, which has no checkpoint", pointer.version),
            Err(error) => format!("cannot be read ({error})"),
        };
        self.set_aside(surveyed, repair, &name, &detail)
    }

    fn set_aside(
        &self,
        surveyed: &mut Surveyed,
        repair: Option<&Lake>,
        name: &str,
        detail: &str,
    ) -> Result<(), LakeError> {
        let outcome = match repair {
            Some(lake) => {
                let target = lake.quarantine(&self.table, Some(name))?;
                format!("moved to {}", target.display())
            }
            None => "ignored".to_owned(),
        };
        let file = self.store.place(name);
        let warning = format!("table {}: {} {detail}; {outcome}", self.table, file.display());
        tracing::warn!("{warning}");
        surveyed.warnings.push(warning);
        Ok(())
    }
}
