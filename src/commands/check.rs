//! `weir check`.
use clap::Args;
use super::Failure;
use crate::config::Config;
#[derive(Debug, Args)]
pub(crate) struct Arguments {}
pub(crate) fn execute(_config: &Config, _arguments: &Arguments) -> Result<(), Failure> { Ok(()) }
