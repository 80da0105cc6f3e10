//! Decisions that a command makes: one record of the control file each, and what became of it.
//!
//! # Guarantees
//! - A command that succeeds has its record on disk: it takes effect in the epoch that reads it, now or at
//!   the next start.

use std::fs::{File, TryLockError};
use std::time::{Duration, Instant};

use lake::{At, Lake, LakeError, Table};
use pipeline::bronze;
use pipeline::source::control_partition;
use schemas::{Decision, EpochId, chain};
use serde_json::json;

use crate::config::Config;
use crate::decisions::Records;
use crate::failure::Failure;
use crate::output;

/// How long a command waits for a running Weir to take its decision.
const WAIT: Duration = Duration::from_secs(15);
/// Between looks.
const LOOK: Duration = Duration::from_millis(100);

/// A decision that is kept.
#[derive(Debug)]
pub(crate) struct Decided {
    id: String,
    effect: Effect,
}

/// When a decision takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// It took effect in this epoch, which bronze holds.
    Taken(EpochId),
    /// Weir runs and has not taken it within the wait.
    Waiting,
    /// Nothing runs on this lake.
    AtNextStart,
}

/// A decision that is on disk, and where.
#[derive(Debug)]
pub(crate) struct Kept {
    id: String,
    offset: i64,
}

/// Keeps a decision, and waits for a running Weir to take it.
///
/// # Errors
/// When it could not be kept, or nobody knows whether it is.
pub(crate) fn decide(
    config: &Config,
    lake: &Lake,
    decision: Decision,
    by: &str,
) -> Result<Decided, Failure> {
    wait(lake, keep(config, lake, decision, by)?)
}

/// Keeps a decision.
///
/// # Errors
/// When it could not be kept, or nobody knows whether it is.
pub(crate) fn keep(
    config: &Config,
    lake: &Lake,
    decision: Decision,
    by: &str,
) -> Result<Kept, Failure> {
    let kept = Records::new(config, lake.work_dir()).keep(decision, by);
    let (id, offset) = kept.map_err(|e| Failure::Stopped(chain(&e)))?;
    Ok(Kept { id, offset })
}

/// Waits for a running Weir to take a decision.
///
/// # Errors
/// When the lake cannot be read.
pub(crate) fn wait(lake: &Lake, kept: Kept) -> Result<Decided, Failure> {
    Ok(Decided { id: kept.id, effect: effect(lake, kept.offset)? })
}

fn effect(lake: &Lake, offset: i64) -> Result<Effect, Failure> {
    let (begin, partition) = (Instant::now(), control_partition());
    loop {
        let runs = is_written(lake);
        match Table::open(lake, bronze::TABLE, At::Newest) {
            Err(LakeError::NoTable { .. }) => {}
            table => {
                let table = table?;
                let reached = bronze::held(&table).next.get(&partition).copied();
                if reached.is_some_and(|next| next > offset)
                    && let Some(epoch) = bronze::epoch_of(&table, &partition, offset)?
                {
                    return Ok(Effect::Taken(epoch));
                }
            }
        }
        match runs {
            false => return Ok(Effect::AtNextStart),
            true if begin.elapsed() >= WAIT => return Ok(Effect::Waiting),
            true => std::thread::sleep(LOOK),
        }
    }
}

/// Whether a process holds the lake for writing. A shared lock is tried and given back at once.
pub(crate) fn is_written(lake: &Lake) -> bool {
    let lock = File::open(lake.state_dir().join("lock"));
    lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

impl Decided {
    /// The epoch in which it took effect, if it has.
    pub(crate) fn epoch(&self) -> Option<EpochId> {
        match self.effect {
            Effect::Taken(epoch) => Some(epoch),
            Effect::Waiting | Effect::AtNextStart => None,
        }
    }

    /// Tells what became of it; `what` was decided, and `note` is to be known beside.
    pub(crate) fn print(&self, what: &str, note: Option<&str>, as_json: bool) {
        let Decided { id, effect } = self;
        if as_json {
            let (word, epoch) = match effect {
                Effect::Taken(epoch) => ("taken", Some(*epoch)),
                Effect::Waiting => ("waiting", None),
                Effect::AtNextStart => ("at_next_start", None),
            };
            return output::json(
                &json!({ "id": id, "effect": word, "epoch": epoch, "note": note }),
            );
        }
        output::line(&match effect {
            Effect::Taken(epoch) => format!("{what} took effect in epoch {epoch} (decision {id})"),
            Effect::Waiting => format!(
                "{what} is kept and takes effect when the running weir comes to it, which it has not within \
                 {} s (decision {id})",
                WAIT.as_secs()
            ),
            Effect::AtNextStart => {
                format!("{what} is kept and takes effect at the next start (decision {id})")
            }
        });
        note.into_iter().for_each(output::line);
    }
}
