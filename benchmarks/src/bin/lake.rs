//! What an upsert into a keyed table costs, in time and bytes, beside delta-rs' MERGE of the same rows,
//! and what a live row takes in memory.
//!
//! # Guarantees
//! - Both tables are counted at the end: a round that lost or doubled a row fails the run.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use benchmarks::failure::Failure;
use benchmarks::live_rows::bytes_a_row;
use benchmarks::machine;
use benchmarks::process::settled_bytes;
use benchmarks::times::Times;
use benchmarks::tool::{publish, say};
use benchmarks::upserts::{Keyed, Merged, Rows, bytes_below};
use clap::Parser;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::runtime::Runtime;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Rows between which the memory of a row is taken.
const LIVE: [usize; 2] = [200_000, 1_000_000];
/// Changes a barrier, for bytes against changes.
const STEPS: [usize; 5] = [1, 10, 100, 1_000, 10_000];
/// Barriers of an hour.
const HOUR: usize = 720;
/// An hour's changes at each barrier.
const HOUR_CHANGES: usize = 10;

/// Measures upserts into a keyed table.
#[derive(Debug, Parser)]
struct Arguments {
    /// Rows of the table. May be given more than once.
    #[arg(long = "rows", default_values_t = [1_000_000, 10_000_000])]
    rows: Vec<usize>,
    /// Rows of one upsert, at random keys.
    #[arg(long, default_value_t = 1_000)]
    changes: usize,
    /// Upserts by Weir.
    #[arg(long, default_value_t = 20)]
    rounds: usize,
    /// Upserts by delta-rs; 0 leaves it out.
    #[arg(long, default_value_t = 3)]
    merges: usize,
    /// Folders to measure in, each by itself. One in memory makes syncing free for both.
    #[arg(long = "folder", default_values_os_t = [PathBuf::from("/dev/shm"), std::env::temp_dir()])]
    folders: Vec<PathBuf>,
    /// Leaves out the hour of small barriers.
    #[arg(long)]
    no_hour: bool,
    /// Measures the memory of a live row and nothing else.
    #[arg(long)]
    live_rows: bool,
    /// Where the report goes; `benchmarks/results` otherwise.
    #[arg(long)]
    out: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let report = measure(&arguments);
    match report.and_then(|report| publish("lake", arguments.out.as_deref(), &report)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            say(&format!("error: {failure}"));
            ExitCode::FAILURE
        }
    }
}

fn measure(arguments: &Arguments) -> Result<String, Failure> {
    let runtime = Runtime::new().map_err(Failure::io("start", Path::new("a runtime")))?;
    let command = std::env::args().collect::<Vec<_>>().join(" ");
    let mut report = format!("# Upserts\n\n    {command}\n\n{}", machine::facts());
    line(&mut report, &format!("- load average {} at the start\n", machine::load()));
    let [from, to] = LIVE;
    let bytes = bytes_a_row(from, to, settled_bytes)?;
    line(
        &mut report,
        &format!(
            "Memory of a live row of `orders`: {bytes:.0} bytes, slope from {from} to {to} rows.\n"
        ),
    );
    if arguments.live_rows {
        return Ok(report);
    }
    line(
        &mut report,
        "| folder | rows | writer | upserts | p50 ms | p99 ms | max ms | bytes, median |\n\
         |---|---|---|---|---|---|---|---|",
    );
    let mut notes = String::new();
    for folder in &arguments.folders {
        for &rows in &arguments.rows {
            let own = tempfile::tempdir_in(folder).map_err(Failure::io("create", folder))?;
            let place = Place { folder, own: own.path(), rows, arguments, runtime: &runtime };
            place.ours(&mut report, &mut notes)?;
            if arguments.merges > 0 {
                place.theirs(&mut report)?;
            }
        }
    }
    line(&mut report, &notes);
    Ok(report)
}

/// One size in one folder.
struct Place<'a> {
    folder: &'a Path,
    own: &'a Path,
    rows: usize,
    arguments: &'a Arguments,
    runtime: &'a Runtime,
}

