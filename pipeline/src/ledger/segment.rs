//! Segments: one file of the ledger each, `<first epoch>.ledger`.
//!
//! # Guarantees
//! - A segment that is there has its header, or its creation was cut off and it holds no entry.
//! - A failed write is cut off again; where even that fails, or a sync does, nothing is known of the
//!   file any more, and the error says so.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use schemas::EpochId;

use super::entry::Coder;
use super::frame::{self, End, number, put_number, put_signed, put_text, signed, text};
use super::{Entry, Header, LedgerError};

/// The first bytes of a segment.
const MAGIC: &[u8; 8] = b"weirled2";

/// The seal of a header is seeded with what no epoch is.
const HEADER_SEED: u64 = u64::MAX;

/// More bytes than any header has: the identities of a KPI take some 150.
const HEADER_BYTES_MAX: u64 = 1 << 20;

/// What the beginning of a segment says, and its size.
#[derive(Debug, Clone)]
pub(super) struct Head {
    pub(super) path: PathBuf,
    /// The epoch of its first entry.
    pub(super) first: EpochId,
    /// That entry's clock.
    pub(super) clock: i64,
    pub(super) bytes: u64,
}

/// The segments in a folder, oldest first.
pub(super) fn paths(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    let entries = match fs::read_dir(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(paths),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "ledger") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Reads the beginning of a segment: `None` when its creation was cut off. The inner error says what
/// is wrong with it.
#[allow(clippy::type_complexity, reason = "read at all, sound, whole")]
pub(super) fn read_head(path: &Path) -> io::Result<Result<Option<(Header, Head)>, String>> {
    let file = File::open(path)?;
    let bytes = file.metadata()?.len();
    let mut begin = Vec::new();
    file.take(HEADER_BYTES_MAX).read_to_end(&mut begin)?;
    let place = path.display();
    if is_of_version_1(&begin) {
        return Ok(Err(format!("`{place}` was written by an earlier version of weir")));
    }
    let mut rest = begin.as_slice();
    let read = take_header(&mut rest);
    Ok(match read {
        Ok((header, first, clock)) => {
            Ok(Some((header, Head { path: path.to_path_buf(), first, clock, bytes })))
        }
        Err(End::Torn) => Ok(None),
        Err(End::Damaged) => Err(format!("the header of `{place}` is damaged")),
    })
}

/// Reads every entry of a segment. The inner error says what is wrong with them.
pub(super) fn read_entries(head: &Head) -> io::Result<Result<Vec<Entry>, String>> {
    let bytes = fs::read(&head.path)?;
    let mut rest = bytes.as_slice();
    let damaged = |epoch| format!("epoch {epoch} in `{}` is damaged", head.path.display());
    if take_header(&mut rest).is_err() {
        return Ok(Err(format!("the header of `{}` is damaged", head.path.display())));
    }
    let (mut coder, mut epoch) = (Coder::new(head.clock), head.first);
    let mut entries = Vec::new();
    loop {
        let payload = match frame::take(&mut rest, epoch) {
            Ok(payload) => payload,
            Err(End::Torn) => return Ok(Ok(entries)),
            Err(End::Damaged) => return Ok(Err(damaged(epoch))),
        };
        let Some(entry) = coder.take(payload, epoch) else { return Ok(Err(damaged(epoch))) };
        entries.push(entry);
        epoch += 1;
    }
}

/// Before frames there were lines of `<checksum in hexadecimal> <json>`.
fn is_of_version_1(bytes: &[u8]) -> bool {
    let Some((sum, rest)) = bytes.split_first_chunk::<16>() else { return false };
    sum.iter().all(u8::is_ascii_hexdigit) && rest.starts_with(b" {")
}

fn take_header(rest: &mut &[u8]) -> Result<(Header, EpochId, i64), End> {
    let is_cut = MAGIC.starts_with(rest);
    let Some(after) = rest.strip_prefix(MAGIC) else {
        let is_blank = rest.iter().all(|byte| *byte == 0);
        return Err(if is_cut || is_blank { End::Torn } else { End::Damaged });
    };
    *rest = after;
    let mut payload = frame::take(rest, HEADER_SEED)?;
    let payload = &mut payload;
    let mut read = || {
        let (first, clock) = (number(payload)?, signed(payload)?);
        let (lake, generation, fingerprint) = (text(payload)?, text(payload)?, text(payload)?);
        payload.is_empty().then_some((Header { lake, generation, fingerprint }, first, clock))
    };
    read().ok_or(End::Damaged)
}

/// A segment that is being written.
#[derive(Debug)]
pub(super) struct Writer {
    head: Head,
    file: File,
    coder: Coder,
    next: EpochId,
    /// The end of the header.
    begin: u64,
}

impl Writer {
    /// Makes the segment that begins with `first`.
    pub(super) fn start(
        folder: &Path,
        header: &Header,
        first: &Entry,
        durable: bool,
    ) -> Result<Writer, LedgerError> {
        let path = folder.join(format!("{:020}.ledger", first.epoch));
        let failed = |source| LedgerError::Append { folder: folder.to_path_buf(), source };
        let mut payload = Vec::new();
        put_number(&mut payload, first.epoch);
        put_signed(&mut payload, first.clock);
        put_text(&mut payload, &header.lake);
        put_text(&mut payload, &header.generation);
        put_text(&mut payload, &header.fingerprint);
        let mut bytes = MAGIC.to_vec();
        frame::push(&mut bytes, HEADER_SEED, &payload);
        let mut options = OpenOptions::new();
        // Appending: after a cut, what follows begins at the cut.
        let mut file = options.create(true).append(true).open(&path).map_err(failed)?;
        file.set_len(0).and_then(|()| file.write_all(&bytes)).map_err(failed)?;
        if durable {
            let unknown = |file: &Path| {
                let file = file.to_path_buf();
                |source| LedgerError::Sync { file, source }
            };
            file.sync_all().map_err(unknown(&path))?;
            let synced = File::open(folder).and_then(|folder| folder.sync_all());
            synced.map_err(unknown(folder))?;
        }
        let begin = bytes.len() as u64;
        let head = Head { path, first: first.epoch, clock: first.clock, bytes: begin };
        Ok(Writer { head, file, coder: Coder::new(first.clock), next: first.epoch, begin })
    }

    /// Appends entries in one write and one sync. After an error nothing more may be appended.
    pub(super) fn append(&mut self, entries: &[Entry], durable: bool) -> Result<(), LedgerError> {
        let folder = || self.head.path.parent().map(Path::to_path_buf).unwrap_or_default();
        let mut frames = Vec::with_capacity(entries.len() * 64);
        let mut payload = Vec::new();
        for (epoch, entry) in (self.next..).zip(entries) {
            payload.clear();
            if epoch != entry.epoch || self.coder.put(&mut payload, entry).is_none() {
                let reason = format!("epoch {} is none that follows {epoch}", entry.epoch);
                let source = io::Error::new(io::ErrorKind::InvalidInput, reason);
                return Err(LedgerError::Append { folder: folder(), source });
            }
            frame::push(&mut frames, epoch, &payload);
        }
        let unknown = |source| LedgerError::Sync { file: self.head.path.clone(), source };
        if let Err(source) = self.file.write_all(&frames) {
            // Synced: after a power cut, what was cut off may not come back before what follows it.
            let cut = self.file.set_len(self.head.bytes);
            let cut = if durable { cut.and_then(|()| self.file.sync_all()) } else { cut };
            cut.map_err(unknown)?;
            return Err(LedgerError::Append { folder: folder(), source });
        }
        if durable {
            self.file.sync_data().map_err(unknown)?;
        }
        self.head.bytes += frames.len() as u64;
        self.next += entries.len() as u64;
        Ok(())
    }

    /// Its size.
    pub(super) fn bytes(&self) -> u64 {
        self.head.bytes
    }

    pub(super) fn has_entries(&self) -> bool {
        self.head.bytes > self.begin
    }

    pub(super) fn head(&self) -> &Head {
        &self.head
    }

    /// Nothing more is appended.
    pub(super) fn close(self) -> Head {
        self.head
    }
}
