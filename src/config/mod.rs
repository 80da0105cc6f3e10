//! Configuration: defaults, then the file, then the environment, each value knowing its origin.
//!
//! # Guarantees
//! - A key that does not exist is refused with its place and the nearest key that does.
//! - Every default is in `default.toml`, with a reason.
//! - [`Effective::show`] never prints a secret, and no refusal does.

mod alerts;
mod calendar;
mod currency;
mod environment;
mod fault;
mod fixed;
mod planned;
mod units;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use engine::{AuditSettings, Settings, Upkeep};
use gold::nearest::nearest;
use lake::keyed::Deletes;
use pipeline::source::{Limits, Properties, SourceConfig};
use serde::Deserialize;
use toml::{Table, Value};

pub(crate) use alerts::AlertsConfig;
pub(crate) use calendar::TimeConfig;
pub(crate) use currency::GoldConfig;
use environment::apply;
pub(crate) use environment::variable_of;
pub(crate) use units::parse_duration;
use units::{Bytes, BytesOrAuto, Span};

/// The longest interval between two commits or barriers.
const INTERVAL_MAX: Duration = Duration::from_secs(3_600);

const DEFAULTS: &str = include_str!("default.toml");

/// Keys of a `[[sources]]` entry, which has no defaults.
const SOURCE_KEYS: [&str; 13] = [
    "name",
    "kind",
    "brokers",
    "group",
    "topics",
    "transactions",
    "snapshots",
    "librdkafka",
    "lost_records",
    "refresh_ms",
    "prefetch_mib",
    "path",
    "contract",
];

/// What the configuration says, typed.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) lake: LakeConfig,
    pub(crate) ledger: LedgerConfig,
    pub(crate) epoch: EpochConfig,
    pub(crate) gold: GoldConfig,
    audit: AuditConfig,
    anomaly: AnomalyConfig,
    pub(crate) time: TimeConfig,
    pub(crate) contracts: FolderConfig,
    pub(crate) api: ApiConfig,
    pub(crate) auth: AuthConfig,
    pub(crate) alerts: AlertsConfig,
    #[serde(default)]
    calendar: Vec<planned::CalendarConfig>,
    #[serde(default)]
    pub(crate) sources: Vec<SourceConfig>,
    /// Secrets that stand in the configuration file.
    #[serde(skip)]
    pub(crate) plain_secrets: Vec<PlainSecret>,
}

/// A secret of a source that stands in the configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlainSecret {
    pub(crate) source: String,
    pub(crate) property: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LakeConfig {
    pub(crate) uri: PathBuf,
    work_dir: PathBuf,
    flush_interval: Span,
    flush_bytes: Bytes,
    barrier_interval: Span,
    pub(crate) durability: Durability,
    vacuum_after: Span,
    memory_limit: BytesOrAuto,
    log_retention: Span,
    compact: bool,
    deletion_vectors: bool,
}

