//! Lists the files of the page, so that the binary carries them.
//!
//! # Guarantees
//! - Every file below `ui` is in the list under its path there; a missing or empty folder gives an
//!   empty one.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let folder = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join("ui");
    let mut files = Vec::new();
    if folder.is_dir() {
        println!("cargo::rerun-if-changed=ui");
        walk(&folder, &mut files)?;
    } else {
        // Watching the parent notices the folder when it comes.
        println!("cargo::rerun-if-changed=.");
    }
    files.sort();
    let mut list = String::from("/// Path below the folder of the page, and content.\n");
    list.push_str("pub(crate) static FILES: &[(&str, &[u8])] = &[\n");
    for file in &files {
        let name = file.strip_prefix(&folder).map_err(io::Error::other)?;
        let name = name.to_string_lossy().replace('\\', "/");
        // Not the path of today: what was built in one clone may be linked in another.
        let path = format!("/ui/{name}");
        writeln!(
            list,
            "    ({name:?}, include_bytes!(concat!(env!(\"CARGO_MANIFEST_DIR\"), {path:?}))),"
        )
        .map_err(io::Error::other)?;
    }
    list.push_str("];\n");
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    fs::write(out.join("ui.rs"), list)
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // Hidden files are an editor's, not the page's.
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        if entry.file_type()?.is_dir() {
            walk(&entry.path(), files)?;
        } else {
            files.push(entry.path());
        }
    }
    Ok(())
}
