//! End to end: a topic of order events through `weir run` into a fresh lake, beside what one thread
//! over librdkafka reaches on the same machine in the same minutes.
//!
//! # Guarantees
//! - A run that loses a record, fails, or (unless told otherwise) does not verify is no result.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use benchmarks::ceiling::{self, Stage};
use benchmarks::events::Shape;
use benchmarks::failure::Failure;
use benchmarks::report::Ingest;
use benchmarks::tool::{product, publish, say};
use benchmarks::topic::Topic;
use benchmarks::weir::{Figures, Run, Verify};
use benchmarks::{machine, prepared};
use clap::Parser;

/// The product's own allocator, so that the ceiling has no other.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures how fast `weir run` takes a topic in.
#[derive(Debug, Parser)]
struct Arguments {
    /// Changes in the topic.
    #[arg(long, default_value_t = 1_000_000)]
    events: u64,
    /// Partitions of the topic.
    #[arg(long, default_value_t = 4)]
    partitions: u32,
    /// Seed of the stream.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Runs of the product, and passes of each stage of the ceiling.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Bootstrap servers.
    #[arg(long, default_value = "127.0.0.1:19092")]
    brokers: String,
    /// The binary; unless given, the one beside this program.
    #[arg(long)]
    weir: Option<PathBuf>,
    /// Where lakes are made; they are deleted afterwards.
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    folder: PathBuf,
    /// A line of configuration, such as `lake.barrier_interval = "2s"`; may be repeated.
    #[arg(long = "set", value_name = "KEY = VALUE")]
    settings: Vec<String>,
    /// Keep the topic, so that the next call with the same numbers need not fill it.
    #[arg(long)]
    keep_topic: bool,
    /// Do not run `weir verify` on each lake.
    #[arg(long)]
    no_verify: bool,
    /// The report's file; unless given, one named by the date in `benchmarks/results`.
    #[arg(long)]
    out: Option<PathBuf>,
}

fn main() -> ExitCode {
    match measure(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            say(&format!("error: {failure}"));
            ExitCode::FAILURE
        }
    }
}

/// Whether every lake that was verified passed.
fn measure(arguments: &Arguments) -> Result<bool, Failure> {
    let program = product(arguments.weir.as_deref())?;
    let Arguments { events, partitions, seed, .. } = *arguments;
    let shape = Shape { seed, changes: events, partitions, end: machine::now() };
    let name = format!("weir-bench-orders-{events}-{partitions}-{seed}");
    let load = machine::load();
    say(&format!("filling topic `{name}`"));
    let (topic, took) = Topic::filled(&arguments.brokers, &name, shape)?;
    say(&format!("{} records in {:.1} s", topic.records, took.as_secs_f64()));
    let mut report = Ingest {
        command: command_line(),
        date: machine::now().date(),
        machine: machine::facts(),
        load,
        changes: float(events),
        records: topic.records,
        bytes: float(topic.bytes),
        ceiling: measure_ceiling(arguments, &topic)?,
        runs: Vec::new(),
    };
    for number in 1..=arguments.runs.max(1) {
        let figures = measure_run(arguments, &program, &topic)?;
        let (seconds, cpu) = (figures.seconds, figures.usage.cpu);
        let rate = report.changes / seconds;
        say(&format!("run {number}: {seconds:.2} s, {rate:.0} events/s, {cpu:.2} CPU s"));
        report.runs.push(figures);
    }
    if !arguments.keep_topic {
        topic.delete()?;
    }
    publish("ingest", arguments.out.as_deref(), &report.markdown())?;
    Ok(report.runs.iter().all(passed))
}

fn passed(run: &Figures) -> bool {
    run.verify.as_ref().is_none_or(Verify::passed)
}

fn measure_ceiling(
    arguments: &Arguments,
    topic: &Topic,
) -> Result<Vec<(Stage, std::time::Duration)>, Failure> {
    let contract = prepared::contract();
    let mut passes = Vec::new();
    for _ in 0..arguments.runs.max(1) {
        for stage in Stage::ALL {
            let folder = fresh(&arguments.folder)?;
            let took = ceiling::measure(topic, stage, &contract, folder.path())?;
            say(&format!("ceiling, {}: {:.2} s", stage.name(), took.as_secs_f64()));
            passes.push((stage, took));
        }
    }
    Ok(passes)
}

fn measure_run(arguments: &Arguments, program: &Path, topic: &Topic) -> Result<Figures, Failure> {
    let folder = fresh(&arguments.folder)?;
    let settings = arguments.settings.join("\n");
    let verify = !arguments.no_verify;
    Run { program, folder: folder.path(), topic, settings: &settings, verify }.measure()
}

fn fresh(below: &Path) -> Result<tempfile::TempDir, Failure> {
    let folder = tempfile::Builder::new().prefix("weir-bench-").tempdir_in(below);
    folder.map_err(Failure::io("create a folder in", below))
}

fn command_line() -> String {
    let words: Vec<String> = std::env::args().skip(1).collect();
    format!("ingest {}", words.join(" ")).trim_end().to_owned()
}

#[expect(clippy::cast_precision_loss, reason = "counts of a benchmark are exact in a float")]
fn float(number: u64) -> f64 {
    number as f64
}
