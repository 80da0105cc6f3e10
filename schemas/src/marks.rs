//! Numbers that were marked since somebody last asked.
//!
//! # Guarantees
//! - A mark costs a look at one number; taking them costs nothing per mark.

/// Marked numbers, each once.
#[derive(Debug, Default)]
pub struct Marks {
    marked: Vec<u32>,
    /// By number: the round in which it was marked last.
    rounds: Vec<u32>,
    /// The rounds that are over.
    over: u32,
}

impl Marks {
    /// Marks a number, unless it is marked.
    pub fn mark(&mut self, number: u32) {
        let at = number as usize;
        if at >= self.rounds.len() {
            self.rounds.resize(at + 1, 0);
        }
        let round = self.over.saturating_add(1);
        if let Some(held) = self.rounds.get_mut(at)
            && std::mem::replace(held, round) != round
        {
            self.marked.push(number);
        }
    }

    /// What was marked since the last call, in the order of their first marks.
    pub fn take(&mut self) -> Vec<u32> {
        self.over = self.over.saturating_add(1);
        std::mem::take(&mut self.marked)
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
