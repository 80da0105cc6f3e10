//! `[[calendar]]`: what is planned, in iCalendar files and in the configuration itself.
//!
//! # Guarantees
//! - Files are read once, at the start. One that cannot be read, or says something that is not understood, is refused
//!   with its name and line.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use schemas::planned::Mark;
use schemas::{Event, ics};
use serde::Deserialize;
use toml::{Table, Value};

use super::{ConfigError, check_key};

/// Keys of a `[[calendar]]` entry, which has no defaults.
const KEYS: [&str; 4] = ["name", "file", "tenants", "events"];
const EVENT_KEYS: [&str; 3] = ["from", "to", "title"];

/// Events, and the tenants that they are for.
pub(super) type Plan = (Vec<String>, Vec<Event>);

/// One `[[calendar]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CalendarConfig {
    #[serde(default)]
    name: String,
    file: Option<PathBuf>,
    tenants: Vec<String>,
    #[serde(default)]
    events: Vec<EventConfig>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct EventConfig {
    from: String,
    to: Option<String>,
    title: String,
}

/// Refuses keys that do not exist.
pub(super) fn refuse_unknown(calendars: &[Value], origin: &str) -> Result<(), ConfigError> {
    for calendar in calendars.iter().filter_map(Value::as_table) {
        for (key, value) in calendar {
            check_key(&format!("calendar.{key}"), key, &KEYS, origin)?;
            let events = value.as_array().into_iter().flatten().filter(|_| key == "events");
            for key in events.filter_map(Value::as_table).flat_map(Table::keys) {
                check_key(&format!("calendar.events.{key}"), key, &EVENT_KEYS, origin)?;
            }
        }
    }
    Ok(())
}

/// The events of all calendars, each list with the tenants that it is for.
pub(super) fn read(
    calendars: &[CalendarConfig],
    origins: &BTreeMap<String, String>,
) -> Result<Vec<Plan>, ConfigError> {
    let one = |(number, calendar): (usize, &CalendarConfig)| {
        let (field, reason) = match events(calendar) {
            Ok(events) => return Ok((calendar.tenants.clone(), events)),
            Err(refused) => refused,
        };
        let key = format!("calendar.{number}.{field}");
        let origin =
            origins.get(&key).or_else(|| origins.get(&format!("calendar.{number}.tenants")));
        Err(ConfigError::Value { key, origin: origin.cloned().unwrap_or_default(), reason })
    };
    calendars.iter().enumerate().map(one).collect()
}

/// The events of one; else the field, and what is wrong with it.
fn events(calendar: &CalendarConfig) -> Result<Vec<Event>, (String, String)> {
    let refuse = |field: &str, reason: String| Err((field.to_owned(), reason));
    if calendar.tenants.is_empty() {
        return refuse("tenants", "is empty; name tenants, or write [\"*\"] for all".into());
    }
    if calendar.file.is_none() && calendar.events.is_empty() {
        return refuse(
            "file",
            "is missing, and so is `events`; one of them says what is planned".into(),
        );
    }
    let mut all = Vec::new();
    if let Some(path) = &calendar.file {
        let file = path.display();
        let text = std::fs::read_to_string(path);
        let text =
            text.map_err(|e| ("file".to_owned(), format!("could not read `{file}`: {e}")))?;
        let own = ics::parse(&text);
        all.extend(own.map_err(|reason| ("file".to_owned(), format!("`{file}`: {reason}")))?);
    }
    for (number, event) in calendar.events.iter().enumerate() {
        let own = event.read(&calendar.name);
        all.push(own.map_err(|(field, reason)| (format!("events.{number}.{field}"), reason))?);
    }
    Ok(all)
}

impl EventConfig {
    fn read(&self, name: &str) -> Result<Event, (&'static str, String)> {
        let from = mark(&self.from).map_err(|reason| ("from", reason))?;
        let to = self.to.as_deref().map(mark).transpose().map_err(|reason| ("to", reason))?;
        let to = match (from, to) {
            // The last day that it is.
            (_, Some(Mark::Day(day))) => Mark::Day(day + 1),
            (_, Some(to)) => to,
            (Mark::Day(day), None) => Mark::Day(day + 1),
            (_, None) => return Err(("to", "is missing; say when it is over".into())),
        };
        let is_after = match (from, to) {
            (Mark::Utc(from), Mark::Utc(to)) | (Mark::Local(from), Mark::Local(to)) => from < to,
            (from, to) => from.day() <= to.day(),
        };
        if !is_after {
            return Err((
                "to",
                format!("`{}` is before `from`", self.to.as_deref().unwrap_or_default()),
            ));
        }
        let title = if self.title.is_empty() { name } else { &self.title };
        let title = Arc::from(if title.is_empty() { "planned" } else { title });
        Ok(Event { title, from, to, again: None, except: Default::default() })
    }
}

/// `2026-12-24`, `2026-12-24T18:00:00`, or the latter with `Z`.
fn mark(text: &str) -> Result<Mark, String> {
    let plain: String = text.chars().filter(|letter| !"-:".contains(*letter)).collect();
    ics::mark(&plain).map_err(|_| {
        format!("`{text}` is no date or time; write it as 2026-12-24 or 2026-12-24T18:00:00, with Z where it is of UTC")
    })
}
