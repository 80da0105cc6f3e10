//! What the newest barrier of a lake has saved, for whoever shows it or goes on from it.

use lake::Lake;
use lake::state::{Read, barriers, read};
use pipeline::silver::origins_in;
use schemas::{OriginState, chain};

use crate::failure::Failure;

/// The state of the newest barrier; `None` before the first.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn newest(lake: &Lake) -> Result<Option<Read>, Failure> {
    let folder = lake.work_dir().join("state");
    let failed = |text: String| Failure::Stopped(text);
    let all = barriers(&folder).map_err(|e| failed(chain(&e)))?;
    let Some(newest) = all.into_iter().max() else { return Ok(None) };
    read(&folder, newest).map(Some).map_err(|e| failed(chain(&e)))
}

/// The origins of a contract's table, as that state has them; none of a table that it does not know.
pub(crate) fn origins(read: Option<&Read>, contract: &str) -> Vec<OriginState> {
    read.and_then(|read| origins_in(&read.saved, contract).ok()).unwrap_or_default()
}
