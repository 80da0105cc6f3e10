//! Which records of a batch are quiet, once an epoch has taken it.

/// A bit for each record. Most often it is the same for all of them, and none is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum QuietRows {
    /// No record is quiet.
    #[default]
    None,
    /// Every record is.
    All,
    /// By record.
    Each(Vec<bool>),
}

impl QuietRows {
    /// Whether the record at `index` is quiet.
    pub fn has(&self, index: usize) -> bool {
        match self {
            QuietRows::None => false,
            QuietRows::All => true,
            QuietRows::Each(bits) => bits.get(index).copied().unwrap_or(false),
        }
    }

    /// Whether any record may be.
    pub fn any(&self) -> bool {
        *self != QuietRows::None
    }

    /// Says it of the record at `index`, those before it being said.
    pub(crate) fn push(&mut self, index: usize, is_quiet: bool) {
        let is_same = match self {
            QuietRows::Each(bits) => return bits.push(is_quiet),
            QuietRows::None => !is_quiet,
            QuietRows::All => is_quiet,
        };
        if is_same {
            return;
        }
        let mut bits = vec![!is_quiet; index];
        bits.push(is_quiet);
        *self = if index == 0 { QuietRows::All } else { QuietRows::Each(bits) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_what_was_pushed() {
        for bits in 0..32_usize {
            for len in 0..6_usize {
                let expected: Vec<bool> = (0..len).map(|at| bits >> at & 1 == 1).collect();
                let mut rows = QuietRows::default();
                expected.iter().enumerate().for_each(|(at, bit)| rows.push(at, *bit));
                let found: Vec<bool> = (0..len).map(|at| rows.has(at)).collect();
                assert_eq!(found, expected);
                assert_eq!(rows.any(), expected.contains(&true));
                let is_even = expected.iter().all(|bit| *bit == expected[0]);
                assert_eq!(matches!(rows, QuietRows::Each(_)), !is_even);
            }
        }
    }
}
