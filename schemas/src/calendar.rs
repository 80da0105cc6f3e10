//! The calendar of KPIs: in which period of a grain an instant is, by the zone of its tenant, the first day of the
//! week and the first month of the year.
//!
//! # Guarantees
//! - Each instant is in exactly one period of a grain, and a period ends where the next begins, over days of 23
//!   and 25 hours too.
//! - Hours are those of UTC.
//! - Without zones, weeks from Sunday or another year it is [`Grain::start`] and [`Grain::end`], at their cost.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::civil::{self, Shape};
use crate::identity::Fingerprint;
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
        let own = Arc::new(Periods { zone: None, shape: Shape::default() });
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
            Ok::<_, String>(Arc::new(Periods { zone, shape }))
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

    /// The periods of a tenant.
    pub fn of(&self, tenant: &str) -> &Arc<Periods> {
        self.tenants.get(tenant).unwrap_or(&self.own)
    }

    /// The zone of tenants that none is named for.
    pub fn zone(&self) -> &str {
        self.own.zone()
    }

    /// The tenants that a zone is named for, with it.
    pub fn zones(&self) -> impl Iterator<Item = (&str, &str)> + Clone {
        self.tenants.iter().map(|(tenant, periods)| (&**tenant, periods.zone()))
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
            let zones = self.zones().filter(|(_, zone)| *zone != self.zone());
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
