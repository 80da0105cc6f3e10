//! A live row as it lies in its page: the row's bytes, then where it came from.
//!
//! What comes after the row is a few varints, because every live row has it: the change that wrote it,
//! the epoch of that change, and the number of its origin; then where the values came from that this
//! change left out, if it left out any.

use std::sync::Arc;

use schemas::{EpochId, Place, Position};

/// Where a live row came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Provenance<'a> {
    /// The change that wrote it.
    pub(super) position: Position,
    /// The epoch that changed it last.
    pub(super) epoch: EpochId,
    /// The number of its origin in the table.
    pub(super) origin: u32,
    /// What that change left out, as [`Carried`] writes it.
    pub(super) carried: &'a [u8],
}

const SNAPSHOT: u8 = 1;
const HAS_INCARNATION: u8 = 2;
const IS_LOG: u8 = 4;
const HAS_SERVER: u8 = 8;
const IS_WAL: u8 = 16;
const HAS_COMMIT: u8 = 32;
const HAS_TOPIC: u8 = 64;
const HAS_CARRIED: u8 = 128;

fn set(flag: u8, is_set: bool) -> u8 {
    if is_set { flag } else { 0 }
}

/// Appends a position, with `more` flags.
fn write_position(position: &Position, more: u8, out: &mut Vec<u8>) {
    let Position { incarnation, place, snapshot, source_ms, topic, partition, offset } = *position;
    let flags = set(SNAPSHOT, snapshot)
        | set(HAS_INCARNATION, incarnation > 0)
        | set(HAS_TOPIC, topic > 0)
        | more;
    let flags = flags
        | match place {
            None => 0,
            Some(Place::Log { log, .. }) => IS_LOG | set(HAS_SERVER, log > 0),
            Some(Place::Wal { commit, .. }) => IS_WAL | set(HAS_COMMIT, commit.is_some()),
        };
    out.push(flags);
    if incarnation > 0 {
        put(u128::from(incarnation), out);
    }
    match place {
        None => {}
        Some(Place::Log { log, at }) => {
            if log > 0 {
                put(u128::from(log), out);
            }
            put(at, out);
        }
        Some(Place::Wal { commit, lsn }) => {
            put(u128::from(lsn), out);
            // The commit before is near.
            if let Some(commit) = commit {
                put(u128::from(lsn.wrapping_sub(commit).rotate_left(1)), out);
            }
        }
    }
    if topic > 0 {
        put(u128::from(topic), out);
    }
    put(zigzag(source_ms), out);
    put(zigzag(i64::from(partition)), out);
    put(zigzag(offset), out);
}

/// Reads a position and its flags.
fn read_position(rest: &mut &[u8]) -> Option<(Position, u8)> {
    let (&flags, after) = rest.split_first()?;
    *rest = after;
    let has = |flag: u8| flags & flag > 0;
    let incarnation = if has(HAS_INCARNATION) { take(rest)?.try_into().ok()? } else { 0 };
    let place = if has(IS_LOG) {
        let log = if has(HAS_SERVER) { take(rest)?.try_into().ok()? } else { 0 };
        Some(Place::Log { log, at: take(rest)? })
    } else if has(IS_WAL) {
        let lsn = u64::try_from(take(rest)?).ok()?;
        let commit = if has(HAS_COMMIT) {
            let back = u64::try_from(take(rest)?).ok()?.rotate_right(1);
            Some(lsn.wrapping_sub(back))
        } else {
            None
        };
        Some(Place::Wal { commit, lsn })
    } else {
        None
    };
    let topic = if has(HAS_TOPIC) { take(rest)?.try_into().ok()? } else { 0 };
    let position = Position {
        incarnation,
        place,
        snapshot: has(SNAPSHOT),
        source_ms: unzigzag(take(rest)?)?,
        topic,
        partition: unzigzag(take(rest)?)?.try_into().ok()?,
        offset: unzigzag(take(rest)?)?,
    };
    Some((position, flags))
}

