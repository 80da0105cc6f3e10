//! What is wrong at the moment, in words: why published numbers may be old.

use std::collections::BTreeMap;
use std::time::Instant;

use parking_lot::Mutex;

/// The troubles of a run, each under a key by which it is cleared.
#[derive(Debug, Default)]
pub struct Troubles(Mutex<BTreeMap<String, (Instant, String)>>);

impl Troubles {
    /// Says that something is wrong; a trouble that is there already keeps its age.
    pub fn set(&self, key: &str, text: &str) {
        let mut held = self.0.lock();
        let since = held.get(key).map_or_else(Instant::now, |(since, _)| *since);
        held.insert(key.to_owned(), (since, text.to_owned()));
    }

    /// Says that it is over.
    pub fn clear(&self, key: &str) {
        self.0.lock().remove(key);
    }

    /// Whether all is well.
    pub fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }

    /// What is wrong and for how long.
    pub fn list(&self) -> Vec<String> {
        let held = self.0.lock();
        let say = |(since, text): &(Instant, String)| {
            format!("{text}, for {} s", since.elapsed().as_secs())
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
        assert!(troubles.is_empty());
        troubles.set("broker", "the broker cannot be reached");
        troubles.set("lake", "the lake is read-only");
        assert_eq!(troubles.list()[0], "the broker cannot be reached, for 0 s");
        troubles.clear("broker");
        assert_eq!(troubles.list().len(), 1);
        troubles.clear("lake");
        assert!(troubles.is_empty());
    }
}
