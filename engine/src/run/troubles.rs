//! What is wrong at the moment, in words: why published numbers may be old.

use std::collections::BTreeMap;
use std::time::Instant;

use parking_lot::Mutex;

/// The troubles of a process, each under a key by which it is cleared.
#[derive(Debug, Default)]
pub struct Troubles(Mutex<BTreeMap<String, Trouble>>);

#[derive(Debug)]
struct Trouble {
    since: Instant,
    text: String,
    weight: Weight,
    /// Whether it is of the process around: it outlasts a run.
    is_around: bool,
}

/// What a trouble means for who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// Everything is read and written, and right, all the same.
    Slight,
    /// Some numbers may be wrong; everything is read and written all the same.
    Wrong,
    /// Something is out of reach: nobody should be sent here.
    Grave,
}

impl Troubles {
    /// Says that something is out of reach; a trouble that is there already keeps its age.
    pub fn set(&self, key: &str, text: &str) {
        self.put(key, text, Weight::Grave, false);
    }

    /// Says that something is wrong that keeps nothing from being read and written.
    pub fn set_slight(&self, key: &str, text: &str) {
        self.put(key, text, Weight::Slight, false);
    }

    /// The same of what is around the runs of a process: it is not over when a run ends.
    pub fn set_around(&self, key: &str, text: &str) {
        self.put(key, text, Weight::Slight, true);
    }

    /// Says that some numbers may be wrong, although everything is read and written.
    pub fn set_wrong(&self, key: &str, text: &str) {
        self.put(key, text, Weight::Wrong, false);
    }

    /// Forgets what is not of the process around.
    pub(super) fn forget_run(&self) {
        self.0.lock().retain(|_, trouble| trouble.is_around);
    }

    fn put(&self, key: &str, text: &str, weight: Weight, is_around: bool) {
        let mut held = self.0.lock();
        let since = held.get(key).map_or_else(Instant::now, |trouble| trouble.since);
        let text = text.to_owned();
        held.insert(key.to_owned(), Trouble { since, text, weight, is_around });
    }

    /// Says that it is over.
    pub fn clear(&self, key: &str) {
        self.0.lock().remove(key);
    }

    /// Whether everything is in reach.
    pub fn is_ready(&self) -> bool {
        self.0.lock().values().all(|trouble| trouble.weight != Weight::Grave)
    }

    /// What is wrong and for how long, and what that means.
    pub fn list(&self) -> Vec<(String, Weight)> {
        let held = self.0.lock();
        let say = |Trouble { since, text, weight, .. }: &Trouble| {
            (format!("{text}, for {} s", since.elapsed().as_secs()), *weight)
        };
        held.values().map(say).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trouble_lasts_until_it_is_cleared() {
        let troubles = Troubles::default();
        assert!(troubles.is_ready() && troubles.list().is_empty());
        troubles.set("broker", "the broker cannot be reached");
        troubles.set("lake", "the lake is read-only");
        let first = ("the broker cannot be reached, for 0 s".to_owned(), Weight::Grave);
        assert_eq!(troubles.list()[0], first);
        troubles.clear("broker");
        assert!(troubles.list().len() == 1 && !troubles.is_ready());
        troubles.clear("lake");
        troubles.set_slight("topic", "it is not there");
        assert!(troubles.is_ready() && troubles.list()[0].1 == Weight::Slight);
        troubles.clear("topic");
        troubles.set_wrong("audit", "a number is wrong");
        assert!(troubles.is_ready() && troubles.list()[0].1 == Weight::Wrong);
        troubles.set_around("route", "it refuses");
        assert!(troubles.is_ready());
        troubles.forget_run();
        assert_eq!(troubles.list()[0].0, "it refuses, for 0 s");
        troubles.clear("route");
        assert!(troubles.list().is_empty());
    }
}
