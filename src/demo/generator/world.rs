//! Who trades and what it costs: tenants, their sizes, rhythms, prices and cloud services.
//!
//! Guarantees: every level (orders per hour, cost per hour) is an integer function of the seed and
//! the hour, the same for history and for the live part, so series go on without a jump at `start`.

use super::mix::{Dice, mix, tag};

pub(crate) const SECOND: i64 = 1_000_000;
pub(crate) const MINUTE: i64 = 60 * SECOND;
pub(crate) const HOUR: i64 = 60 * MINUTE;
pub(crate) const DAY: i64 = 24 * HOUR;

/// One unit of money in the four decimals of `orders.amount`.
pub(crate) const AMOUNT_ONE: i64 = 10_000;
/// Cost decimals beyond those of amounts: costs have ten.
const COST_PER_AMOUNT: i64 = 1_000_000;

/// Orders per hour of all tenants together, at level 1.
const ORDERS_PER_HOUR: u64 = 42;
/// Fixed-point one of shares and rates.
pub(crate) const ONE: u64 = 1 << 16;

pub(crate) const CHANNELS: [(&str, u64); 4] =
    [("web", 470), ("app", 330), ("partner", 130), ("store", 70)];
pub(crate) const CAMPAIGNS: [&str; 6] =
    ["autumn-sale", "newsletter", "retargeting", "brand-search", "influencer", "loyalty"];
/// Cloud services with their share of a bill (permille) and how much they follow the shop's
/// traffic (permille of the swing).
pub(crate) const SERVICES: [(&str, u64, i64); 6] = [
    ("compute", 420, 500),
    ("database", 190, 250),
    ("ai-api", 160, 800),
    ("storage", 110, 0),
    ("network", 80, 900),
    ("observability", 40, 300),
];

/// Orders by local hour, permille of the mean.
const HOURS: [i64; 24] = [
    520, 440, 400, 390, 400, 460, 600, 780, 960, 1090, 1170, 1210, 1230, 1190, 1150, 1150, 1190,
    1270, 1370, 1450, 1460, 1310, 1000, 710,
];
/// Orders by local weekday, Monday first, permille of the mean: a dip, a peak, and office hours.
const WEEKS: [[i64; 7]; 3] = [
    [1060, 1050, 1040, 1050, 1080, 890, 830],
    [880, 880, 920, 960, 1060, 1190, 1110],
    [1190, 1210, 1200, 1170, 1090, 590, 550],
];

/// One customer of the demo's shop platform.
#[derive(Debug, Clone)]
pub(crate) struct Tenant {
    pub(crate) name: String,
    pub(crate) currency: &'static str,
    /// A second currency of some of the orders; costs are always in `currency`.
    pub(crate) second_currency: Option<&'static str>,
    /// How many of `SERVICES` the tenant uses.
    pub(crate) services: usize,
    /// A typical order, in amount units.
    pub(crate) price: i64,
    share: u64,
    zone_hours: i64,
    week: usize,
    /// Cloud cost per hour at level 1, in cost units.
    cost_per_hour: i64,
}

/// The tenants and their levels.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) tenants: Vec<Tenant>,
    start_day: i64,
}

impl World {
    /// `tenants` tenants with sizes 1, 1/2, 1/3, ... of the largest (40 percent of six).
    pub(crate) fn new(seed: u64, start: i64, tenants: usize) -> World {
        let count = u64::try_from(tenants.clamp(1, 999)).unwrap_or(1);
        let total: u64 = (1..=count).map(|rank| ONE / rank).sum();
        let tenants = (0..count).map(|i| Tenant::new(i, ONE / (i + 1) * ONE / total)).collect();
        World { seed, tenants, start_day: start.div_euclid(DAY) }
    }

    /// How many orders the tenant gets in this hour, in parts of 2^32.
    pub(crate) fn arrivals(&self, tenant: usize, hour: i64) -> u64 {
        let who = &self.tenants[tenant];
        let per_hour = ORDERS_PER_HOUR * who.share;
        let level = self.traffic(who, hour) * self.day_level(tag::DAY_LEVEL, tenant, hour, 70);
        let level = u64::try_from(level / 1000).unwrap_or(0);
        (per_hour * level / 1000) * (1 << 16)
    }

