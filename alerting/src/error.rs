//! What can go wrong with the outbox, and with a delivery.

use std::time::Duration;

/// The store of deliveries cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database says so.
    #[error("the store of deliveries: {0}")]
    Database(#[from] sqlx::Error),
    /// Its tables cannot be brought up to date.
    #[error("the tables of the store of deliveries: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// What is in it was not written by this version.
    #[error("the store of deliveries holds what this version cannot read: {0}")]
    Content(String),
}

/// Why a delivery did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeliveryError {
    /// It may succeed later.
    #[error("{why}")]
    Later {
        /// What happened.
        why: String,
        /// How long the receiver asks to wait.
        after: Option<Duration>,
    },
    /// It never will.
    #[error("{why}")]
    Refused {
        /// What the receiver says.
        why: String,
    },
}

impl DeliveryError {
    /// It may succeed later.
    pub(crate) fn later(why: impl Into<String>) -> DeliveryError {
        DeliveryError::Later { why: why.into(), after: None }
    }
}
