//! `weir demo`: everything in one process, on a generated shop.

use std::collections::BTreeMap;
use std::fs::{OpenOptions, Permissions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use api::{CellFilter, MintRequest, Periods, Scope, SeriesName, Store, Tenants};
use clap::Args;
use engine::verify::Report;
use engine::{Meters, Outcome, Reloads, Run, Stop};
use schemas::decimal::{VALUE_SCALE, format as decimal_text};
use schemas::{Clock, Grain, Micros, chain};
use serde_json::{Value, json};

use super::setup::{self, Around, definitions_of, open_lake, tokio_runtime};
use super::verify;
use crate::config::{Config, Effective, parse_duration};
use crate::demo::generator::{BASE_RATE, Generator};
use crate::demo::score::score;
use crate::demo::shop::{Plan, Shop, topics};
use crate::failure::Failure;
use crate::output;
use crate::serve::{Served, Serving, dev_keys};
use crate::wall_clock::WallClock;

/// How long the token of `--token-file` is valid.
const TOKEN_TTL: Duration = Duration::from_secs(7 * 86_400);
/// How soon a signal ends the checks at the end.
const LOOK: Duration = Duration::from_millis(50);

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Live records per second.
    #[arg(long, value_name = "N")]
    rate: Option<f64>,
    /// End after this long, print a summary and check everything.
    #[arg(long = "for", value_name = "60s", value_parser = duration)]
    length: Option<Duration>,
    /// Another seed is another shop.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Days of history before the start.
    #[arg(long, default_value_t = 72, value_name = "N")]
    history_days: u32,
    /// Keep the lake in this folder, and go on with it next time; else it is deleted at the end.
    #[arg(long, value_name = "DIR")]
    lake: Option<PathBuf>,
    /// Where generated history ends (RFC 3339): with `--events` the result is the same at any rate.
    #[arg(long, value_name = "T", value_parser = instant)]
    start: Option<Micros>,
    /// End after this many records.
    #[arg(long, value_name = "N")]
    events: Option<u64>,
    /// Where page, API and stream listen; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDR")]
    listen: String,
    /// Write a token for all tenants into this file, before `/readyz` answers 200.
    #[arg(long, value_name = "F")]
    token_file: Option<PathBuf>,
    /// Print the summary, with the checks, as JSON and nothing else.
    #[arg(long)]
    json: bool,
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| format!("`{text}` is no duration; write it as `60s`"))
}

fn instant(text: &str) -> Result<Micros, String> {
    Micros::parse(text).ok_or_else(|| format!("`{text}` is no instant; write it as RFC 3339"))
}

pub(crate) fn execute(arguments: Arguments) -> Result<(), Failure> {
    let mut config = Effective::load(None, &[])?.config;
    let temporary = std::env::temp_dir().join(format!("weir-demo-{}", std::process::id()));
    config.lake.uri = arguments.lake.clone().unwrap_or_else(|| temporary.clone());
    config.api.listen.clone_from(&arguments.listen);
    if let Some(refusal) = setup::folder(&config.lake.uri) {
        return Err(setup::failure(&[refusal]));
    }
    let result = demo(&arguments, config);
    if arguments.lake.is_none() {
        drop(std::fs::remove_dir_all(&temporary));
    }
    result
}

