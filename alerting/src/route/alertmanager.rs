//! Alertmanager, by its API v2.
//!
//! # Guarantees
//! - Every instance is told, as Alertmanager's own cluster wants it. It is enough for a delivery that one of them
//!   took it: what goes on is said to all again every thirty seconds, and what ended for five minutes.
//! - What goes on ends by itself two minutes after Weir has fallen silent.
//! - The severity is a label. When it rises, the alert of the lower severity ends.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use reqwest::{Client, Url};
use schemas::{Micros, Severity};
use serde_json::{Value, json};

use super::{Route, Sending};
use crate::error::DeliveryError;
use crate::heartbeat::SignOfLife;
use crate::http;
use crate::notice::{Kind, Notice};
use crate::settings::{RouteSettings, Secret};
use crate::suppressed::{Reading, Suppressed};

/// How often it is told again what goes on.
const AGAIN: Duration = Duration::from_secs(30);
/// How long an alert goes on without being told again, in microseconds.
const LASTS_US: i64 = 4 * 30 * 1_000_000;
/// The alerts that it is asked about, as its matchers have it.
const OURS: &str = r#"alertname=~"KpiAnomaly|WeirDegraded""#;
/// Alerts in one request.
const BATCH: usize = 200;

struct Alertmanager {
    client: Client,
    instances: Vec<Url>,
    /// Where each says how its alerts are.
    reads: Vec<Url>,
    bearer: Option<Secret>,
}

pub(super) fn make(settings: &RouteSettings, client: &Client) -> Result<Box<dyn Route>, String> {
    if settings.url.0.is_empty() {
        return Err(
            "needs `url`: of Alertmanager, as http://127.0.0.1:9093, or a list of all instances"
                .to_owned(),
        );
    }
    let posts = settings
        .url
        .0
        .iter()
        .map(|text| http::url(&format!("{}/api/v2/alerts", text.trim_end_matches('/'))));
    let instances = posts.collect::<Result<Vec<Url>, _>>()?;
    let reads = instances.iter().cloned().map(|mut url| {
        url.query_pairs_mut().append_pair("filter", OURS);
        url
    });
    let (client, reads) = (client.clone(), reads.collect());
    Ok(Box::new(Alertmanager { client, instances, reads, bearer: settings.secret()? }))
}

impl Alertmanager {
    /// Tells every instance; one that takes it is enough.
    async fn post(&self, alerts: Vec<Value>) -> Result<(), DeliveryError> {
        let alerts = Value::Array(alerts);
        let mut taken = false;
        let mut failed = None;
        for instance in &self.instances {
            let mut request = http::post(&self.client, instance, &alerts);
            if let Some(Secret(token)) = &self.bearer {
                request = request.bearer_auth(token);
            }
            match http::send(request).await {
                Ok(_) => taken = true,
                Err(error) => failed = Some(error),
            }
        }
        failed.filter(|_| !taken).map_or(Ok(()), Err)
    }

    /// Asks every instance; one that answers is enough.
    async fn suppressed(&self) -> Result<Vec<Suppressed>, DeliveryError> {
        let mut found = None;
        let mut failed = None;
        for instance in &self.reads {
            let mut request = self.client.get(instance.clone());
            if let Some(Secret(token)) = &self.bearer {
                request = request.bearer_auth(token);
            }
            let answer = async { http::json(http::send(request).await?).await };
            match answer.await {
                Ok(alerts) => suppressed(&alerts, found.get_or_insert_default()),
                Err(error) => failed = Some(error),
            }
        }
        let named = |(alert, by): (String, Reasons)| Suppressed {
            alert,
            silenced_by: by.silences.into_iter().collect(),
            inhibited_by: by.alerts.into_iter().collect(),
        };
        match (found, failed) {
            (Some(found), _) => Ok(found.into_iter().map(named).collect()),
            (None, Some(error)) => Err(error),
            (None, None) => Ok(Vec::new()),
        }
    }

    async fn again(&self, standing: &[Notice], now: Micros) -> Result<(), DeliveryError> {
        for part in standing.chunks(BATCH) {
            self.post(part.iter().map(|notice| alert(notice, notice.severity, now)).collect())
                .await?;
        }
        Ok(())
    }
}

impl Route for Alertmanager {
    fn deliver<'a>(&'a self, notice: &'a Notice, now: Micros) -> Sending<'a> {
        Box::pin(self.post(alerts(notice, now)))
    }

    fn brings_digests(&self) -> bool {
        false
    }

    fn keeps_going(&self) -> bool {
        true
    }

    fn read_back(&self) -> Option<Reading<'_>> {
        Some(Box::pin(self.suppressed()))
    }

    fn repeats(&self) -> Option<Duration> {
        Some(AGAIN)
    }

    fn repeat<'a>(&'a self, standing: &'a [Notice], now: Micros) -> Sending<'a> {
        Box::pin(self.again(standing, now))
    }

    fn sign_of_life<'a>(&'a self, sign: &'a SignOfLife) -> Option<Sending<'a>> {
        let alive = json!({
            "labels": { "alertname": "WeirAlive", "severity": "info" },
            "annotations": {
                "summary": "Weir is alive; an Alertmanager that does not hear this any more should say so",
                "as_of": sign.as_of.map(|at| at.to_string()).unwrap_or_default(),
                "degraded": sign.troubles.join("; "),
            },
            "startsAt": sign.at.to_string(),
            "endsAt": sign.missed_at().to_string(),
        });
        Some(Box::pin(self.post(vec![alive])))
    }
}

