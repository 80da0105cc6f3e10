//! Rows as Arrow arrays, and Arrow columns by name: the one place where the two meet.
//!
//! # Guarantees
//! - Every column type has one Arrow type; what is written and read back is the same row, bit for bit.
//! - A batch that is not what was written is refused by column, never read as something else.
//!
//! # Non-guarantees
//! - Which of a row's columns are unknown is no Arrow column of its own: who writes a table says so.

pub mod columns;
mod kinds;
mod reader;
mod writer;

pub use columns::ColumnError;
pub use kinds::{data_type, decimal, field, fields, instant};
pub use reader::RowReader;
pub use writer::arrays;

#[cfg(test)]
mod tests;