fn demo(arguments: &Arguments, config: Config) -> Result<(), Failure> {
    let clock: Arc<dyn Clock> = Arc::new(WallClock);
    let generated = topics();
    let around = Around { lake: &config.lake.uri, topics: Some(&generated) };
    let (contracts, catalog) = definitions_of(&config, &around)?;
    let runtime = tokio_runtime()?;
    let stop = Stop::default();
    stop.on_signals(runtime.handle()).map_err(|e| Failure::Stopped(e.to_string()))?;
    let Some(lake) = open_lake(&config, &stop)? else { return Ok(()) };
    setup::refuse_configured(&lake)?;
    let plan = plan(arguments, clock.now()).kept_in(&lake.state_dir()).map_err(Failure::Stopped)?;
    let shop = Shop::new(plan.clone(), Arc::clone(&clock));
    let shop = shop.map_err(|e| Failure::Stopped(chain(&e)))?;
    let meters = Arc::new(Meters::default());
    arguments.token_file.iter().try_for_each(|file| write_token(&config, file))?;
    let serving = Serving::start(&Served {
        config: &config,
        catalog: &catalog,
        contracts: &contracts,
        meters: &meters,
        stop: &stop,
        runtime: runtime.handle(),
        page_session: true,
        told: None,
        work_dir: lake.work_dir(),
    })?;
    let Some(serving) = serving else { return Ok(()) };
    let store = serving.store();
    let run = Run {
        settings: config.settings(lake.work_dir()),
        lake,
        contracts,
        definitions: setup::wanted(&config, &catalog)?,
        catalog,
        topics: generated,
        sources: vec![Box::new(shop)],
        until_end: false,
        clock: Arc::clone(&clock),
        stop: stop.clone(),
        meters: Arc::clone(&meters),
        feeds: vec![serving.feed()],
        reloads: Reloads::default(),
        goes_on: false,
    };
    let (length, table) = (arguments.length, !arguments.json);
    let watch = Watch { stop: &stop, meters: &meters, store: &store, length, table };
    let outcome = std::thread::scope(|scope| {
        scope.spawn(|| watch.run());
        let outcome = engine::run(run, runtime.handle());
        stop.ask();
        outcome
    });
    serving.finish(&runtime);
    let outcome = outcome?;
    if arguments.length.is_none() && arguments.events.is_none() {
        return Ok(());
    }
    let summary = summarize(arguments, &plan, &meters, &outcome, &store);
    conclude(summary, checked(&config, &stop))
}

/// Prints what the checks of the lake say, if they were made, and the summary where it is not printed yet.
fn conclude(
    summary: Option<Value>,
    report: Option<Result<Report, Failure>>,
) -> Result<(), Failure> {
    let Some(mut summary) = summary else {
        let Some(report) = report else { return Ok(()) };
        let report = report?;
        verify::print(&report, false);
        return verify::outcome(&report);
    };
    let verified = match &report {
        None => Value::Null,
        Some(Ok(report)) => report.to_json(),
        Some(Err(failure)) => json!({ "ok": false, "error": failure.to_string() }),
    };
    if let Some(summary) = summary.as_object_mut() {
        summary.insert("verify".into(), verified);
    }
    output::json(&summary);
    report.map_or(Ok(()), |report| verify::outcome(&report?))
}

/// What the checks of the lake say; `None` where a signal ends the demo before they are made.
fn checked(config: &Config, stop: &Stop) -> Option<Result<Report, Failure>> {
    let (config, checks) = (config.clone(), verify::Arguments::of(config.lake.uri.clone()));
    let (tell, told) = sync_channel(1);
    tracing::info!("the demo is over: the lake is checked");
    let examine = move || drop(tell.send(verify::examine(&config, &checks)));
    // Nobody waits for it after a signal: it only reads, and ends with the process.
    if let Err(error) = std::thread::Builder::new().name("verify".into()).spawn(examine) {
        return Some(Err(Failure::Stopped(format!("the lake is not checked: {error}"))));
    }
    while !stop.is_signalled() {
        match told.recv_timeout(LOOK) {
            Ok(report) => return Some(report),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                let reason = "the checks of the lake ended without a result";
                return Some(Err(Failure::Stopped(reason.to_owned())));
            }
        }
    }
    tracing::info!("stopped before the lake was checked; `weir verify` checks one that is kept");
    None
}

fn write_token(config: &Config, file: &Path) -> Result<(), Failure> {
    let (subject, tenants) = ("demo".to_owned(), Tenants::All);
    let request = MintRequest { subject, tenants, scopes: Scope::ALL.to_vec(), ttl: TOKEN_TTL };
    let token = dev_keys(&config.lake.uri)?.mint(&request);
    let token = token.map_err(|e| Failure::Stopped(chain(&e)))?;
    let written = write_private(file, &format!("{token}\n"));
    written.map_err(|e| Failure::Stopped(format!("could not write `{}`: {e}", file.display())))
}

