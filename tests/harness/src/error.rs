//! The one error of the oracle: a sentence that says what could not be read and where.

use std::fmt;

/// Why a lake or a log could not be judged at all (as opposed to judged wrong).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(String);

impl Error {
    /// An error with this message.
    pub fn new(message: impl fmt::Display) -> Error {
        Error(message.to_string())
    }

    /// For `map_err`: puts where it happened before what happened.
    pub fn at<E: fmt::Display>(place: impl fmt::Display) -> impl FnOnce(E) -> Error {
        move |error| Error(format!("{place}: {error}"))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

impl From<arrow::error::ArrowError> for Error {
    fn from(error: arrow::error::ArrowError) -> Error {
        Error::new(error)
    }
}
