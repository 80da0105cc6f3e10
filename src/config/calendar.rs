//! `[time]`: zones of tenants, and where weeks and years begin.
//!
//! # Guarantees
//! - A zone that does not exist is refused with the setting that names it and the nearest zone that does.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemas::civil::Shape;
use schemas::{Calendar, CalendarSettings};
use serde::Deserialize;

use super::ConfigError;
use super::planned::Plan;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TimeConfig {
    zone: String,
    week_start: WeekStart,
    fiscal_year_start: u8,
    zones: BTreeMap<String, String>,
    #[serde(skip)]
    calendar: Arc<Calendar>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum WeekStart {
    Monday,
    Sunday,
}

impl TimeConfig {
    /// The periods of every tenant.
    pub(crate) fn calendar(&self) -> &Arc<Calendar> {
        &self.calendar
    }

    /// The same with all days those of UTC and nothing planned.
    pub(super) fn in_utc(&self) -> TimeConfig {
        TimeConfig { calendar: Arc::default(), ..self.clone() }
    }

    /// Reads the zones that are named, and takes what is planned in them.
    pub(super) fn read(
        &mut self,
        origins: &BTreeMap<String, String>,
        planned: &[Plan],
    ) -> Result<(), ConfigError> {
        let refuse = |key: String, reason: String| {
            let origin = origins.get(&key).cloned().unwrap_or_default();
            ConfigError::Value { key, origin, reason }
        };
        if !(1..=12).contains(&self.fiscal_year_start) {
            let reason = format!("`{}` is no month; use 1 to 12", self.fiscal_year_start);
            return Err(refuse("time.fiscal_year_start".into(), reason));
        }
        let from_sunday = self.week_start == WeekStart::Sunday;
        let settings = CalendarSettings {
            zone: self.zone.clone(),
            zones: self.zones.clone(),
            shape: Shape { from_sunday, year_from: self.fiscal_year_start },
        };
        let calendar = Calendar::new(&settings).map_err(|(tenant, reason)| {
            let key = tenant.map_or("time.zone".to_owned(), |own| format!("time.zones.{own}"));
            refuse(key, reason)
        })?;
        self.calendar = Arc::new(calendar.with_planned(planned));
        Ok(())
    }
}
