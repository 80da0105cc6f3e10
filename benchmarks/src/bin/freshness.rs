//! How old a change is when a client of the stream has it: from the Kafka timestamp of a record to the
//! frame of the first epoch that contains it.
//!
//! # Guarantees
//! - Every record after the warm-up is counted, by the epoch that bronze says took it.
//! - Timestamps are taken just before a record is handed to the producer, on the same machine. They
//!   have whole milliseconds, cut off, so that times are at most 1 ms too long.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use benchmarks::events::Shape;
use benchmarks::failure::Failure;
use benchmarks::live::Live;
use benchmarks::load::{self, Load};
use benchmarks::machine;
use benchmarks::subscriber::{Frame, Subscriber};
use benchmarks::times::{Times, millis};
use benchmarks::tool::{product, publish, say};
use benchmarks::topic::{Metadata, Topic};
use clap::Parser;
use harness::bronze::Epochs;
use serde_json::json;

/// Not counted: the first epochs fill caches and make the first files.
const WARM_UP_US: i64 = 5_000_000;

/// How long frames may still come after the last record.
const TAIL: Duration = Duration::from_secs(2);

/// Measures how fresh a client of the stream is.
#[derive(Debug, Parser)]
struct Arguments {
    /// Records a second; may be repeated.
    #[arg(long = "rate", default_values_t = [2_000, 20_000])]
    rates: Vec<u32>,
    /// `lake.durability`; may be repeated.
    #[arg(long = "durability", default_values_t = ["fsync".to_owned(), "none".to_owned()])]
    durabilities: Vec<String>,
    /// Seconds of each run, warm-up included.
    #[arg(long, default_value_t = 65)]
    seconds: u32,
    /// Partitions of the topic.
    #[arg(long, default_value_t = 4)]
    partitions: u32,
    /// Changes of each transaction, with `transactions` set; unless given, changes name none.
    #[arg(long)]
    transaction: Option<u64>,
    /// Seed of the stream.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Bootstrap servers.
    #[arg(long, default_value = "127.0.0.1:19092")]
    brokers: String,
    /// The binary; unless given, the one beside this program.
    #[arg(long)]
    weir: Option<PathBuf>,
    /// Where lakes are made; they are deleted afterwards.
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    folder: PathBuf,
    /// The report's file; unless given, one named by the date in `benchmarks/results`.
    #[arg(long)]
    out: Option<PathBuf>,
}

/// What one run found.
struct Outcome {
    rate: u32,
    durability: String,
    load: Load,
    frames: usize,
    /// Records that no frame came after.
    unseen: usize,
    total: Times,
    to_cut: Times,
    from_cut: Times,
}

fn main() -> ExitCode {
    match measure(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            say(&format!("error: {failure}"));
            ExitCode::FAILURE
        }
    }
}

fn measure(arguments: &Arguments) -> Result<(), Failure> {
    let runtime = tokio::runtime::Runtime::new();
    let runtime = runtime.map_err(Failure::io("start", Path::new("a runtime")))?;
    let mut report = head(arguments);
    for durability in &arguments.durabilities {
        for &rate in &arguments.rates {
            let outcome = runtime.block_on(run(arguments, rate, durability))?;
            let row = row(&outcome);
            say(row.trim_end());
            report.push_str(&row);
        }
    }
    report.push_str(
        "\nMilliseconds. A record waits from its timestamp to the clock of its epoch (producer, broker, \
         poll, linger),\nand from there to the frame (ledger, fold, KPIs, publication, socket).\n",
    );
    publish("freshness", arguments.out.as_deref(), &report)
}

