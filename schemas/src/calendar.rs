//! The calendar of KPIs: in which period of a grain an instant is, by the zone of its tenant, the first day of the
//! week and the first month of the year; and what is planned for them.
//!
//! # Guarantees
//! - Each instant is in exactly one period of a grain, and a period ends where the next begins, over days of 23
//!   and 25 hours too.
//! - Hours are those of UTC.
//! - Without zones, weeks from Sunday or another year it is [`Grain::start`] and [`Grain::end`], at their cost.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::civil::{self, Shape};
use crate::contract::ALL_TENANTS;
use crate::identity::Fingerprint;
use crate::planned::{Event, Mark, Planned};
use crate::time::{Grain, Grains, Micros};
use crate::zone::{self, Zone};

const HOUR_US: i64 = 3_600_000_000;

/// What a calendar is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CalendarSettings {
    /// The zone of tenants that none is named for.
    pub zone: String,
    /// Tenant to zone.
    pub zones: BTreeMap<String, String>,
    /// Weeks and years.
    pub shape: Shape,
}

/// The periods of one tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Periods {
    /// `None`: UTC.
    zone: Option<Arc<Zone>>,
    shape: Shape,
    planned: Planned,
}

impl Periods {
    /// The name of the zone.
    pub fn zone(&self) -> &str {
        self.zone.as_ref().map_or("UTC", |zone| zone.name())
    }

    /// Whether days are those of UTC.
    pub fn is_utc(&self) -> bool {
        self.zone.is_none()
    }

    /// The day that an instant is in, counted from 1970-01-01.
    pub fn day(&self, at: Micros) -> i64 {
        self.zone.as_ref().map_or_else(|| at.day(), |zone| zone.day(at))
    }

    /// What the clocks of the zone are ahead of UTC at an instant, in microseconds.
    pub fn offset(&self, at: Micros) -> i64 {
        self.zone.as_ref().map_or(0, |zone| zone.offset(at))
    }

    /// When a day begins, counted from 1970-01-01.
    pub fn midnight(&self, day: i64) -> Micros {
        self.zone.as_ref().map_or_else(|| Micros::midnight(day), |zone| zone.midnight(day))
    }

    /// What is planned for some of the hour or day that starts at `start`.
    pub fn planned(&self, grain: Grain, start: Micros) -> Option<&Arc<str>> {
        if self.planned.is_empty() {
            return None;
        }
        self.planned.title(start, self.end(grain, start))
    }

    /// Everything that is planned.
    pub fn all_planned(&self) -> &Planned {
        &self.planned
    }

    /// The same periods with these events planned.
    fn with_planned(&self, events: &[&Event]) -> Arc<Periods> {
        let local = |at: i64| {
            // The offset of the time before, where the clocks show it twice or never.
            let near = Micros(at.saturating_sub(self.offset(Micros(at))));
            Micros(at.saturating_sub(self.offset(near)))
        };
        let planned = Planned::new(events, |mark| match mark {
            Mark::Day(day) => self.midnight(day),
            Mark::Local(at) => local(at),
            Mark::Utc(at) => Micros(at),
        });
        Arc::new(Periods { planned, ..self.clone() })
    }

    /// The start of the period that contains `at`.
    pub fn start(&self, grain: Grain, at: Micros) -> Micros {
        match grain {
            Grain::Hour => grain.start(at),
            _ => self.midnight(civil::first_day(grain, self.day(at), self.shape)),
        }
    }

    /// The end of the period that starts at `start`: the start of the next one.
    pub fn end(&self, grain: Grain, start: Micros) -> Micros {
        self.later(grain, start, 1)
    }

    /// The start of the period so many periods later, or earlier.
    pub fn later(&self, grain: Grain, start: Micros, count: i64) -> Micros {
        match grain {
            Grain::Hour => start.plus(count.saturating_mul(HOUR_US)),
            _ => self.midnight(civil::later_first_day(grain, self.day(start), count)),
        }
    }

    /// The starts of those longer periods that contain a day, which begins at `start`, by grain.
    pub fn around(&self, grains: Grains, start: Micros) -> impl Iterator<Item = (Grain, Micros)> {
        let day = self.day(start);
        let long = grains.iter().filter(|grain| grain.is_long());
        long.map(move |grain| (grain, self.midnight(civil::first_day(grain, day, self.shape))))
    }

    /// The number of an hour or a day: those of neighbours are neighbours.
    pub fn number(&self, grain: Grain, start: Micros) -> i64 {
        match grain {
            Grain::Hour => start.0.div_euclid(HOUR_US),
            _ => self.day(start),
        }
    }
}

/// The periods of every tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calendar {
    own: Arc<Periods>,
    tenants: BTreeMap<Arc<str>, Arc<Periods>>,
}

impl Default for Calendar {
    /// UTC, weeks from Monday, years from January.
    fn default() -> Calendar {
        let own = Periods { zone: None, shape: Shape::default(), planned: Planned::default() };
        let own = Arc::new(own);
        Calendar { own, tenants: BTreeMap::new() }
    }
}

