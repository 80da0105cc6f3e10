//! Numbers that were marked since somebody last asked.
//!
//! # Guarantees
//! - A mark costs a look at one bit, and taking it another.

/// Marked numbers, each once.
#[derive(Debug, Default)]
pub struct Marks {
    marked: Vec<u32>,
    /// One bit by number.
    bits: Vec<u64>,
}

/// Bits of one word.
const WORD: usize = 64;

impl Marks {
    /// Marks a number, unless it is marked.
    #[inline]
    pub fn mark(&mut self, number: u32) {
        let (at, bit) = (number as usize / WORD, 1 << (number as usize % WORD));
        if at >= self.bits.len() {
            self.bits.resize(at + 1, 0);
        }
        if let Some(word) = self.bits.get_mut(at).filter(|word| **word & bit == 0) {
            *word |= bit;
            self.marked.push(number);
        }
    }

    /// What was marked since the last call, in the order of their first marks.
    pub fn take(&mut self) -> Vec<u32> {
        let marked = std::mem::take(&mut self.marked);
        for number in &marked {
            if let Some(word) = self.bits.get_mut(*number as usize / WORD) {
                *word &= !(1 << (*number as usize % WORD));
            }
        }
        marked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_once_a_round() {
        let mut marks = Marks::default();
        [3, 0, 3, 7, 0].into_iter().for_each(|number| marks.mark(number));
        assert_eq!(marks.take(), [3, 0, 7]);
        assert!(marks.take().is_empty());
        marks.mark(0);
        marks.mark(0);
        assert_eq!(marks.take(), [0]);
    }
}
