//! Saved state on disk: a log of changed records, and for each barrier a manifest that says how much of
//! it belongs to the barrier.
//!
//! ```text
//! 00000000000000000042.state   manifest of barrier 42: segments, how long, the hash at that length
//! 00000000000000000003.log     segment 3: frames of records, each hashed together with all before it
//! 00000000000000000008.run     run 8: records that are looked up there, and not read back into memory
//! ```
//!
//! A barrier appends the records that changed. So that old segments can go, it also writes again some
//! records that did not: pages of numbers in turn, the one that was written longest ago first, about as
//! many bytes as the barrier changed. Everything before the page whose turn is next is then void.
//!
//! # Guarantees
//! - [`StateLog::write`] returns after the records, the manifest and their names are on disk. What it
//!   writes is O(changes); what lies on disk is about twice the state.
//! - [`read`] gives back exactly what was written for a barrier, or says what is damaged. Segments and
//!   manifests of the last [`KEPT`] complete barriers are there, so an earlier one can be read instead.
//! - A file is never written again once another process has opened the folder. A run is deleted when
//!   none of these barriers names it.

mod frame;
mod turn;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use schemas::state::{decode, encode};
use schemas::{EpochId, Saved, StatePart};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use crate::durable;
use crate::run::{Run, RunBuilder, RunError};
use frame::{Frames, Seal, Segment};
use turn::Turns;

/// Complete barriers whose state can be read.
pub const KEPT: usize = 3;

/// The version of manifests and segments.
const VERSION: u8 = 3;
/// What a manifest begins with, the version apart.
const MANIFEST: &[u8; 7] = b"weirst0";
/// A segment ends when it is as long as a sixteenth of all of them, within these bounds.
const SEGMENT_MIN: u64 = if cfg!(test) { 2 << 10 } else { 1 << 20 };
const SEGMENT_MAX: u64 = 64 << 20;

/// Why the state of a barrier cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// A file cannot be read.
    #[error("could not read `{path}`: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// A file is not what was written.
    #[error("state file `{path}` is damaged: {problem}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A file is of another release.
    #[error("state file `{path}` has version {found}, and this binary reads version {VERSION}")]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u8,
    },
}

/// How much of a segment belongs to a barrier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Extent {
    segment: u64,
    seal: Seal,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Manifest {
    epoch: EpochId,
    extents: Vec<Extent>,
    /// The runs that its records name.
    runs: BTreeSet<u64>,
}

/// The state of one barrier, and what is needed to go on writing after it.
#[derive(Debug)]
pub struct Read {
    /// Its records.
    pub saved: Saved,
    folder: PathBuf,
    extents: Vec<Extent>,
    runs: BTreeSet<u64>,
    turns: Turns,
    epoch: EpochId,
}

impl Read {
    /// Opens a run that a record names.
    ///
    /// # Errors
    /// When it is not there, or damaged.
    pub fn run(&self, number: u64) -> Result<Run, RunError> {
        Run::open(&run_path(&self.folder, number), number)
    }
}

/// Reads the state of a barrier.
///
/// # Errors
/// When a file of it is not there, damaged, or of another release.
pub fn read(folder: &Path, epoch: EpochId) -> Result<Read, StateError> {
    let manifest = read_manifest(&manifest_path(folder, epoch))?;
    let mut saved = Saved::default();
    // The segment in which each record was written, by part and number.
    let mut places: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for Extent { segment, seal } in &manifest.extents {
        let path = segment_path(folder, *segment);
        let bytes =
            fs::read(&path).map_err(|error| StateError::Io { path: path.clone(), error })?;
        let damaged = |problem| StateError::Damaged { path: path.clone(), problem };
        for frame in frame::open(&bytes, *segment, *seal).map_err(damaged)? {
            if frame.reset {
                saved.clear(frame.part);
                places.remove(frame.part);
            }
            let part = saved.part_mut(frame.part);
            let places = places.entry(frame.part.to_owned()).or_default();
            for (number, record) in frame.records {
                part.put(number, record.map(|record| record.0));
                let at = number as usize;
                if at >= places.len() {
                    places.resize(at + 1, u64::MAX);
                }
                if let Some(place) = places.get_mut(at) {
                    *place = if record.is_some() { *segment } else { u64::MAX };
                }
            }
        }
    }
    let turns = Turns::of(&places);
    let Manifest { extents, runs, .. } = manifest;
    Ok(Read { saved, folder: folder.to_path_buf(), extents, runs, turns, epoch })
}

