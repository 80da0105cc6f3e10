//! The lines of a file, or of a folder's files in name order, including those written later.
//!
//! # Guarantees
//! - Every line that is not blank is given once, in file name order; what is appended, or appears as a
//!   new file, is found by [`Walk::look_again`].
//! - A line is bounded by [`LINE_BYTES_MAX`]. A file that became shorter, or whose line read last is another
//!   one now, is an error.
//! - A line is given when its end has come. A last line without one is given when it is a whole JSON
//!   value, which nothing can make longer; else it is left, see [`Walk::left`]. Its number does not
//!   depend on when its end comes.
//! - A byte order mark at the start of a file is no part of its first line.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::read::MultiGzDecoder;

use crate::source::SourceError;

/// The longest line.
pub(super) const LINE_BYTES_MAX: u64 = 64 << 20;

/// What some programs write before the first line.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

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
    /// Files are synced before what is new in them is read.
    synced: bool,
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
    /// The size when it was opened: it is read up to there.
    opened: u64,
    /// The size up to which it was last read to its end.
    finished: Option<u64>,
    lines: u64,
    bad: i64,
    /// The line read last had no end.
    unended: bool,
    /// A last line, from 1, that is neither ended nor whole.
    left: Option<u64>,
    /// The line read last: it must still be there when the file is opened again.
    last: Option<LastLine>,
}

/// Where a line lies in a plain file, and the hash of it without its end.
#[derive(Debug, Clone, Copy)]
struct LastLine {
    start: u64,
    length: u64,
    hash: u64,
}

impl LastLine {
    fn is(self, line: &[u8]) -> bool {
        hash_of(line) == self.hash
    }
}

impl Walk {
    /// A walk from the first line. `synced`: files are synced before what is new in them is read.
    pub(super) fn new(root: &Path, synced: bool) -> Result<Walk, SourceError> {
        let (root, files) = (root.to_owned(), BTreeMap::new());
        let mut walk = Walk { root, files, at: None, line: Vec::new(), fixed: false, synced };
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
            // Of a packed file the lines are counted, see `Input::skip_lines`.
            if !input.packed && size < input.position {
                let reason = format!(
                    "the file is now {size} bytes long, but {} were read from it; give changed files \
                     a new name",
                    input.position
                );
                return Err(input.error(reason));
            }
            if self.synced && size > input.size {
                // What is read is not beyond `size`, so all of it is on disk after this.
                let synced = File::open(&path).and_then(|file| file.sync_data());
                synced.map_err(|e| unreadable(&path, e))?;
            }
            input.size = size;
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
                if is_blank(&self.line) {
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

    /// Last lines that were not given, because their end has not come: path and number, from 1.
    pub(super) fn left(&self) -> impl Iterator<Item = (String, u64)> {
        let left = |input: &Input| Some((input.path.display().to_string(), input.left?));
        self.files.values().filter_map(left)
    }

    /// Whether there is a file of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.files.values().any(|input| *input.topic == *name)
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
            opened: 0,
            finished: None,
            lines: 0,
            bad: 0,
            unended: false,
            left: None,
            last: None,
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
        if !self.open(fixed)? || (self.unended && !self.read_end(line, fixed)?) {
            return Ok(false);
        }
        let read = self.read_bytes(line, fixed)?;
        let hash = hash_of(line);
        if self.lines == 0 && line.starts_with(BYTE_ORDER_MARK) {
            line.drain(..BYTE_ORDER_MARK.len());
        }
        let ended = line.last() == Some(&b'\n');
        if !ended && !is_whole(line) {
            self.left = (!is_blank(line)).then_some(self.lines + 1);
            self.finish();
            return Ok(false);
        }
        while line.last().is_some_and(|b| matches!(b, b'\n' | b'\r')) {
            line.pop();
        }
        self.last = Some(LastLine { start: self.position, length: read, hash });
        self.position += read;
        self.lines += 1;
        (self.unended, self.left) = (!ended, None);
        Ok(true)
    }

    /// Reads the end of a line that was given without one. False while it has not come.
    fn read_end(&mut self, rest: &mut Vec<u8>, fixed: bool) -> Result<bool, SourceError> {
        let read = self.read_bytes(rest, fixed)?;
        if !is_blank(rest) {
            let reason = "the line goes on after it was read as a whole; end each line with a newline \
                          before the next one begins";
            return Err(self.error(reason.to_owned()));
        }
        self.position += read;
        self.unended = rest.last() != Some(&b'\n');
        if self.unended {
            self.finish();
        }
        rest.clear();
        Ok(!self.unended)
    }

    /// Appends what there is up to the end of the line, and returns how many bytes that is.
    fn read_bytes(&mut self, line: &mut Vec<u8>, fixed: bool) -> Result<u64, SourceError> {
        let Some(open) = self.open.as_mut() else { return Ok(0) };
        let read = match open.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', line) {
            // A packed file that is still being written ends in the middle.
            Err(e) if self.packed && !fixed && e.kind() == io::ErrorKind::UnexpectedEof => {
                line.clear();
                return Ok(0);
            }
            Err(e) => return Err(unreadable(&self.path, e)),
            Ok(read) => read as u64,
        };
        if read >= LINE_BYTES_MAX && line.last() != Some(&b'\n') {
            let reason = format!("the line is longer than {LINE_BYTES_MAX} bytes; split it");
            return Err(self.error(reason));
        }
        Ok(read)
    }

