//! Whether a command may change anything: `--yes`, or `--dry-run` to only look.

use std::path::Path;

use clap::Args;

use crate::failure::Failure;

/// Whether to change anything.
#[derive(Debug, Args)]
pub(super) struct Consent {
    /// Say what would be done, and do nothing.
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Do it.
    #[arg(long)]
    pub(super) yes: bool,
}

impl Consent {
    /// That nothing was done is an error of usage, unless it was asked for.
    pub(super) fn asked(&self, root: &Path) -> Result<(), Failure> {
        if self.yes || self.dry_run {
            return Ok(());
        }
        Err(Failure::Usage(format!(
            "nothing was changed in `{}`: add --yes to do it, or --dry-run to only look",
            root.display()
        )))
    }
}
