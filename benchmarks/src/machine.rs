//! What a figure was measured on.

use schemas::Micros;

/// The wall clock, for dating a report and ending a stream in the present.
#[expect(clippy::disallowed_methods, reason = "a report is dated by the wall clock")]
pub fn now() -> Micros {
    Micros(chrono::Utc::now().timestamp_micros())
}

/// Cores, processor, memory and kernel, and where the broker is, as Markdown list items.
pub fn facts() -> String {
    format!("{}- the broker runs on the same machine\n", hardware())
}

/// Cores, processor, memory and kernel, as Markdown list items.
pub fn hardware() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let processor = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".into());
    let memory = field("/proc/meminfo", "MemTotal").unwrap_or_else(|| "unknown".into());
    let kib = memory.trim_end_matches("kB").trim().parse::<f64>().unwrap_or(0.0);
    let kernel = first("/proc/sys/kernel/osrelease");
    format!(
        "- {cores} cores, {processor}\n- {:.1} GiB memory, Linux {kernel}\n",
        kib / 1024.0 / 1024.0
    )
}

/// Processes that wanted a core, on average over the last minute.
pub fn load() -> String {
    let load = first("/proc/loadavg");
    load.split(' ').next().unwrap_or_default().into()
}

fn first(path: &str) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().next().unwrap_or_default().trim().to_owned()
}

fn field(path: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let (_, value) = text.lines().find(|line| line.starts_with(name))?.split_once(':')?;
    Some(value.trim().to_owned())
}
