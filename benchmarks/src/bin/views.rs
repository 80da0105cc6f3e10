//! How fast the core keeps KPIs and views up to date, on one core, in memory: rows in, changed cells out.
//!
//! Three parts. `one-table`: every built-in KPI over orders alone. `four-views`: four views over a million sales.
//! `catalogue`: every KPI and view that comes with Weir, with all grains and windows, over all contracts.
//!
//! # Guarantees
//! - Rates are of seconds on a core, not of the clock on the wall, so that other work on the machine does not count.
//! - What was kept up to date is held against DataFusion's answers over all rows, unless that is left out.
//!
//! # Non-guarantees
//! - Kafka, decoding, the ledger, silver and serving are not in it: `ingest` and `freshness` have those.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use benchmarks::failure::Failure;
use benchmarks::four_views::{self, FourViews};
use benchmarks::mix::{Change, Mix};
use benchmarks::process::{Spent, settled_bytes, spent};
use benchmarks::recompute::{self, Recomputed};
use benchmarks::tool::{publish, say};
use benchmarks::{machine, prepared};
use clap::{Parser, ValueEnum};
use gold::{Catalog, Engine};
use lake::keyed::FrozenRows;
use schemas::{Delta, EpochStamp, Micros};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Where the newest rows are.
const END: Micros = Micros(1_795_252_754_000_000);
/// What an epoch moves the clock by.
const SECOND: i64 = 1_000_000;
/// Rows that are loaded between two looks at the clock.
const LOADED_AT_ONCE: usize = 100_000;

/// What is kept up to date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Every built-in KPI over orders alone.
    OneTable,
    /// Four views over sales.
    FourViews,
    /// Every KPI and view that comes with Weir, over all contracts.
    Catalogue,
}

/// Measures how fast KPIs and views are kept up to date.
#[derive(Debug, Parser)]
struct Arguments {
    /// What to measure. May be given more than once.
    #[arg(long = "part", value_enum, default_values_t = [Part::OneTable, Part::FourViews, Part::Catalogue])]
    parts: Vec<Part>,
    /// Rows of all tables together before changes are measured.
    #[arg(long, default_value_t = 1_000_000)]
    rows: usize,
    /// Changes that are measured, for each size of epoch.
    #[arg(long, default_value_t = 100_000)]
    changes: usize,
    /// Changes of an epoch. May be given more than once.
    #[arg(long = "epoch", default_values_t = [5_000, 100])]
    epochs: Vec<usize>,
    /// Epochs of one change.
    #[arg(long, default_value_t = 2_000)]
    steps: usize,
    /// What the random rows follow from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Of the four views only this one. May be given more than once.
    #[arg(long = "view")]
    views: Vec<String>,
    /// Leaves out what DataFusion says and takes.
    #[arg(long)]
    no_recompute: bool,
    /// Where the report goes; `benchmarks/results` otherwise.
    #[arg(long)]
    out: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let report = measure(&arguments);
    match report.and_then(|report| publish("views", arguments.out.as_deref(), &report)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            say(&format!("error: {failure}"));
            ExitCode::FAILURE
        }
    }
}

fn measure(arguments: &Arguments) -> Result<String, Failure> {
    let command = std::env::args().collect::<Vec<_>>().join(" ");
    let mut report = format!(
        "# Views, {}\n\n    {command}\n\n{}- load average {} at the start\n\n",
        machine::now().date(),
        machine::hardware(),
        machine::load()
    );
    for part in &arguments.parts {
        let mut own = Run::new(*part, arguments)?;
        let figures = own.measure(arguments)?;
        line(&mut report, &figures);
    }
    Ok(report)
}

/// What keeps something up to date.
enum Keeper {
    Kpis { engine: Box<Engine>, catalog: Arc<Catalog>, id: u64 },
    Views(Box<FourViews>),
}

impl Keeper {
    fn step(&mut self, deltas: &[Delta], is_quiet: bool) -> Result<(), Failure> {
        let (engine, id) = match self {
            Keeper::Views(views) => return deltas.iter().try_for_each(|delta| views.step(delta)),
            Keeper::Kpis { engine, id, .. } => (engine, id),
        };
        *id += 1;
        let stamp = EpochStamp { id: *id, clock: clock(*id), quiet: is_quiet };
        engine.begin_epoch(&stamp);
        if is_quiet {
            engine.hush(0..deltas.len());
        }
        let deltas: Vec<&Delta> = deltas.iter().collect();
        let wrong = engine.step_all(&stamp, &deltas);
        let output = std::hint::black_box(engine.finish_epoch(&stamp));
        engine.recycle(output.updates);
        wrong.first().map_or(Ok(()), |error| Err(Failure::Worthless(error.to_string())))
    }