    /// Nothing more for now.
    fn finish(&mut self) {
        self.open = None;
        self.finished = Some(self.opened);
    }

    /// Opens the file at the place reached, if it has more.
    fn open(&mut self, fixed: bool) -> Result<bool, SourceError> {
        if self.open.is_some() {
            return Ok(true);
        }
        let read_before = !self.packed && self.size <= self.position;
        if self.finished == Some(self.size) || read_before {
            return Ok(false);
        }
        self.opened = self.size;
        let mut file = File::open(&self.path).map_err(|e| unreadable(&self.path, e))?;
        if self.packed {
            let mut open =
                BufReader::with_capacity(1 << 18, MultiGzDecoder::new(BufReader::new(file)));
            if !self.skip_lines(&mut open, fixed)? {
                self.finish();
                return Ok(false);
            }
            // Skipping took the end of the last line too, if it has come.
            self.unended = false;
            self.open = Some(Box::new(open));
        } else {
            self.compare_last(&mut file)?;
            file.seek(SeekFrom::Start(self.position)).map_err(|e| unreadable(&self.path, e))?;
            let rest = file.take(self.size - self.position);
            self.open = Some(Box::new(BufReader::with_capacity(1 << 18, rest)));
        }
        Ok(true)
    }

    /// That the line read last is still where it was: a file of at least that size may be another one.
    fn compare_last(&self, file: &mut File) -> Result<(), SourceError> {
        let Some(last) = self.last else { return Ok(()) };
        let mut line = Vec::new();
        let read = file
            .seek(SeekFrom::Start(last.start))
            .and_then(|_| file.by_ref().take(last.length).read_to_end(&mut line));
        read.map_err(|e| unreadable(&self.path, e))?;
        if last.is(&line) { Ok(()) } else { Err(self.replaced()) }
    }

    fn replaced(&self) -> SourceError {
        let reason = "the line is not the one that was read here; give changed files a new name";
        self.error(reason.to_owned())
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
        if self.last.is_some_and(|last| !last.is(&skipped)) {
            return Err(self.replaced());
        }
        Ok(true)
    }
}

/// The hash of a line without its end.
fn hash_of(line: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(line.trim_ascii_end())
}

fn is_blank(line: &[u8]) -> bool {
    line.iter().all(u8::is_ascii_whitespace)
}

/// Whether a line without its end is a whole JSON value: anything but a number shows its own end.
fn is_whole(line: &[u8]) -> bool {
    !line.last().is_some_and(u8::is_ascii_digit)
        && serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok()
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Input").field("path", &self.path).field("lines", &self.lines).finish()
    }
}

/// The files to read: the path itself, or the files directly in it. Hidden files are not looked at.
pub(super) fn list(root: &Path) -> Result<Vec<PathBuf>, SourceError> {
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

/// A file, or folder, cannot be read.
pub(super) fn unreadable(path: &Path, source: io::Error) -> SourceError {
    SourceError::Read { path: path.display().to_string(), source }
}
