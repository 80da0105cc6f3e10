//! `[alerts]`: where notices are kept, and the routes to people.

use std::path::{Path, PathBuf};
use std::time::Duration;

use alerting::{ROUTE_KEYS, RouteSettings};
use serde::Deserialize;
use toml::{Table, Value};

use super::units::Span;
use super::{ConfigError, check_key};

/// The file of the store in the working folder.
const FILE: &str = "alerts.sqlite";

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AlertsConfig {
    store: String,
    heartbeat: Span,
    #[serde(default)]
    pub(crate) routes: Vec<RouteSettings>,
}

impl AlertsConfig {
    /// Whether the store is a file of its own.
    pub(crate) fn has_own_file(&self) -> bool {
        self.store.is_empty()
    }

    /// That file.
    pub(crate) fn file(&self, work_dir: &Path) -> PathBuf {
        work_dir.join(FILE)
    }

    /// The store of deliveries as a URL.
    pub(crate) fn store(&self, work_dir: &Path) -> String {
        if !self.store.is_empty() {
            return self.store.clone();
        }
        // A path is part of a URL: what is not plain in one is written by its bytes.
        let path = self.file(work_dir);
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
        let path: String = path.as_os_str().as_encoded_bytes().iter().fold(
            String::new(),
            |path, byte| match plain(*byte) {
                true => path + char::from(*byte).encode_utf8(&mut [0; 4]),
                false => path + &format!("%{byte:02X}"),
            },
        );
        format!("sqlite://{path}?mode=rwc")
    }

    /// How often a sign of life is given.
    pub(crate) fn heartbeat(&self) -> Option<Duration> {
        Some(self.heartbeat.0).filter(|every| !every.is_zero())
    }
}

/// Refuses keys of `[alerts]` and its routes that do not exist.
pub(super) fn refuse_unknown(
    alerts: &Table,
    known: &Table,
    origin: &str,
) -> Result<(), ConfigError> {
    let keys = known.get("alerts").and_then(Value::as_table);
    let names: Vec<&str> =
        keys.into_iter().flat_map(Table::keys).map(String::as_str).chain(["routes"]).collect();
    for (key, value) in alerts {
        check_key(&format!("alerts.{key}"), key, &names, origin)?;
        // Another type than a list of tables is refused by the type.
        let routes = value.as_array().into_iter().flatten().filter(|_| key == "routes");
        for key in routes.filter_map(Value::as_table).flat_map(Table::keys) {
            check_key(&format!("alerts.routes.{key}"), key, &ROUTE_KEYS, origin)?;
        }
    }
    Ok(())
}

/// A value as it is shown: of the URLs of routes and of the store what comes after the host may be a secret, and so
/// may be what comes before it.
pub(super) fn shown(key: &str, value: &str) -> String {
    let is_url =
        key == "alerts.store" || (key.starts_with("alerts.routes.") && key.ends_with(".url"));
    match is_url && value.contains("://") {
        true => "\"***\"".to_owned(),
        false => value.to_owned(),
    }
}
