//! Turns database change streams into KPIs people can trust.
//!
//! The binary only wires: it reads the configuration, joins sources, folds, tables and commands, and
//! never looks into the data. Results go to stdout, logs to stderr.

mod alerts;
mod commands;
mod config;
mod decisions;
mod demo;
mod failure;
mod output;
mod progress;
mod retraining;
mod saved;
mod serve;
mod training;
mod wall_clock;

use std::process::ExitCode;

/// Tables and files are allocated and freed in large, short-lived blocks by several threads: the
/// system allocator keeps much of that memory, this one gives it back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    commands::main()
}
