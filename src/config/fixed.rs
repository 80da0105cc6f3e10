//! Settings that stay as they were while a process lives: where the lake is, what is listened on, whose tokens are
//! accepted, whom alerts are told to.

use super::Effective;

/// Settings, and sections that end with a dot.
const FIXED: [&str; 6] = ["lake.uri", "lake.work_dir", "ledger.", "api.", "auth.", "alerts."];

impl Effective {
    /// Puts these settings back to what they were, and names those of which the files say something else by now.
    pub(crate) fn keep_fixed(&mut self, before: &Effective) -> Vec<String> {
        let (own, held) = (&mut self.config, &before.config);
        own.lake.uri.clone_from(&held.lake.uri);
        own.lake.work_dir.clone_from(&held.lake.work_dir);
        own.ledger = held.ledger.clone();
        own.api = held.api.clone();
        own.auth = held.auth.clone();
        own.alerts = held.alerts.clone();
        let text = |of: &Effective, key: &String| of.values.get(key).map(|(text, _)| text.clone());
        let keys = self.values.keys().chain(before.values.keys());
        let mut other: Vec<String> = keys
            .filter(|key| is_fixed(key) && text(self, key) != text(before, key))
            .cloned()
            .collect();
        other.sort();
        other.dedup();
        self.values.retain(|key, _| !is_fixed(key));
        let fixed = before.values.iter().filter(|(key, _)| is_fixed(key));
        self.values.extend(fixed.map(|(key, value)| (key.clone(), value.clone())));
        other
    }
}

fn is_fixed(key: &str) -> bool {
    FIXED.iter().any(|fixed| key == *fixed || (fixed.ends_with('.') && key.starts_with(fixed)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_the_process_stay_and_others_do_not() {
        let load = |variables: &[(&str, &str)]| {
            let own = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
            Effective::load(None, &own.collect::<Vec<(String, String)>>()).unwrap()
        };
        let before = load(&[("WEIR__API__LISTEN", "127.0.0.1:1")]);
        let changed = || {
            let variables = [
                ("WEIR__API__LISTEN", "127.0.0.1:2"),
                ("WEIR__LAKE__URI", "/elsewhere"),
                ("WEIR__LAKE__BARRIER_INTERVAL", "7s"),
            ];
            load(&variables)
        };
        let mut after = changed();
        assert_eq!(after.keep_fixed(&before), ["api.listen", "lake.uri"]);
        assert_eq!(after.config.api.listen, "127.0.0.1:1");
        assert_eq!(after.config.lake.uri, before.config.lake.uri);
        assert_eq!(after.config.lake.barrier_interval.0.as_secs(), 7);
        let mut again = changed();
        assert_eq!(again.keep_fixed(&after).len(), 2, "it is said each time");
        assert!(load(&[]).keep_fixed(&load(&[])).is_empty());
    }
}