/// Writes a file that only its owner can read, also when it was there and others could.
fn write_private(file: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut opened = options.write(true).create(true).truncate(true).mode(0o600).open(file)?;
    // What is no plain file, such as /dev/stdout, keeps its own.
    if opened.metadata()?.is_file() {
        opened.set_permissions(Permissions::from_mode(0o600))?;
    }
    opened.write_all(text.as_bytes())
}

fn plan(arguments: &Arguments, now: Micros) -> Plan {
    let start = arguments.start.unwrap_or(now);
    let rate = arguments.rate.unwrap_or(BASE_RATE);
    // With a fixed start the content may not depend on how fast it is delivered.
    let business_rate = if arguments.start.is_some() { BASE_RATE } else { rate };
    let mut plan = Plan::new(arguments.seed, start, arguments.history_days, business_rate);
    plan.rate = rate;
    plan.events = arguments.events;
    plan
}

/// The progress line, and the end after `length`.
struct Watch<'a> {
    stop: &'a Stop,
    meters: &'a Meters,
    store: &'a Store,
    length: Option<Duration>,
    /// Whether to show first numbers on stdout.
    table: bool,
}

impl Watch<'_> {
    fn run(&self) {
        let (started, mut last) = (Instant::now(), (Instant::now(), 0));
        let mut shown = !self.table;
        while !self.stop.is_asked() {
            std::thread::sleep(Duration::from_millis(100));
            if self.length.is_some_and(|length| started.elapsed() >= length) {
                self.stop.ask();
            }
            if last.0.elapsed() < Duration::from_secs(1) {
                continue;
            }
            let events = self.meters.events.get();
            self.progress(events, (events - last.1) as f64 / last.0.elapsed().as_secs_f64());
            last = (Instant::now(), events);
            if !shown && self.meters.freshness.quantile(0.5).is_some() {
                shown = true;
                kpi_table(self.store);
            }
        }
    }

    /// One line, rewritten in place on a terminal.
    fn progress(&self, events: u64, rate: f64) {
        let text = format!(
            "{} events, {rate:.0}/s, epoch {}, freshness p50 {} p99 {}",
            output::count(events),
            self.meters.published.get(),
            milliseconds(self.meters, 0.5),
            milliseconds(self.meters, 0.99),
        );
        let mut stderr = std::io::stderr().lock();
        let (start, end) = if stderr.is_terminal() { ("\r\x1b[K", "") } else { ("", "\n") };
        drop(write!(stderr, "{start}{text}{end}").and_then(|()| stderr.flush()));
    }
}

fn milliseconds(meters: &Meters, share: f64) -> String {
    let micros = meters.freshness.quantile(share);
    micros.map_or("-".to_owned(), |m| format!("{}.{} ms", m / 1000, m % 1000 / 100))
}

/// The newest day of a few tenants.
fn kpi_table(store: &Store) {
    let filter = CellFilter { grain: Some(Grain::Day), ..CellFilter::default() };
    let Some((_, cells)) = store.cells(&filter, Periods::Newest) else { return };
    let Some(day) = cells.iter().map(|cell| cell.period_start).max() else { return };
    let kpis = ["orders", "revenue_booked", "revenue_recognized", "total_cost", "gross_margin"];
    let mut rows: BTreeMap<(&str, &str), BTreeMap<&str, String>> = BTreeMap::new();
    for cell in cells.iter().filter(|cell| cell.period_start == day) {
        let SeriesName { tenant, kpi, dims } = cell.series;
        if kpis.contains(&&**kpi) {
            let row = rows.entry((tenant, dims)).or_default();
            let number = cell.value.value.map(rounded);
            row.insert(kpi, number.unwrap_or_else(|| "-".to_owned()));
        }
    }
    let line = |((tenant, dims), row): (&(&str, &str), &BTreeMap<&str, String>)| {
        let mut cells = vec![(*tenant).to_owned(), (*dims).to_owned()];
        cells.extend(kpis.iter().map(|kpi| row.get(kpi).cloned().unwrap_or_default()));
        cells
    };
    let lines: Vec<_> = rows.iter().map(line).collect();
    output::line(&format!("\ntoday so far ({day}, grain day)"));
    output::table(&[&["tenant", "dims"], &kpis[..]].concat(), &lines);
}

