//! Frames of a segment: some records of one part, and a hash over them and all frames before.
//!
//! `length (4) | hash (8) | part, whether it starts over, records`

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use schemas::state::{Bytes, decode, encode};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::Extent;
use crate::durable;

/// What a segment begins with.
pub(super) const SEGMENT: &[u8; 8] = b"weirsg02";

const HEAD: usize = 12;
/// Bytes of records that are gathered before a frame is written.
const FRAME: usize = 256 << 10;

/// How long a segment is, and the hash of all its frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seal {
    pub(super) length: u64,
    pub(super) hash: u64,
}

impl Seal {
    /// The seal of a segment without frames.
    pub(super) fn begin(segment: u64) -> Seal {
        Seal { length: SEGMENT.len() as u64, hash: segment }
    }
}

/// A number and its record; `None` removes it.
pub(super) type Record<'a> = (u32, Option<Bytes<'a>>);

/// Some records of a part.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Frame<'a> {
    pub(super) part: &'a str,
    /// The records before this frame are void.
    pub(super) reset: bool,
    #[serde(borrow)]
    pub(super) records: Vec<Record<'a>>,
}

/// The frames of a segment, up to its seal.
pub(super) fn open(bytes: &[u8], segment: u64, seal: Seal) -> Result<Vec<Frame<'_>>, &'static str> {
    let length = usize::try_from(seal.length).unwrap_or(usize::MAX);
    let bytes = bytes.get(..length).ok_or("it is cut short")?;
    let mut rest = bytes.strip_prefix(SEGMENT).ok_or("it is no segment of this release")?;
    let mut hash = Seal::begin(segment).hash;
    let mut frames = Vec::new();
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk::<4>().ok_or("a frame is cut short")?;
        let (sum, after) = after.split_first_chunk::<8>().ok_or("a frame is cut short")?;
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        let (body, after) = after.split_at_checked(length).ok_or("a frame is cut short")?;
        hash = xxh3_64_with_seed(body, hash);
        if hash.to_le_bytes() != *sum {
            return Err("a frame does not match its hash");
        }
        frames.push(decode(body).ok_or("a frame is not what this release writes")?);
        rest = after;
    }
    if hash == seal.hash { Ok(frames) } else { Err("it does not end as its manifest says") }
}

/// A segment that is being written.
#[derive(Debug)]
pub(super) struct Segment {
    file: File,
    path: PathBuf,
    pub(super) extent: Extent,
}

impl Segment {
    /// A new file.
    pub(super) fn create(path: PathBuf, segment: u64) -> io::Result<Segment> {
        let mut file = File::options().append(true).create_new(true).open(&path)?;
        file.write_all(SEGMENT)?;
        durable::sync_parent(&path)?;
        Ok(Segment { file, path, extent: Extent { segment, seal: Seal::begin(segment) } })
    }

    fn sync(&self) -> io::Result<()> {
        durable::sync_file(&self.file, &self.path)
    }
}

/// Writes frames of records, which are gathered until they are enough for one.
pub(super) struct Frames<'a> {
    open: Segment,
    /// A segment that is as long ends.
    long: u64,
    next: &'a mut dyn FnMut() -> io::Result<Segment>,
    /// Those that ended.
    done: Vec<Extent>,
    written: u64,
    part: String,
    reset: bool,
    bytes: Vec<u8>,
    /// Where each record ends in `bytes`; `None` for one that is gone.
    ends: Vec<(u32, Option<usize>)>,
}

impl<'a> Frames<'a> {
    /// Frames at the end of `open`; `next` makes the segment after one that is `long`.
    pub(super) fn new(
        open: Segment,
        long: u64,
        next: &'a mut dyn FnMut() -> io::Result<Segment>,
    ) -> Frames<'a> {
        Frames {
            open,
            long,
            next,
            done: Vec::new(),
            written: 0,
            part: String::new(),
            reset: false,
            bytes: Vec::new(),
            ends: Vec::new(),
        }
    }

    /// The segment that the next record is written to, or one before it.
    pub(super) fn segment(&self) -> u64 {
        self.open.extent.segment
    }

    /// Goes on with a part; `reset` makes what was written of it before void.
    pub(super) fn part(&mut self, part: &str, reset: bool) -> io::Result<()> {
        if self.part != part || reset {
            self.flush()?;
            part.clone_into(&mut self.part);
            self.reset = reset;
        }
        Ok(())
    }

    /// Adds what `write` appends as a record, or its absence when that is `false`. Returns the bytes.
    pub(super) fn record(
        &mut self,
        number: u32,
        write: impl FnOnce(&mut Vec<u8>) -> bool,
    ) -> io::Result<u64> {
        let from = self.bytes.len();
        let is_there = write(&mut self.bytes);
        if !is_there {
            self.bytes.truncate(from);
        }
        self.ends.push((number, is_there.then_some(self.bytes.len())));
        let written = (self.bytes.len() - from) as u64 + 4;
        if self.bytes.len() >= FRAME || self.ends.len() >= FRAME / 16 {
            self.flush()?;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.ends.is_empty() && !self.reset {
            return Ok(());
        }
        if self.open.extent.seal.length >= self.long {
            self.open.sync()?;
            let ended = std::mem::replace(&mut self.open, (self.next)()?);
            self.done.push(ended.extent);
        }
        let mut from = 0;
        let records = self.ends.iter().map(|(number, end)| {
            let record = end.map(|end| {
                let record = self.bytes.get(from..end).unwrap_or_default();
                from = end;
                Bytes(record)
            });
            (*number, record)
        });
        let frame = Frame { part: &self.part, reset: self.reset, records: records.collect() };
        let mut out = vec![0; HEAD];
        encode(&frame, &mut out);
        let body = out.get(HEAD..).unwrap_or_default();
        let length = u32::try_from(body.len()).map_err(io::Error::other)?;
        let hash = xxh3_64_with_seed(body, self.open.extent.seal.hash);
        out.splice(..HEAD, length.to_le_bytes().into_iter().chain(hash.to_le_bytes()));
        self.open.file.write_all(&out)?;
        let seal = &mut self.open.extent.seal;
        *seal = Seal { length: seal.length + out.len() as u64, hash };
        self.written += out.len() as u64;
        self.bytes.clear();
        self.ends.clear();
        self.reset = false;
        Ok(())
    }

    /// Writes what is gathered, durably: the segments that ended, the one that is open, and how many
    /// bytes were written.
    pub(super) fn finish(mut self) -> io::Result<(Vec<Extent>, Segment, u64)> {
        self.flush()?;
        self.open.sync()?;
        Ok((self.done, self.open, self.written))
    }
}
