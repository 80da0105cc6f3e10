//! What `/metrics` says.
//!
//! # Guarantees
//! - No label holds a tenant, a token or anything else that a client chose: the number of series is
//!   bounded by routes, statuses and partitions.
//!
//! # Non-guarantees
//! - Counters begin with the process.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeMetric, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use schemas::{Contents, Debt, Severity};

use crate::VERSION;
use crate::health::{Audits, Doubts, Health, Report};
use crate::store::Store;

/// The media type of the metrics.
pub(crate) const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Seconds that requests take: 0.5 ms to 4 s.
const SECONDS: [f64; 14] =
    [0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.0, 2.0, 4.0];

type Labels = Vec<(&'static str, String)>;
type Seconds = Family<Labels, Histogram, fn() -> Histogram>;

/// Counters and gauges of the server, and of the pipeline at the moment of a scrape.
pub struct Metrics {
    registry: Mutex<Registry>,
    counted: Counted,
}

/// What the server itself counts. Clones count the same.
#[derive(Clone)]
struct Counted {
    requests: Family<Labels, Counter>,
    seconds: Seconds,
    connections: Gauge,
    refused: Counter,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

fn new_histogram() -> Histogram {
    Histogram::new(SECONDS)
}

impl Metrics {
    pub(crate) fn new(health: Arc<dyn Health>, store: Arc<Store>) -> Metrics {
        let counted = Counted {
            requests: Family::default(),
            seconds: Family::new_with_constructor(new_histogram),
            connections: Gauge::default(),
            refused: Counter::default(),
        };
        Metrics::of(health, store, counted)
    }

    /// Those of another store, whose requests and connections are counted on.
    pub(crate) fn with_store(&self, health: Arc<dyn Health>, store: Arc<Store>) -> Metrics {
        Metrics::of(health, store, self.counted.clone())
    }

    fn of(health: Arc<dyn Health>, store: Arc<Store>, counted: Counted) -> Metrics {
        let mut registry = Registry::default();
        let Counted { requests, seconds, connections, refused } = &counted;
        let text = "HTTP requests by route and status";
        registry.register("weir_http_requests", text, requests.clone());
        let text = "How long HTTP requests took";
        registry.register("weir_http_request_seconds", text, seconds.clone());
        let text = "Open connections, streams included";
        registry.register("weir_http_connections", text, connections.clone());
        let text = "Connections turned away because there were too many";
        registry.register("weir_http_connections_refused", text, refused.clone());
        let build: Family<Labels, Gauge> = Family::default();
        build.get_or_create(&vec![("version", VERSION.to_owned())]).set(1);
        registry.register("weir_build_info", "The version that runs; always 1", build);
        registry.register_collector(Box::new(Pipeline { health, store }));
        Metrics { registry: Mutex::new(registry), counted }
    }

    /// Adds metrics of another part of the program.
    pub fn register(&self, add: impl FnOnce(&mut Registry)) {
        add(&mut self.registry.lock());
    }

    /// Open connections, streams included.
    pub(crate) fn connections(&self) -> &Gauge {
        &self.counted.connections
    }

    /// Connections that were turned away because there were too many.
    pub(crate) fn refused(&self) -> &Counter {
        &self.counted.refused
    }

    /// Counts a request. `route` is the template of a route, not the path that was asked for.
    pub(crate) fn answered(&self, route: &str, status: u16, took: Duration) {
        let labels = vec![("route", route.to_owned()), ("status", status.to_string())];
        self.counted.requests.get_or_create(&labels).inc();
        let labels = vec![("route", route.to_owned())];
        self.counted.seconds.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// All of it as text.
    pub(crate) fn text(&self) -> Result<String, fmt::Error> {
        let mut out = String::new();
        text::encode(&mut out, &self.registry.lock())?;
        Ok(out)
    }
}

/// Asks the pipeline and the store how they are when metrics are read.
struct Pipeline {
    health: Arc<dyn Health>,
    store: Arc<Store>,
}

impl fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pipeline")
    }
}

struct Out<'a>(DescriptorEncoder<'a>);

