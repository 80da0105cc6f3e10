//! From change topics to bronze and silver: sources, decoders, epochs, ledger, bronze and the fold.
//!
//! The flow is source -> [`record::RawBatch`] -> [`decode`] -> [`epoch`] -> [`ledger`] and
//! [`bronze`], and beside it [`silver`], the fold of changes per key.
//!
//! # Guarantees
//! - Everything but sources, samples, ledger, bronze and state files is pure: the same records in the same
//!   epochs give the same rows.
//!
//! # Non-guarantees
//! - Nothing here knows a KPI or HTTP.

pub mod bronze;
pub mod decode;
#[cfg(feature = "defects")]
pub mod defect;
pub mod epoch;
pub mod infer;
pub mod ledger;
pub mod record;
pub mod silver;
pub mod source;
