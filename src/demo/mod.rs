//! The demo: a generated shop and cloud bill on an embedded broker, through the real pipeline.
//!
//! # Guarantees
//! - What is sent is a function of (seed, start instant, logical offset), all kept in the lake, so
//!   a demo on an old lake goes on where it ended and can read again what it had not flushed.

pub(crate) mod generator;
pub(crate) mod score;
pub(crate) mod shop;
