//! Lists the built-in KPI definitions and views, so that adding one is adding a file to `kpis/` or `views/`.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    list("kpis", "toml", "built_in.rs")?;
    list("kpis", "cases", "built_in_cases.rs")?;
    list("views", "sql", "built_in_views.rs")?;
    writeln!(io::stdout(), "cargo::rerun-if-changed=kpis\ncargo::rerun-if-changed=views")
}

/// Lists the files of a folder with this extension, name and text of each.
fn list(folder: &str, extension: &str, into: &str) -> io::Result<()> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR").map_err(io::Error::other)?);
    let out = PathBuf::from(env::var("OUT_DIR").map_err(io::Error::other)?);
    let mut files = fs::read_dir(root.join(folder))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<Vec<_>>>()?;
    files.retain(|path| path.extension().is_some_and(|own| own == extension));
    files.sort();
    let mut list = String::from("&[\n");
    for path in &files {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // Not the path of today: what was built in one clone may be linked in another.
        let path = format!("/{folder}/{name}");
        writeln!(
            list,
            "    ({name:?}, include_str!(concat!(env!(\"CARGO_MANIFEST_DIR\"), {path:?}))),"
        )
        .map_err(io::Error::other)?;
    }
    list.push_str("]\n");
    fs::write(Path::new(&out).join(into), list)
}
