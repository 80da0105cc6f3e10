//! The stream over real sockets, beside a brute-force history of every cell.

mod alerts;
mod compared;
mod consistency;
mod history;
mod limits;
mod rules;
mod slow;
mod support;
