//! "Did you mean": the known name nearest to one that is unknown.

/// ` (did you mean `x`?)` for the nearest of `known`, or nothing when none is near.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let near = known.map(|word| (strsim::damerau_levenshtein(name, word), word)).min();
    match near {
        Some((distance, word)) if distance <= 2 + name.len() / 4 => {
            format!(" (did you mean `{word}`?)")
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn names_what_is_near_only() {
        let known = || ["amount", "currency"].into_iter();
        assert_eq!(nearest("amuont", known()), " (did you mean `amount`?)");
        assert_eq!(nearest("x", known()), "");
    }
}
