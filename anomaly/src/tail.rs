//! How far from its centre a forecast error may be before that is no chance.
//!
//! Errors are measured in *spreads*: 1.2533 mean absolute deviations, which is the standard deviation
//! when errors are normal. How heavy their tail is, is learned for each series and side as the distance
//! that 1 % of its errors exceed, and read as Student's t with so many degrees of freedom.
//!
//! # Guarantees
//! - A heavier tail never gives a smaller p-value.
//!
//! # Non-guarantees
//! - The tail is a family of curves, not a fact: far beyond what a series has shown, a p-value is an
//!   extrapolation.

use std::sync::LazyLock;

use statrs::distribution::{ContinuousCDF, StudentsT};
use statrs::function::gamma::ln_gamma;

/// Mean absolute deviations of a normal distribution in one standard deviation.
pub(crate) const SPREAD_OF_MAD: f64 = 1.253_314_137_315_500_3;

/// The share of errors beyond the learned quantile, on one side.
const BEYOND: f64 = 0.01;

/// The quantile of a series that has shown nothing yet: that of five degrees of freedom.
const PRIOR: f64 = 2.83;

/// The bounds of the logarithm of a learned quantile.
const LEAST: f64 = 0.5;
const MOST: f64 = 2.5;

/// How fast the quantile follows.
const PACE: f64 = 0.05;

/// The family, heaviest first.
const FREEDOMS: [f64; 10] = [2.2, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 8.0, 12.0, 30.0];

/// One curve of the family.
#[derive(Debug)]
struct Curve {
    law: Option<StudentsT>,
    /// Units of t in one spread.
    units: f64,
    /// The 99 % quantile of errors, in spreads.
    quantile: f64,
    /// The distance, in spreads, that chance exceeds with [`ALERT_P`].
    reach: f64,
}

/// The two-sided p-value at which an alert opens.
pub(crate) const ALERT_P: f64 = 5e-4;

static CURVES: LazyLock<Vec<Curve>> = LazyLock::new(|| FREEDOMS.map(Curve::new).into());

impl Curve {
    fn new(freedom: f64) -> Curve {
        let law = StudentsT::new(0.0, 1.0, freedom).ok();
        let gamma = (ln_gamma(freedom.midpoint(1.0)) - ln_gamma(freedom / 2.0)).exp();
        let root_pi = std::f64::consts::PI.sqrt();
        let mean_abs = 2.0 * freedom.sqrt() * gamma / (root_pi * (freedom - 1.0));
        let units = SPREAD_OF_MAD * mean_abs;
        let at = |p: f64| law.as_ref().map_or(f64::INFINITY, |law| law.inverse_cdf(1.0 - p / 2.0));
        Curve { law, units, quantile: at(2.0 * BEYOND) / units, reach: at(ALERT_P) / units }
    }
}

/// The tails of one series' forecast errors.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Tail {
    /// The logarithm of the learned quantile, in spreads: of errors below, and above.
    pub(crate) quantiles: [f64; 2],
}

impl Tail {
    /// The tails of a series that has shown nothing yet.
    pub(crate) fn new() -> Tail {
        Tail { quantiles: [PRIOR.ln(); 2] }
    }

    /// Learns an error of `distance` spreads.
    pub(crate) fn learn(&mut self, distance: f64) {
        for (quantile, distance) in self.quantiles.iter_mut().zip([-distance, distance]) {
            let is_beyond = distance > quantile.exp();
            *quantile += PACE * (f64::from(u8::from(is_beyond)) - BEYOND);
            *quantile = quantile.clamp(LEAST, MOST);
        }
    }

    /// The curves that these tails are read as.
    pub(crate) fn curves(self) -> [u8; 2] {
        self.quantiles.map(|quantile| {
            let quantile = quantile.exp();
            let heavier = CURVES.iter().filter(|curve| curve.quantile >= quantile).count();
            u8::try_from(heavier.saturating_sub(1)).unwrap_or(0)
        })
    }
}

fn curve(number: u8) -> Option<&'static Curve> {
    CURVES.get(usize::from(number))
}

/// The distance, in spreads, beyond which an alert opens.
pub(crate) fn reach(number: u8) -> f64 {
    curve(number).map_or(f64::INFINITY, |curve| curve.reach)
}

/// How likely chance is to exceed `distance` spreads, on either side.
pub(crate) fn p_value(number: u8, distance: f64) -> f64 {
    let law = curve(number).and_then(|curve| Some((curve.law.as_ref()?, curve.units)));
    law.map_or(1.0, |(law, units)| (2.0 * law.sf(distance.abs() * units)).clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From tables of Student's t: the upper 1 % point for 3, 5 and 30 degrees of freedom.
    #[test]
    fn quantiles_agree_with_printed_tables() {
        for (at, freedom, point) in [(2, 3.0, 4.541), (5, 5.0, 3.365), (9, 30.0, 2.457)] {
            let curve = &CURVES[at];
            assert!((FREEDOMS[at] - freedom).abs() < 1e-9);
            assert!((curve.quantile * curve.units - point).abs() < 1e-3, "{freedom}");
        }
        // The mean absolute value of t with 3 degrees of freedom is 2 sqrt(3) / pi.
        let expected = 2.0 * 3.0_f64.sqrt() / std::f64::consts::PI * SPREAD_OF_MAD;
        assert!((CURVES[2].units - expected).abs() < 1e-9);
    }

    #[test]
    fn heavier_tails_reach_further_and_p_values_fall() {
        for pair in CURVES.windows(2) {
            assert!(pair[0].quantile > pair[1].quantile && pair[0].reach > pair[1].reach);
        }
        for number in 0..10 {
            assert!((p_value(number, reach(number)) / ALERT_P - 1.0).abs() < 1e-6);
            let falling: Vec<f64> = (0..20).map(|z| p_value(number, f64::from(z))).collect();
            assert!(falling.windows(2).all(|pair| pair[0] > pair[1]));
            assert!((falling[0] - 1.0).abs() < 1e-9);
        }
    }

    #[test]
    fn the_learned_quantile_tells_light_from_heavy() {
        // Normal scores of an even grid in a fixed shuffled order; and the same cubed.
        let normal = statrs::distribution::Normal::standard();
        let scores: Vec<f64> = (0..4001_u32)
            .map(|i| normal.inverse_cdf((f64::from(i * 1597 % 4001) + 0.5) / 4001.0))
            .collect();
        let (mut light, mut heavy) = (Tail::new(), Tail::new());
        for score in &scores {
            light.learn(*score);
            // Heavy above, and light below.
            heavy.learn(if *score > 0.0 { score * score * score / 2.0 } else { *score });
        }
        for quantile in light.quantiles {
            assert!((quantile.exp() - 2.33).abs() < 0.35, "{}", quantile.exp());
        }
        assert!(light.curves().iter().all(|curve| *curve >= 6));
        assert!(heavy.curves()[0] >= 6 && heavy.curves()[1] <= 2);
    }
}
