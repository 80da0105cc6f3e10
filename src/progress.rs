//! The progress of long commands: how much of it is done, and how long the rest takes.
//!
//! # Guarantees
//! - It is drawn on stderr and only on a terminal, and is gone when the command says its results.

use indicatif::{ProgressBar, ProgressStyle};

const BYTES: &str = "{msg} {wide_bar} {bytes}/{total_bytes} {eta}";
const PIECES: &str = "{msg} {wide_bar} {pos}/{len} {eta}";

/// A bar that is being drawn.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// Of bytes; how many there are is told with them.
    pub(crate) fn of_bytes(what: &'static str) -> Progress {
        Progress::styled(BYTES, 0, what)
    }

    /// Of so many pieces.
    pub(crate) fn of(pieces: usize, what: &'static str) -> Progress {
        Progress::styled(PIECES, pieces as u64, what)
    }

    fn styled(template: &str, length: u64, what: &'static str) -> Progress {
        let bar = ProgressBar::new(length).with_message(what);
        // A template that is not understood leaves the bar of the library.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Progress(bar)
    }

    /// So many bytes of so many are done.
    pub(crate) fn reach(&self, done: u64, all: u64) {
        self.0.set_length(all);
        self.0.set_position(done);
    }

    /// The next piece, which is worked on now.
    pub(crate) fn next(&self, name: &str) {
        self.0.set_message(name.to_owned());
        self.0.inc(1);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_understood() {
        for template in [BYTES, PIECES] {
            ProgressStyle::with_template(template).unwrap();
        }
    }

    #[test]
    fn what_is_done_is_what_was_told() {
        let bytes = Progress::of_bytes("copied");
        bytes.reach(3, 7);
        assert_eq!((bytes.0.position(), bytes.0.length()), (3, Some(7)));
        let pieces = Progress::of(2, "tables");
        pieces.next("silver/orders");
        assert_eq!((pieces.0.position(), pieces.0.length()), (1, Some(2)));
    }
}
