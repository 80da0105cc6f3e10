//! Repeated timing of one piece of work, for the benches.
//!
//! A benchmarking crate would switch on features of the crates that everything here is built from, and
//! so compile all of them a second time.
//!
//! # Guarantees
//! - Making the input is not part of any sample; dropping it is not, either.
//!
//! # Non-guarantees
//! - There is no comparison with earlier runs and no test of significance: look at the spread.

use std::hint::black_box;
use std::io::Write;
use std::time::Instant;

use crate::report::median;

/// Passes that warm caches and memory up before the first sample.
const WARM_UP: usize = 2;

/// Times `samples` passes of `work`, each over a new input, and prints the median rate, the slowest
/// and the fastest. `elements` is what one pass works through.
pub fn measure<I, O>(
    name: &str,
    elements: u32,
    samples: usize,
    mut input: impl FnMut() -> I,
    mut work: impl FnMut(&mut I) -> O,
) {
    let mut seconds = Vec::new();
    for pass in 0..WARM_UP + samples.max(1) {
        let mut input = input();
        let begin = Instant::now();
        let output = black_box(work(&mut input));
        let took = begin.elapsed().as_secs_f64();
        drop((input, output));
        if pass >= WARM_UP {
            seconds.push(took);
        }
    }
    let rate = |seconds: f64| f64::from(elements) / seconds / 1e6;
    let slowest = rate(seconds.iter().copied().fold(0.0, f64::max));
    let fastest = rate(seconds.iter().copied().fold(f64::MAX, f64::min));
    let middle = median(seconds);
    let each = middle / f64::from(elements) * 1e9;
    let written = writeln!(
        std::io::stdout().lock(),
        "{name:<34} {:>8.3} million/s  {each:>7.0} ns each  ({slowest:.3} to {fastest:.3})",
        rate(middle)
    );
    drop(written);
}

/// A count as the rate needs it.
///
/// # Panics
/// When it is over four billion, which no bench here works through.
pub fn elements(count: usize) -> u32 {
    match u32::try_from(count) {
        Ok(count) => count,
        Err(error) => panic!("{count} elements are too many for one pass: {error}"),
    }
}
