//! How good the detector is: on labelled series from files, and on generated ones.
//!
//! # Guarantees
//! - It runs the product's model with its own constants and has no setting for them.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use benchmarks::detector::{data, generated, labelled, nab};
use benchmarks::failure::Failure;
use clap::Parser;

/// Measures the detector.
#[derive(Debug, Parser)]
struct Arguments {
    /// A folder in the layout of the Numenta Anomaly Benchmark: `data/*/*.csv` and
    /// `labels/combined_windows.json`. Any part of it will do.
    #[arg(long)]
    nab: Option<PathBuf>,
    /// A folder in the layout of Microsoft's cloud monitoring data: CSV files of time, value, label.
    #[arg(long)]
    ms: Option<PathBuf>,
    /// Seed of the generated series.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Leave the generated series out.
    #[arg(long)]
    no_generated: bool,
}

fn main() -> ExitCode {
    let report = measure(&Arguments::parse());
    let (text, code) = match &report {
        Ok(text) => (text.clone(), ExitCode::SUCCESS),
        Err(failure) => (format!("error: {failure}\n"), ExitCode::FAILURE),
    };
    let printed = std::io::stdout().lock().write_all(text.as_bytes());
    if printed.is_err() { ExitCode::FAILURE } else { code }
}

fn measure(arguments: &Arguments) -> Result<String, Failure> {
    let mut parts = Vec::new();
    if let Some(folder) = &arguments.nab {
        parts.push(nab::report(&data::nab(folder)?));
    }
    if let Some(folder) = &arguments.ms {
        parts.push(labelled::report(&data::microsoft(folder)?));
    }
    if !arguments.no_generated {
        parts.push(generated::report(arguments.seed));
    }
    Ok(parts.join("\n"))
}
