//! Failures of commands, with the exit code of each.

use engine::Stopped;
use schemas::chain;

use crate::config::ConfigError;

/// How a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// A check found something wrong; it has already been printed.
    #[error("{0}")]
    Check(String),
    /// Wrong usage or configuration.
    #[error("{0}")]
    Usage(String),
    /// A service that is needed cannot be reached.
    #[error("{0}")]
    Unreachable(String),
    /// Anything else that stopped the command.
    #[error("{0}")]
    Stopped(String),
}

impl Failure {
    /// The exit code.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Failure::Check(_) | Failure::Stopped(_) => 1,
            Failure::Usage(_) => 2,
            Failure::Unreachable(_) => 3,
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Failure {
        Failure::Usage(error.to_string())
    }
}

impl From<Stopped> for Failure {
    fn from(stopped: Stopped) -> Failure {
        match stopped {
            Stopped::Configuration(reason) => Failure::Usage(reason),
            Stopped::Unreachable(reason) => Failure::Unreachable(reason),
            asked @ Stopped::Asked => Failure::Stopped(asked.to_string()),
            Stopped::Failed(reason) => Failure::Stopped(reason),
        }
    }
}

impl From<lake::LakeError> for Failure {
    fn from(error: lake::LakeError) -> Failure {
        Failure::Stopped(chain(&error))
    }
}
