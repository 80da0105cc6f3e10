//! The lines of a file, or of a folder's files in name order, including those written later.
//!
//! # Guarantees
//! - Every line that is not blank is given once, in file name order; what is appended, or appears as a
//!   new file, is found by [`Walk::look_again`].
//! - A line is bounded by [`LINE_BYTES_MAX`]. A file that became shorter is an error.
//! - The last line of a plain file that does not end yet is given once the file has not grown for a
//!   second, or at once when the end is fixed.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use flate2::read::MultiGzDecoder;

use crate::source::SourceError;

/// The longest line.
pub(super) const LINE_BYTES_MAX: u64 = 64 << 20;

/// How long a last line without an end is waited for.
const UNENDED: Duration = Duration::from_secs(1);

/// A walk over lines.
#[derive(Debug)]
pub(super) struct Walk {
    root: PathBuf,
    files: BTreeMap<OsString, Input>,
    /// The file that is being read, by its name; none at the start.
    at: Option<OsString>,
    line: Vec<u8>,
    /// No file and no byte beyond what was there when this was set.
    fixed: bool,
}

/// One file, and how far it has been read.
pub(super) struct Input {
    path: PathBuf,
    topic: Arc<str>,
    packed: bool,
    open: Option<Box<dyn BufRead + Send>>,
    /// Bytes of whole lines read, for plain files.
    position: u64,
    /// The size up to which it is read now.
    size: u64,
    /// When that was its size.
    looked: Instant,
    /// The size when it was last read to its end, for packed files.
    finished: Option<u64>,
    lines: u64,
    bad: i64,
    unended: Option<(u64, Instant)>,
}

impl Walk {
    /// A walk from the first line.
    pub(super) fn new(root: &Path) -> Result<Walk, SourceError> {
        let (root, files) = (root.to_owned(), BTreeMap::new());
        let mut walk = Walk { root, files, at: None, line: Vec::new(), fixed: false };
        walk.look_again()?;
        Ok(walk)
    }

    /// Nothing that is written from now on is given.
    pub(super) fn fix_end(&mut self) -> Result<(), SourceError> {
        self.look_again()?;
        self.fixed = true;
        Ok(())
    }

    pub(super) fn is_fixed(&self) -> bool {
        self.fixed
    }

    /// Looks for new files and new lines.
    pub(super) fn look_again(&mut self) -> Result<(), SourceError> {
        if self.fixed {
            return Ok(());
        }
        for path in list(&self.root)? {
            let size = fs::metadata(&path).map_err(|e| unreadable(&path, e))?.len();
            let Some(name) = path.file_name().map(ToOwned::to_owned) else { continue };
            let input = self.files.entry(name).or_insert_with_key(|name| Input::new(&path, name));
            if size < input.position {
                let reason = format!(
                    "the file is now {size} bytes long, but {} were read from it; give changed files \
                     a new name",
                    input.position
                );
                return Err(input.error(reason));
            }
            (input.size, input.looked) = (size, Instant::now());
        }
        self.at = None;
        Ok(())
    }

    /// Goes to the next line. False when there is none now.
    pub(super) fn advance(&mut self) -> Result<bool, SourceError> {
        loop {
            let Some(name) = self.current() else { return Ok(false) };
            let Some(input) = self.files.get_mut(&name) else { return Ok(false) };
            self.line.clear();
            if input.read_line(&mut self.line, self.fixed)? {
                if self.line.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                return Ok(true);
            }
            // This file has no more now: on to the next one that may have.
            let next = self.files.range::<OsString, _>((
                std::ops::Bound::Excluded(&name),
                std::ops::Bound::Unbounded,
            ));
            let next = next.map(|(name, _)| name.clone()).next();
            if next.is_none() {
                return Ok(false);
            }
            self.at = next;
        }
    }

    fn current(&mut self) -> Option<OsString> {
        if self.at.is_none() {
            self.at = self.files.keys().next().cloned();
        }
        self.at.clone()
    }

    /// The current line, without its end, and its file.
    pub(super) fn line(&mut self) -> Option<(&[u8], &mut Input)> {
        let input = self.files.get_mut(self.at.as_ref()?)?;
        Some((&self.line, input))
    }
}

impl Input {
    fn new(path: &Path, name: &OsString) -> Input {
        Input {
            path: path.to_owned(),
            topic: Arc::from(name.to_string_lossy()),
            packed: path.extension().is_some_and(|e| e == "gz"),
            open: None,
            position: 0,
            size: 0,
            looked: Instant::now(),
            finished: None,
            lines: 0,
            bad: 0,
            unended: None,
        }
    }

