//! What serving costs: memory of the server for each client of the stream, how long a frame takes to
//! the last of many clients, and REST while events come in.
//!
//! # Guarantees
//! - A client that is closed, or an answer other than 200, is counted and shown.
//! - REST times begin when a request was due, not when it was sent: waiting counts.
//!
//! # Non-guarantees
//! - All clients are in this one process on the same machine, and take their share of its cores.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use benchmarks::events::Shape;
use benchmarks::failure::Failure;
use benchmarks::http::Http;
use benchmarks::live::Live;
use benchmarks::load;
use benchmarks::machine;
use benchmarks::subscriber::{Frame, Subscriber};
use benchmarks::times::{Times, millis};
use benchmarks::tool::{product, publish, say};
use benchmarks::topic::Topic;
use clap::Parser;
use serde_json::json;
use tokio::task::JoinSet;

const TENANTS: [&str; 8] =
    ["acme", "globex", "initech", "umbrella", "hooli", "stark", "wayne", "wonka"];

/// Clients of one token subject: the server bounds them.
const PER_SUBJECT: usize = 50;

/// Connections that are opened at once.
const OPENING: usize = 32;

/// How long memory settles before it is read.
const SETTLE: Duration = Duration::from_secs(5);

/// Records that are there before anybody connects.
const HISTORY: u64 = 20_000;

/// Measures what serving costs.
#[derive(Debug, Parser)]
struct Arguments {
    /// Clients of the stream; each follows one of eight tenants, day grain.
    #[arg(long, default_value_t = 2_000)]
    clients: usize,
    /// Records a second.
    #[arg(long, default_value_t = 2_000)]
    rate: u32,
    /// REST requests a second.
    #[arg(long, default_value_t = 2_000)]
    requests: u32,
    /// REST connections.
    #[arg(long, default_value_t = 32)]
    connections: u32,
    /// Seconds under load.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// What is asked for.
    #[arg(long, default_value = "/api/v1/kpis?tenant=acme&kpi=orders&grain=day")]
    target: String,
    /// Partitions of the topic.
    #[arg(long, default_value_t = 4)]
    partitions: u32,
    /// Bootstrap servers.
    #[arg(long, default_value = "127.0.0.1:19092")]
    brokers: String,
    /// A line of configuration; may be repeated.
    #[arg(long = "set", value_name = "KEY = VALUE")]
    settings: Vec<String>,
    /// The binary; unless given, the one beside this program.
    #[arg(long)]
    weir: Option<PathBuf>,
    /// Where the lake is made; it is deleted afterwards.
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    folder: PathBuf,
    /// The report's file; unless given, one named by the date in `benchmarks/results`.
    #[arg(long)]
    out: Option<PathBuf>,
}

/// Frames of one client, and its tenant.
type Seen = (usize, Vec<Frame>);

struct Fanout {
    /// From the epoch's clock to the last client.
    from_cut: Times,
    /// From the first client to the last.
    spread: Times,
    frames: usize,
    partial: usize,
}

struct Rest {
    times: Times,
    failed: usize,
    took: Duration,
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Runtime::new();
    let runtime = runtime.map_err(Failure::io("start", Path::new("a runtime")));
    match runtime.and_then(|runtime| runtime.block_on(measure(&Arguments::parse()))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            say(&format!("error: {failure}"));
            ExitCode::FAILURE
        }
    }
}

async fn measure(arguments: &Arguments) -> Result<(), Failure> {
    let program = product(arguments.weir.as_deref())?;
    let folder = fresh(&arguments.folder)?;
    let name = format!("weir-bench-serve-{}", machine::now().0);
    let topic = Topic::empty(&arguments.brokers, &name, arguments.partitions)?;
    let settings = arguments.settings.join("\n");
    let load = machine::load();
    let live = Live::start(&program, folder.path(), &topic, &settings).await?;
    send(&topic, HISTORY, 20_000, 1).await?;
    tokio::time::sleep(SETTLE).await;
    let empty = live.memory_kib().unwrap_or(0.0);
    let begin = Instant::now();
    let lost = Arc::new(AtomicUsize::new(0));
    let watching = connect(arguments, &live, &lost).await?;
    let connected_in = begin.elapsed();
    tokio::time::sleep(SETTLE).await;
    let idle = live.memory_kib().unwrap_or(0.0);
    say(&format!("{} clients in {:.1} s", arguments.clients, connected_in.as_secs_f64()));
    let changes = u64::from(arguments.rate) * u64::from(arguments.seconds);
    let token = live.token("rest")?;
    let (sent, rest) = tokio::join!(
        send(&topic, changes, arguments.rate, 2),
        ask(arguments, &live.address, &token)
    );
    let (sent, rest) = (sent?, rest?);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let loaded = live.memory_kib().unwrap_or(0.0);
    let closed = lost.load(Ordering::Acquire);
    live.stop()?;
    let seen: Vec<Seen> = watching.join_all().await;
    topic.delete()?;
    let fanout = fan_out(&seen);
    let report = format!(
        "# Serving: {} clients, {} records/s, {} requests/s\n\n{}- load average {load} at the \
         start\n- {} records/s sent for {} s\n\n\
         | figure | value |\n|---|---|\n\
         | server without clients | {:.0} MiB |\n| with idle clients | {:.0} MiB |\n\
         | memory of an idle client | {:.1} KiB |\n| under load | {:.0} MiB |\n\
         | connecting all, with snapshots | {:.1} s |\n| clients closed early | {closed} |\n\
         | frames counted (each to a tenant's clients) | {} |\n| frames that not all of them got | {} |\n\n\
         | milliseconds | p50 | p99 | max | of |\n|---|---|---|---|---|\n\
         | epoch clock to the last client | {} | {} frames |\n\
         | first client to the last | {} | {} frames |\n\
         | `GET {}` | {} | {} requests, {} failed, {:.0}/s |\n",
        arguments.clients,
        arguments.rate,
        arguments.requests,
        machine::facts(),
        sent.records / u64::from(arguments.seconds.max(1)),
        arguments.seconds,
        empty / 1024.0,
        idle / 1024.0,
        (idle - empty) / count(arguments.clients),
        loaded / 1024.0,
        connected_in.as_secs_f64(),
        fanout.frames,
        fanout.partial,
        fanout.from_cut.cells(),
        fanout.from_cut.len(),
        fanout.spread.cells(),
        fanout.spread.len(),
        arguments.target,
        rest.times.cells(),
        rest.times.len(),
        rest.failed,
        count(rest.times.len()) / rest.took.as_secs_f64()
    );
    publish("serve", arguments.out.as_deref(), &report)
}

