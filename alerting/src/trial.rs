//! A notice for trying out a route.

use std::collections::BTreeMap;

use schemas::{Clock, Severity};
use serde_json::json;

use crate::http;
use crate::notice::{Kind, Notice};
use crate::route::Taker;
use crate::settings::RouteSettings;

/// Sends a notice that says it is a trial, and its end, so that nobody is left with an open incident.
///
/// # Errors
/// The setting that is wrong, or what the receiver says.
pub async fn try_route(settings: &RouteSettings, clock: &dyn Clock) -> Result<(), String> {
    let taker = Taker::make(settings, &http::client()?)?;
    let severity = settings.matching.0.severity.iter().max().copied().unwrap_or(Severity::Error);
    for kind in [Kind::Opened, Kind::Resolved] {
        let notice = notice(kind, severity, clock);
        let sent = taker.route.deliver(&notice, clock.now()).await;
        sent.map_err(|e| {
            format!("route `{}` did not take a trial notice ({}): {e}", settings.name, kind.name())
        })?;
    }
    Ok(())
}

fn notice(kind: Kind, severity: Severity, clock: &dyn Clock) -> Notice {
    let now = clock.now();
    let summary = match kind.is_last() {
        false => "This is a trial of a route of Weir. Nothing is wrong.",
        true => "The trial of a route of Weir is over.",
    };
    let alert = format!("weir-trial-{}", now.0 / 60_000_000);
    Notice {
        id: crate::notice::id(&alert, kind, severity, 1),
        kind,
        severity,
        about: None,
        labels: BTreeMap::from([
            ("alertname".to_owned(), "WeirTrial".to_owned()),
            ("weir_alert_id".to_owned(), alert.clone()),
        ]),
        annotations: BTreeMap::from([("summary".to_owned(), summary.to_owned())]),
        starts_at: now,
        ends_at: kind.is_last().then_some(now),
        link: None,
        body: json!({ "id": alert, "severity": severity.name(), "reason": summary }),
        alert,
    }
}
