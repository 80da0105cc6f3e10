//! `weir clock`: what to do where the machine's clock and the lake's time differ.
//!
//! # Guarantees
//! - Nothing is changed here: the decision is kept, and takes effect in the epoch that reads it.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use schemas::Decision;

use super::decisions;
use super::setup::open;
use crate::config::Config;
use crate::failure::Failure;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The machine's clock is right: a jump is followed, and a lake that is ahead of it goes on.
    Accept(Accept),
}

#[derive(Debug, Args)]
pub(crate) struct Accept {
    /// The lake's folder, instead of the configured one.
    #[arg(long, value_name = "DIR")]
    lake: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn execute(config: &Config, command: &Command) -> Result<(), Failure> {
    let Command::Accept(Accept { lake, json }) = command;
    let lake = open(config, lake.as_deref())?;
    let decided = decisions::decide(config, &lake, Decision::AcceptClock, "weir clock accept")?;
    decided.print("the machine's clock is accepted; that", None, *json);
    Ok(())
}