impl Calendar {
    /// The calendar of these settings.
    ///
    /// # Errors
    /// When there is no such zone: the setting, `zone` or that of a tenant, and why.
    pub fn new(settings: &CalendarSettings) -> Result<Calendar, (Option<String>, String)> {
        let mut zones: BTreeMap<&str, Arc<Periods>> = BTreeMap::new();
        let shape = settings.shape;
        let periods = |name: &str| {
            let zone = Zone::named(name)?;
            let zone = (!zone.is_utc()).then(|| Arc::new(zone));
            Ok::<_, String>(Arc::new(Periods { zone, shape, planned: Planned::default() }))
        };
        let own = periods(&settings.zone).map_err(|reason| (None, reason))?;
        let mut tenants = BTreeMap::new();
        for (tenant, name) in &settings.zones {
            let held = match zones.get(name.as_str()) {
                Some(held) => Arc::clone(held),
                None => periods(name).map_err(|reason| (Some(tenant.clone()), reason))?,
            };
            zones.insert(name, Arc::clone(&held));
            tenants.insert(Arc::from(tenant.as_str()), held);
        }
        Ok(Calendar { own, tenants })
    }

    /// The same calendar with events planned: each list for the tenants that it names, `*` being all.
    #[must_use]
    pub fn with_planned(self, all: &[(Vec<String>, Vec<Event>)]) -> Calendar {
        let of = |tenant: Option<&str>| {
            let is_for = |name: &String| name == ALL_TENANTS || Some(name.as_str()) == tenant;
            let own = all.iter().filter(|(tenants, _)| tenants.iter().any(is_for));
            own.flat_map(|(_, events)| events).collect::<Vec<&Event>>()
        };
        let named = all.iter().flat_map(|(tenants, _)| tenants).filter(|name| *name != ALL_TENANTS);
        let named: BTreeSet<Arc<str>> = self
            .tenants
            .keys()
            .cloned()
            .chain(named.map(|name| Arc::from(name.as_str())))
            .collect();
        let periods = |tenant: Arc<str>| {
            let own = self.of(&tenant).with_planned(&of(Some(&tenant)));
            (tenant, own)
        };
        let tenants = named.into_iter().map(periods).collect();
        Calendar { own: self.own.with_planned(&of(None)), tenants }
    }

    /// The periods of all tenants, and of those that have others, where anything is planned in them.
    pub fn planned(&self) -> impl Iterator<Item = (Option<&str>, &Periods)> {
        let tenants = self.tenants.iter().map(|(tenant, periods)| (Some(&**tenant), &**periods));
        let all = std::iter::once((None, &*self.own)).chain(tenants);
        all.filter(|(_, periods)| !periods.planned.is_empty())
    }

    /// What is planned, as a text that is another one when anything else is; `None` where nothing is.
    pub fn planned_identity(&self) -> Option<String> {
        let mut texts = Vec::new();
        for (tenant, periods) in self.planned() {
            let tenant = tenant.unwrap_or(ALL_TENANTS);
            for (from, to, _) in periods.all_planned().intervals() {
                texts.push(format!("{tenant} {} {}", from.0, to.0));
            }
        }
        let mut out = Fingerprint::default();
        out.texts("planned", texts.iter().map(String::as_str));
        (!texts.is_empty()).then(|| out.finish())
    }

    /// The periods of a tenant.
    pub fn of(&self, tenant: &str) -> &Arc<Periods> {
        self.tenants.get(tenant).unwrap_or(&self.own)
    }

    /// The zone of tenants that none is named for.
    pub fn zone(&self) -> &str {
        self.own.zone()
    }

    /// The tenants that have another zone, with it.
    pub fn zones(&self) -> impl Iterator<Item = (&str, &str)> + Clone {
        let zones = self.tenants.iter().map(|(tenant, periods)| (&**tenant, periods.zone()));
        zones.filter(|(_, zone)| *zone != self.zone())
    }

    /// How weeks and years begin.
    pub fn shape(&self) -> Shape {
        self.own.shape
    }

    /// Whether every day is one of UTC.
    pub fn is_utc(&self) -> bool {
        self.own.is_utc() && self.tenants.values().all(|periods| periods.is_utc())
    }

    /// What of it decides the periods of these grains; nothing where it is the default.
    pub fn identify(&self, grains: Grains, out: &mut Fingerprint) {
        let default = Shape::default();
        if grains.iter().any(|grain| grain != Grain::Hour) && !self.is_utc() {
            out.text("zone", self.zone());
            let zones = self.zones();
            out.texts("tenants", zones.clone().map(|(tenant, _)| tenant));
            out.texts("zones", zones.map(|(_, zone)| zone));
            out.text("zone_data", zone::release());
        }
        if grains.has(Grain::Week) && self.shape().from_sunday != default.from_sunday {
            out.text("week_start", "sunday");
        }
        let year_from = self.shape().year_from;
        if grains.has(Grain::Year) && year_from != default.year_from {
            out.number("year_from", u64::from(year_from));
        }
        let quarter_from = (year_from + 2) % 3;
        if grains.has(Grain::Quarter) && quarter_from != 0 {
            out.number("quarter_from", u64::from(quarter_from));
        }
    }
}

#[cfg(test)]
mod tests;
