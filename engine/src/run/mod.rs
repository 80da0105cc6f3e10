//! A run: the main loop, the threads beside it, and what is known of them from outside.

mod contact;
mod fanout;
mod halts;
mod loops;
mod main_loop;
pub(crate) mod meters;
mod outcome;
mod pace;
mod publish;
pub(crate) mod stop;
mod threads;
mod troubles;

pub use main_loop::{Run, run};
pub use meters::{Count, Histogram, Meters};
pub use outcome::{Outcome, Stopped};
pub use stop::{Reached, Stop};
pub use troubles::Troubles;
