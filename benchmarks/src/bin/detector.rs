//! How good the detector is: on labelled series from files, and on generated ones.
//!
//! # Guarantees
//! - It runs the product's model with its own constants and has no setting for them.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use benchmarks::detector::{Table, data, generated, labelled, nab};
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
    /// Print JSON instead of Markdown.
    #[arg(long)]
    json: bool,
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
    let mut tables = Vec::new();
    if let Some(folder) = &arguments.nab {
        tables.extend(nab::report(&data::nab(folder)?));
    }
    if let Some(folder) = &arguments.ms {
        tables.extend(labelled::report(&data::microsoft(folder)?));
    }
    if !arguments.no_generated {
        tables.extend(generated::report(arguments.seed));
    }
    if arguments.json {
        let all: Vec<serde_json::Value> = tables.iter().map(Table::json).collect();
        return Ok(format!("{:#}\n", serde_json::Value::from(all)));
    }
    Ok(tables.iter().map(Table::markdown).collect::<Vec<_>>().join("\n"))
}
