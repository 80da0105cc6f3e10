//! A live row as it lies in its page: the row's bytes, then where it came from.
//!
//! What comes after the row is a few varints, because every live row has it: the change that wrote it,
//! the epoch of that change, and the number of its origin.

use schemas::{EpochId, Position};

/// Where a live row came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Provenance {
    /// The change that wrote it.
    pub(super) position: Position,
    /// The epoch of that change.
    pub(super) epoch: EpochId,
    /// The number of its origin in the table.
    pub(super) origin: u32,
}

const SNAPSHOT: u8 = 1;
const HAS_SEQUENCE: u8 = 2;
const HAS_INCARNATION: u8 = 4;

impl Provenance {
    /// Appends it to `out`.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let Position { incarnation, sequence, snapshot, source_ms, partition, offset } =
            self.position;
        let mut flags = if snapshot { SNAPSHOT } else { 0 };
        flags |= if sequence.is_some() { HAS_SEQUENCE } else { 0 };
        flags |= if incarnation > 0 { HAS_INCARNATION } else { 0 };
        out.push(flags);
        if incarnation > 0 {
            put(u128::from(incarnation), out);
        }
        if let Some(sequence) = sequence {
            put(sequence, out);
        }
        put(zigzag(source_ms), out);
        put(zigzag(i64::from(partition)), out);
        put(zigzag(offset), out);
        put(u128::from(self.epoch), out);
        put(u128::from(self.origin), out);
    }

    /// Reads what was written. `None` when it is something else.
    pub(super) fn read(rest: &mut &[u8]) -> Option<Provenance> {
        let (flags, after) = rest.split_first()?;
        *rest = after;
        let incarnation =
            if flags & HAS_INCARNATION > 0 { take(rest)?.try_into().ok()? } else { 0 };
        let sequence = if flags & HAS_SEQUENCE > 0 { Some(take(rest)?) } else { None };
        let position = Position {
            incarnation,
            sequence,
            snapshot: flags & SNAPSHOT > 0,
            source_ms: unzigzag(take(rest)?)?,
            partition: unzigzag(take(rest)?)?.try_into().ok()?,
            offset: unzigzag(take(rest)?)?,
        };
        let epoch = take(rest)?.try_into().ok()?;
        let origin = take(rest)?.try_into().ok()?;
        Some(Provenance { position, epoch, origin })
    }

    /// Passes over what was written.
    pub(super) fn skip(rest: &mut &[u8]) -> Option<()> {
        let (flags, after) = rest.split_first()?;
        let set = |flag: u8| usize::from(flags & flag > 0);
        let mut numbers = 5 + set(HAS_SEQUENCE) + set(HAS_INCARNATION);
        let mut bytes = after.iter();
        while numbers > 0 {
            numbers -= usize::from(*bytes.next()? < 0x80);
        }
        *rest = bytes.as_slice();
        Some(())
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

    fn position() -> impl Strategy<Value = Position> {
        let sequence = proptest::option::of(any::<u128>().prop_map(|n| n >> (n % 128)));
        let small = (any::<u32>(), any::<bool>(), any::<i64>(), any::<i32>(), any::<i64>());
        (sequence, small).prop_map(|(sequence, (incarnation, snapshot, ms, partition, offset))| {
            Position {
                incarnation: incarnation >> (incarnation % 32),
                sequence,
                snapshot,
                source_ms: ms >> (partition.unsigned_abs() % 64),
                partition,
                offset,
            }
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(position in position(), epoch: u64, origin: u32) {
            let provenance = Provenance { position, epoch, origin };
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
            incarnation: 0,
            sequence: Some(26_391_584),
            snapshot: false,
            source_ms: 1_795_252_754_102,
            partition: 3,
            offset: 1_000_000,
        };
        let mut bytes = Vec::new();
        Provenance { position, epoch: 20_000, origin: 0 }.write(&mut bytes);
        assert_eq!(bytes.len(), 19);
    }
}
