//! Daily digests of a route: when one is due, and what it says.
//!
//! # Guarantees
//! - Of each day one is made, at the first look after its time on the clocks of its zone, however often Weir was ended
//!   between; it is one more notice in the outbox, under an id of route and day.
//! - It counts every alert that the route collected since the last one, each once; of no alerts none is made.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use schemas::zone::Zone;
use schemas::{Micros, Severity};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::notice::{Kind, Notice};
use crate::times;

/// As many alerts are named as the worst, and as many others as the newest.
const NAMED: usize = 5;
/// As many KPIs are named in a text.
const KPIS_TOLD: usize = 10;

/// `digest` of a route: `"08:00"`, or a table with a zone.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "Written")]
pub struct DigestSettings {
    /// When it is sent.
    pub at: String,
    /// By whose clocks; UTC unless given.
    pub zone: Option<String>,
}

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "`digest` is a time as \"08:00\", or { at = \"08:00\", zone = \"Europe/Berlin\" }"
)]
enum Written {
    At(String),
    Full(Full),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Full {
    at: String,
    #[serde(default)]
    zone: Option<String>,
}

impl From<Written> for DigestSettings {
    fn from(written: Written) -> DigestSettings {
        match written {
            Written::At(at) => DigestSettings { at, zone: None },
            Written::Full(Full { at, zone }) => DigestSettings { at, zone },
        }
    }
}

/// When digests are made.
#[derive(Debug, Clone)]
pub(crate) struct Digest {
    /// Microseconds from midnight.
    at: i64,
    zone: Zone,
}

impl Digest {
    /// By its settings.
    ///
    /// # Errors
    /// When these are none; the text names the setting.
    pub(crate) fn read(settings: &DigestSettings) -> Result<Digest, String> {
        let at = times::of_day("digest", &settings.at)?;
        Ok(Digest { at, zone: times::zone("digest.zone", settings.zone.as_deref())? })
    }

    /// The newest digest that is due: its date, and the instant up to which it collects.
    pub(crate) fn due(&self, now: Micros) -> (String, Micros) {
        let today = self.zone.day(now);
        let is_over = |day: &i64| self.zone.when(*day, self.at) <= now;
        // One of the last two days at the latest, also where a zone has left out a day.
        let day = [today, today - 1].into_iter().find(is_over).unwrap_or(today - 2);
        let date = Micros::midnight(day).to_string();
        (date.chars().take(10).collect(), self.zone.when(day, self.at))
    }
}

/// What is known of an alert from what a route collected of it.
struct Entry<'a> {
    /// The newest notice that says what is wrong.
    said: &'a Notice,
    worst: Severity,
    distance: f64,
    is_over: bool,
    /// Its place among all, by its first notice.
    place: usize,
}

/// The digest of a route and a date, of everything that it collected, in order.
pub(crate) fn compose(route: &str, date: &str, collected: &[Notice], link: Option<&str>) -> Notice {
    let entries = entries(collected);
    let mut worst: Vec<&Entry<'_>> = entries.iter().collect();
    worst.sort_by(|a, b| {
        let distance = b.distance.total_cmp(&a.distance);
        b.worst.cmp(&a.worst).then(distance).then(a.place.cmp(&b.place))
    });
    worst.truncate(NAMED);
    let is_worst = |entry: &Entry<'_>| worst.iter().any(|own| own.place == entry.place);
    let mut newest: Vec<&Entry<'_>> = entries.iter().filter(|own| !is_worst(own)).collect();
    newest.sort_by_key(|entry| Reverse(entry.place));
    newest.truncate(NAMED);
    let by_kpi = by_kpi(&entries);
    let severity = entries.iter().map(|entry| entry.worst).max().unwrap_or(Severity::Info);
    let summary = summary(&entries);
    let mut description = vec![format!("By KPI: {}.", kpis_told(&by_kpi))];
    for (title, named) in [("Worst:", &worst), ("Newest:", &newest)] {
        if !named.is_empty() {
            description.push(title.to_owned());
            description.extend(named.iter().map(|entry| line(entry)));
        }
    }
    let firing = entries.iter().filter(|entry| !entry.is_over).count();
    let body = json!({
        "date": date,
        "alerts": entries.len(),
        "firing": firing,
        "by_severity": by_severity(&entries),
        "by_kpi": by_kpi.iter().map(|(kpi, title, count)| {
            json!({ "kpi": kpi, "title": title, "alerts": count })
        }).collect::<Vec<Value>>(),
        "worst": worst.iter().map(|entry| named(entry)).collect::<Vec<Value>>(),
        "newest": newest.iter().map(|entry| named(entry)).collect::<Vec<Value>>(),
    });
    let id = format!("digest.{}.{date}", plain(route));
    let said = [("summary", summary), ("description", description.join("\n"))];
    let labels = [("alertname", "WeirDigest"), ("date", date)];
    Notice {
        alert: id.clone(),
        id,
        kind: Kind::Digest,
        severity,
        about: None,
        labels: labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        annotations: said.map(|(name, value)| (name.to_owned(), value)).into(),
        starts_at: collected.iter().map(|notice| notice.starts_at).min().unwrap_or(Micros(0)),
        ends_at: None,
        link: link.map(str::to_owned),
        body,
    }
}