fn fresh(below: &Path) -> Result<tempfile::TempDir, Failure> {
    let folder = tempfile::Builder::new().prefix("weir-bench-").tempdir_in(below);
    folder.map_err(Failure::io("create a folder in", below))
}

async fn send(topic: &Topic, changes: u64, rate: u32, seed: u64) -> Result<load::Load, Failure> {
    let topic = topic.clone();
    let shape = Shape { seed, changes, partitions: topic.partitions, end: machine::now() };
    let sending = tokio::task::spawn_blocking(move || {
        load::send(&topic, shape, rate, &AtomicBool::new(false))
    });
    sending.await.map_err(|error| Failure::Worthless(error.to_string()))?
}

/// Opens all clients, a few at once. Each notes its frames until the server ends.
async fn connect(
    arguments: &Arguments,
    live: &Live,
    lost: &Arc<AtomicUsize>,
) -> Result<JoinSet<Seen>, Failure> {
    let mut tokens = Vec::new();
    for subject in 0..arguments.clients.div_ceil(PER_SUBJECT) {
        tokens.push(live.token(&format!("client-{subject}"))?);
    }
    let mut watching = JoinSet::new();
    for start in (0..arguments.clients).step_by(OPENING) {
        let mut opening = JoinSet::new();
        for number in start..arguments.clients.min(start + OPENING) {
            let (address, token) = (live.address.clone(), tokens[number / PER_SUBJECT].clone());
            let tenant = number % TENANTS.len();
            opening.spawn(async move {
                let filter = json!({"tenant": TENANTS[tenant], "grain": "day"});
                Ok::<_, Failure>((tenant, Subscriber::open(&address, &token, &filter).await?))
            });
        }
        for opened in opening.join_all().await {
            let (tenant, mut subscriber) = opened?;
            let lost = Arc::clone(lost);
            watching.spawn(async move {
                let mut frames = Vec::new();
                while let Ok(frame) = subscriber.next().await {
                    frames.push(frame);
                }
                lost.fetch_add(1, Ordering::AcqRel);
                (tenant, frames)
            });
        }
    }
    Ok(watching)
}

/// Asks at a steady rate over all connections.
async fn ask(arguments: &Arguments, address: &str, token: &str) -> Result<Rest, Failure> {
    let begin = Instant::now();
    let gap = Duration::from_secs(1) * arguments.connections / arguments.requests.max(1);
    let mut asking = JoinSet::new();
    for number in 0..arguments.connections {
        let (address, token) = (address.to_owned(), token.to_owned());
        let target = arguments.target.clone();
        let offset = gap * number / arguments.connections.max(1);
        let until = begin + Duration::from_secs(u64::from(arguments.seconds));
        asking.spawn(async move {
            let mut http = Http::open(&address).await?;
            let (mut times, mut failed) = (Vec::new(), 0);
            let mut due = begin + offset;
            while due < until {
                tokio::time::sleep_until(due.into()).await;
                let (status, _) = http.get(&target, &token).await?;
                failed += usize::from(status != 200);
                times.push(due.elapsed().as_secs_f64() * 1e3);
                due += gap;
            }
            Ok::<_, std::io::Error>((times, failed))
        });
    }
    let (mut times, mut failed) = (Vec::new(), 0);
    for asked in asking.join_all().await {
        let (own, wrong) = asked.map_err(Failure::io("ask", Path::new(address)))?;
        times.extend(own);
        failed += wrong;
    }
    Ok(Rest { times: Times::new(times), failed, took: begin.elapsed() })
}

/// By tenant and offset: the clock, and the first and last arrival. Frames that some clients got as a
/// part of another one are not counted, but told.
fn fan_out(seen: &[Seen]) -> Fanout {
    let mut clients = [0_usize; TENANTS.len()];
    let mut arrivals: BTreeMap<(usize, u64), (i64, i64, i64, usize)> = BTreeMap::new();
    for (tenant, frames) in seen {
        clients[*tenant] += 1;
        for frame in frames.iter().filter(|frame| frame.has_cells) {
            let at = frame.received.0;
            let entry =
                arrivals.entry((*tenant, frame.offset)).or_insert((frame.as_of.0, at, at, 0));
            *entry = (entry.0, entry.1.min(at), entry.2.max(at), entry.3 + 1);
        }
    }
    let (mut from_cut, mut spread, mut partial) = (Vec::new(), Vec::new(), 0);
    for ((tenant, _), (clock, first, last, count)) in &arrivals {
        if *count < clients[*tenant] {
            partial += 1;
            continue;
        }
        from_cut.push(millis(last - clock));
        spread.push(millis(last - first));
    }
    let frames = arrivals.len();
    Fanout { from_cut: Times::new(from_cut), spread: Times::new(spread), frames, partial }
}

#[expect(clippy::cast_precision_loss, reason = "counts of a benchmark are exact in a float")]
fn count(number: usize) -> f64 {
    number as f64
}
