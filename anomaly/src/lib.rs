//! Detectors, calibration and alert policy: pure functions of KPI updates, without tokio, IO or clock.
//!
//! [`Scorer`] watches KPIs; the binary calls it for every epoch. [`backtest()`] plays cells through it that are there
//! already. [`Expected`] says for charts what was expected. [`walk`] runs the same model over plain numbers, and
//! [`labelled`] measures it on series that people have labelled.
//!
//! # Guarantees
//! - Equal epochs give equal alerts, bit for bit, on one machine.
//! - No score depends on what came after it.

mod alert_book;
mod backtest;
mod bands;
pub mod causes;
mod chance;
mod dates;
mod driver;
mod entry;
mod fit;
mod forecast;
mod incident;
mod jumps;
pub mod labelled;
mod lags;
mod lateness;
mod model;
mod number;
mod odd;
mod outlook;
mod parts;
mod policy;
mod profile;
mod raised;
mod reason;
mod records;
mod regression;
mod replay;
mod retrain;
mod rules;
#[cfg(test)]
mod samples;
mod saved;
pub mod scenario;
mod scorer;
mod series_book;
mod shape;
mod tail;
mod trial;
mod walk;

pub use backtest::{Backtest, Fired, History, Limits, Line, Played, Question, backtest};
pub use bands::Expected;
pub use lateness::whole_until;
pub use regression::{CALENDAR, Trained};
pub use retrain::{Challenge, Contest, Retrained, Training, retrain};
pub use saved::{in_force, models_in_force};
pub use scorer::Scorer;
pub use walk::{Score, Series, walk};
