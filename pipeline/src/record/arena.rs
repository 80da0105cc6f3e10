//! Byte strings one after the other, in buffers that are used again.
//!
//! Batches of a backlog are some MiB each and live for a second. Fresh memory for each of them costs
//! more than copying the records into it: the system has to zero every page.

use std::sync::{Mutex, PoisonError};

/// Smaller buffers are not worth keeping.
const SPARE_BYTES_MIN: usize = 256 << 10;

/// Buffers kept: about as many as wait for one bronze commit.
const SPARES_MAX: usize = 8;

static SPARES: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// Optional byte strings.
#[derive(Debug, Clone, Default)]
pub(super) struct Arena {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    present: Vec<bool>,
}

impl Arena {
    pub(super) fn push(&mut self, part: Option<&[u8]>) {
        let part_bytes = part.unwrap_or_default();
        let needed = self.bytes.len() + part_bytes.len();
        if needed > self.bytes.capacity() && needed > SPARE_BYTES_MIN {
            self.grow(needed);
        }
        self.bytes.extend_from_slice(part_bytes);
        self.ends.push(self.bytes.len());
        self.present.push(part.is_some());
    }

    /// All bytes, end to end.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn get(&self, index: usize) -> Option<&[u8]> {
        let end = *self.ends.get(index)?;
        let present = *self.present.get(index)?;
        if present { self.bytes.get(self.start(index)..end) } else { None }
    }

    pub(super) fn truncate(&mut self, len: usize) {
        self.bytes.truncate(self.start(len.min(self.ends.len())));
        self.ends.truncate(len);
        self.present.truncate(len);
    }

    fn start(&self, index: usize) -> usize {
        index.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0)
    }

    /// Moves into a spare buffer of at least `needed` bytes, when there is one.
    fn grow(&mut self, needed: usize) {
        let mut spares = SPARES.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(at) = spares.iter().position(|spare| spare.capacity() >= needed) else { return };
        let mut spare = spares.swap_remove(at);
        spare.extend_from_slice(&self.bytes);
        self.bytes = spare;
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        if self.bytes.capacity() < SPARE_BYTES_MIN {
            return;
        }
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        let mut spares = SPARES.lock().unwrap_or_else(PoisonError::into_inner);
        if spares.len() < SPARES_MAX {
            spares.push(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_used_again_starts_empty() {
        for round in 0..3_u8 {
            let mut arena = Arena::default();
            let large = vec![round; SPARE_BYTES_MIN / 2 + 1];
            for _ in 0..4 {
                arena.push(Some(&large));
                arena.push(None);
            }
            arena.push(Some(b""));
            assert_eq!(arena.get(0), Some(&large[..]));
            assert_eq!(arena.get(6), Some(&large[..]));
            assert_eq!((arena.get(7), arena.get(8), arena.get(9)), (None, Some(&b""[..]), None));
            assert_eq!(arena.len(), 4 * large.len());
        }
    }
}