    /// Has it forget what is only there to be written by a barrier.
    fn rest(&mut self) {
        if let Keeper::Kpis { engine, .. } = self {
            drop(engine.take_changed_slots());
        }
    }

    /// Adds up what the last step gave.
    fn add_up(&mut self) {
        if let Keeper::Views(views) = self {
            views.add_up();
        }
    }

    /// Cells of KPIs; rows, groups and values that views keep.
    fn held(&mut self) -> usize {
        match self {
            Keeper::Kpis { engine, .. } => FrozenRows::live_slots(&engine.freeze()).count(),
            Keeper::Views(views) => views.kept(),
        }
    }
}

/// The instant of an epoch.
fn clock(id: u64) -> Micros {
    END.plus(i64::try_from(id).unwrap_or(i64::MAX).saturating_mul(SECOND))
}

/// One part.
struct Run {
    part: Part,
    mix: Mix,
    keeper: Keeper,
}

impl Run {
    fn new(part: Part, arguments: &Arguments) -> Result<Run, Failure> {
        let wrong =
            |error: &dyn std::fmt::Display| Failure::Worthless(format!("the catalogue: {error}"));
        let (contracts, keeper) = match part {
            Part::FourViews => {
                let contract = four_views::contract()?;
                let views = FourViews::new(&contract, &arguments.views)?;
                (vec![contract], Keeper::Views(Box::new(views)))
            }
            Part::OneTable | Part::Catalogue => {
                let mut contracts = prepared::all_contracts();
                let mut views: Arc<[gold::View]> = Arc::from([]);
                if part == Part::OneTable {
                    contracts.retain(|contract| contract.name == "orders");
                } else {
                    let files = gold::view_file::built_in();
                    views = gold::view_file::accept(&files, &contracts).map_err(|errors| {
                        wrong(&errors.first().map(ToString::to_string).unwrap_or_default())
                    })?;
                }
                let catalog = gold::catalog::with_built_in(Vec::new(), &contracts, views)
                    .map_err(|error| wrong(&error))?;
                let engine = Engine::new(Arc::clone(&catalog), &contracts);
                let engine = Box::new(engine.map_err(|error| wrong(&error))?);
                (contracts, Keeper::Kpis { engine, catalog, id: 0 })
            }
        };
        let mix = Mix::new(contracts, arguments.seed, arguments.rows, END);
        Ok(Run { part, mix, keeper })
    }

    fn measure(&mut self, arguments: &Arguments) -> Result<String, Failure> {
        say(&format!("{:?}: {} rows", self.part, arguments.rows));
        let mut text = format!("## {}\n\n| what | figure |\n|---|---|\n", self.title());
        let loaded = self.load(arguments)?;
        line(&mut text, &loaded);
        self.change(arguments, &mut text)?;
        if self.part != Part::FourViews {
            line(&mut text, "| **changes of now** | |");
            self.mix.go_live();
            self.change(arguments, &mut text)?;
        }
        if arguments.no_recompute {
            return Ok(text);
        }
        say("what DataFusion says");
        let Recomputed { spent, answers } = match &self.keeper {
            Keeper::Views(views) => recompute::views(&self.mix, views)?,
            Keeper::Kpis { engine, catalog, id } => {
                recompute::kpis(&self.mix, catalog, engine, clock(*id))?
            }
        };
        let (rows, cpu) = (self.mix.rows(), spent.cpu);
        line(&mut text, &format!("| DataFusion over {rows} rows, s on a core | {cpu:.2} |"));
        line(&mut text, &format!("| its answers, each the same | {answers} |"));
        Ok(text)
    }

    /// Changes rows, in epochs of all sizes and then one by one.
    fn change(&mut self, arguments: &Arguments, text: &mut String) -> Result<(), Failure> {
        for size in &arguments.epochs {
            say(&format!("{size} an epoch"));
            let changes: Vec<Change> = (0..arguments.changes).map(|_| self.next()).collect();
            let spent = self.feed(&changes, *size, false)?;
            let rate = rate(arguments.changes, spent);
            line(text, &format!("| changes a second and core, {size} an epoch | {rate} |"));
        }
        line(text, &self.one_by_one(arguments.steps)?);
        Ok(())
    }

    fn title(&self) -> String {
        match &self.keeper {
            Keeper::Views(views) => {
                let names: Vec<&str> = views.questions().map(|(name, _)| name).collect();
                format!("Views: {}", names.join(", "))
            }
            Keeper::Kpis { catalog, .. } => format!(
                "{} KPIs, {} views, over {}",
                catalog.definitions().len(),
                catalog.views().len(),
                match self.mix.contracts() {
                    [one] => one.name.clone(),
                    all => format!("{} contracts", all.len()),
                }
            ),
        }
    }

