//! The memory bound of a run: beyond it sources are not polled.
//!
//! # Guarantees
//! - Nothing that was read is dropped: polling stops, all else goes on, and polling goes on by itself when
//!   less than [`GOES_ON_BELOW`] percent of the bound are in use.
//! - While it stands still, that is a trouble which names the setting, the use and the largest tables. A run
//!   that is to end by itself fails with it after [`PATIENCE`], as what it holds will not become less.
//!
//! # Non-guarantees
//! - Memory is what the operating system says, looked at a few times a second: the bound is passed by what
//!   is under way then.
//! - Where the operating system does not say, there is no bound.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::meters::Meters;

/// Polling goes on below this share of the bound, in percent.
const GOES_ON_BELOW: u64 = 95;

/// Memory is looked at this often.
const LOOK: Duration = Duration::from_millis(250);

/// How long a run that is to end by itself waits for memory.
const PATIENCE: Duration = Duration::from_secs(20);

/// Tables named in the trouble.
const TABLES_NAMED: usize = 3;

/// The key of the trouble.
const TROUBLE: &str = "memory";

/// The bound, and whether it is passed.
#[derive(Debug)]
pub(super) struct MemoryBound {
    limit: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    looked: Option<Instant>,
    over: bool,
    /// Since when it is passed, and what is said of it.
    trouble: Option<(Instant, String)>,
}

impl Default for MemoryBound {
    /// No bound.
    fn default() -> MemoryBound {
        MemoryBound { limit: u64::MAX, state: Mutex::default() }
    }
}

impl MemoryBound {
    /// The configured bound, else three quarters of what this process may have.
    pub(super) fn new(configured: Option<u64>) -> MemoryBound {
        let machine = || machine_bytes(Path::new("/")).map(|all| all / 4 * 3);
        let limit = configured.or_else(machine).unwrap_or(u64::MAX);
        MemoryBound { limit, state: Mutex::default() }
    }

    /// Whether sources must not be polled now. Asked by every source thread.
    pub(super) fn is_passed(&self, meters: &Meters) -> bool {
        let mut state = self.state.lock();
        if state.looked.is_some_and(|at| at.elapsed() < LOOK) {
            return state.over;
        }
        state.looked = Some(Instant::now());
        let Some(used) = used_bytes(Path::new("/")) else { return false };
        let was_over = state.over;
        state.over = is_over(was_over, used, self.limit);
        match (was_over, state.over) {
            (_, true) => {
                let text = self.text(used, &meters.table_rows.lock());
                if !was_over {
                    tracing::warn!("{text}");
                }
                meters.troubles.set(TROUBLE, &text);
                let since = state.trouble.take().map_or_else(Instant::now, |(since, _)| since);
                state.trouble = Some((since, text));
            }
            (true, false) => {
                tracing::info!("{} MiB of memory are in use: sources are polled again", used >> 20);
                meters.troubles.clear(TROUBLE);
                state.trouble = None;
            }
            (false, false) => {}
        }
        state.over
    }

    /// The trouble, once it has lasted for longer than can be waited for.
    pub(super) fn lasts(&self) -> Option<String> {
        let state = self.state.lock();
        let lasting = state.trouble.as_ref().filter(|(since, _)| since.elapsed() > PATIENCE);
        lasting.map(|(_, text)| text.clone())
    }

    fn text(&self, used: u64, rows: &[(String, usize)]) -> String {
        let mut largest: Vec<&(String, usize)> =
            rows.iter().filter(|(_, rows)| *rows > 0).collect();
        largest.sort_by(|a, b| (b.1, &a.0).cmp(&(a.1, &b.0)));
        let named =
            largest.iter().take(TABLES_NAMED).map(|(name, rows)| format!("{name} {rows} rows"));
        let named = named.collect::<Vec<_>>().join(", ");
        let named = if named.is_empty() { "none yet".to_owned() } else { named };
        format!(
            "{} MiB of memory are in use and `lake.memory_limit` is {} MiB: sources are not polled until less \
             is; the largest tables: {named}; give the process more memory and raise the setting",
            used >> 20,
            self.limit >> 20
        )
    }
}

