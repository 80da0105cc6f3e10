//! How long people wait for an alert: from a record that stands out to the request at their receiver, while other
//! records come in.
//!
//! # Guarantees
//! - A record's time is taken just before it is handed to the producer, a request's when all of it is here, in one
//!   process on one clock.
//! - Every alert is counted; a run in which one does not arrive, or whose lake does not verify, has no result.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use benchmarks::charges::Charges;
use benchmarks::events::Shape;
use benchmarks::failure::Failure;
use benchmarks::http::Http;
use benchmarks::live::Live;
use benchmarks::load::{self, Load};
use benchmarks::receiver::{Arrivals, Receiver};
use benchmarks::times::{Times, millis};
use benchmarks::tool::{product, publish, say};
use benchmarks::topic::Topic;
use benchmarks::{machine, weir};
use clap::{Parser, ValueEnum};
use schemas::Micros;

/// A source holds alerts back for a second after its snapshot, and first epochs make first files.
const WARM_UP: Duration = Duration::from_secs(5);
/// How long the history may take, and what is on its way at the end.
const PATIENCE: Duration = Duration::from_secs(180);
/// The longest that the other records may come, in seconds.
const LOAD_MAX: u64 = 1_800;

/// Measures how long people wait for an alert.
#[derive(Debug, Parser)]
struct Arguments {
    /// What is measured; may be repeated.
    #[arg(long = "way", value_enum, default_values_t = [Way::Webhook, Way::Alertmanager, Way::Outage])]
    ways: Vec<Way>,
    /// Alerts of each way, each of a tenant of its own.
    #[arg(long, default_value_t = 100)]
    alerts: u32,
    /// Milliseconds from one to the next.
    #[arg(long, default_value_t = 500)]
    every: u64,
    /// Seconds that the receiver is down, of `outage`.
    #[arg(long, default_value_t = 60)]
    down: u64,
    /// Other records a second.
    #[arg(long, default_value_t = 2_000)]
    rate: u32,
    /// Seed of the other records.
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

/// The way that alerts take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Way {
    /// A webhook.
    Webhook,
    /// An Alertmanager, set up as `deploy/alertmanager.yml` says, and a webhook behind it.
    Alertmanager,
    /// A webhook that is down when the first alert comes, and for a while.
    Outage,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Way::Webhook => "webhook",
            Way::Alertmanager => "Alertmanager, and its webhook",
            Way::Outage => "webhook that is down",
        }
    }
}

/// What one run found.
struct Outcome {
    way: Way,
    load: Load,
    times: Times,
    /// Requests beyond one for each alert.
    doubled: usize,
    /// From when the receiver was back to when it had everything.
    caught_up: Option<Duration>,
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
    for way in &arguments.ways {
        let row = row(&runtime.block_on(run(arguments, *way))?);
        say(row.trim_end());
        report.push_str(&row);
    }
    report.push_str(
        "\nMilliseconds from just before a record is handed to the producer until the request is here: broker, \
         epoch, detector,\noutbox, request, and with Alertmanager its own. Every lake was verified.\n",
    );
    publish("delivery", arguments.out.as_deref(), &report)
}

async fn run(arguments: &Arguments, way: Way) -> Result<Outcome, Failure> {
    let program = product(arguments.weir.as_deref())?;
    let folder = tempfile::Builder::new().prefix("weir-bench-").tempdir_in(&arguments.folder);
    let folder = folder.map_err(Failure::io("create a folder in", &arguments.folder))?;
    let name = format!("weir-bench-delivery-{}", machine::now().0);
    let orders = Topic::empty(&arguments.brokers, &name, 4)?;
    let costs = Topic::empty(&arguments.brokers, &format!("{name}-costs"), 1)?;
    let receiver = Receiver::start().await?;
    let manager = (way == Way::Alertmanager).then(|| Manager::start(&receiver.url)).transpose()?;
    let settings = settings(&receiver, manager.as_ref(), &costs);
    let live = Live::start(&program, folder.path(), &orders, &settings).await?;
    let tenants: Vec<String> = (0..arguments.alerts).map(|n| format!("bench-{n:04}")).collect();
    let mut charges = Charges::new(&costs)?;
    charges.history(&tenants)?;
    is_read(&live, tenants.last()).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let (rate, until) = (arguments.rate, Arc::clone(&stop));
    let changes = u64::from(rate) * LOAD_MAX;
    let shape = Shape { seed: arguments.seed, changes, partitions: 4, end: machine::now() };
    let of_load = orders.clone();
    let others = tokio::task::spawn_blocking(move || load::send(&of_load, shape, rate, &until));
    tokio::time::sleep(WARM_UP).await;
    receiver.set_down(way == Way::Outage);
    let every = Duration::from_millis(arguments.every);
    let sending = tokio::task::spawn_blocking(move || spikes(charges, &tenants, every));
    let mut back = None;
    if way == Way::Outage {
        tokio::time::sleep(Duration::from_secs(arguments.down)).await;
        receiver.set_down(false);
        back = Some(machine::now());
    }
    let sent = joined(sending).await?;
    let arrivals = all_arrive(&receiver, sent.len()).await;
    stop.store(true, Ordering::Release);
    let load = joined(others).await?;
    live.stop()?;
    let verified = weir::verify(&program, &folder.path().join("weir.toml"))?;
    if !verified.passed() {
        let text = format!("the lake does not verify:\n{}", verified.complaints());
        return Err(Failure::Worthless(text));
    }
    orders.delete()?;
    costs.delete()?;
    judge(way, load, &sent, &arrivals?, back)
}