    /// Inserts rows, as a backlog brings them. Memory counts from a fifth of them on, so that what does not grow with
    /// rows is left out; the rows themselves are there before.
    fn load(&mut self, arguments: &Arguments) -> Result<String, Failure> {
        let size = arguments.epochs.iter().copied().max().unwrap_or(1);
        let changes: Vec<Change> = (0..arguments.rows).map(|_| self.mix.insert()).collect();
        let (few, many) = changes.split_at(arguments.rows / 5);
        self.feed(few, size, true)?;
        let before = (self.keeper.held(), settled_bytes()?);
        let spent = self.feed(many, size, true)?;
        self.keeper.rest();
        let after = (self.keeper.held(), settled_bytes()?);
        let bytes = after.1 - before.1;
        let each = |count: usize| bytes / float(count.max(1));
        let held = match self.keeper {
            Keeper::Kpis { .. } => "cell",
            Keeper::Views(_) => "row, group or value that is kept",
        };
        Ok(format!(
            "| rows loaded a second and core, {size} an epoch | {} |\n\
             | bytes a row, from {} to {} rows | {:.0} |\n\
             | bytes a {held}, from {} to {} | {:.0} |",
            rate(many.len(), spent),
            few.len(),
            changes.len(),
            each(many.len()),
            before.0,
            after.0,
            each(after.0.saturating_sub(before.0)),
        ))
    }

    fn next(&mut self) -> Change {
        // Of the four views only updates were measured elsewhere.
        if self.part == Part::FourViews { self.mix.update() } else { self.mix.change() }
    }

    fn feed(&mut self, changes: &[Change], size: usize, is_quiet: bool) -> Result<Spent, Failure> {
        let mut all = Spent::default();
        for part in changes.chunks(LOADED_AT_ONCE) {
            let epochs = part.chunks(size.max(1));
            let epochs: Vec<Vec<Delta>> =
                epochs.map(|changes| self.mix.epoch(changes, is_quiet)).collect();
            // What views gave has to be added up after each step, which is no part of the figure.
            let at_once = if matches!(self.keeper, Keeper::Views(_)) { 1 } else { epochs.len() };
            for epochs in epochs.chunks(at_once.max(1)) {
                all.add(self.fed(epochs, is_quiet)?);
                self.keeper.add_up();
            }
        }
        Ok(all)
    }

    fn fed(&mut self, epochs: &[Vec<Delta>], is_quiet: bool) -> Result<Spent, Failure> {
        let keeper = &mut self.keeper;
        let step = |epoch: &Vec<Delta>| keeper.step(epoch, is_quiet);
        let (done, took) = spent(|| epochs.iter().try_for_each(step))?;
        done.map(|()| took)
    }

    /// How long epochs of one change take, each by itself, on the wall: of all, and by what changed.
    fn one_by_one(&mut self, steps: usize) -> Result<String, Failure> {
        say("1 an epoch");
        let mut micros = Vec::with_capacity(steps);
        let mut by_table: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
        for _ in 0..steps {
            let change = self.next();
            let table = change.table;
            let epoch = self.mix.epoch(&[change], false);
            let begin = Instant::now();
            self.keeper.step(&epoch, false)?;
            let took = begin.elapsed().as_secs_f64() * 1e6;
            micros.push(took);
            by_table.entry(table).or_default().push(took);
            self.keeper.add_up();
        }
        self.keeper.rest();
        let all = micros.len();
        let [median, most, worst] = ranked(&mut micros);
        let mut text = format!(
            "| one change, µs: p50, p99, most of {all} | {median:.1}, {most:.1}, {worst:.1} |"
        );
        for (table, mut own) in by_table {
            let name = self.mix.contracts().get(table).map_or("", |contract| &contract.name);
            let (of, mean) = (own.len(), own.iter().sum::<f64>() / float(own.len().max(1)));
            let [median, most, _] = ranked(&mut own);
            text += &format!(
                "\n| of `{name}`, µs: mean, p50, p99 of {of} | {mean:.1}, {median:.1}, {most:.1} |"
            );
        }
        Ok(text)
    }
}

/// The middle of some numbers, what one in a hundred exceeds, and the largest.
fn ranked(numbers: &mut [f64]) -> [f64; 3] {
    numbers.sort_by(f64::total_cmp);
    let last = numbers.len().saturating_sub(1);
    [50, 99, 100].map(|percent| numbers.get(last * percent / 100).copied().unwrap_or_default())
}

#[expect(clippy::cast_precision_loss, reason = "counts of a benchmark are exact in a float")]
fn float(count: usize) -> f64 {
    count as f64
}

fn rate(count: usize, spent: Spent) -> String {
    format!("{:.0}", float(count) / spent.cpu.max(1e-9))
}

fn line(report: &mut String, text: &str) {
    report.push_str(text);
    report.push('\n');
}
