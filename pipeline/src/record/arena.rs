//! Byte strings one after the other, in buffers that are used again.
//!
//! Batches of a backlog are some MiB each and live for a second. Fresh memory for each of them costs
//! more than copying the records into it: the system has to zero every page.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Smaller buffers are not worth keeping.
const SPARE_BYTES_MIN: usize = 256 << 10;

/// Bytes of buffers kept: about as many as one bronze commit gives back.
const SPARE_BYTES_MAX: usize = 32 << 20;

/// After this many small buffers in a row the backlog is over, and what was kept is given back.
const SMALL_IN_A_ROW: usize = 64;

static POOL: Mutex<Pool> = Mutex::new(Pool { spares: Vec::new(), bytes: 0, usual: 0, small: 0 });

/// Buffers of arenas that are gone.
struct Pool {
    spares: Vec<Vec<u8>>,
    bytes: usize,
    /// What a large arena has needed lately.
    usual: usize,
    small: usize,
}

impl Pool {
    /// A buffer of at least `needed` bytes: one that was used before, or one of the usual size.
    fn take(&mut self, needed: usize) -> Vec<u8> {
        let Some(at) = self.spares.iter().position(|spare| spare.capacity() >= needed) else {
            return Vec::with_capacity(self.usual.max(needed * 2));
        };
        let spare = self.spares.swap_remove(at);
        self.bytes -= spare.capacity();
        spare
    }

    fn give(&mut self, mut spare: Vec<u8>) {
        if spare.capacity() < SPARE_BYTES_MIN {
            self.small += 1;
            if self.small > SMALL_IN_A_ROW {
                self.bytes -= self.spares.pop().map_or(0, |spare| spare.capacity());
            }
            return;
        }
        self.small = 0;
        let used = spare.len().next_multiple_of(SPARE_BYTES_MIN / 4);
        self.usual = used.max(self.usual - self.usual / 8);
        if self.bytes + spare.capacity() <= SPARE_BYTES_MAX {
            spare.clear();
            self.bytes += spare.capacity();
            self.spares.push(spare);
        }
    }
}

fn pool() -> MutexGuard<'static, Pool> {
    POOL.lock().unwrap_or_else(PoisonError::into_inner)
}

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

    /// The bytes of all of them, end to end.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where each of them ends in [`Arena::bytes`], and whether it is there.
    pub(super) fn ends(&self) -> impl Iterator<Item = (usize, bool)> {
        self.ends.iter().copied().zip(self.present.iter().copied())
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

    /// Moves into a buffer of at least `needed` bytes.
    fn grow(&mut self, needed: usize) {
        let mut larger = pool().take(needed);
        larger.extend_from_slice(&self.bytes);
        self.bytes = larger;
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        if self.bytes.capacity() > 0 {
            pool().give(std::mem::take(&mut self.bytes));
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
