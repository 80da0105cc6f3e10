//! Debt of a table: what it has lying about, for those who count it and those who show it.

/// What a table has lying about, as last counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Debt {
    /// Live files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Replaced files that are kept for readers.
    pub replaced_files: u64,
    /// Their bytes.
    pub replaced_bytes: u64,
    /// Rows that are in live files and gone.
    pub dead_rows: u64,
    /// Entries of the log.
    pub log_entries: u64,
}