/// The barriers whose manifests are there, ascending; damaged ones too.
///
/// # Errors
/// When the folder cannot be read.
pub fn barriers(folder: &Path) -> io::Result<Vec<EpochId>> {
    Ok(numbers(folder, "state")?.into_iter().collect())
}

/// Writes the state of barriers, one after the other.
#[derive(Debug)]
pub struct StateLog {
    folder: PathBuf,
    /// The barrier that this goes on after: manifests of later ones are void.
    after: EpochId,
    extents: Vec<Extent>,
    turns: Turns,
    /// The segment that is being written, by this run.
    open: Option<Segment>,
    next_segment: u64,
    /// Runs that the barriers to come name.
    runs: BTreeSet<u64>,
    next_run: u64,
    /// Runs that were created and that no barrier has named yet.
    new_runs: BTreeSet<u64>,
    /// Complete barriers that can be read.
    kept: VecDeque<Kept>,
    started: bool,
}

/// What a barrier that can be read needs.
#[derive(Debug, Clone)]
struct Kept {
    epoch: EpochId,
    first_segment: u64,
    runs: BTreeSet<u64>,
}

impl StateLog {
    /// A log that goes on after `read`, or begins anew.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn new(folder: &Path, read: Option<&Read>) -> io::Result<StateLog> {
        let after = read.map_or(0, |read| read.epoch);
        let barriers = barriers(folder)?.into_iter().filter(|epoch| *epoch <= after);
        let kept = |epoch: EpochId| {
            let manifest = read_manifest(&manifest_path(folder, epoch)).ok();
            let needs = manifest.map(|manifest| (manifest.extents, manifest.runs));
            let (extents, runs) = needs.unwrap_or_default();
            let first_segment = extents.first().map_or(u64::MAX, |extent| extent.segment);
            Kept { epoch, first_segment, runs }
        };
        let next = |extension| -> io::Result<u64> {
            Ok(numbers(folder, extension)?.last().map_or(1, |last| last.saturating_add(1)))
        };
        Ok(StateLog {
            folder: folder.to_path_buf(),
            after,
            extents: read.map(|read| read.extents.clone()).unwrap_or_default(),
            turns: read.map(|read| read.turns.clone()).unwrap_or_default(),
            open: None,
            next_segment: next("log")?,
            runs: read.map(|read| read.runs.clone()).unwrap_or_default(),
            next_run: next("run")?,
            new_runs: BTreeSet::new(),
            kept: barriers.map(kept).collect(),
            started: false,
        })
    }

    /// Writes the state at `epoch` and returns how many bytes that took. Of parts that were never
    /// written, or are numbered anew, all records are written; of the others those that changed.
    /// [`StateLog::complete`] follows when all tables stand at the epoch, too.
    ///
    /// # Errors
    /// When the disk refuses. The same write may be tried again; what was there is not touched.
    pub fn write(&mut self, epoch: EpochId, parts: &[StatePart<'_>]) -> io::Result<u64> {
        durable::create_dirs(&self.folder)?;
        if !std::mem::replace(&mut self.started, true) {
            self.drop_void()?;
        }
        let (mut extents, mut turns) = (self.extents.clone(), self.turns.clone());
        let written = self.append(parts, &mut extents, &mut turns);
        let finished = written.and_then(|bytes| {
            let first = turns.first().unwrap_or(u64::MAX);
            extents.retain(|extent| extent.segment >= first || Some(*extent) == self.open_extent());
            let (extents, runs) = (extents.clone(), self.runs.clone());
            let manifest = sealed(&Manifest { epoch, extents, runs });
            let path = manifest_path(&self.folder, epoch);
            durable::put_replace(&path, [&manifest[..]].into_iter())?;
            Ok(bytes + manifest.len() as u64)
        });
        match &finished {
            Ok(_) => (self.extents, self.turns) = (extents, turns),
            // What was appended is no barrier's: the next try starts a segment of its own.
            Err(_) => self.open = None,
        }
        finished
    }

    /// Notes that the barrier at `epoch` is complete, and deletes what the last [`KEPT`] do not need.
    ///
    /// # Errors
    /// When a file cannot be deleted, which costs disk space only.
    pub fn complete(&mut self, epoch: EpochId) -> io::Result<()> {
        let first_segment = self.extents.first().map_or(u64::MAX, |extent| extent.segment);
        self.kept.retain(|kept| kept.epoch != epoch);
        self.kept.push_back(Kept { epoch, first_segment, runs: self.runs.clone() });
        while self.kept.len() > KEPT {
            self.kept.pop_front();
        }
        let kept: BTreeSet<EpochId> = self.kept.iter().map(|kept| kept.epoch).collect();
        for old in barriers(&self.folder)?.into_iter().filter(|old| !kept.contains(old)) {
            fs::remove_file(manifest_path(&self.folder, old))?;
        }
        let needed = self.kept.iter().map(|kept| kept.first_segment).min().unwrap_or(u64::MAX);
        let open = self.open.as_ref().map_or(u64::MAX, |open| open.extent.segment);
        for old in numbers(&self.folder, "log")? {
            if old < needed.min(open) {
                fs::remove_file(segment_path(&self.folder, old))?;
            }
        }
        for old in numbers(&self.folder, "run")? {
            if self.kept.iter().all(|kept| !kept.runs.contains(&old))
                && !self.new_runs.contains(&old)
            {
                fs::remove_file(run_path(&self.folder, old))?;
            }
        }
        Ok(())
    }

    /// Says which runs the records of the barriers to come name, and writes those that are in memory.
    /// Returns how many bytes that took.
    ///
    /// # Errors
    /// When the disk refuses. The same call may be made again.
    pub fn need_runs<'a>(&mut self, runs: impl Iterator<Item = &'a Run>) -> io::Result<u64> {
        durable::create_dirs(&self.folder)?;
        let (mut needed, mut bytes) = (BTreeSet::new(), 0);
        for run in runs {
            let number = match run.number() {
                Some(number) => number,
                None => {
                    let number = self.new_run();
                    bytes += run.write(&run_path(&self.folder, number), number)?;
                    number
                }
            };
            needed.insert(number);
        }
        self.new_runs.retain(|number| !needed.contains(number));
        self.runs = needed;
        Ok(bytes)
    }

    /// Writes a run of what `fill` pushes, `most` records at the most; `fill` returns its summary. It is
    /// there until [`StateLog::need_runs`] has named it, and as long as barriers do.
    ///
    /// # Errors
    /// When the disk refuses, or `fill` does.
    pub fn create_run<E: From<io::Error>>(
        &mut self,
        most: usize,
        fill: impl FnOnce(&mut RunBuilder<io::BufWriter<fs::File>>) -> Result<Vec<u8>, E>,
    ) -> Result<Run, E> {
        let number = self.new_run();
        let run = Run::create(&run_path(&self.folder, number), number, most, fill)?;
        self.new_runs.insert(number);
        Ok(run)
    }

    fn new_run(&mut self) -> u64 {
        let number = self.next_run;
        self.next_run = number.saturating_add(1);
        number
    }

    /// Deletes the manifests of barriers that were never complete, or are damaged: other epochs follow.
    fn drop_void(&self) -> io::Result<()> {
        for void in barriers(&self.folder)?.into_iter().filter(|epoch| *epoch > self.after) {
            fs::remove_file(manifest_path(&self.folder, void))?;
        }
        Ok(())
    }

    fn open_extent(&self) -> Option<Extent> {
        self.open.as_ref().map(|open| open.extent)
    }

    /// Appends what a barrier writes, durably.
    fn append(
        &mut self,
        parts: &[StatePart<'_>],
        extents: &mut Vec<Extent>,
        turns: &mut Turns,
    ) -> io::Result<u64> {
        let total: u64 = extents.iter().map(|extent| extent.seal.length).sum();
        let long = (total / 16).clamp(SEGMENT_MIN, SEGMENT_MAX);
        let StateLog { folder, next_segment, open, .. } = self;
        let mut next = || {
            let segment = *next_segment;
            *next_segment = segment.saturating_add(1);
            Segment::create(segment_path(folder, segment), segment)
        };
        let segment = open.take().map_or_else(&mut next, Ok)?;
        let mut out = Frames::new(segment, long, &mut next);
        turns.write(parts, &mut out)?;
        let (done, segment, written) = out.finish()?;
        for extent in done.into_iter().chain([segment.extent]) {
            extents.retain(|held| held.segment != extent.segment);
            extents.push(extent);
        }
        self.open = Some(segment);
        Ok(written)
    }
}

