//! Rows of which nobody knows which KPI cells they feed: their time, tenant or a dimension was never sent.
//!
//! # Non-guarantees
//! - Which other cells may lack such a row is not said: any of those KPIs' may.

use std::fmt;

/// Such rows of one table, by the column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unplaced<'a> {
    pub(crate) table: &'a str,
    pub(crate) column: &'a str,
    pub(crate) rows: u64,
    /// The KPIs whose cells the column tells apart.
    pub(crate) kpis: Vec<&'a str>,
}

impl fmt::Display for Unplaced<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Unplaced { table, column, rows, kpis } = self;
        let rows = if *rows == 1 { "1 row" } else { &format!("{rows} rows") };
        write!(
            f,
            "table `{table}`: of {rows} the source never sent `{column}`, so any cell of {} may lack them; a change \
             that has it, or a snapshot, ends this",
            kpis.join(", ")
        )
    }
}
