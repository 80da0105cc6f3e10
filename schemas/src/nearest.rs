//! "Did you mean": the known name nearest to one that is unknown.

/// ` (did you mean `x`?)` for the nearest of `known`, or nothing when none is near. Upper and lower case
/// count only where nothing else tells two names apart.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let lower = name.to_lowercase();
    let distance = |word: &str| {
        let letters = strsim::damerau_levenshtein(&lower, &word.to_lowercase());
        (letters, strsim::damerau_levenshtein(name, word))
    };
    // Where more than half of the letters differ, nothing is near.
    let near = (2 + name.len() / 4).min(name.len() / 2);
    match known.map(|word| (distance(word), word)).min() {
        Some(((letters, _), word)) if letters <= near => format!(" (did you mean `{word}`?)"),
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
        assert_eq!(nearest("AMOUNT", known()), " (did you mean `amount`?)");
        assert_eq!(nearest("x", known()), "");
        assert_eq!(nearest("zzz", ["zar"].into_iter()), "");
    }
}
