//! A run: the main loop, the threads beside it, and what is known of them from outside.

mod auditing;
mod contact;
mod control;
mod doubts;
mod fanout;
mod halts;
mod held_back;
pub(crate) mod insist;
mod loops;
mod main_loop;
mod memory;
pub(crate) mod meters;
mod outcome;
mod pace;
mod parts;
mod present;
mod probes;
mod publish;
mod reloads;
mod samples;
pub(crate) mod stop;
mod threads;
mod troubles;
mod turns;

pub use doubts::{ContractDoubts, Doubts};
pub use main_loop::run;
pub use meters::{Count, Durations, Meters};
pub use outcome::{Outcome, Stopped};
pub use parts::Run;
pub use reloads::Reloads;
pub use stop::{Reached, Stop};
pub use troubles::{Troubles, Weight};