    /// What the service costs the tenant in this hour, in cost units (ten decimals).
    pub(crate) fn cost(&self, tenant: usize, service: usize, hour: i64) -> i64 {
        let who = &self.tenants[tenant];
        let (_, share, follows) = SERVICES[service];
        let used: u64 = SERVICES[..who.services].iter().map(|s| s.1).sum();
        let base = who.cost_per_hour / used.cast_signed() * share.cast_signed();
        let swing = (self.traffic(who, hour) - 1000) * follows / 2000;
        let key = (tenant * SERVICES.len() + service) as u64;
        let level = self.day_level(tag::COST_LEVEL, key.try_into().unwrap_or(0), hour, 40);
        let jitter = Dice::of(self.seed, tag::COST_LEVEL ^ (key << 8), hour.cast_unsigned())
            .between(970, 1030);
        base / 1000 * (1000 + swing) / 1000 * level / 1000 * jitter
    }

    /// The tenant's share of what comes to all tenants, of [`ONE`]: half by size, half evenly, so that the small ones
    /// have enough to show.
    pub(crate) fn weight(&self, tenant: usize) -> u64 {
        (ONE / self.tenants.len() as u64).midpoint(self.tenants[tenant].share)
    }

    /// The rhythm of the tenant's shop in this hour, permille of the mean.
    pub(crate) fn rhythm(&self, tenant: usize, hour: i64) -> i64 {
        self.traffic(&self.tenants[tenant], hour)
    }

    /// Whether the tenant's local clock says that this hour starts a day.
    pub(crate) fn starts_local_day(&self, tenant: usize, hour: i64) -> bool {
        (hour + self.tenants[tenant].zone_hours).rem_euclid(24) == 0
    }

    /// Rhythm of the tenant's shop: local hour, local weekday, and slow growth; permille.
    fn traffic(&self, who: &Tenant, hour: i64) -> i64 {
        let local = hour + who.zone_hours;
        let day = local.div_euclid(24);
        let of_day = HOURS[usize::try_from(local.rem_euclid(24)).unwrap_or(0)];
        // 1970-01-01 was a Thursday.
        let of_week = WEEKS[who.week][usize::try_from((day + 3).rem_euclid(7)).unwrap_or(0)];
        let growth = (1000 + 4 * (day - self.start_day)).clamp(500, 1500);
        of_day * of_week / 1000 * growth / 1000
    }

    /// Noise of a whole UTC day, `1000 - spread ..= 1000 + spread`.
    fn day_level(&self, tag: u64, key: usize, hour: i64, spread: i64) -> i64 {
        let day = hour.div_euclid(24).cast_unsigned();
        Dice::of(mix(self.seed, tag, key as u64), tag, day).between(1000 - spread, 1000 + spread)
    }
}

impl Tenant {
    fn new(i: u64, share: u64) -> Tenant {
        const CURRENCIES: [(&str, Option<&str>); 6] = [
            ("USD", None),
            ("EUR", None),
            ("USD", Some("EUR")),
            ("EUR", None),
            ("GBP", None),
            ("USD", None),
        ];
        const PRICES: [i64; 6] = [84, 61, 118, 37, 52, 149];
        const ZONES: [i64; 6] = [-5, 1, -8, 2, 0, -6];
        const COST_PERMILLE: [i64; 6] = [310, 260, 380, 290, 420, 230];
        let kind = usize::try_from(i % 6).unwrap_or(0);
        let price = PRICES[kind] * AMOUNT_ONE;
        let revenue_per_hour = price * (ORDERS_PER_HOUR * share).cast_signed() / ONE.cast_signed();
        let (currency, second_currency) = CURRENCIES[kind];
        Tenant {
            name: format!("tenant-{:02}", i + 1),
            currency,
            second_currency,
            services: usize::try_from(6_u64.saturating_sub(i / 2 + i % 2).max(3)).unwrap_or(3),
            price,
            share,
            zone_hours: ZONES[kind],
            week: usize::try_from(i % 3).unwrap_or(0),
            cost_per_hour: revenue_per_hour * COST_PERMILLE[kind] / 1000 * COST_PER_AMOUNT,
        }
    }
}