/// A name as ids of notices have it.
fn plain(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    name.chars().map(|c| if is_plain(c) { c } else { '_' }).collect()
}

/// Each alert once, in the order in which they were told of first.
fn entries(collected: &[Notice]) -> Vec<Entry<'_>> {
    let mut entries: Vec<Entry<'_>> = Vec::new();
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for notice in collected {
        let next = entries.len();
        let place = *places.entry(&notice.alert).or_insert(next);
        if place == next {
            let (worst, is_over) = (notice.severity, false);
            entries.push(Entry { said: notice, worst, distance: 0.0, is_over, place });
        }
        let entry = &mut entries[place];
        let distance = notice.annotations.get("z_score").and_then(|text| text.parse().ok());
        entry.distance = entry.distance.max(distance.map_or(0.0, f64::abs));
        entry.worst = entry.worst.max(notice.severity);
        entry.is_over = notice.kind.is_last();
        if !entry.is_over {
            entry.said = notice;
        }
    }
    entries
}

/// Alerts by KPI, those with the most first; Weir's own troubles are of none.
fn by_kpi(entries: &[Entry<'_>]) -> Vec<(Option<String>, String, usize)> {
    let mut counts: BTreeMap<(Option<&str>, &str), usize> = BTreeMap::new();
    for entry in entries {
        let about = entry.said.about.as_ref();
        let of =
            about.map_or((None, "Weir"), |about| (Some(about.kpi.as_str()), about.title.as_str()));
        *counts.entry(of).or_default() += 1;
    }
    let counts = counts
        .into_iter()
        .map(|((kpi, title), count)| (kpi.map(str::to_owned), title.to_owned(), count));
    let mut counts: Vec<_> = counts.collect();
    counts.sort_by_key(|(_, _, count)| Reverse(*count));
    counts
}

fn kpis_told(by_kpi: &[(Option<String>, String, usize)]) -> String {
    let told = by_kpi.iter().take(KPIS_TOLD).map(|(_, title, count)| format!("{title} {count}"));
    let mut told: Vec<String> = told.collect();
    let beyond = by_kpi.len().saturating_sub(KPIS_TOLD);
    if beyond > 0 {
        told.push(format!("and {beyond} more KPIs"));
    }
    told.join(", ")
}

fn by_severity(entries: &[Entry<'_>]) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for entry in entries {
        *counts.entry(entry.worst.name()).or_default() += 1;
    }
    counts
}

fn summary(entries: &[Entry<'_>]) -> String {
    let all = [Severity::Critical, Severity::Error, Severity::Warning, Severity::Info];
    let counts = by_severity(entries);
    let of =
        all.iter().filter_map(|severity| Some((counts.get(severity.name())?, severity.name())));
    let of: Vec<String> = of.map(|(count, name)| format!("{count} {name}")).collect();
    let alerts = if entries.len() == 1 { "alert" } else { "alerts" };
    let firing = entries.iter().filter(|entry| !entry.is_over).count();
    let goes_on = match firing {
        0 => "all are over".to_owned(),
        1 => "1 goes on".to_owned(),
        more => format!("{more} go on"),
    };
    format!("{} {alerts} since the last digest ({}); {goes_on}", entries.len(), of.join(", "))
}

/// An alert on a line.
fn line(entry: &Entry<'_>) -> String {
    let over = if entry.is_over { ", over" } else { "" };
    let link = entry.said.link.as_ref().map_or(String::new(), |link| format!(" {link}"));
    format!("- [{}{over}] {}{link}", entry.worst.name(), entry.said.summary())
}

/// An alert for programs.
fn named(entry: &Entry<'_>) -> Value {
    let about = entry.said.about.as_ref();
    json!({
        "id": entry.said.alert,
        "kpi": about.map(|about| &about.kpi),
        "tenant": about.map(|about| &about.tenant),
        "severity": entry.worst.name(),
        "state": if entry.is_over { "resolved" } else { "firing" },
        "summary": entry.said.summary(),
        "link": entry.said.link,
    })
}

#[cfg(test)]
mod tests;
