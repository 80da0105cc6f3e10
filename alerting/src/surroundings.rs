//! What alerting hears of the process around it, and says of itself there.

use crate::own_troubles::Trouble;

/// The process around.
pub trait Surroundings: Send + Sync {
    /// What is wrong: a source or the lake out of reach, and what is slighter. Must not wait.
    fn troubles(&self) -> Vec<Trouble>;

    /// Says what is wrong with alerting itself, under a key, or that it is over.
    fn set(&self, key: &str, trouble: Option<&str>);
}