impl Out<'_> {
    fn counter<N>(&mut self, name: &str, help: &str, value: N) -> fmt::Result
    where
        ConstCounter<N>: EncodeMetric,
        N: EncodeCounterValue,
    {
        let counter = ConstCounter::new(value);
        let encoder = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        counter.encode(encoder)
    }

    fn gauge<N>(&mut self, name: &str, help: &str, value: N) -> fmt::Result
    where
        ConstGauge<N>: EncodeMetric,
        N: EncodeGaugeValue,
    {
        let gauge = ConstGauge::new(value);
        let encoder = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        gauge.encode(encoder)
    }

    fn gauges<N>(&mut self, name: &str, help: &str, values: Vec<(Labels, N)>) -> fmt::Result
    where
        ConstGauge<N>: EncodeMetric,
        N: EncodeGaugeValue,
    {
        let mut encoder = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in values {
            ConstGauge::new(value).encode(encoder.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn counters(&mut self, name: &str, help: &str, values: Vec<(Labels, u64)>) -> fmt::Result {
        let mut encoder = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in values {
            ConstCounter::new(value).encode(encoder.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

impl Collector for Pipeline {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let report = self.health.report();
        let mut out = Out(encoder);
        counters(&mut out, &report)?;
        audits(&mut out, &report.audits)?;
        progress(&mut out, &report)?;
        debt(&mut out, &report)?;
        contents(&mut out, &report)?;
        let position = self.store.position();
        let doubtful = position.as_ref().is_some_and(|position| !position.degraded.is_empty());
        let text = "1 when answers may be old or incomplete";
        out.gauge("weir_degraded", text, u32::from(doubtful || !report.troubles.is_empty()))?;
        let published = position.map_or(0, |position| position.offset);
        out.gauge("weir_epoch_published", "The last epoch that is served", published)?;
        let cells = u64::try_from(self.store.len()).unwrap_or(u64::MAX);
        out.gauge("weir_cells", "KPI cells that are served", cells)?;
        out.gauges("weir_alerts_open", "Open alerts by severity", self.open_alerts())?;
        if let Some(bytes) = resident_bytes() {
            let text = "Memory of the process that is in RAM";
            out.gauge("weir_process_resident_memory_bytes", text, bytes)?;
        }
        Ok(())
    }
}

impl Pipeline {
    fn open_alerts(&self) -> Vec<(Labels, u64)> {
        let counts = self.store.open_alerts();
        let count = |(severity, count): (Severity, u64)| {
            (vec![("severity", severity.name().to_owned())], count)
        };
        counts.into_iter().map(count).collect()
    }
}

fn counters(out: &mut Out<'_>, report: &Report) -> fmt::Result {
    out.counter("weir_events", "Records read", report.events)?;
    out.counter("weir_epochs", "Epochs with records", report.epochs)?;
    let text = "Records that could not be decoded";
    out.counter("weir_dead_letters", text, report.dead_letters)?;
    doubts(out, report)?;
    let text = "Transactions that were not whole in time, and were published in parts";
    out.counter("weir_split_transactions", text, report.split_transactions)?;
    out.counter("weir_kpi_updates", "KPI changes published", report.kpi_updates)?;
    out.counter("weir_bronze_commits", "Commits of bronze", report.bronze_commits)?;
    out.counter("weir_barriers", "Flushes of silver and gold", report.barriers)?;
    let seconds = Duration::from_millis(report.barrier_ms).as_secs_f64();
    out.counter("weir_barrier_seconds", "How long those took in all", seconds)
}

fn audits(out: &mut Out<'_>, audits: &Audits) -> fmt::Result {
    let of = |status: &str, count: u64| (vec![("status", status.to_owned())], count);
    let values = vec![
        of("ok", audits.ok),
        of("mismatch", audits.mismatch),
        of("passed_over", audits.passed_over),
    ];
    out.counters("weir_audits", "Groups of cells that were computed again from silver", values)?;
    let text = "Cells that were not as computed again";
    out.counter("weir_audit_mismatches", text, audits.cells)
}

fn doubts(out: &mut Out<'_>, report: &Report) -> fmt::Result {
    let of = |value: fn(&Doubts) -> u64| {
        let one = |(contract, doubts): (&String, &Doubts)| {
            (vec![("contract", contract.clone())], value(doubts))
        };
        report.doubts.iter().map(one).collect()
    };
    let text = "Rows with an unknown value, or whose newest change could not be read";
    out.gauges("weir_rows_in_doubt", text, of(|doubts| doubts.rows))?;
    let text = "Records that could not be read and have no row that would be in doubt";
    out.gauges("weir_dead_letters_without_row", text, of(|doubts| doubts.unplaced))
}

fn progress(out: &mut Out<'_>, report: &Report) -> fmt::Result {
    let text = "The last epoch in the ledger";
    out.gauge("weir_epoch_recorded", text, report.epoch_recorded)?;
    out.gauge("weir_epoch_bronze", "The last epoch in bronze", report.epoch_bronze)?;
    let text = "The last epoch in silver and gold";
    out.gauge("weir_epoch_flushed", text, report.epoch_flushed)?;
    let text = "Bytes that are not in bronze yet";
    out.gauge("weir_unflushed_bytes", text, report.unflushed_bytes)?;
    out.gauge("weir_ready", "1 when /readyz is", u32::from(report.unready.is_empty()))?;
    if let Some((p50, p99)) = report.freshness {
        let quantile = |name: &str| vec![("quantile", name.to_owned())];
        let text = "From a record's Kafka timestamp to the publication of its epoch";
        let values = vec![(quantile("0.5"), p50), (quantile("0.99"), p99)];
        out.gauges("weir_freshness_seconds", text, values)?;
    }
    let lag = report.lag.iter().map(|lag| {
        let labels = vec![
            ("source", lag.source.clone()),
            ("topic", lag.topic.clone()),
            ("partition", lag.partition.to_string()),
        ];
        (labels, lag.lag)
    });
    out.gauges("weir_source_lag_records", "Records not yet read", lag.collect())
}

/// One figure of a table.
type Figure = fn(&Debt) -> u64;

/// What the lake's tables have lying about: what upkeep keeps bounded.
fn debt(out: &mut Out<'_>, report: &Report) -> fmt::Result {
    let kinds: [(&str, &str, Figure); 6] = [
        ("weir_table_files", "Live data files of a table", |debt| debt.files),
        ("weir_table_bytes", "Bytes of the live files", |debt| debt.bytes),
        ("weir_table_replaced_files", "Replaced files kept for readers", |d| d.replaced_files),
        ("weir_table_replaced_bytes", "Bytes of the replaced files", |d| d.replaced_bytes),
        ("weir_table_dead_rows", "Rows in live files that are gone", |debt| debt.dead_rows),
        ("weir_table_log_entries", "Entries of a table's log", |debt| debt.log_entries),
    ];
    for (name, help, value) in kinds {
        let of = |(table, debt): (&String, &Debt)| (vec![("table", table.clone())], value(debt));
        out.gauges(name, help, report.debt.iter().map(of).collect())?;
    }
    Ok(())
}

/// Rows that somebody should look at. Which values they have is told to those with a token.
fn contents(out: &mut Out<'_>, report: &Report) -> fmt::Result {
    let of = |table: &Contents| vec![("contract", table.contract.clone())];
    let outside = report.contents.iter().flat_map(|table| {
        table.outside.iter().map(move |outside| {
            let labels =
                vec![("contract", table.contract.clone()), ("column", outside.column.clone())];
            (labels, outside.rows)
        })
    });
    let text = "Rows with a value outside the vocabulary of their column";
    out.gauges("weir_rows_outside_vocabulary", text, outside.collect())?;
    let tables = || report.contents.iter();
    let text = "Rows with an empty tenant, taken as that of none";
    let rows = tables().map(|table| (of(table), table.empty_tenants)).collect();
    out.gauges("weir_rows_empty_tenant", text, rows)?;
    let infinite = report.contents.iter().flat_map(|table| {
        table.infinite.iter().map(|(column, times)| {
            (vec![("contract", table.contract.clone()), ("column", column.clone())], *times)
        })
    });
    let text = "Infinities and values that are no number, taken as null";
    out.gauges("weir_values_infinite", text, infinite.collect())?;
    let text = "Rows with a value that was never sent";
    out.gauges("weir_rows_unknown_value", text, tables().map(|t| (of(t), t.unknown)).collect())
}

/// Memory of this process in RAM, where the system says it.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}
