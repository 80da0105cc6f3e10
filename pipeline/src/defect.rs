//! Planted defects: wrong on purpose, so that tests can prove that they would notice. Only compiled
//! with the feature `defects`, which no release has.

/// Whether the environment asks for this defect (`WEIR_DEFECT=name`).
///
/// `progress-apart`: bronze commits how far it is before, and apart from, the rows themselves.
pub fn is_planted(name: &str) -> bool {
    std::env::var("WEIR_DEFECT").is_ok_and(|planted| planted == name)
}
