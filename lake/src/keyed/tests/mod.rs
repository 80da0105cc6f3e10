//! Tests of keyed tables: plans against a model of the files, and how compaction keeps up, and tables
//! on disk, also as the oracle reads them.

mod compaction;
mod oracle;
mod plan;
mod table;
