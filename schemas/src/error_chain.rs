//! An error with its causes as one line.

/// The error's text and those of its causes, each said once.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("no lake")]
    struct NoLake(#[source] std::io::Error);

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Same(#[source] std::io::Error);

    #[test]
    fn a_cause_that_the_text_says_already_is_not_said_again() {
        let denied = || std::io::Error::other("denied");
        assert_eq!(chain(&NoLake(denied())), "no lake: denied");
        assert_eq!(chain(&Same(denied())), "denied");
    }
}
