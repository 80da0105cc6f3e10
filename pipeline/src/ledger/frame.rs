//! Frames: sealed pieces of a segment, and the numbers and texts in them.
//!
//! `length (4 bytes) | its check (2) | seal of the payload (8) | payload`, little-endian. The seal
//! depends on the epoch of the frame too, so a frame in another's place is seen.
//!
//! # Guarantees
//! - A frame that is cut off at the end of the bytes, or a rest of nothing but zeros, is torn; any
//!   other change of a byte is damage.

use xxhash_rust::xxh3::xxh3_64_with_seed;

const HEAD: usize = 14;

/// Why there is no further frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The bytes end here, or what follows is the beginning of a frame that was never finished.
    Torn,
    /// What follows is no frame.
    Damaged,
}

/// Appends a frame.
pub(super) fn push(out: &mut Vec<u8>, seed: u64, payload: &[u8]) {
    // A frame holds one epoch's spans: far below four gigabytes.
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&check(length).to_le_bytes());
    out.extend_from_slice(&xxh3_64_with_seed(payload, seed).to_le_bytes());
    out.extend_from_slice(payload);
}

/// Takes the next frame off `rest`.
pub(super) fn take<'a>(rest: &mut &'a [u8], seed: u64) -> Result<&'a [u8], End> {
    if rest.iter().all(|byte| *byte == 0) {
        return Err(End::Torn);
    }
    let Some((head, after)) = rest.split_first_chunk::<HEAD>() else { return Err(End::Torn) };
    let [a, b, c, d, e, f, seal @ ..] = *head;
    let length = u32::from_le_bytes([a, b, c, d]);
    if u16::from_le_bytes([e, f]) != check(length) {
        return Err(End::Damaged);
    }
    let length = usize::try_from(length).map_err(|_| End::Damaged)?;
    let (payload, after) = after.split_at_checked(length).ok_or(End::Torn)?;
    if u64::from_le_bytes(seal) != xxh3_64_with_seed(payload, seed) {
        return Err(End::Damaged);
    }
    *rest = after;
    Ok(payload)
}

/// A changed bit of a length shows in this, so that damage is not taken for a torn end.
fn check(length: u32) -> u16 {
    let [a, b, c, d] = length.to_le_bytes();
    u16::from_le_bytes([a ^ c, b ^ d]) ^ 0xa55a
}

/// Appends a number, seven bits to a byte.
pub(super) fn put_number(out: &mut Vec<u8>, mut number: u64) {
    loop {
        let [low, ..] = number.to_le_bytes();
        number >>= 7;
        if number == 0 {
            return out.push(low & 0x7f);
        }
        out.push(low | 0x80);
    }
}

/// Appends a number that may be negative; small ones of either sign are short.
pub(super) fn put_signed(out: &mut Vec<u8>, number: i64) {
    put_number(out, (number.cast_unsigned() << 1) ^ (number >> 63).cast_unsigned());
}

/// Appends a text with its length.
pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_number(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// What [`put_number`] wrote.
pub(super) fn number(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// What [`put_signed`] wrote.
pub(super) fn signed(rest: &mut &[u8]) -> Option<i64> {
    let number = number(rest)?;
    Some((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
}

/// What [`put_text`] wrote.
pub(super) fn text(rest: &mut &[u8]) -> Option<String> {
    let length = usize::try_from(number(rest)?).ok()?;
    let (text, after) = rest.split_at_checked(length)?;
    *rest = after;
    String::from_utf8(text.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_size_come_back() {
        for number in [0, 1, 127, 128, 300, u64::MAX / 3, u64::MAX] {
            let mut bytes = Vec::new();
            put_number(&mut bytes, number);
            assert_eq!(super::number(&mut bytes.as_slice()), Some(number));
        }
        for number in [0, -1, 1, -64, 64, i64::MIN, i64::MAX] {
            let mut bytes = Vec::new();
            put_signed(&mut bytes, number);
            assert_eq!(signed(&mut bytes.as_slice()), Some(number));
        }
        assert_eq!(number(&mut [0x80_u8; 12].as_slice()), None, "without an end");
    }

    #[test]
    fn an_end_is_torn_and_anything_else_is_damage() {
        let mut bytes = Vec::new();
        push(&mut bytes, 7, b"payload");
        assert_eq!(take(&mut bytes.as_slice(), 7), Ok(b"payload".as_slice()));
        assert_eq!(take(&mut bytes.as_slice(), 8), Err(End::Damaged), "another epoch's place");
        for cut in 0..bytes.len() {
            let mut rest = bytes.get(..cut).unwrap();
            assert_eq!(take(&mut rest, 7), Err(End::Torn), "cut at {cut}");
        }
        let longer = [bytes.as_slice(), &[0; 64]].concat();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = longer.clone();
                changed[at] ^= 1 << bit;
                assert_ne!(take(&mut changed.as_slice(), 7).map(<[u8]>::len), Ok(7), "{at}/{bit}");
            }
        }
        assert_eq!(take(&mut [0_u8; 100].as_slice(), 7), Err(End::Torn), "zeros after a crash");
    }
}