impl Place<'_> {
    fn ours(&self, report: &mut String, notes: &mut String) -> Result<(), Failure> {
        let (folder, mut rng) = (self.own.join("weir"), StdRng::seed_from_u64(1));
        let mut rows = Rows::new(self.rows);
        say(&format!("weir, {} rows in {}", self.rows, self.folder.display()));
        let mut keyed = Keyed::create(&folder, &rows, self.runtime.handle())?;
        let mut rounds = Vec::new();
        for _ in 0..self.arguments.rounds {
            rounds.push(upsert(&mut keyed, &mut rows, self.arguments.changes, &mut rng, &folder)?);
        }
        self.row(report, "weir", &rounds);
        line(notes, &format!("\n## {} rows in {}\n", self.rows, self.folder.display()));
        line(notes, "| changed rows | bytes of a barrier, median of 5 |\n|---|---|");
        for changes in STEPS {
            let mut bytes = Vec::new();
            for _ in 0..5 {
                let round = upsert(&mut keyed, &mut rows, changes, &mut rng, &folder)?;
                bytes.push(round.bytes);
            }
            bytes.sort_unstable();
            line(notes, &format!("| {changes} | {} |", bytes.get(2).copied().unwrap_or(0)));
        }
        if !self.arguments.no_hour {
            hour(&mut keyed, &mut rows, &mut rng, &folder, notes)?;
        }
        self.clean_up(&mut keyed, notes)
    }

    /// Compaction of everything, and opening.
    fn clean_up(&self, keyed: &mut Keyed, notes: &mut String) -> Result<(), Failure> {
        let start = Instant::now();
        let mut written = 0;
        loop {
            let rows = keyed.compact(Duration::ZERO)?;
            written += rows;
            if rows == 0 {
                break;
            }
        }
        let rate = per_second(written, start.elapsed());
        let opened = keyed.open_and_index()?;
        let (live, files) = keyed.shape();
        if usize::try_from(live) != Ok(self.rows) {
            return Err(Failure::Worthless(format!("{live} rows are left of {}", self.rows)));
        }
        let opening = per_second(self.rows, opened);
        let text = format!(
            "\nCompaction until no vector was left: {written} rows, {rate} rows/s, {files} files. \
             Open, read and index by key: {opening} rows/s."
        );
        line(notes, &text);
        Ok(())
    }

    fn theirs(&self, report: &mut String) -> Result<(), Failure> {
        let (folder, mut rng) = (self.own.join("delta-rs"), StdRng::seed_from_u64(1));
        let mut rows = Rows::new(self.rows);
        say(&format!("delta-rs, {} rows in {}", self.rows, self.folder.display()));
        let mut merged = self.runtime.block_on(Merged::create(&folder, &rows))?;
        let mut rounds = Vec::new();
        for _ in 0..self.arguments.merges {
            let changed = change(&mut rows, self.arguments.changes, &mut rng);
            let before = bytes_below(&folder)?;
            let start = Instant::now();
            self.runtime.block_on(merged.upsert(&rows, &changed))?;
            let took = start.elapsed();
            rounds.push(Round { took, bytes: bytes_below(&folder)? - before });
        }
        let count = self.runtime.block_on(merged.count())?;
        if count != self.rows {
            return Err(Failure::Worthless(format!("delta-rs has {count} rows of {}", self.rows)));
        }
        self.row(report, "delta-rs MERGE", &rounds);
        Ok(())
    }

    fn row(&self, report: &mut String, writer: &str, rounds: &[Round]) {
        let times = Times::new(rounds.iter().map(|it| it.took.as_secs_f64() * 1e3));
        let mut bytes: Vec<u64> = rounds.iter().map(|round| round.bytes).collect();
        bytes.sort_unstable();
        let median = bytes.get(bytes.len() / 2).copied().unwrap_or(0);
        let (folder, cells) = (self.folder.display(), times.cells());
        let (rows, count) = (self.rows, rounds.len());
        line(report, &format!("| {folder} | {rows} | {writer} | {count} | {cells} | {median} |"));
    }
}

/// One upsert.
struct Round {
    took: Duration,
    bytes: u64,
}

fn upsert(
    keyed: &mut Keyed,
    rows: &mut Rows,
    count: usize,
    rng: &mut StdRng,
    folder: &Path,
) -> Result<Round, Failure> {
    let changed = change(rows, count, rng);
    let before = bytes_below(folder)?;
    let start = Instant::now();
    keyed.flush(rows, &changed, false)?;
    let took = start.elapsed();
    Ok(Round { took, bytes: bytes_below(folder)? - before })
}

/// Changes rows at random, each at most once.
fn change(rows: &mut Rows, count: usize, rng: &mut StdRng) -> Vec<u32> {
    let mut changed: Vec<u32> = (0..count).map(|_| rng.random_range(0..rows.count())).collect();
    changed.sort_unstable();
    changed.dedup();
    changed.iter().for_each(|slot| rows.change(*slot));
    changed
}

/// An hour of barriers with ten random changes each, a round of compaction after each of them.
fn hour(
    keyed: &mut Keyed,
    rows: &mut Rows,
    rng: &mut StdRng,
    folder: &Path,
    notes: &mut String,
) -> Result<(), Failure> {
    let (mut bytes, mut compacted) = (Vec::with_capacity(HOUR), 0);
    for _ in 0..HOUR {
        bytes.push(upsert(keyed, rows, HOUR_CHANGES, rng, folder)?.bytes);
        compacted += keyed.compact(Duration::from_secs(3_600))?;
    }
    bytes.sort_unstable();
    let at = |share: usize| bytes.get(HOUR * share / 100).copied().unwrap_or(0);
    let changed = HOUR * HOUR_CHANGES;
    let text = format!(
        "\nAn hour of {HOUR} barriers with {HOUR_CHANGES} random changes each: p50 {} bytes, p99 {} \
         bytes. Compaction wrote {compacted} rows for {changed} changed ones.",
        at(50),
        at(99)
    );
    line(notes, &text);
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "rows of a table are exact in a float")]
fn per_second(rows: usize, took: Duration) -> String {
    format!("{:.0}", rows as f64 / took.as_secs_f64().max(1e-9))
}

fn line(report: &mut String, text: &str) {
    report.push_str(text);
    report.push('\n');
}
