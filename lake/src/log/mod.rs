//! Reading a table's log: which versions there are, and what a version holds.

pub(crate) mod files;
mod repair;
mod replay;

pub(crate) use files::{FOLDER, Listing, Log, RESTORE};
pub(crate) use replay::file_fault;
