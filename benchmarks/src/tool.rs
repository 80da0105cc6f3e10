//! What the scenarios have in common as programs: where the product is, and where reports go.

use std::io::Write;
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::machine;

/// The binary that was given, or the one that was built into the same folder as this program.
///
/// # Errors
/// When there is none.
pub fn product(given: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(given) = given {
        return Ok(given.to_owned());
    }
    let own = std::env::current_exe().map_err(Failure::io("find", Path::new("this program")))?;
    let beside = own.with_file_name("weir");
    if beside.exists() {
        return Ok(beside);
    }
    let text = format!("there is no `{}`; build it with `cargo build --release`", beside.display());
    Err(Failure::Worthless(text))
}

/// Writes a report to standard output and to a file: `out`, or one named by scenario and date.
///
/// # Errors
/// When the file cannot be written.
pub fn publish(scenario: &str, out: Option<&Path>, report: &str) -> Result<(), Failure> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
    let named = folder.join(format!("{scenario}-{}.md", machine::now().date()));
    let path = out.map_or(named, Path::to_path_buf);
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(Failure::io("create", folder))?;
    }
    std::fs::write(&path, report).map_err(Failure::io("write", &path))?;
    drop(std::io::stdout().lock().write_all(report.as_bytes()));
    say(&format!("written to {}", path.display()));
    Ok(())
}

/// Progress goes to standard error, the report to standard output.
pub fn say(text: &str) {
    drop(writeln!(std::io::stderr().lock(), "{text}"));
}