    /// The file's name.
    pub(super) fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    /// The number of the current line, from 0.
    pub(super) fn number(&self) -> i64 {
        i64::try_from(self.lines.saturating_sub(1)).unwrap_or(i64::MAX)
    }

    /// The offset of the next line that is no record with coordinates.
    pub(super) fn next_bad(&mut self) -> i64 {
        self.bad += 1;
        self.bad - 1
    }

    /// An error at the current line.
    pub(super) fn error(&self, reason: String) -> SourceError {
        SourceError::File { path: self.path.display().to_string(), line: self.lines, reason }
    }

    fn read_line(&mut self, line: &mut Vec<u8>, fixed: bool) -> Result<bool, SourceError> {
        if !self.open(fixed)? {
            return Ok(false);
        }
        let Some(open) = self.open.as_mut() else { return Ok(false) };
        let read = open.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', line);
        let read = match read {
            // A packed file that is still being written ends in the middle.
            Err(e) if self.packed && !fixed && e.kind() == io::ErrorKind::UnexpectedEof => {
                return Ok(self.finish());
            }
            Err(e) => return Err(unreadable(&self.path, e)),
            Ok(read) => read as u64,
        };
        if read == 0 {
            return Ok(self.finish());
        }
        if line.last() != Some(&b'\n') {
            if read >= LINE_BYTES_MAX {
                let reason = format!("the line is longer than {LINE_BYTES_MAX} bytes; split it");
                return Err(self.error(reason));
            }
            if !self.packed && !fixed && !self.is_settled() {
                self.open = None;
                return Ok(false);
            }
        }
        while line.last().is_some_and(|b| matches!(b, b'\n' | b'\r')) {
            line.pop();
        }
        self.position += read;
        self.lines += 1;
        self.unended = None;
        Ok(true)
    }

    /// Nothing more for now.
    fn finish(&mut self) -> bool {
        self.open = None;
        self.finished = Some(self.size);
        false
    }

    /// Whether a last line without an end has been the last for long enough.
    fn is_settled(&mut self) -> bool {
        match self.unended {
            Some((size, since)) if size == self.size => {
                self.looked.saturating_duration_since(since) >= UNENDED
            }
            _ => {
                self.unended = Some((self.size, Instant::now()));
                false
            }
        }
    }

    /// Opens the file at the place reached, if it has more.
    fn open(&mut self, fixed: bool) -> Result<bool, SourceError> {
        if self.open.is_some() {
            return Ok(true);
        }
        let more =
            if self.packed { self.finished != Some(self.size) } else { self.size > self.position };
        if !more {
            return Ok(false);
        }
        let mut file = File::open(&self.path).map_err(|e| unreadable(&self.path, e))?;
        if self.packed {
            let mut open =
                BufReader::with_capacity(1 << 18, MultiGzDecoder::new(BufReader::new(file)));
            if !self.skip_lines(&mut open, fixed)? {
                return Ok(self.finish());
            }
            self.open = Some(Box::new(open));
        } else {
            file.seek(SeekFrom::Start(self.position)).map_err(|e| unreadable(&self.path, e))?;
            let rest = file.take(self.size - self.position);
            self.open = Some(Box::new(BufReader::with_capacity(1 << 18, rest)));
        }
        Ok(true)
    }

    /// Skips the lines of a packed file that were read before. False when it ends before them.
    fn skip_lines(&self, open: &mut impl BufRead, fixed: bool) -> Result<bool, SourceError> {
        let mut skipped = Vec::new();
        for _ in 0..self.lines {
            skipped.clear();
            match open.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut skipped) {
                Ok(0) => {
                    let reason = "the file has fewer lines than were read from it; give changed \
                                  files a new name";
                    return Err(self.error(reason.to_owned()));
                }
                Ok(_) => {}
                Err(e) if !fixed && e.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
                Err(e) => return Err(unreadable(&self.path, e)),
            }
        }
        Ok(true)
    }
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Input").field("path", &self.path).field("lines", &self.lines).finish()
    }
}

/// The files to read: the path itself, or the files directly in it. Hidden files are not looked at.
fn list(root: &Path) -> Result<Vec<PathBuf>, SourceError> {
    let kind = fs::metadata(root).map_err(|e| unreadable(root, e))?;
    if !kind.is_dir() {
        return Ok(vec![root.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(root).map_err(|e| unreadable(root, e))? {
        let path = entry.map_err(|e| unreadable(root, e))?.path();
        let hidden = path.file_name().is_none_or(|n| n.as_encoded_bytes().starts_with(b"."));
        if path.is_file() && !hidden {
            files.push(path);
        }
    }
    Ok(files)
}

fn unreadable(path: &Path, source: io::Error) -> SourceError {
    SourceError::Read { path: path.display().to_string(), source }
}
