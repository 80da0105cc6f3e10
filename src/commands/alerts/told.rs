//! What was told of alerts, as `weir alerts list` and `weir alerts route` print it.

use std::path::Path;

use alerting::{Delivery, Notice, Outbox, RouteSettings, StoreError};
use schemas::{Clock, Micros, chain};
use serde_json::{Value, json};

use crate::commands::setup::tokio_runtime;
use crate::config::Config;
use crate::failure::Failure;
use crate::output;
use crate::wall_clock::WallClock;

/// As much is shown of one alert.
const OF_ONE: u32 = 1_000;

/// Which notices are asked for.
pub(super) enum Wanted<'a> {
    /// So many, the newest.
    Newest(u32),
    /// Those of an alert.
    Of(&'a str),
}

/// What is in the outbox, the newest first; a store that was never made is empty.
pub(super) fn deliveries(
    config: &Config,
    work_dir: &Path,
    wanted: &Wanted<'_>,
) -> Result<Vec<Delivery>, Failure> {
    let url = config.alerts.store(work_dir);
    if config.alerts.has_own_file() && !config.alerts.file(work_dir).is_file() {
        return Ok(Vec::new());
    }
    let read = async {
        let outbox = Outbox::open(&url).await?;
        match wanted {
            Wanted::Newest(limit) => outbox.list(*limit).await,
            Wanted::Of(alert) => outbox.of_alert(alert, OF_ONE).await,
        }
    };
    let read: Result<_, StoreError> = tokio_runtime()?.block_on(read);
    read.map_err(|e| Failure::Unreachable(format!("[alerts] store: {}", chain(&e))))
}

/// Prints notices.
pub(super) fn print_list(found: &[Delivery], as_json: bool) {
    let now = WallClock.now();
    if as_json {
        return output::json(&found.iter().map(|own| json_of(own, now)).collect());
    }
    let row = |delivery: &Delivery| {
        vec![
            delivery.made_at.to_string(),
            delivery.route.clone(),
            delivery.state.name().to_owned(),
            delivery.attempts.to_string(),
            delivery.notice.title(),
            delivery.notice.id.clone(),
            why(delivery, now),
        ]
    };
    let rows: Vec<_> = found.iter().map(row).collect();
    output::table(&["at", "route", "state", "attempts", "notice", "id", "why"], &rows);
}

/// Prints for each route whether it takes an alert, and what became of what it was told.
pub(super) fn print_routes(
    routes: &[RouteSettings],
    found: &[Delivery],
    alert: &str,
    as_json: bool,
) {
    let newest = found.first().map(|own| &own.notice);
    let routes = by_route(routes, found, newest);
    let now = WallClock.now();
    if as_json {
        let one = |own: &OfRoute<'_>| {
            let told: Vec<Value> = own.told.iter().map(|told| json_of(told, now)).collect();
            json!({ "route": own.name, "kind": own.kind, "takes": own.takes, "deliveries": told })
        };
        return output::json(&routes.iter().map(one).collect());
    }
    if found.is_empty() {
        return output::line(&format!("nobody was told of alert {alert}, by any route"));
    }
    let word = |own: &OfRoute<'_>| {
        let word = match (own.takes, own.told.is_empty()) {
            (_, false) => "",
            (true, true) => "it takes such alerts, and was not told of this one",
            (false, true) => "it does not take it",
        };
        vec![own.name.to_owned(), String::new(), String::new(), String::new(), word.to_owned()]
    };
    let told = |own: &Delivery| {
        vec![
            own.route.clone(),
            own.notice.kind.name().to_owned(),
            own.state.name().to_owned(),
            own.ended_at.unwrap_or(own.made_at).to_string(),
            why(own, now),
        ]
    };
    let rows = routes.iter().flat_map(|own| match own.told.is_empty() {
        true => vec![word(own)],
        false => own.told.iter().map(|own| told(own)).collect(),
    });
    output::table(&["route", "notice", "state", "at", "why"], &rows.collect::<Vec<_>>());
}

/// What is known of an alert and a route.
struct OfRoute<'a> {
    name: &'a str,
    kind: Option<&'a str>,
    /// Whether it takes such an alert.
    takes: bool,
    /// What it was told, in order.
    told: Vec<&'a Delivery>,
}

/// In the order of the configuration, and then those that are not configured any more.
fn by_route<'a>(
    routes: &'a [RouteSettings],
    found: &'a [Delivery],
    newest: Option<&Notice>,
) -> Vec<OfRoute<'a>> {
    let told = |name: &str| found.iter().rev().filter(|own| own.route == name).collect();
    let mut all = Vec::new();
    for route in routes {
        let takes = newest.is_some_and(|notice| route.takes(notice));
        let (name, kind) = (route.name.as_str(), Some(route.kind.as_str()));
        all.push(OfRoute { name, kind, takes, told: told(name) });
    }
    for own in found {
        if all.iter().all(|known| known.name != own.route) {
            let (name, told) = (own.route.as_str(), told(&own.route));
            all.push(OfRoute { name, kind: None, takes: false, told });
        }
    }
    all
}

/// Why it is as it is.
fn why(delivery: &Delivery, now: Micros) -> String {
    let quiet = delivery.quiet_until(now).map(|until| format!("quiet hours until {until}"));
    let by = |what: &str, names: &[String]| match names {
        [] => None,
        names => Some(format!("{what} by {}", names.join(", "))),
    };
    let silenced = by("silenced", &delivery.silenced_by);
    let inhibited = by("inhibited", &delivery.inhibited_by);
    let all = [quiet, delivery.error.clone(), silenced, inhibited].into_iter().flatten();
    all.collect::<Vec<_>>().join("; ")
}

fn json_of(delivery: &Delivery, now: Micros) -> Value {
    let notice = &delivery.notice;
    json!({
        "id": notice.id,
        "alert": notice.alert,
        "kind": notice.kind.name(),
        "severity": notice.severity.name(),
        "route": delivery.route,
        "state": delivery.state.name(),
        "made_at": delivery.made_at.to_string(),
        "quiet_until": delivery.quiet_until(now).map(|at| at.to_string()),
        "ended_at": delivery.ended_at.map(|at| at.to_string()),
        "attempts": delivery.attempts,
        "error": delivery.error,
        "silenced_by": delivery.silenced_by,
        "inhibited_by": delivery.inhibited_by,
        "summary": notice.summary(),
    })
}
