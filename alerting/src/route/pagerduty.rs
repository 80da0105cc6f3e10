//! PagerDuty, by its Events API v2.
//!
//! # Guarantees
//! - The alert's id is the incident's `dedup_key`: what is sent twice is one incident, and its end resolves it.

use reqwest::{Client, Url};
use schemas::Micros;
use serde_json::{Value, json};

use super::{Route, Sending};
use crate::http;
use crate::notice::Notice;
use crate::settings::{RouteSettings, Secret};

const EVENTS: &str = "https://events.pagerduty.com/v2/enqueue";
/// Characters that a summary may have.
const SUMMARY: usize = 1_024;

struct PagerDuty {
    client: Client,
    url: Url,
    routing_key: Secret,
}

pub(super) fn make(settings: &RouteSettings, client: &Client) -> Result<Box<dyn Route>, String> {
    let key = settings.secret()?;
    let routing_key = key.ok_or("needs its routing key, in `secret_file` or `secret_env`")?;
    let url = http::url(&settings.one_url(Some(EVENTS))?)?;
    Ok(Box::new(PagerDuty { client: client.clone(), url, routing_key }))
}

impl Route for PagerDuty {
    fn deliver<'a>(&'a self, notice: &'a Notice, _now: Micros) -> Sending<'a> {
        let request = http::post(&self.client, &self.url, &event(notice, &self.routing_key));
        Box::pin(async move { http::send(request).await.map(drop) })
    }

    fn brings_digests(&self) -> bool {
        false
    }

    fn keeps_going(&self) -> bool {
        true
    }
}

fn event(notice: &Notice, key: &Secret) -> Value {
    if notice.kind.is_last() {
        return json!({ "routing_key": key.0, "event_action": "resolve", "dedup_key": notice.alert });
    }
    let text = format!("{} {}", notice.title(), notice.summary());
    let summary: String = text.chars().take(SUMMARY).collect();
    let links = notice.link.iter().map(|link| json!({ "href": link, "text": "Look" }));
    json!({
        "routing_key": key.0,
        "event_action": "trigger",
        "dedup_key": notice.alert,
        "client": "Weir",
        "client_url": notice.link,
        "links": links.collect::<Vec<_>>(),
        "payload": {
            "summary": summary,
            "source": notice.about.as_ref().map_or("weir", |about| &about.tenant),
            "severity": notice.severity.name(),
            "timestamp": notice.starts_at.to_string(),
            "component": notice.about.as_ref().map(|about| &about.kpi),
            "class": notice.labels.get("alertname"),
            "custom_details": { "labels": notice.labels, "annotations": notice.annotations },
        },
    })
}

#[cfg(test)]
mod tests {
    use schemas::Severity;

    use super::*;
    use crate::samples::notice;

    #[test]
    fn an_incident_opens_and_ends_under_one_key() {
        let key = Secret("k".into());
        let opened = event(&notice("a", crate::Kind::Opened, Severity::Critical), &key);
        let words = ["event_action", "dedup_key"].map(|field| opened[field].as_str().unwrap());
        assert_eq!((words, &opened["payload"]["severity"]), (["trigger", "a"], &json!("critical")));
        let over = event(&notice("a", crate::Kind::Resolved, Severity::Critical), &key);
        assert_eq!(over, json!({"routing_key": "k", "event_action": "resolve", "dedup_key": "a"}));
    }
}