impl<'a> Provenance<'a> {
    /// Appends it to `out`.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        write_position(&self.position, set(HAS_CARRIED, !self.carried.is_empty()), out);
        put(u128::from(self.epoch), out);
        put(u128::from(self.origin), out);
        if !self.carried.is_empty() {
            put(self.carried.len() as u128, out);
            out.extend_from_slice(self.carried);
        }
    }

    /// Reads what was written. `None` when it is something else.
    pub(super) fn read(rest: &mut &'a [u8]) -> Option<Provenance<'a>> {
        let (position, flags) = read_position(rest)?;
        let epoch = take(rest)?.try_into().ok()?;
        let origin = take(rest)?.try_into().ok()?;
        let mut carried: &[u8] = &[];
        if flags & HAS_CARRIED > 0 {
            let length = usize::try_from(take(rest)?).ok()?;
            (carried, *rest) = rest.split_at_checked(length)?;
        }
        Some(Provenance { position, epoch, origin, carried })
    }

    /// Passes over what was written.
    pub(super) fn skip(rest: &mut &[u8]) -> Option<()> {
        let (flags, after) = rest.split_first()?;
        let has = |flag: u8| usize::from(flags & flag > 0);
        let of_place = has(IS_LOG) + has(HAS_SERVER) + has(IS_WAL) + has(HAS_COMMIT);
        let mut numbers = 5 + has(HAS_INCARNATION) + of_place + has(HAS_TOPIC);
        let mut bytes = after.iter();
        while numbers > 0 {
            numbers -= usize::from(*bytes.next()? < 0x80);
        }
        *rest = bytes.as_slice();
        if flags & HAS_CARRIED > 0 {
            let length = usize::try_from(take(rest)?).ok()?;
            *rest = rest.get(length..)?;
        }
        Some(())
    }
}

/// Stands for the change that could not be read where columns are numbered.
const OUTDATED: u32 = u32::MAX;

/// Its name in `_position`.
const OUTDATED_NAME: &str = "unread";

/// Where the values of columns came from that the newest change of a row left out: by column, the
/// change that sent the value. A value that no change has sent is not in it. Behind them stands the newest
/// change of the row, if that could not be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Carried(Vec<(u32, Position)>);

impl Carried {
    /// Reads what [`Carried::write`] wrote.
    pub(super) fn read(mut bytes: &[u8]) -> Carried {
        let mut carried = Vec::new();
        while !bytes.is_empty() {
            let Some(column) = take(&mut bytes).and_then(|n| n.try_into().ok()) else { break };
            let Some((position, _)) = read_position(&mut bytes) else { break };
            carried.push((column, position));
        }
        Carried(carried)
    }

    /// Its bytes; none when nothing was left out.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        for (column, position) in &self.0 {
            put(u128::from(*column), out);
            write_position(position, 0, out);
        }
    }

    /// The change that sent the value of a column.
    pub(super) fn get(&self, column: usize) -> Option<Position> {
        self.0.iter().find(|(of, _)| *of as usize == column).map(|(_, position)| *position)
    }

    /// Notes which change sent the value of a column.
    pub(super) fn set(&mut self, column: usize, position: Position) {
        let Ok(column) = u32::try_from(column) else { return };
        match self.0.iter_mut().find(|(of, _)| *of == column) {
            Some((_, held)) => *held = position,
            None => {
                self.0.push((column, position));
                self.0.sort_unstable_by_key(|(of, _)| *of);
            }
        }
    }

    /// Forgets which change sent the value of a column.
    pub(super) fn remove(&mut self, column: usize) {
        self.0.retain(|(of, _)| *of as usize != column);
    }

    /// Tells anew which incarnation these changes are of; whether any is of another.
    pub(super) fn settle(&mut self, settle: &dyn Fn(&mut Position) -> bool) -> bool {
        self.0.iter_mut().fold(false, |is_moved, (_, position)| settle(position) | is_moved)
    }

    /// The same of what was written.
    pub(super) fn settled(bytes: &[u8], settle: &dyn Fn(&mut Position) -> bool) -> Arc<[u8]> {
        let (mut carried, mut out) = (Carried::read(bytes), Vec::new());
        carried.settle(settle);
        carried.write(&mut out);
        out.into()
    }

    /// The columns, ascending.
    pub(super) fn columns(&self) -> impl Iterator<Item = usize> {
        let columns = self.0.iter().filter(|(column, _)| *column != OUTDATED);
        columns.map(|(column, _)| *column as usize)
    }

    /// The newest change of the row, if that could not be read.
    pub(super) fn outdated(&self) -> Option<Position> {
        self.get(OUTDATED as usize)
    }

    /// Notes which it is, or that there is none.
    pub(super) fn set_outdated(&mut self, by: Option<Position>) {
        self.0.retain(|(column, _)| *column != OUTDATED);
        self.0.extend(by.map(|by| (OUTDATED, by)));
    }

    /// `;column=position` of each, and `;unread=position`.
    pub(super) fn text(&self) -> String {
        let one = |(column, position): &(u32, Position)| match *column {
            OUTDATED => format!(";{OUTDATED_NAME}={position}"),
            column => format!(";{column}={position}"),
        };
        self.0.iter().map(one).collect()
    }

    /// Reads what [`Carried::text`] wrote.
    pub(super) fn parse(text: &str) -> Option<Carried> {
        let one = |part: &str| {
            let (column, position) = part.split_once('=')?;
            let column = if column == OUTDATED_NAME { OUTDATED } else { column.parse().ok()? };
            Some((column, Position::parse(position)?))
        };
        text.split(';').filter(|part| !part.is_empty()).map(one).collect::<Option<_>>().map(Carried)
    }
}

