//! What the benchmarks share: a stream of order events, Kafka around it, and figures of a process.
//!
//! # Guarantees
//! - A seed and an end instant give one stream, byte for byte.
//! - Every figure comes with the number of records that it stands for; a run that read too few fails.
//!
//! # Non-guarantees
//! - Figures of different machines cannot be compared; ratios taken in one run can.

pub mod ceiling;
pub mod charges;
pub mod events;
pub mod failure;
pub mod four_views;
pub mod http;
pub mod live;
pub mod live_rows;
pub mod load;
pub mod machine;
pub mod mix;
pub mod prepared;
pub mod process;
pub mod receiver;
pub mod recompute;
pub mod report;
pub mod subscriber;
pub mod times;
pub mod tool;
pub mod topic;
pub mod upserts;
pub mod weir;