async fn joined<T>(task: tokio::task::JoinHandle<Result<T, Failure>>) -> Result<T, Failure> {
    task.await.map_err(|error| Failure::Worthless(error.to_string()))?
}

fn settings(receiver: &Receiver, manager: Option<&Manager>, costs: &Topic) -> String {
    let (kind, url) = match manager {
        Some(manager) => ("alertmanager", format!("http://127.0.0.1:{}", manager.port)),
        None => ("webhook", receiver.url.clone()),
    };
    format!(
        "[alerts]\nheartbeat = \"0s\"\n[[alerts.routes]]\nname = \"bench\"\nkind = \"{kind}\"\nurl = \"{url}\"\n\
         match = {{ severity = [\"error\", \"critical\"], tenant = [\"bench-*\"] }}\n[[sources]]\n\
         kind = \"kafka\"\nname = \"costs\"\nbrokers = \"{}\"\ngroup = \"weir-benchmarks-costs\"\n\
         [sources.topics]\n\"{}\" = \"costs\"\n",
        costs.brokers, costs.name
    )
}

/// Waits until the costs of the last tenant are served.
async fn is_read(live: &Live, last: Option<&String>) -> Result<(), Failure> {
    let token = live.token("delivery")?;
    let tenant = last.map_or("", String::as_str);
    let target = format!("/api/v1/kpis?kpi=total_cost&grain=day&tenant={tenant}");
    let asked = || Failure::io("ask", Path::new(&live.address));
    let mut http = Http::open(&live.address).await.map_err(asked())?;
    let begin = Instant::now();
    while begin.elapsed() < PATIENCE {
        let (_, body) = http.read_all(&target, &token).await.map_err(asked())?;
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        if body["kpis"].as_array().is_some_and(|cells| !cells.is_empty()) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Err(Failure::Worthless(format!("the history of `{tenant}` is not served")))
}

/// Sends the charges that stand out, one after another, and says when each was sent.
fn spikes(
    mut charges: Charges,
    tenants: &[String],
    every: Duration,
) -> Result<BTreeMap<String, Micros>, Failure> {
    let mut sent = BTreeMap::new();
    for tenant in tenants {
        sent.insert(tenant.clone(), charges.spike(tenant)?);
        std::thread::sleep(every);
    }
    Ok(sent)
}

async fn all_arrive(receiver: &Receiver, wanted: usize) -> Result<Arrivals, Failure> {
    let begin = Instant::now();
    loop {
        let arrivals = receiver.arrivals();
        if arrivals.len() >= wanted {
            return Ok(arrivals);
        }
        if begin.elapsed() > PATIENCE {
            let text = format!("of {wanted} alerts {} arrived", arrivals.len());
            return Err(Failure::Worthless(text));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn judge(
    way: Way,
    load: Load,
    sent: &BTreeMap<String, Micros>,
    arrivals: &Arrivals,
    back: Option<Micros>,
) -> Result<Outcome, Failure> {
    let mut times = Vec::new();
    let mut last = Micros(0);
    for (tenant, sent) in sent {
        let Some(first) = arrivals.get(tenant).and_then(|all| all.first()) else {
            return Err(Failure::Worthless(format!("nobody was told of `{tenant}`")));
        };
        times.push(millis(first.0 - sent.0));
        last = last.max(*first);
    }
    let doubled = arrivals.values().map(|all| all.len().saturating_sub(1)).sum();
    let micros = back.map(|back| u64::try_from(last.0 - back.0).unwrap_or_default());
    let caught_up = micros.map(Duration::from_micros);
    Ok(Outcome { way, load, times: Times::new(times), doubled, caught_up })
}

fn head(arguments: &Arguments) -> String {
    format!(
        "# Delivery: from a record that stands out to the request at a receiver\n\n{}- {} alerts of each way, one \
         every {} ms; {} other records a second\n- load average {} at the start\n\n\
         | way | alerts | other records/s | p50 | p99 | max | told twice | all there after it was back |\n\
         |---|---|---|---|---|---|---|---|\n",
        machine::facts(),
        arguments.alerts,
        arguments.every,
        arguments.rate,
        machine::load()
    )
}

fn row(outcome: &Outcome) -> String {
    let Outcome { way, load, times, doubled, caught_up } = outcome;
    let caught_up = caught_up.map_or_else(|| "-".into(), |it| format!("{:.1} s", it.as_secs_f64()));
    format!(
        "| {} | {} | {:.0} | {} | {doubled} | {caught_up} |\n",
        way.name(),
        times.len(),
        millis(i64::try_from(load.records).unwrap_or(i64::MAX)) * 1e3 / load.took.as_secs_f64(),
        times.cells()
    )
}

/// An Alertmanager of its own, stopped when dropped.
struct Manager {
    name: String,
    port: u16,
}

impl Manager {
    fn start(webhook: &str) -> Result<Manager, Failure> {
        let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
        let port = free.map_err(Failure::io("find a port on", Path::new("127.0.0.1")))?.port();
        let manager = Manager { name: format!("bench-{}", std::process::id()), port };
        let started = script(&["start", &manager.name, &port.to_string(), webhook])?;
        match started {
            true => Ok(manager),
            false => Err(Failure::Worthless("Alertmanager does not start".to_owned())),
        }
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        // It says itself what is wrong.
        drop(script(&["stop", &self.name]));
    }
}

fn script(arguments: &[&str]) -> Result<bool, Failure> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/services/alertmanager.sh");
    let status = Command::new(&path).args(arguments).stdin(Stdio::null()).status();
    status.map(|status| status.success()).map_err(Failure::io("run", &path))
}
