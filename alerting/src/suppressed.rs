//! What a receiver says that it does not pass on.

use std::pin::Pin;

use crate::error::DeliveryError;

/// An alert that a receiver does not pass on, and why.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Suppressed {
    /// The alert.
    pub(crate) alert: String,
    /// The receiver's silences.
    pub(crate) silenced_by: Vec<String>,
    /// The alerts that go before it: their ids, or how the receiver names them.
    pub(crate) inhibited_by: Vec<String>,
}

/// An answer that is to come.
pub(crate) type Reading<'a> =
    Pin<Box<dyn Future<Output = Result<Vec<Suppressed>, DeliveryError>> + Send + 'a>>;
