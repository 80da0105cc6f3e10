//! Whether the wall clock may be believed: it is compared with the time since the machine started.
//!
//! What an epoch's clock says is durable, and clocks never go back. So a wall clock that jumps ahead for a
//! second would stop time until the day that it showed. The time since the machine started (sleep
//! included) goes on evenly whatever sets the wall clock.
//!
//! # Guarantees
//! - [`ClockGuard::read`] gives the wall clock while it is within [`JUMP_US`] of where it was at the start
//!   plus the time since, and else where it should be: whatever the wall clock shows.
//! - Steps add up: many small ones are not believed further than one large one.
//!
//! # Non-guarantees
//! - The wall clock at the start is believed. Without a time since the start every wall clock is.

use crate::time::Micros;

/// How far the wall clock may be set.
pub const JUMP_US: i64 = 60_000_000;

/// The clocks of the machine at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clocks {
    /// The wall clock.
    pub wall: Micros,
    /// How long ago the machine started, in microseconds, where that is known.
    pub since_start: Option<i64>,
}

/// What to take for the present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Present {
    /// The instant.
    pub now: Micros,
    /// How far the wall clock is beyond it, when that is not believed; below 0 when it went back.
    pub jump: Option<i64>,
}

/// The clocks from which time is counted.
#[derive(Debug, Clone, Copy)]
pub struct ClockGuard {
    base: Clocks,
}

impl ClockGuard {
    /// Counts from here: what the wall clock shows is right.
    pub fn new(base: Clocks) -> ClockGuard {
        ClockGuard { base }
    }

    /// What to take for the present when the clocks show this.
    pub fn read(&self, clocks: Clocks) -> Present {
        let Clocks { wall, since_start } = clocks;
        let (Some(from), Some(to)) = (self.base.since_start, since_start) else {
            return Present { now: wall, jump: None };
        };
        let expected = self.base.wall.plus(to.saturating_sub(from).max(0));
        let jump = wall.0.saturating_sub(expected.0);
        if jump.saturating_abs() <= JUMP_US {
            return Present { now: wall, jump: None };
        }
        Present { now: expected, jump: Some(jump) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: i64 = 1_000_000;
    const START: i64 = 1_700_000_000 * SECOND;

    fn at(wall: i64, since_start: i64) -> Clocks {
        Clocks { wall: Micros(START + wall), since_start: Some(77 * SECOND + since_start) }
    }

    #[test]
    fn a_jump_is_not_believed_and_its_end_is() {
        let guard = ClockGuard::new(at(0, 0));
        let day = 86_400 * SECOND;
        for (wall, since, now, jump) in [
            (5 * SECOND, 5 * SECOND, 5 * SECOND, None),
            (day + 6 * SECOND, 6 * SECOND, 6 * SECOND, Some(day)),
            (7 * SECOND, 7 * SECOND, 7 * SECOND, None),
            (8 * SECOND - day, 8 * SECOND, 8 * SECOND, Some(-day)),
            // Asleep for a day: both went on.
            (day, day, day, None),
            (day + 60 * SECOND, day, day + 60 * SECOND, None),
            (day + 60 * SECOND + 1, day, day, Some(60 * SECOND + 1)),
        ] {
            let present = guard.read(at(wall, since));
            assert_eq!((present.now, present.jump), (Micros(START + now), jump), "{wall} {since}");
        }
    }

    #[test]
    fn where_nothing_is_known_the_wall_clock_is_right() {
        let unknown = |wall| Clocks { wall: Micros(wall), since_start: None };
        let guard = ClockGuard::new(unknown(5));
        assert_eq!(guard.read(unknown(i64::MAX)), Present { now: Micros(i64::MAX), jump: None });
    }

    proptest! {
        #[test]
        fn the_present_is_never_further_than_a_jump_from_the_time_that_passed(
            steps in prop::collection::vec((0..100 * SECOND, -90 * SECOND..90 * SECOND, any::<bool>()), 1..50),
            wild in any::<i64>(),
        ) {
            let guard = ClockGuard::new(at(0, 0));
            let (mut since, mut set) = (0, 0);
            for (passed, step, is_wild) in steps {
                since += passed;
                set += step;
                let wall = if is_wild { wild } else { START + since + set };
                let clocks = Clocks { wall: Micros(wall), ..at(0, since) };
                let Present { now, jump } = guard.read(clocks);
                let off = now.0 - (START + since);
                prop_assert!(off.abs() <= JUMP_US, "{off}");
                prop_assert_eq!(jump.is_none(), now.0 == wall);
                prop_assert!(jump.is_some() || (wall - START - since).abs() <= JUMP_US);
            }
        }
    }
}
