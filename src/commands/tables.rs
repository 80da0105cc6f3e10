//! `weir tables`.
use clap::Subcommand;
use super::Failure;
use crate::config::Config;
#[derive(Debug, Subcommand)]
pub(crate) enum Command { /// List.
List }
pub(crate) fn execute(_config: &Config, _command: &Command) -> Result<(), Failure> { Ok(()) }
