//! What was wrong in a step: the first of it in words, and how much more there was.

use schemas::{ColumnType, RowRef};

use super::StepError;

/// Characters of a row that a message shows.
const SHOWN: usize = 200;

/// What is wrong so far.
#[derive(Debug, Default)]
pub(super) struct Problems {
    first: Option<StepError>,
    more: usize,
}

impl Problems {
    /// Adds one; its words are only made when it is the first.
    pub(super) fn add(&mut self, error: impl FnOnce() -> StepError) {
        match self.first {
            None => self.first = Some(error()),
            Some(_) => self.more += 1,
        }
    }

    /// The end of the step.
    pub(super) fn finish(self) -> Result<(), StepError> {
        let Some(mut first) = self.first else { return Ok(()) };
        if self.more > 0 {
            first.problem = format!("{}; and {} more in this step", first.problem, self.more);
        }
        Err(first)
    }
}

/// A row that goes more often than it is there.
pub(super) fn never_there(node: &str, row: RowRef<'_>, excess: i64) -> StepError {
    let problem = format!(
        "goes {excess} times more than it is there, which was not done; read the tables of the view anew"
    );
    StepError { node: node.to_owned(), row: text(row), problem }
}

/// A row in words: `name=value`, column by column.
pub(super) fn text(row: RowRef<'_>) -> String {
    let column = |at: usize| {
        let (name, kind) = match row.schema().get(at) {
            Some(column) => (column.name.as_str(), column.kind),
            None => ("", ColumnType::Text),
        };
        match row.is_unknown(at) {
            true => format!("{name}=?"),
            false => format!("{name}={}", row.datum(at).text(kind)),
        }
    };
    let text = (0..row.schema().len()).map(column).collect::<Vec<_>>().join(", ");
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text,
    }
}