/// Small numbers of either sign as small numbers.
fn zigzag(number: i64) -> u128 {
    let twice = i128::from(number) << 1;
    (if number < 0 { -1 - twice } else { twice }).unsigned_abs()
}

fn unzigzag(number: u128) -> Option<i64> {
    let half = i128::try_from(number >> 1).ok()?;
    i64::try_from(if number & 1 == 1 { -1 - half } else { half }).ok()
}

/// Appends a number, seven bits to a byte, the lowest first.
pub(super) fn put(number: u128, out: &mut Vec<u8>) {
    // Most numbers fit 64 bits, which are shifted faster.
    let Ok(mut low) = u64::try_from(number) else {
        out.push(0x80 | u8::try_from(number & 0x7f).unwrap_or(0));
        return put(number >> 7, out);
    };
    while low >= 0x80 {
        out.push(0x80 | u8::try_from(low & 0x7f).unwrap_or(0));
        low >>= 7;
    }
    out.push(u8::try_from(low).unwrap_or(0));
}

/// Reads a number and what is left.
pub(super) fn take(rest: &mut &[u8]) -> Option<u128> {
    let (mut low, mut shift) = (0_u64, 0_u32);
    while shift < 56 {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        low |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(u128::from(low));
        }
        shift += 7;
    }
    let mut number = u128::from(low);
    while shift < 128 {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        number |= u128::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
        shift += 7;
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place() -> impl Strategy<Value = Option<Place>> {
        let number = any::<u128>().prop_map(|n| n >> (n % 128));
        let log = (any::<u8>(), number).prop_map(|(log, at)| Place::Log { log: log.into(), at });
        let wal = (proptest::option::of(any::<u64>()), any::<u64>());
        let wal = wal.prop_map(|(commit, lsn)| Place::Wal { commit, lsn });
        proptest::option::of(prop_oneof![log, wal])
    }

    fn position() -> impl Strategy<Value = Position> {
        let small = (any::<u32>(), any::<bool>(), any::<i64>(), any::<i32>(), any::<i64>());
        (place(), small, any::<u8>()).prop_map(|(place, small, topic)| {
            let (incarnation, snapshot, ms, partition, offset) = small;
            Position {
                incarnation: incarnation >> (incarnation % 32),
                place,
                snapshot,
                source_ms: ms >> (partition.unsigned_abs() % 64),
                topic: (topic % 3).into(),
                partition,
                offset,
            }
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            position in position(),
            epoch: u64,
            origin: u32,
            left_out in proptest::collection::vec((0..9_usize, position()), 0..3),
        ) {
            let (mut carried, mut text) = (Carried::default(), Vec::new());
            left_out.iter().for_each(|(column, position)| carried.set(*column, *position));
            carried.set_outdated(left_out.get(1).map(|(_, position)| *position));
            carried.write(&mut text);
            prop_assert_eq!(Carried::read(&text), carried.clone());
            prop_assert_eq!(Carried::parse(&carried.text()), Some(carried));
            let provenance = Provenance { position, epoch, origin, carried: &text };
            let mut bytes = Vec::new();
            provenance.write(&mut bytes);
            bytes.push(0xaa);
            let mut rest = bytes.as_slice();
            prop_assert_eq!(Provenance::read(&mut rest), Some(provenance));
            prop_assert_eq!(rest, [0xaa]);
            let mut skipped = bytes.as_slice();
            prop_assert_eq!((Provenance::skip(&mut skipped), skipped), (Some(()), rest));
            for cut in 0..bytes.len() - 1 {
                prop_assert_eq!(Provenance::read(&mut &bytes[..cut]), None);
            }
        }
    }

    #[test]
    fn a_row_of_postgres_costs_about_twenty_bytes() {
        let position = Position {
            place: Some(Place::Wal { commit: Some(26_390_000), lsn: 26_391_584 }),
            source_ms: 1_795_252_754_102,
            partition: 3,
            offset: 1_000_000,
            ..Position::NOWHERE
        };
        let mut bytes = Vec::new();
        Provenance { position, epoch: 20_000, origin: 0, carried: &[] }.write(&mut bytes);
        assert_eq!(bytes.len(), 21);
    }
}
