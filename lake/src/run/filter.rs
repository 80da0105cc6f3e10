//! A Bloom filter over hashes of keys.
//!
//! # Guarantees
//! - What was added is found. Of what was not, about 5 in 1,000 are.

use serde::{Deserialize, Serialize};

/// Bits a key.
const BITS: usize = 11;
/// Bits that a key sets.
const PROBES: u64 = 7;

/// Which hashes there may be.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Filter {
    words: Vec<u64>,
}

impl Filter {
    /// A filter for so many keys.
    pub(super) fn new(keys: usize) -> Filter {
        Filter { words: vec![0; (keys * BITS).div_ceil(64).max(1)] }
    }

    pub(super) fn add(&mut self, hash: u64) {
        for (word, bit) in places(hash, self.words.len()) {
            self.words.get_mut(word).into_iter().for_each(|word| *word |= bit);
        }
    }

    pub(super) fn may_have(&self, hash: u64) -> bool {
        let mut places = places(hash, self.words.len());
        places.all(|(word, bit)| self.words.get(word).is_some_and(|word| word & bit != 0))
    }

    pub(super) fn bytes(&self) -> usize {
        self.words.len() * 8
    }
}

/// The bits of a hash, each as a word's number and a mask.
fn places(hash: u64, words: usize) -> impl Iterator<Item = (usize, u64)> {
    let bits = words as u128 * 64;
    // A second hash, odd so that no two probes are the same.
    let step = hash.rotate_left(32).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..PROBES).map(move |probe| {
        let spread = hash.wrapping_add(step.wrapping_mul(probe + 1));
        let at = (u128::from(spread) * bits) >> 64;
        (usize::try_from(at / 64).unwrap_or_default(), 1 << (at % 64))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use xxhash_rust::xxh3::xxh3_64;

    #[test]
    fn all_that_was_added_is_found_and_little_else() {
        let hash = |number: u64| xxh3_64(&number.to_le_bytes());
        let mut filter = Filter::new(100_000);
        (0..100_000).for_each(|number| filter.add(hash(number)));
        assert!((0..100_000).all(|number| filter.may_have(hash(number))));
        let wrong = (100_000..300_000).filter(|number| filter.may_have(hash(*number))).count();
        assert!(wrong < 1_600, "{wrong} of 200,000");
        assert_eq!(filter.bytes(), 137_504);
        assert!(!Filter::new(0).may_have(hash(1)));
    }
}
