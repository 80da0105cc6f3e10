//! Decisions of clients of the API, and what was told of alerts: what the server asks of the process around it.
//!
//! # Guarantees
//! - A decision that is answered as kept is on disk. It shows in answers after the epoch that takes it.

use std::pin::Pin;

use schemas::{Decision, Micros};

/// An answer that is to come.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Why a decision is not known to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotKept {
    /// Nothing is decided.
    #[error(
        "it could not be written, and nothing is decided; the log of the server says why: try again"
    )]
    Nothing,
    /// Nobody knows.
    #[error(
        "whether it is decided is not known; look after a while, the log of the server says why"
    )]
    Unknown,
}

/// Keeps decisions.
pub trait Decisions: Send + Sync {
    /// Keeps a decision of somebody, and gives its id.
    fn keep(&self, decision: Decision, by: &str) -> Pending<'_, Result<String, NotKept>>;
}

/// What became of one thing that was told of an alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Whom it is for.
    pub route: String,
    /// What is told: `opened`, `updated`, `resolved` or `withdrawn`.
    pub kind: &'static str,
    /// `waiting`, `delivered`, `refused`, `given up`, `skipped`, `collected` or `digested`.
    pub state: &'static str,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was written.
    pub made_at: Micros,
    /// Until when it waits because of the route's quiet hours, if it does.
    pub quiet_until: Option<Micros>,
    /// When it was delivered, given up or skipped.
    pub ended_at: Option<Micros>,
    /// Why the last try failed.
    pub error: Option<String>,
    /// Silences of the receiver that keep it from passing the alert on.
    pub silenced_by: Vec<String>,
    /// Alerts that keep the receiver from passing this one on.
    pub inhibited_by: Vec<String>,
}

/// Knows what was told of alerts.
pub trait Deliveries: Send + Sync {
    /// The newest of an alert, newest first; `None` when they cannot be read.
    fn of(&self, alert: &str, most: u32) -> Pending<'_, Option<Vec<Delivery>>>;
}
