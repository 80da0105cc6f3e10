//! Insisting: a step that the disk refuses is tried again, for as long as the process is not to stop.
//!
//! # Guarantees
//! - While the disk refuses, that is a trouble; it is said once, and cleared by the first success.

use std::fmt::Display;
use std::time::Duration;

use super::stop::Stop;
use super::troubles::Troubles;

/// Between tries.
const RETRY: Duration = Duration::from_secs(1);

/// How a step is insisted on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Insist<'a> {
    /// The key of the trouble.
    pub(crate) trouble: &'static str,
    /// What waits meanwhile.
    pub(crate) meanwhile: &'static str,
    pub(crate) troubles: &'a Troubles,
    pub(crate) stop: &'a Stop,
}

impl Insist<'_> {
    /// Runs `step` until it succeeds.
    ///
    /// # Errors
    /// The last one: when trying again does not help, or the process is to stop.
    pub(crate) fn on<T, E: Display>(
        self,
        mut step: impl FnMut() -> Result<T, E>,
        may_help: impl Fn(&E) -> bool,
    ) -> Result<T, E> {
        let mut said = false;
        loop {
            let error = match step() {
                Ok(value) => {
                    self.troubles.clear(self.trouble);
                    return Ok(value);
                }
                Err(error) => error,
            };
            if !may_help(&error) {
                return Err(error);
            }
            self.troubles.set(self.trouble, &error.to_string());
            if !said {
                let Insist { meanwhile, .. } = self;
                tracing::warn!("{error}; trying again every second, {meanwhile}");
                said = true;
            }
            if self.stop.is_final() || self.stop.failure().is_some() {
                return Err(error);
            }
            std::thread::sleep(RETRY);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insist<'a>(troubles: &'a Troubles, stop: &'a Stop) -> Insist<'a> {
        Insist { trouble: "test", meanwhile: "all waits", troubles, stop }
    }

    #[test]
    fn a_step_is_tried_until_it_succeeds() {
        let (troubles, stop, mut tries) = (Troubles::default(), Stop::default(), 0);
        let step = || {
            tries += 1;
            if tries == 2 { Ok(tries) } else { Err(format!("refusal {}", troubles.list().len())) }
        };
        assert_eq!(insist(&troubles, &stop).on(step, |_| true), Ok(2));
        assert!(troubles.is_ready());
    }

    #[test]
    fn a_step_is_given_up_when_trying_does_not_help_or_the_run_is_to_stop() {
        let (troubles, stop) = (Troubles::default(), Stop::default());
        let refused = || Err::<(), _>("refused");
        assert_eq!(insist(&troubles, &stop).on(refused, |_| false), Err("refused"));
        assert!(troubles.is_ready());
        stop.ask();
        assert_eq!(insist(&troubles, &stop).on(refused, |_| true), Err("refused"));
        assert!(troubles.list()[0].0.contains("refused"));
    }
}
