//! CPU time and memory of a child process, read from `/proc` while it runs.
//!
//! # Guarantees
//! - CPU time is that of the whole process to its end: the last look is at the zombie, whose counters
//!   are complete.
//!
//! # Non-guarantees
//! - Peak memory is the kernel's own high-water mark, last read up to 20 ms before the end.
//! - CPU time per thread is what was seen last; a thread's final 20 ms may be missing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use crate::failure::Failure;

/// Between two looks.
const INTERVAL: Duration = Duration::from_millis(20);

/// How often memory is looked at until it has settled.
const LOOKS: u32 = 20;

/// Linux shows CPU time in hundredths of a second to every program, whatever the kernel counts in.
const TICKS_PER_SECOND: f64 = 100.0;

/// What a process used.
#[derive(Debug, Clone)]
pub struct Usage {
    /// How it ended.
    pub status: ExitStatus,
    /// From start to end.
    pub wall: Duration,
    /// Seconds of user and system time.
    pub cpu: f64,
    /// The most memory it had at once, in MiB.
    pub peak_mib: f64,
    /// Seconds of CPU time by thread, the busiest first.
    pub threads: Vec<(String, f64)>,
}

/// Watches a child to its end.
///
/// # Errors
/// When it cannot be waited for, or there is no `/proc`.
pub fn watch(mut child: Child, begin: Instant) -> Result<Usage, Failure> {
    let folder = PathBuf::from(format!("/proc/{}", child.id()));
    let (mut cpu, mut peak_kib) = (0.0, 0.0);
    let mut threads = BTreeMap::new();
    loop {
        let stat = Stat::read(&folder.join("stat"))?;
        cpu = stat.cpu.max(cpu);
        if stat.state == 'Z' {
            break;
        }
        peak_kib = high_water(&folder).unwrap_or(peak_kib);
        note_threads(&folder, &mut threads);
        std::thread::sleep(INTERVAL);
    }
    let wall = begin.elapsed();
    let status = child.wait().map_err(Failure::io("wait for", &folder))?;
    let mut threads: Vec<(String, f64)> = threads.into_values().collect();
    threads.sort_by(|a, b| b.1.total_cmp(&a.1));
    Ok(Usage { status, wall, cpu, peak_mib: peak_kib / 1024.0, threads })
}

struct Stat {
    name: String,
    state: char,
    cpu: f64,
}

impl Stat {
    fn read(path: &Path) -> Result<Stat, Failure> {
        let text = std::fs::read_to_string(path).map_err(Failure::io("read", path))?;
        let other =
            || Failure::Worthless(format!("`{}` is not as expected: {text}", path.display()));
        Stat::parse(&text).ok_or_else(other)
    }

    /// `12 (the name) R ...`; user and system time are the 14th and 15th field.
    fn parse(text: &str) -> Option<Stat> {
        let (head, rest) = text.rsplit_once(')')?;
        let (_, name) = head.split_once('(')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
        let state = fields.first()?.chars().next()?;
        let cpu = (ticks(11)? + ticks(12)?) / TICKS_PER_SECOND;
        Some(Stat { name: name.into(), state, cpu })
    }
}

/// The kernel's high-water mark, in KiB.
fn high_water(folder: &Path) -> Option<f64> {
    kib(folder, "VmHWM:")
}

/// Memory of a process now, in KiB.
pub fn resident_kib(process: u32) -> Option<f64> {
    kib(Path::new(&format!("/proc/{process}")), "VmRSS:")
}

/// Bytes of this program in memory, when the allocator has given back what was needed for a moment only: it does so
/// some time later, and when it is asked for something.
///
/// # Errors
/// When the system does not say how much memory this takes.
pub fn settled_bytes() -> Result<f64, Failure> {
    let none = || Failure::Worthless("the system does not say how much memory this takes".into());
    let mut least = f64::INFINITY;
    for _ in 0..LOOKS {
        std::thread::sleep(INTERVAL);
        drop(std::hint::black_box(vec![1_u8; 1 << 20]));
        let bytes = resident_kib(std::process::id()).map(|kib| kib * 1024.0).ok_or_else(none)?;
        least = least.min(bytes);
    }
    Ok(least)
}

/// What a piece of work took of this thread.
#[derive(Debug, Clone, Copy, Default)]
pub struct Spent {
    /// Seconds on a core.
    pub cpu: f64,
    /// Seconds from begin to end.
    pub wall: f64,
}

impl Spent {
    /// Adds what another piece took.
    pub fn add(&mut self, other: Spent) {
        self.cpu += other.cpu;
        self.wall += other.wall;
    }
}

/// Does a piece of work, and says what it took: seconds, as the kernel counts them from time to time.
///
/// # Errors
/// When the kernel does not count them.
pub fn spent<T>(work: impl FnOnce() -> T) -> Result<(T, Spent), Failure> {
    let (cpu, begin) = (on_core()?, Instant::now());
    let done = work();
    let wall = begin.elapsed().as_secs_f64();
    Ok((done, Spent { cpu: on_core()? - cpu, wall }))
}

/// Seconds that this thread was on a core.
fn on_core() -> Result<f64, Failure> {
    let path = Path::new("/proc/thread-self/schedstat");
    let text = std::fs::read_to_string(path).map_err(Failure::io("read", path))?;
    let nanos = text.split(' ').next().and_then(|word| word.parse::<f64>().ok());
    let none = || Failure::Worthless(format!("`{}` does not count", path.display()));
    nanos.map(|nanos| nanos / 1e9).ok_or_else(none)
}

fn kib(folder: &Path, field: &str) -> Option<f64> {
    let status = std::fs::read_to_string(folder.join("status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// Threads come and go: one that is gone keeps what it had.
fn note_threads(folder: &Path, into: &mut BTreeMap<String, (String, f64)>) {
    let Ok(tasks) = std::fs::read_dir(folder.join("task")) else { return };
    for task in tasks.flatten() {
        if let Ok(stat) = Stat::read(&task.path().join("stat")) {
            let id = task.file_name().to_string_lossy().into_owned();
            into.insert(id, (stat.name, stat.cpu));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_line_whose_name_has_spaces_and_brackets() {
        let line = "7 (a (b) c) S 1 7 7 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 1 0 5 6 7";
        let stat = Stat::parse(line).unwrap();
        assert_eq!((stat.name.as_str(), stat.state), ("a (b) c", 'S'));
        assert!((stat.cpu - 2.0).abs() < 1e-9);
    }

    #[test]
    fn watches_a_process_to_its_end() {
        let begin = Instant::now();
        let child = std::process::Command::new("sleep").arg("0.1").spawn().unwrap();
        let usage = watch(child, begin).unwrap();
        assert!(usage.status.success());
        assert!(usage.wall >= Duration::from_millis(100));
        assert!(usage.peak_mib > 0.0);
    }
}
