//! Dead letters looked at with a configuration's contracts: which of them could be read now.
//!
//! # Non-guarantees
//! - What only the rows that a lake holds can tell is not asked: whether a value that an event leaves out is
//!   known, or a record is too old.

use std::collections::BTreeMap;
use std::sync::Arc;

use pipeline::decode::Scratch;
use pipeline::silver::TableFold;
use schemas::{Contract, EpochId, Letter};

use crate::Topics;
use crate::core::decoding::Decoding;
use crate::lineage::Lineages;

/// Reads letters without a lake.
#[derive(Debug)]
pub struct LetterReader {
    decoding: Decoding,
    scratch: Scratch,
    /// By number, tables without rows.
    tables: BTreeMap<usize, TableFold>,
}

impl LetterReader {
    /// By these contracts. `topics` maps (source, topic) to one of them.
    ///
    /// # Errors
    /// When they cannot be used; the text says why.
    pub fn new(contracts: &[Contract], topics: &Topics) -> Result<LetterReader, String> {
        let decoding = Decoding::new(contracts, topics, &Lineages::default());
        let decoding = decoding.map_err(|error| error.to_string())?;
        let table = |(number, contract): (usize, &Arc<_>)| {
            let mut table = TableFold::new(Arc::clone(contract));
            table.put_in_force(contracts.get(number));
            (number, table)
        };
        let tables = decoding.contracts().enumerate().map(table).collect();
        Ok(LetterReader { decoding, scratch: Scratch::default(), tables })
    }

    /// Whether a letter can be read.
    ///
    /// # Errors
    /// When it cannot; the text says why.
    pub fn read(&mut self, letter: &Letter) -> Result<(), String> {
        let decoded = self.decoding.decode_letter(letter, EpochId::MAX, &mut self.scratch);
        let (number, changes) = decoded.ok_or("its topic has no contract")?;
        let table = self.tables.get(&number);
        table.and_then(|table| table.unread_for(&changes)).map_or(Ok(()), Err)
    }
}