async fn run(arguments: &Arguments, rate: u32, durability: &str) -> Result<Outcome, Failure> {
    let program = product(arguments.weir.as_deref())?;
    let folder = tempfile::Builder::new().prefix("weir-bench-").tempdir_in(&arguments.folder);
    let folder = folder.map_err(Failure::io("create a folder in", &arguments.folder))?;
    let name = format!("weir-bench-freshness-{}", machine::now().0);
    let mut topic = Topic::empty(&arguments.brokers, &name, arguments.partitions)?;
    // It begins as the name of the connector in the events does.
    let metadata = format!("shop.{name}");
    let metadata = arguments.transaction.map(|changes| Metadata { name: metadata, changes });
    let beside = metadata.as_ref().map(|own| Topic::empty(&arguments.brokers, &own.name, 1));
    let beside = beside.transpose()?;
    topic.metadata = metadata;
    let settings = format!("lake.durability = \"{durability}\"");
    let live = Live::start(&program, folder.path(), &topic, &settings).await?;
    let token = live.token("freshness")?;
    let mut subscriber = Subscriber::open(&live.address, &token, &json!({})).await?;
    let watching = tokio::spawn(async move {
        let mut frames: Vec<Frame> = Vec::new();
        // It ends when the server does.
        while let Ok(frame) = subscriber.next().await {
            frames.push(frame);
        }
        frames
    });
    let changes = u64::from(rate) * u64::from(arguments.seconds);
    let (seed, partitions) = (arguments.seed, arguments.partitions);
    let shape = Shape { seed, changes, partitions, end: machine::now() };
    let of_load = topic.clone();
    let sending = tokio::task::spawn_blocking(move || {
        load::send(&of_load, shape, rate, &AtomicBool::new(false))
    });
    let load = sending.await.map_err(|error| Failure::Worthless(error.to_string()))??;
    tokio::time::sleep(TAIL).await;
    let lake = live.lake.clone();
    live.stop()?;
    let frames = watching.await.map_err(|error| Failure::Worthless(error.to_string()))?;
    let outcome = judge(rate, durability, load, &frames, (&lake, &topic))?;
    topic.delete()?;
    beside.as_ref().map_or(Ok(()), Topic::delete)?;
    Ok(outcome)
}

/// Joins records and frames by epoch.
fn judge(
    rate: u32,
    durability: &str,
    load: Load,
    frames: &[Frame],
    (lake, topic): (&Path, &Topic),
) -> Result<Outcome, Failure> {
    let frames: Vec<&Frame> = frames.iter().filter(|frame| frame.has_cells).collect();
    let (mut total, mut to_cut, mut from_cut) = (Vec::new(), Vec::new(), Vec::new());
    let (mut first, mut unseen, mut records) = (None, 0, 0);
    let mut epochs = Epochs::open(lake)?;
    while let Some(epoch) = epochs.next_epoch()? {
        // Definitions of the start and markers of transactions are no events of the topic.
        for record in epoch.into_iter().filter(|record| record.topic == topic.name) {
            records += 1;
            let Some(sent) = record.timestamp else { continue };
            if sent - *first.get_or_insert(sent) < WARM_UP_US {
                continue;
            }
            let number = u64::try_from(record.epoch).unwrap_or(0);
            let at = frames.partition_point(|frame| frame.offset < number);
            let Some(frame) = frames.get(at) else {
                unseen += 1;
                continue;
            };
            total.push(millis(frame.received.0 - sent));
            to_cut.push(millis(record.epoch_clock - sent));
            from_cut.push(millis(frame.received.0 - record.epoch_clock));
        }
    }
    if records != load.records || total.is_empty() {
        let text = format!(
            "bronze holds {records} records of {}, {} of them after the warm-up",
            load.records,
            total.len()
        );
        return Err(Failure::Worthless(text));
    }
    let (total, to_cut, from_cut) = (Times::new(total), Times::new(to_cut), Times::new(from_cut));
    let durability = durability.to_owned();
    let frames = frames.len();
    Ok(Outcome { rate, durability, load, frames, unseen, total, to_cut, from_cut })
}

fn head(arguments: &Arguments) -> String {
    let whole = arguments.transaction.map(|changes| format!("; whole transactions of {changes}"));
    let whole = whole.unwrap_or_default();
    format!(
        "# Freshness: from a record's timestamp to the frame that has it\n\n{}- {} s each, of which {} s \
         are warm-up; one client, all KPIs, {} partitions{}\n- load average {} at the start\n\n\
         | durability | records/s | sent/s | latest send ms | records counted | frames | unseen | \
         p50 | p99 | max | to the cut: p50 | p99 | max | from the cut: p50 | p99 | max |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
        machine::facts(),
        arguments.seconds,
        WARM_UP_US / 1_000_000,
        arguments.partitions,
        whole,
        machine::load()
    )
}

fn row(outcome: &Outcome) -> String {
    let Outcome { rate, durability, load, frames, unseen, total, to_cut, from_cut } = outcome;
    format!(
        "| {durability} | {rate} | {:.0} | {:.0} | {} | {frames} | {unseen} | {} | {} | {} |\n",
        millis(i64::try_from(load.records).unwrap_or(i64::MAX)) * 1e3 / load.took.as_secs_f64(),
        load.latest.as_secs_f64() * 1e3,
        total.len(),
        total.cells(),
        to_cut.cells(),
        from_cut.cells()
    )
}
