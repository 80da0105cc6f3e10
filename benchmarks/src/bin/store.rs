//! What the served store costs: bytes a cell, and how long readers hold its lock while epochs come in.
//!
//! # Guarantees
//! - Bytes a cell are the slope of resident memory between two sizes, so that what does not grow with
//!   cells is left out. The keys' texts are made before: the engine holds them too.
//!
//! # Non-guarantees
//! - What a server needs for an answer is not in it.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::store::{CellFilter, Periods, Store};
use benchmarks::failure::Failure;
use benchmarks::process::resident_kib;
use benchmarks::times::Times;
use clap::Parser;
use schemas::{
    Alert, CellKey, CellValue, EpochStamp, Grain, KpiUpdate, Micros, Published, SeriesId, Severity,
    Status,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// KPIs that come with Weir: name, values of its second dimension, whether it is a ratio.
const KPIS: [(&str, u32, bool); 9] = [
    ("average_order_value", 1, true),
    ("cost_by_service", 3, false),
    ("gross_margin", 1, true),
    ("orders", 1, false),
    ("revenue_booked", 1, false),
    ("revenue_by_channel", 3, false),
    ("revenue_recognized", 1, false),
    ("roi", 1, true),
    ("total_cost", 1, false),
];

const HOUR: i64 = 3_600_000_000;
/// Updates of one epoch.
const EPOCH: usize = 1_000;

/// Measures the store.
#[derive(Debug, Parser)]
struct Arguments {
    /// The smaller number of cells.
    #[arg(long, default_value_t = 100_000)]
    from: usize,
    /// The larger one.
    #[arg(long, default_value_t = 1_000_000)]
    to: usize,
    /// Hours of each series; its longer periods follow.
    #[arg(long, default_value_t = 4)]
    hours: u32,
    /// Alerts of a thousand tenants.
    #[arg(long, default_value_t = 100_000)]
    alerts: u32,
}

fn main() -> ExitCode {
    let (text, code) = match measure(&Arguments::parse()) {
        Ok(text) => (text, ExitCode::SUCCESS),
        Err(failure) => (format!("error: {failure}\n"), ExitCode::FAILURE),
    };
    let printed = std::io::stdout().lock().write_all(text.as_bytes());
    if printed.is_err() { ExitCode::FAILURE } else { code }
}

/// Updates of every cell of a tenant.
fn tenant(number: u32, hours: u32) -> Vec<KpiUpdate> {
    let name: Arc<str> = format!("tenant-{number:06}").into();
    let mut updates = Vec::new();
    for (kpi, (key, values, is_ratio)) in (0..).zip(KPIS) {
        for value in 0..values {
            let dims: Arc<str> = format!("{{\"currency\":\"USD\",\"part\":{value}}}").into();
            let kpi_name: Arc<str> = key.into();
            for hour in 0..hours {
                let at = Micros(1_795_219_200_000_000 + i64::from(hour) * HOUR);
                for grain in Grain::ALL {
                    let start = grain.start(at);
                    if hour > 0 && grain.start(at.plus(-HOUR)) == start {
                        continue;
                    }
                    let key = CellKey {
                        kpi: Arc::clone(&kpi_name),
                        tenant: Arc::clone(&name),
                        dims: Arc::clone(&dims),
                        grain,
                        period_start: start,
                    };
                    let series = SeriesId { kpi, series: number * 4 + value };
                    let value = Some(cell(is_ratio, i128::from(number)));
                    updates.push(KpiUpdate {
                        key,
                        series,
                        value,
                        epoch: 0,
                        as_of: Micros(0),
                        window: None,
                    });
                }
            }
        }
    }
    updates
}

fn cell(is_ratio: bool, number: i128) -> CellValue {
    let number = number * 10_000_000_000 + 4_200_000_000;
    let part = is_ratio.then_some(number);
    CellValue { value: Some(number), numerator: part, denominator: part, status: Status::Ok }
}

fn alert(number: u32) -> Alert {
    let key = CellKey {
        kpi: "orders".into(),
        tenant: format!("tenant-{:06}", number % 1_000).into(),
        dims: "{\"currency\":\"USD\"}".into(),
        grain: Grain::Hour,
        period_start: Micros(i64::from(number) * HOUR),
    };
    Alert {
        id: format!("{number:032x}").into(),
        incident: "".into(),
        rule: "seasonal".into(),
        anomaly_type: "spike".into(),
        severity: Severity::Error,
        opened_at: key.period_start,
        resolved_at: None,
        resolution: None,
        value: Some(1),
        expected: Some(1),
        lower: Some(1),
        upper: Some(1),
        deviation: 1.0,
        z_score: 1.0,
        p_value: 0.0,
        confidence: 1.0,
        reason: "orders is far above what was expected of this hour".into(),
        contributions: Vec::new(),
        epoch: 1,
        key,
    }
}

fn measure(arguments: &Arguments) -> Result<String, Failure> {
    let mut updates = Vec::new();
    let mut number = 0;
    while updates.len() < arguments.to {
        updates.extend(tenant(number, arguments.hours));
        number += 1;
    }
    let store = Store::new(Vec::new());
    store.start(schemas::Start::default());
    let mut applied = Vec::new();
    let mut grow = |from: usize, to: usize, epoch: &mut u64| {
        for part in updates.get(from..to).unwrap_or_default().chunks(EPOCH) {
            *epoch += 1;
            applied.push(apply(&store, *epoch, part, &[]));
        }
    };
    let mut epoch = 0;
    grow(0, arguments.from, &mut epoch);
    let before = memory()?;
    grow(arguments.from, arguments.to, &mut epoch);
    let after = memory()?;
    let cells = u32::try_from(arguments.to.saturating_sub(arguments.from)).unwrap_or(u32::MAX);
    let slope = (after - before) / f64::from(cells);
    let mut text = format!(
        "{} cells of {number} tenants, {} hours a series\n\nbytes a cell: {slope:.0}\n",
        store.len(),
        arguments.hours
    );
    text.push_str(&format!("new cells, ms an epoch of {EPOCH}: {}\n", Times::new(applied).cells()));
    let part = updates.get(..EPOCH).unwrap_or_default();
    let mut applied = Vec::new();
    for _ in 0..500 {
        epoch += 1;
        applied.push(apply(&store, epoch, part, &[]));
    }
    text.push_str(&format!("known cells, the same: {}\n", Times::new(applied).cells()));
    let one = CellFilter { tenant: Some("tenant-000007".into()), ..CellFilter::default() };
    for (what, filter, periods, times) in [
        ("one tenant, newest", &one, Periods::Newest, 2_000),
        ("one tenant, all", &one, Periods::All, 2_000),
        ("all tenants, all", &CellFilter::default(), Periods::All, 10),
    ] {
        let read = (0..times).map(|_| timed(|| drop(store.cells(filter, periods))));
        text.push_str(&format!("{what}, ms: {}\n", Times::new(read).cells()));
    }
    let alerts: Vec<Alert> = (0..arguments.alerts).map(alert).collect();
    apply(&store, epoch + 1, &[], &alerts);
    let tenant: Arc<str> = "tenant-000007".into();
    let read = (0..200).map(|_| timed(|| drop(store.alerts(Some(&tenant), None))));
    text.push_str(&format!(
        "alerts of one tenant among {}, ms: {}\n",
        arguments.alerts,
        Times::new(read).cells()
    ));
    text.push_str("\ntimes are median | p99 | most\n");
    Ok(text)
}

fn apply(store: &Store, epoch: u64, updates: &[KpiUpdate], alerts: &[Alert]) -> f64 {
    let stamp = EpochStamp { id: epoch, clock: Micros(0), quiet: false };
    let (cells, alerts) = (updates.to_vec(), alerts.to_vec());
    let published = Published {
        stamp,
        cells,
        alerts,
        answers: Arc::default(),
        models: Arc::default(),
        degraded: Arc::default(),
    };
    timed(|| store.publish(&published))
}

/// Bytes of this program in memory.
fn memory() -> Result<f64, Failure> {
    let none = || Failure::Worthless("the system does not say how much memory this takes".into());
    resident_kib(std::process::id()).map(|kib| kib * 1024.0).ok_or_else(none)
}

fn timed(work: impl FnOnce()) -> f64 {
    let begin = Instant::now();
    work();
    let took: Duration = begin.elapsed();
    took.as_secs_f64() * 1_000.0
}
