//! The only source of chance: hashes of (seed, purpose, number).
//!
//! Guarantees: integer arithmetic with fixed constants, so the same inputs give the same numbers
//! on every machine and with every library version. Not for cryptography.

use schemas::split_mix::{GOLDEN, SplitMix, finish};

/// A well mixed number for the `n`th thing of the purpose `tag`.
pub(crate) fn mix(seed: u64, tag: u64, n: u64) -> u64 {
    let keyed = finish(seed.wrapping_add(tag.wrapping_mul(GOLDEN)));
    finish(keyed ^ n.wrapping_mul(0xd605_1c6b_8b2d_4c3f).wrapping_add(GOLDEN))
}

/// A stream of numbers for one thing that needs several.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dice(SplitMix);

impl Dice {
    /// The dice of the `n`th thing of the purpose `tag`.
    pub(crate) fn of(seed: u64, tag: u64, n: u64) -> Dice {
        Dice(SplitMix::new(mix(seed, tag, n)))
    }

    /// A number in `0..bound`, for bounds below 2^32.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        ((self.0.draw() >> 32) * bound) >> 32
    }

    /// A number in `low..=high`, for spans below 2^32.
    pub(crate) fn between(&mut self, low: i64, high: i64) -> i64 {
        low + self.below((high - low).cast_unsigned() + 1).cast_signed()
    }

    /// An instant's distance in `low..=high` microseconds, drawn in whole milliseconds plus a
    /// microsecond part, so that spans of many days fit.
    pub(crate) fn delay(&mut self, low: i64, high: i64) -> i64 {
        self.between(low / 1000, high / 1000) * 1000 + self.between(0, 999)
    }

    /// An index into something with `len` entries.
    pub(crate) fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap_or(0)
    }

    /// True in `permille` of 1000 cases.
    pub(crate) fn chance(&mut self, permille: u64) -> bool {
        self.below(1000) < permille
    }
}

/// What a number is drawn for; equal numbers of different purposes are unrelated.
pub(crate) mod tag {
    pub(crate) const DAY_LEVEL: u64 = 1;
    pub(crate) const ARRIVALS: u64 = 2;
    pub(crate) const ORDER: u64 = 3;
    pub(crate) const DRIFT: u64 = 4;
    pub(crate) const TOUCH: u64 = 5;
    pub(crate) const CHARGE: u64 = 6;
    pub(crate) const METER: u64 = 7;
    pub(crate) const COST_LEVEL: u64 = 8;
    pub(crate) const INCIDENT: u64 = 9;
    pub(crate) const STRIKE: u64 = 10;
    pub(crate) const DAILY: u64 = 11;
    pub(crate) const LINE: u64 = 12;
    pub(crate) const CUSTOMER: u64 = 13;
    pub(crate) const SUBSCRIPTION: u64 = 14;
    pub(crate) const OPPORTUNITY: u64 = 15;
    pub(crate) const BUDGET: u64 = 16;
    pub(crate) const ACTIVITY: u64 = 17;
    pub(crate) const RUN: u64 = 18;
    pub(crate) const CHECK: u64 = 19;
    pub(crate) const RATE: u64 = 20;
}