/// A KPI value with at most four digits after the point, for reading.
fn rounded(mantissa: i128) -> String {
    let unit = 10_i128.pow(VALUE_SCALE - 4);
    decimal_text(mantissa / unit, 4)
}

/// Prints the summary, or gives it for JSON.
fn summarize(
    arguments: &Arguments,
    plan: &Plan,
    meters: &Meters,
    outcome: &Outcome,
    store: &Store,
) -> Option<Value> {
    let until = plan
        .start()
        .plus(arguments.length.map_or(0, |l| i64::try_from(l.as_micros()).unwrap_or(i64::MAX)));
    let incidents = Generator::new(plan.config()).incidents(until);
    let alerts = store.alerts(None, None).map(|(_, alerts)| alerts).unwrap_or_default();
    let alerts: Vec<&schemas::Alert> = alerts.iter().map(|served| &served.alert).collect();
    let score = score(&incidents, &alerts, until);
    let hash = content_hash(outcome);
    if arguments.json {
        return Some(json!({
            "events": meters.events.get(),
            "epochs": meters.epochs.get(),
            "kpi_cells": outcome.cells.len(),
            "rows": outcome.rows,
            "dead_letters": meters.dead_letters.get(),
            "incidents_injected": score.injected,
            "incidents_caught": score.caught,
            "alerts": alerts.len(),
            "false_alerts": score.false_alerts,
            "freshness_p50_us": meters.freshness.quantile(0.5),
            "freshness_p99_us": meters.freshness.quantile(0.99),
            "kpi_current_hash": hash,
        }));
    }
    kpi_table(store);
    output::line(&format!(
        "\nevents {}  epochs {}  rows {}  KPI cells {}  dead letters {}",
        output::count(meters.events.get()),
        output::count(meters.epochs.get()),
        output::count(outcome.rows as u64),
        output::count(outcome.cells.len() as u64),
        meters.dead_letters.get(),
    ));
    output::line(&format!(
        "incidents injected {}  caught {}  alerts {}  of them false {}",
        score.injected,
        score.caught,
        alerts.len(),
        score.false_alerts,
    ));
    output::line(&format!(
        "freshness p50 {}  p99 {}  (record's timestamp to publication)",
        milliseconds(meters, 0.5),
        milliseconds(meters, 0.99)
    ));
    output::line(&format!("hash of kpi_current {hash}\n"));
    None
}

/// A hash of what the current cells say, without when they came to say it.
fn content_hash(outcome: &Outcome) -> String {
    use sha2::{Digest, Sha256};
    let mut hash = Sha256::new();
    for (key, value) in &outcome.cells {
        hash.update(format!("{key:?} {value:?}\n"));
    }
    hash.finalize().iter().take(16).fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_ends_the_checks() {
        let config = Effective::load(None, &[]).unwrap().config;
        let stop = Stop::default();
        stop.ask();
        assert!(checked(&config, &stop).is_some(), "it was asked by itself");
        stop.signal();
        assert!(checked(&config, &stop).is_none());
    }

    #[test]
    fn a_token_file_is_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        let mode = || std::fs::metadata(&file).unwrap().permissions().mode() & 0o777;
        write_private(&file, "a longer one\n").unwrap();
        assert_eq!(mode(), 0o600);
        std::fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        write_private(&file, "b\n").unwrap();
        assert_eq!((mode(), std::fs::read_to_string(&file).unwrap().as_str()), (0o600, "b\n"));
    }
}
