//! What decisions ask another run for: what this one cannot do to itself.

use schemas::Micros;

/// What another run is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wish {
    /// That it knows the definitions of the files as they are by now, and when the newest such decision was made.
    pub definitions: Option<Micros>,
    /// That it computes cells anew that are not what they should be.
    pub cells: bool,
}

impl Wish {
    /// Whether nothing is asked for.
    pub fn is_nothing(self) -> bool {
        self == Wish::default()
    }

    /// What both ask for.
    #[must_use]
    pub fn and(self, other: Wish) -> Wish {
        let definitions = self.definitions.max(other.definitions);
        Wish { definitions, cells: self.cells || other.cells }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_decision_about_definitions_counts() {
        let nothing = Wish::default();
        let at = |micros| Wish { definitions: Some(Micros(micros)), cells: false };
        let cells = Wish { cells: true, ..nothing };
        assert!(nothing.is_nothing() && !at(0).is_nothing() && !cells.is_nothing());
        assert_eq!(at(5).and(at(3)).and(cells), Wish { cells: true, ..at(5) });
        assert_eq!(nothing.and(at(3)), at(3));
    }
}
