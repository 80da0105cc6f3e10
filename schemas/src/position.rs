//! Where in the source database, and where in Kafka, a row's last change came from.
//!
//! # Guarantees
//! - `Display` and `parse` are inverse: the text in the `_position` column is the whole position.
//! - [`Position::compare`] is a total order on the changes of one key, whatever order they arrived in.

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The position of one change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Position {
    /// Counts restarts of the source's own numbering (failover, restore): a higher one is later.
    pub incarnation: u32,
    /// PostgreSQL: the LSN. MySQL: binlog file number, offset and row. `None` when the event names
    /// no source position; such changes are ordered by offset.
    pub sequence: Option<u128>,
    /// Whether the change is a row of a snapshot and not of the live stream.
    pub snapshot: bool,
    /// The source's own clock at the change, in milliseconds; 0 when unknown.
    pub source_ms: i64,
    /// Kafka partition.
    pub partition: i32,
    /// Kafka offset.
    pub offset: i64,
}

impl Position {
    /// The order of two changes of one key: incarnation, source position, then (within a partition)
    /// offset; across partitions a live change is later than a snapshot row.
    pub fn compare(&self, other: &Position) -> Ordering {
        self.incarnation
            .cmp(&other.incarnation)
            .then_with(|| self.compare_sequence(other))
            .then_with(|| self.compare_record(other))
    }

    fn compare_sequence(&self, other: &Position) -> Ordering {
        match (self.sequence, other.sequence) {
            (Some(a), Some(b)) => a.cmp(&b),
            _ => Ordering::Equal,
        }
    }

    fn compare_record(&self, other: &Position) -> Ordering {
        if self.partition == other.partition {
            return self.offset.cmp(&other.offset);
        }
        let live = other.snapshot.cmp(&self.snapshot);
        live.then_with(|| self.source_ms.cmp(&other.source_ms))
            .then_with(|| self.partition.cmp(&other.partition))
    }

    /// Reads what `Display` wrote.
    pub fn parse(text: &str) -> Option<Position> {
        let mut parts = text.split('/');
        let incarnation = parts.next()?.parse().ok()?;
        let sequence = match parts.next()? {
            "" => None,
            number => Some(number.parse().ok()?),
        };
        let snapshot = match parts.next()? {
            "s" => true,
            "l" => false,
            _ => return None,
        };
        let source_ms = parts.next()?.parse().ok()?;
        let partition = parts.next()?.parse().ok()?;
        let offset = parts.next()?.parse().ok()?;
        let position = Position { incarnation, sequence, snapshot, source_ms, partition, offset };
        parts.next().is_none().then_some(position)
    }
}

impl fmt::Display for Position {
    /// `incarnation/sequence/s or l/source_ms/partition/offset`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/", self.incarnation)?;
        if let Some(sequence) = self.sequence {
            write!(f, "{sequence}")?;
        }
        let kind = if self.snapshot { 's' } else { 'l' };
        write!(f, "/{kind}/{}/{}/{}", self.source_ms, self.partition, self.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(sequence: Option<u128>, snapshot: bool, partition: i32, offset: i64) -> Position {
        Position { incarnation: 0, sequence, snapshot, source_ms: 5, partition, offset }
    }

    #[test]
    fn text_is_the_whole_position() {
        for position in [at(Some(u128::MAX), true, 3, 9), at(None, false, 0, i64::MAX)] {
            assert_eq!(Position::parse(&position.to_string()), Some(position));
        }
        for bad in ["", "0/1/l/5/0", "0/1/x/5/0/1", "0/1/l/5/0/1/2", "a/1/l/5/0/1"] {
            assert_eq!(Position::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn source_position_beats_offset_and_live_beats_snapshot() {
        use Ordering::{Greater, Less};
        assert_eq!(at(Some(2), false, 0, 1).compare(&at(Some(1), false, 0, 9)), Greater);
        assert_eq!(at(Some(1), false, 0, 1).compare(&at(Some(1), true, 1, 9)), Greater);
        assert_eq!(at(Some(1), true, 0, 1).compare(&at(Some(1), false, 0, 2)), Less);
        assert_eq!(at(None, false, 0, 1).compare(&at(None, false, 0, 2)), Less);
        let later = Position { incarnation: 1, ..at(Some(1), false, 0, 0) };
        assert_eq!(later.compare(&at(Some(9), false, 0, 9)), Greater);
    }
}