/// The alert of a notice, and the end of those of lower severities when it rose.
fn alerts(notice: &Notice, now: Micros) -> Vec<Value> {
    let lower = [Severity::Info, Severity::Warning, Severity::Error];
    let lower =
        lower.into_iter().filter(|lower| notice.kind == Kind::Updated && *lower < notice.severity);
    let ended = |severity| {
        let mut ended = alert(notice, severity, now);
        ended["endsAt"] = now.to_string().into();
        ended
    };
    lower.map(ended).chain([alert(notice, notice.severity, now)]).collect()
}

fn alert(notice: &Notice, severity: Severity, now: Micros) -> Value {
    let ends = match notice.kind.is_last() {
        // An end that lies ahead would keep it going.
        true => notice.ends_at.map_or(now, |at| at.min(now)),
        false => now.plus(LASTS_US),
    };
    let mut labels = notice.labels.clone();
    // A label without a value is none.
    labels.retain(|_, value| !value.is_empty());
    let mut labels: serde_json::Map<String, Value> =
        labels.into_iter().map(|(name, value)| (label(&name), value.into())).collect();
    labels.insert("severity".to_owned(), severity.name().into());
    let mut alert = json!({
        "labels": labels,
        "annotations": notice.annotations,
        "startsAt": notice.starts_at.min(ends).to_string(),
        "endsAt": ends.to_string(),
    });
    if let Some(link) = &notice.link {
        alert["generatorURL"] = link.as_str().into();
    }
    alert
}

/// Why an alert is not passed on.
#[derive(Debug, Default, PartialEq, Eq)]
struct Reasons {
    silences: BTreeSet<String>,
    alerts: BTreeSet<String>,
}

/// Adds what an instance says of the alerts that it does not pass on.
fn suppressed(alerts: &Value, found: &mut BTreeMap<String, Reasons>) {
    let alerts = || alerts.as_array().into_iter().flatten();
    let id = |alert: &Value| alert["labels"]["weir_alert_id"].as_str().map(str::to_owned);
    let named = |alert: &Value| Some((alert["fingerprint"].as_str()?.to_owned(), id(alert)?));
    let ids: BTreeMap<String, String> = alerts().filter_map(named).collect();
    for alert in alerts() {
        let texts = |name: &str| {
            let all = alert["status"][name].as_array().into_iter().flatten();
            all.filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>()
        };
        let (silences, by) = (texts("silencedBy"), texts("inhibitedBy"));
        let Some(own) = id(alert).filter(|_| !(silences.is_empty() && by.is_empty())) else {
            continue;
        };
        let reasons = found.entry(own).or_default();
        reasons.silences.extend(silences);
        reasons.alerts.extend(by.into_iter().map(|by| ids.get(&by).cloned().unwrap_or(by)));
    }
}

/// A name that Alertmanager takes for a label.
fn label(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{at, notice};

    #[test]
    fn what_goes_on_ends_by_itself_and_what_ended_has_ended() {
        let now = at("2026-11-21T10:30:00Z");
        let open = alert(&notice("a", Kind::Opened, Severity::Error), Severity::Error, now);
        assert_eq!(open["endsAt"], "2026-11-21T10:32:00Z");
        let labels = json!({
            "alertname": "KpiAnomaly", "kpi": "revenue_by_channel", "tenant": "acme", "grain": "hour", "incident": "a",
            "weir_alert_id": "a", "severity": "error", "dim_channel": "web",
        });
        assert_eq!(open["labels"], labels);
        let over = alert(&notice("a", Kind::Resolved, Severity::Error), Severity::Error, now);
        assert_eq!(over["endsAt"], "2026-11-21T10:30:00Z", "not in the future");
    }

    #[test]
    fn what_is_not_passed_on_is_known_by_the_alert_and_so_is_what_goes_before_it() {
        let alert = |id: &str, print: &str, silenced: Value, inhibited: Value| {
            json!({
                "labels": { "weir_alert_id": id }, "fingerprint": print,
                "status": { "state": "suppressed", "silencedBy": silenced, "inhibitedBy": inhibited },
            })
        };
        let answer = json!([
            alert("a", "f1", json!(["s1", "s2"]), json!([])),
            alert("b", "f2", json!([]), json!(["f1", "f9"])),
            alert("c", "f3", json!([]), json!([])),
        ]);
        let mut found = BTreeMap::new();
        suppressed(&answer, &mut found);
        // Another instance says the same, and one more.
        suppressed(&json!([alert("a", "f1", json!(["s2", "s3"]), json!([]))]), &mut found);
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let expected = [
            ("a".to_owned(), Reasons { silences: set(&["s1", "s2", "s3"]), alerts: set(&[]) }),
            ("b".to_owned(), Reasons { silences: set(&[]), alerts: set(&["a", "f9"]) }),
        ];
        assert_eq!(found, expected.into());
    }

    #[test]
    fn what_rises_ends_what_it_was() {
        let now = at("2026-11-21T10:30:00Z");
        let told = alerts(&notice("a", Kind::Updated, Severity::Error), now);
        let told: Vec<_> = told
            .iter()
            .map(|a| (a["labels"]["severity"].as_str().unwrap(), &a["endsAt"]))
            .collect();
        let ended = json!("2026-11-21T10:30:00Z");
        assert_eq!(
            told,
            [("info", &ended), ("warning", &ended), ("error", &json!("2026-11-21T10:32:00Z"))]
        );
    }
}