impl LakeConfig {
    /// The working folder, where it is not the lake's own.
    pub(crate) fn work_dir(&self) -> Option<&Path> {
        Some(self.work_dir.as_path()).filter(|folder| !folder.as_os_str().is_empty())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Durability {
    Fsync,
    None,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LedgerConfig {
    dir: PathBuf,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EpochConfig {
    linger: Span,
    pub(crate) max_records: usize,
    max_bytes: Bytes,
    max_unflushed: Bytes,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct AnomalyConfig {
    retrain: Span,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct AuditConfig {
    interval: Span,
    budget: Span,
}

impl AuditConfig {
    fn settings(&self) -> Option<AuditSettings> {
        let (interval, budget) = (self.interval.0, self.budget.0);
        (!interval.is_zero()).then_some(AuditSettings { interval, budget })
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FolderConfig {
    definitions: PathBuf,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ApiConfig {
    pub(crate) listen: String,
    public_url: String,
    allowed_origins: Vec<String>,
    pub(crate) max_connections: usize,
    pub(crate) connections_per_subject: usize,
    pub(crate) requests_per_second: u32,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AuthConfig {
    jwks_url: String,
    pub(crate) issuer: String,
    pub(crate) audience: String,
}

impl ApiConfig {
    /// The address at which people open the page.
    pub(crate) fn public_url(&self) -> Option<&str> {
        Some(self.public_url.trim_end_matches('/')).filter(|url| !url.is_empty())
    }

    /// The origins whose pages may connect, besides the address that a request names.
    ///
    /// # Errors
    /// When one of them is none; the text names the setting.
    pub(crate) fn origins(&self) -> Result<Vec<String>, String> {
        let own = Some(("public_url", self.public_url.trim_end_matches('/')));
        let own = own.filter(|(_, url)| !url.is_empty());
        let more = self.allowed_origins.iter().map(|origin| ("allowed_origins", origin.as_str()));
        let checked = |(setting, origin): (&str, &str)| match is_origin(origin) {
            true => Ok(origin.to_ascii_lowercase()),
            false => Err(format!(
                "[api] {setting}: `{origin}` is no origin; write scheme, name and, where it is another than usual, \
                 port, as https://weir.example:8443, without a path"
            )),
        };
        own.into_iter().chain(more).map(checked).collect()
    }
}

/// Whether a text is an origin as browsers send it: `http` or `https`, a host, and perhaps a port.
fn is_origin(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let authority = lower.strip_prefix("https://").or_else(|| lower.strip_prefix("http://"));
    authority.is_some_and(|authority| {
        let is_part = |c: char| c.is_ascii_alphanumeric() || "-.:[]_".contains(c);
        !authority.is_empty() && !authority.starts_with(':') && authority.chars().all(is_part)
    })
}

impl AuthConfig {
    /// Where keys are published; `None` means development tokens.
    pub(crate) fn jwks_url(&self) -> Option<&str> {
        (!self.jwks_url.is_empty()).then_some(self.jwks_url.as_str())
    }
}

impl FolderConfig {
    /// The folder, when one is configured.
    pub(crate) fn folder(&self) -> Option<&Path> {
        (!self.definitions.as_os_str().is_empty()).then_some(self.definitions.as_path())
    }
}

impl Config {
    /// What a run on the lake with this working folder is told.
    pub(crate) fn settings(&self, work_dir: &Path) -> Settings {
        let Config { lake, epoch, .. } = self;
        let (records, bytes) = (epoch.max_records, epoch.max_bytes.0);
        Settings {
            ledger_dir: self.ledger_dir(work_dir),
            durable: lake.durability == Durability::Fsync,
            linger: epoch.linger.0,
            limits: Limits {
                records,
                bytes,
                partition_records: records.div_ceil(2),
                partition_bytes: bytes.div_ceil(2),
            },
            max_unflushed: epoch.max_unflushed.0,
            memory_limit: lake.memory_limit.0.map(|bytes| bytes as u64),
            flush_interval: lake.flush_interval.0,
            flush_bytes: lake.flush_bytes.0,
            barrier_interval: lake.barrier_interval.0,
            upkeep: Upkeep {
                vacuum_after: lake.vacuum_after.0,
                log_retention: lake.log_retention.0,
                compact: lake.compact,
            },
            silver: if lake.deletion_vectors { Deletes::Mark } else { Deletes::Rewrite },
            audit: self.audit.settings(),
        }
    }

    /// The same with all days those of UTC, and weeks and years those of the calendar.
    pub(crate) fn in_utc(&self) -> Config {
        Config { time: self.time.in_utc(), ..self.clone() }
    }

    /// How often models of detectors are trained while running; `None`: never.
    pub(crate) fn retrain_interval(&self) -> Option<Duration> {
        Some(self.anomaly.retrain.0).filter(|own| !own.is_zero())
    }

    /// Refuses intervals at which nothing else would be done, or nothing would ever be.
    fn refuse_beyond_bounds(&self, origins: &BTreeMap<String, String>) -> Result<(), ConfigError> {
        let LakeConfig { flush_interval, barrier_interval, .. } = &self.lake;
        let intervals = [
            ("lake.flush_interval", flush_interval, (Duration::from_millis(1), "1ms")),
            ("lake.barrier_interval", barrier_interval, (Duration::from_millis(10), "10ms")),
        ];
        for (key, Span(set), (least, named)) in intervals {
            if !(least..=INTERVAL_MAX).contains(set) {
                let origin = origins.get(key).cloned().unwrap_or_default();
                let reason = format!("it is at least `{named}` and at most `1h`");
                return Err(ConfigError::Value { key: key.into(), origin, reason });
            }
        }
        Ok(())
    }

    /// Where the ledger lives.
    pub(crate) fn ledger_dir(&self, work_dir: &Path) -> PathBuf {
        if self.ledger.dir.as_os_str().is_empty() {
            work_dir.join("ledger")
        } else {
            self.ledger.dir.clone()
        }
    }
}

/// Why the configuration was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("could not read `{path}`: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{origin} is not valid TOML: {place}: {reason}")]
    Toml { origin: String, place: String, reason: String },
    #[error("unknown key `{key}` in {origin}{hint}")]
    UnknownKey { key: String, origin: String, hint: String },
    #[error("`{key}` in {origin} is not valid: {reason}")]
    Value { key: String, origin: String, reason: String },
}

/// The configuration and where each value came from.
#[derive(Debug)]
pub(crate) struct Effective {
    pub(crate) config: Config,
    values: BTreeMap<String, (String, String)>,
}

impl Effective {
    /// Reads the configuration: defaults, `path` when given, then `environment`.
    pub(crate) fn load(
        path: Option<&Path>,
        environment: &[(String, String)],
    ) -> Result<Effective, ConfigError> {
        let mut tree = parse(DEFAULTS, "the built-in defaults")?;
        let known = tree.clone();
        let mut origins = BTreeMap::new();
        mark(&tree, "default", &mut origins);
        if let Some(path) = path {
            let read = |source| ConfigError::Read { path: path.to_path_buf(), source };
            let text = std::fs::read_to_string(path).map_err(read)?;
            let origin = format!("`{}`", path.display());
            let file = parse(&text, &origin)?;
            refuse_unknown(&file, &known, &origin)?;
            mark(&file, &path.display().to_string(), &mut origins);
            merge(&mut tree, file);
        }
        for (name, value) in environment {
            apply(&mut tree, &known, &mut origins, name, value)?;
        }
        let values = flatten(&tree, &origins);
        let config = Value::Table(tree.clone()).try_into::<Config>();
        let mut config = config.map_err(|error| fault::name(&error, &tree, &origins))?;
        config.plain_secrets = plain_secrets(&config.sources, &origins);
        config.refuse_beyond_bounds(&origins)?;
        config.gold.check(&origins)?;
        let planned = planned::read(&config.calendar, &origins)?;
        config.time.read(&origins, &planned)?;
        Ok(Effective { config, values })
    }

    /// One line per value: `key = value  # origin`, secrets masked.
    pub(crate) fn show(&self) -> Vec<(String, String, String)> {
        let masked = |key: &str, value: &str| {
            let is_secret = Properties::is_secret(key) || key.contains("sasl.username");
            match is_secret {
                true => "\"***\"".to_owned(),
                false => alerts::shown(key, value),
            }
        };
        let row = |(key, (value, origin)): (&String, &(String, String))| {
            (key.clone(), masked(key, value), origin.clone())
        };
        self.values.iter().map(row).collect()
    }
}

fn parse(text: &str, origin: &str) -> Result<Table, ConfigError> {
    text.parse::<Table>().map_err(|error| {
        // The line itself may hold a secret.
        let place = fault::place(text, error.span());
        ConfigError::Toml { origin: origin.into(), place, reason: error.message().to_owned() }
    })
}

fn refuse_unknown(file: &Table, known: &Table, origin: &str) -> Result<(), ConfigError> {
    for (section, value) in file {
        match (section.as_str(), value) {
            ("sources", Value::Array(sources)) => {
                for key in sources.iter().filter_map(Value::as_table).flat_map(Table::keys) {
                    check_key(&format!("sources.{key}"), key, &SOURCE_KEYS, origin)?;
                }
            }
            ("calendar", Value::Array(calendars)) => planned::refuse_unknown(calendars, origin)?,
            // Refused by their type.
            ("sources" | "calendar", _) => {}
            ("alerts", Value::Table(alerts)) => alerts::refuse_unknown(alerts, known, origin)?,
            (_, value) => {
                let sections: Vec<&str> =
                    known.keys().map(String::as_str).chain(["sources", "calendar"]).collect();
                check_key(section, section, &sections, origin)?;
                let keys = known.get(section).and_then(Value::as_table);
                let names: Vec<&str> =
                    keys.into_iter().flat_map(Table::keys).map(String::as_str).collect();
                for key in value.as_table().into_iter().flat_map(Table::keys) {
                    check_key(&format!("{section}.{key}"), key, &names, origin)?;
                }
            }
        }
    }
    Ok(())
}

fn check_key(path: &str, key: &str, known: &[&str], origin: &str) -> Result<(), ConfigError> {
    if known.contains(&key) {
        return Ok(());
    }
    let hint = nearest(key, known.iter().copied());
    Err(ConfigError::UnknownKey { key: path.into(), origin: origin.into(), hint })
}

fn merge(tree: &mut Table, over: Table) {
    for (key, value) in over {
        match (tree.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => merge(below, above),
            (_, value) => {
                tree.insert(key, value);
            }
        }
    }
}

/// The secrets of Kafka sources that no variable of the environment set.
fn plain_secrets(sources: &[SourceConfig], origins: &BTreeMap<String, String>) -> Vec<PlainSecret> {
    let mut found = Vec::new();
    for (index, source) in sources.iter().enumerate() {
        let SourceConfig::Kafka(kafka) = source else { continue };
        for property in kafka.librdkafka.0.keys().filter(|p| Properties::is_secret(p)) {
            let origin = origins.get(&format!("sources.{index}.librdkafka.{property}"));
            if origin.is_some_and(|origin| !origin.starts_with(environment::ORIGIN)) {
                found.push(PlainSecret { source: kafka.name.clone(), property: property.clone() });
            }
        }
    }
    found
}

fn mark(tree: &Table, origin: &str, origins: &mut BTreeMap<String, String>) {
    walk("", &Value::Table(tree.clone()), &mut |key, _| {
        origins.insert(key.to_owned(), origin.to_owned());
    });
}

fn flatten(tree: &Table, origins: &BTreeMap<String, String>) -> BTreeMap<String, (String, String)> {
    let mut values = BTreeMap::new();
    walk("", &Value::Table(tree.clone()), &mut |key, value| {
        let origin = origins.get(key).cloned().unwrap_or_default();
        values.insert(key.to_owned(), (value.to_string(), origin));
    });
    values
}

fn walk(path: &str, value: &Value, visit: &mut impl FnMut(&str, &Value)) {
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match value {
        Value::Table(table) => table.iter().for_each(|(key, v)| walk(&below(key), v, visit)),
        Value::Array(items) if !items.is_empty() && items.iter().all(Value::is_table) => {
            items.iter().enumerate().for_each(|(at, v)| walk(&below(&at.to_string()), v, visit));
        }
        value => visit(path, value),
    }
}

#[cfg(test)]
mod tests;
