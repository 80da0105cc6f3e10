//! The working folder of a lake: what belongs to the machine that writes it. Ledger, control file, saved state.
//!
//! # Guarantees
//! - The lake names its working folder, so whoever reads the lake needs no configuration for it.
//! - While such files lie elsewhere than a writer is told, it is refused and nothing is touched: without them
//!   decisions would be lost.
//!
//! # Non-guarantees
//! - A lake that was copied without its working folder goes on without it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::durable;
use crate::error::LakeError;

/// The file in a lake's own folder that names another working folder.
const NAME: &str = "work_dir";
/// What lies in a working folder.
pub(crate) const FILES: [&str; 3] = ["control.ndjson", "ledger", "state"];

/// The working folder of the lake whose own folder is `state`.
pub(crate) fn read(state: &Path) -> Result<PathBuf, LakeError> {
    let path = state.join(NAME);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(PathBuf::from(text.trim_end_matches('\n'))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(state.to_path_buf()),
        Err(source) => Err(LakeError::io("read", &path)(source)),
    }
}

/// A working folder as a writer finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkDir {
    /// The folder, which may not be there yet.
    pub folder: PathBuf,
    /// Whether it is the lake's own.
    pub is_own: bool,
    /// Whether anything that belongs into one lies in it.
    pub is_used: bool,
}

/// What a writer finds that is told `wanted`, or the lake's own folder where `None`. Touches nothing.
pub(crate) fn find(state: &Path, wanted: Option<&Path>) -> Result<WorkDir, LakeError> {
    let held = read(state)?;
    let folder = match wanted {
        None => state.to_path_buf(),
        Some(folder) => resolved(folder).map_err(LakeError::io("find", folder))?,
    };
    let file_in = |folder: &Path| FILES.iter().find(|file| folder.join(file).exists());
    if folder != held
        && let Some(file) = file_in(&held)
    {
        return Err(LakeError::WorkElsewhere { file, held, wanted: folder });
    }
    Ok(WorkDir { is_own: folder == state, is_used: file_in(&folder).is_some(), folder })
}

/// The path without links, also of a folder that is not there yet.
fn resolved(folder: &Path) -> io::Result<PathBuf> {
    let whole = std::path::absolute(folder)?;
    for above in whole.ancestors() {
        if let Ok(found) = fs::canonicalize(above) {
            let rest = whole.strip_prefix(above).unwrap_or(Path::new(""));
            return Ok(found.components().chain(rest.components()).collect());
        }
    }
    Ok(whole)
}

/// Makes `wanted` the working folder, the lake's own where `None`.
pub(crate) fn settle(state: &Path, wanted: Option<&Path>) -> Result<PathBuf, LakeError> {
    let WorkDir { folder: wanted, .. } = find(state, wanted)?;
    durable::create_dirs(&wanted).map_err(LakeError::io("create", &wanted))?;
    if wanted == read(state)? {
        return Ok(wanted);
    }
    let path = state.join(NAME);
    let text = format!("{}\n", wanted.display());
    durable::put_replace(&path, [text.as_bytes()].into_iter())
        .map_err(LakeError::io("write", &path))?;
    Ok(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_lie_elsewhere_are_named_and_may_be_moved() {
        let place = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(place.path()).unwrap();
        let (state, first, second) = (root.join("_weir"), root.join("first"), root.join("second"));
        fs::create_dir(&state).unwrap();
        assert_eq!(settle(&state, None).unwrap(), state);
        assert!(!state.join(NAME).exists(), "nothing has to be said");
        assert_eq!(settle(&state, Some(&first)).unwrap(), first);
        assert_eq!(read(&state).unwrap(), first);
        fs::write(first.join("control.ndjson"), "").unwrap();
        for wanted in [None, Some(second.as_path())] {
            let text = settle(&state, wanted).unwrap_err().to_string();
            for says in ["control.ndjson", "first", "lake.work_dir", "move"] {
                assert!(text.contains(says), "{text}");
            }
            assert_eq!(read(&state).unwrap(), first, "nothing was changed");
            assert!(!second.exists());
        }
        let own = WorkDir { folder: first.clone(), is_own: false, is_used: true };
        assert_eq!(find(&state, Some(&root.join("_weir/../first"))).unwrap(), own);
        fs::create_dir(&second).unwrap();
        fs::rename(first.join("control.ndjson"), second.join("control.ndjson")).unwrap();
        assert_eq!(settle(&state, Some(&second)).unwrap(), second);
        fs::remove_dir_all(&second).unwrap();
        let gone = WorkDir { folder: second.clone(), is_own: false, is_used: false };
        assert_eq!(find(&state, Some(&second)).unwrap(), gone);
        assert_eq!(settle(&state, None).unwrap(), state);
        assert_eq!(read(&state).unwrap(), state);
    }
}