fn is_over(was_over: bool, used: u64, limit: u64) -> bool {
    let goes_on = limit / 100 * GOES_ON_BELOW;
    if was_over { used >= goes_on } else { used > limit }
}

/// Memory of this process that no file stands for.
fn used_bytes(root: &Path) -> Option<u64> {
    let status = fs::read_to_string(root.join("proc/self/status")).ok()?;
    kib(&status, "RssAnon:").or_else(|| kib(&status, "VmRSS:"))
}

/// What this process may have: the machine's memory, or less where a control group says so.
fn machine_bytes(root: &Path) -> Option<u64> {
    let all = kib(&fs::read_to_string(root.join("proc/meminfo")).ok()?, "MemTotal:")?;
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let limits = groups.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?.trim_start_matches('/'));
        match controllers {
            "" => Some(group_limit(&root.join("sys/fs/cgroup"), path, "memory.max")),
            _ if controllers.split(',').any(|name| name == "memory") => {
                let mount = root.join("sys/fs/cgroup/memory");
                Some(group_limit(&mount, path, "memory.limit_in_bytes"))
            }
            _ => None,
        }
    });
    limits.flatten().chain([all]).min()
}

/// The least limit of a group and those above it. Within a container the group's own path may not be there.
fn group_limit(mount: &Path, group: &str, file: &str) -> Option<u64> {
    let own = mount.join(group);
    let folders = own.ancestors().take_while(|folder| folder.starts_with(mount));
    let limit = |folder: &Path| fs::read_to_string(folder.join(file)).ok()?.trim().parse().ok();
    folders.filter_map(limit).min()
}

fn kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let number: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    number.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polling_goes_on_only_well_below_the_bound() {
        let told: Vec<bool> = [900, 1_000, 1_001, 1_000, 951, 950, 949, 990]
            .into_iter()
            .scan(false, |over, used| {
                *over = is_over(*over, used, 1_000);
                Some(*over)
            })
            .collect();
        assert_eq!(told, [false, false, true, true, true, true, false, false]);
        assert!(!is_over(false, u64::MAX, u64::MAX) && !is_over(true, 5, u64::MAX));
    }

    #[test]
    fn the_trouble_names_setting_use_and_the_largest_tables() {
        let bound = MemoryBound::new(Some(512 << 20));
        let rows = [("silver/a", 5), ("silver/b", 700), ("silver/c", 0), ("silver/d", 5)];
        let rows: Vec<_> = rows.map(|(name, rows)| (name.to_owned(), rows)).into();
        let text = bound.text(600 << 20, &rows);
        for says in
            ["600 MiB", "`lake.memory_limit` is 512 MiB", "silver/b 700 rows, silver/a 5 rows"]
        {
            assert!(text.contains(says), "{text}");
        }
        assert!(!text.contains("silver/c"), "{text}");
    }

    #[test]
    fn a_small_bound_stops_polling_and_says_so() {
        let meters = Meters::default();
        assert!(MemoryBound::new(Some(1 << 20)).is_passed(&meters));
        assert!(meters.troubles.list()[0].0.contains("lake.memory_limit"));
        assert!(!MemoryBound::new(None).is_passed(&Meters::default()));
    }

    #[test]
    fn the_machine_is_what_a_control_group_leaves_of_it() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let machine = || machine_bytes(root.path());
        assert_eq!(machine(), None);
        write("proc/meminfo", "MemTotal:       8000 kB\nMemFree:  1 kB\n");
        assert_eq!(machine(), Some(8_000 << 10));
        write("proc/self/cgroup", "4:cpu,memory:/a/b\n0::/c/d\n");
        assert_eq!(machine(), Some(8_000 << 10));
        write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
        write("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "5000000\n");
        assert_eq!(machine(), Some(5_000_000));
        write("sys/fs/cgroup/c/d/memory.max", "max\n");
        assert_eq!(machine(), Some(5_000_000));
        write("sys/fs/cgroup/c/memory.max", "4000000\n");
        assert_eq!(machine(), Some(4_000_000));
    }
}