fn manifest_path(folder: &Path, epoch: EpochId) -> PathBuf {
    folder.join(format!("{epoch:020}.state"))
}

fn segment_path(folder: &Path, segment: u64) -> PathBuf {
    folder.join(format!("{segment:020}.log"))
}

fn run_path(folder: &Path, run: u64) -> PathBuf {
    folder.join(format!("{run:020}.run"))
}

/// The numbers of the files with an extension.
fn numbers(folder: &Path, extension: &str) -> io::Result<BTreeSet<u64>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        Err(error) => return Err(error),
    };
    let mut numbers = BTreeSet::new();
    for entry in entries {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(extension)?.strip_suffix('.'));
        numbers.extend(number.and_then(|number| number.parse::<u64>().ok()));
    }
    Ok(numbers)
}

/// `weirst0`, the version, a hash of the rest, the manifest.
fn sealed(manifest: &Manifest) -> Vec<u8> {
    let mut body = Vec::new();
    encode(manifest, &mut body);
    let mut bytes = MANIFEST.to_vec();
    bytes.push(b'0' + VERSION);
    bytes.extend_from_slice(&xxh3_128(&body).to_le_bytes());
    bytes.extend_from_slice(&body);
    bytes
}

fn read_manifest(path: &Path) -> Result<Manifest, StateError> {
    let bytes =
        fs::read(path).map_err(|error| StateError::Io { path: path.to_path_buf(), error })?;
    let damaged = |problem| StateError::Damaged { path: path.to_path_buf(), problem };
    let rest = bytes.strip_prefix(MANIFEST).ok_or_else(|| damaged("it is no manifest"))?;
    let (&version, rest) = rest.split_first().ok_or_else(|| damaged("it is cut short"))?;
    if version != b'0' + VERSION {
        let found = version.wrapping_sub(b'0');
        return Err(StateError::Version { path: path.to_path_buf(), found });
    }
    let (hash, body) = rest.split_first_chunk().ok_or_else(|| damaged("it is cut short"))?;
    if xxh3_128(body).to_le_bytes() != *hash {
        return Err(damaged("it does not match its hash"));
    }
    let manifest: Manifest = decode(body).ok_or_else(|| damaged("it is no manifest"))?;
    let named = path == manifest_path(path.parent().unwrap_or(Path::new("")), manifest.epoch);
    if named { Ok(manifest) } else { Err(damaged("it is of another barrier")) }
}
