//! The scorer's state as bytes: everything but alerts, which are rows, and cells, which are loaded.
//!
//! # Guarantees
//! - What is read back goes on exactly from where it was written: floats are kept as their bits.
//! - Bytes of another version, or cut short, are refused.

use std::sync::Arc;

use schemas::{Cells, Grain, Micros, Severity};

use crate::entry::{Entry, Name};
use crate::outlook::{Learner, Outlook, Records};
use crate::policy::{Bad, Episode, Track};
use crate::rules::{Finding, Kind};
use crate::scorer::{Scorer, new_entry};
use crate::shape::Space;
use crate::tail::{Curve, Side};

/// The version of the bytes.
const VERSION: u8 = 2;

/// Why saved state cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SavedError {
    #[error(
        "the saved state of detectors has version {0}, and this binary reads version {VERSION}"
    )]
    Version(u8),
    #[error("the saved state of detectors is cut short or damaged at byte {0}")]
    Damaged(usize),
    #[error("the saved state of detectors names the KPI `{0}`, which has no definition")]
    Kpi(Arc<str>),
}

#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn byte(&mut self, value: u8) {
        self.0.push(value);
    }

    fn word(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn wide(&mut self, value: Option<i128>) {
        self.byte(u8::from(value.is_some()));
        if let Some(value) = value {
            self.0.extend_from_slice(&value.to_le_bytes());
        }
    }

    fn instant(&mut self, value: Micros) {
        self.0.extend_from_slice(&value.0.to_le_bytes());
    }

    fn maybe_instant(&mut self, value: Option<Micros>) {
        self.byte(u8::from(value.is_some()));
        self.instant(value.unwrap_or_default());
    }

    fn floats(&mut self, values: &[f64]) {
        values.iter().for_each(|value| self.word(value.to_bits()));
    }

    fn text(&mut self, text: &str) {
        self.word(text.len() as u64);
        self.0.extend_from_slice(text.as_bytes());
    }

    fn count(&mut self, count: usize) {
        self.word(count as u64);
    }

    fn learner(&mut self, learner: &Learner) {
        let model = &learner.model;
        self.word(u64::from(model.learned));
        self.word(u64::from(model.run));
        self.floats(&[model.last, model.fast, model.slow, model.center]);
        self.floats(&[model.error, model.usual]);
        for side in model.tail.sides {
            self.floats(&[side.start, side.excess, side.square, side.count]);
        }
        self.word(u64::from(learner.seen));
        self.word(u64::from(learner.sized));
        self.floats(&[learner.level, learner.weight, learner.active, learner.size]);
        self.floats(&[learner.low, learner.high]);
        self.floats(&model.lifts);
        self.floats(&model.losses);
        self.floats(&model.guesses);
        for bin in model.bins {
            self.0.extend_from_slice(&bin.to_bits().to_le_bytes());
        }
        self.0.extend_from_slice(&model.seen);
    }

    fn outlook(&mut self, outlook: &Outlook) {
        self.byte(u8::from(outlook.space.log));
        self.floats(&[outlook.space.unit, outlook.center, outlook.spread]);
        for curve in outlook.curves {
            self.floats(&[curve.start, curve.shape, curve.scale]);
        }
        let records = outlook.records;
        self.floats(&[records.low, records.high, records.surprise]);
        self.floats(&[outlook.expected, outlook.lower, outlook.upper, outlook.weight]);
    }

    fn finding(&mut self, found: &Finding) {
        let kind = match found.kind {
            Kind::Spike => 0,
            Kind::Drop => 1,
            Kind::Missing => 2,
        };
        self.byte(kind);
        self.text(found.severity.name());
        for value in [found.value, found.expected, found.lower, found.upper] {
            self.wide(value);
        }
        self.floats(&[found.deviation, found.z, found.p]);
    }

    fn track(&mut self, track: &Track) {
        self.byte(u8::from(track.open.is_some()));
        if let Some(episode) = &track.open {
            self.instant(episode.first);
            self.instant(episode.shown);
            self.finding(&episode.figures);
            self.byte(u8::from(episode.has_older));
            self.instant(episode.told);
            self.byte(u8::from(episode.owes));
        }
        self.count(track.recent.len());
        for bad in &track.recent {
            self.instant(bad.bucket);
            self.finding(&bad.figures);
            self.byte(u8::from(bad.is_cause));
        }
    }

    fn entry(&mut self, entry: &Entry) {
        for part in [&entry.name.kpi, &entry.name.tenant, &entry.name.dims] {
            self.text(part);
        }
        self.text(entry.name.grain.name());
        self.instant(entry.first);
        self.instant(entry.next);
        self.byte(u8::from(entry.stale));
        self.learner(&entry.learner);
        self.count(entry.outlooks.len());
        for (bucket, outlook) in &entry.outlooks {
            self.instant(*bucket);
            self.outlook(outlook);
        }
        entry.tracks.iter().for_each(|track| self.track(track));
    }
}

/// The state, series in key order.
pub(crate) fn write(scorer: &Scorer) -> Vec<u8> {
    let mut out = Writer::default();
    out.byte(VERSION);
    out.maybe_instant(scorer.cursor);
    out.maybe_instant(scorer.settle);
    out.word(scorer.epoch);
    out.count(scorer.by_name.len());
    for place in scorer.by_name.values() {
        if let Some(entry) = scorer.entries.get(*place) {
            out.entry(entry);
        }
    }
    out.0
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], SavedError> {
        let rest = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk::<N>());
        let taken = *rest.ok_or(SavedError::Damaged(self.at))?;
        self.at += N;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, SavedError> {
        Ok(u8::from_le_bytes(self.take()?))
    }

    fn flag(&mut self) -> Result<bool, SavedError> {
        Ok(self.byte()? != 0)
    }

    fn word(&mut self) -> Result<u64, SavedError> {
        Ok(u64::from_le_bytes(self.take()?))
    }

    fn count(&mut self) -> Result<usize, SavedError> {
        let count = usize::try_from(self.word()?).ok();
        // Each element takes a byte at least, so that damage cannot ask for memory.
        count.filter(|count| *count <= self.bytes.len()).ok_or(SavedError::Damaged(self.at))
    }

    fn small(&mut self) -> Result<u32, SavedError> {
        u32::try_from(self.word()?).map_err(|_| SavedError::Damaged(self.at))
    }

    fn wide(&mut self) -> Result<Option<i128>, SavedError> {
        Ok(if self.flag()? { Some(i128::from_le_bytes(self.take()?)) } else { None })
    }

    fn instant(&mut self) -> Result<Micros, SavedError> {
        Ok(Micros(i64::from_le_bytes(self.take()?)))
    }

    fn maybe_instant(&mut self) -> Result<Option<Micros>, SavedError> {
        let is_some = self.flag()?;
        let at = self.instant()?;
        Ok(is_some.then_some(at))
    }

    fn floats<const N: usize>(&mut self) -> Result<[f64; N], SavedError> {
        let mut out = [0.0; N];
        for slot in &mut out {
            *slot = f64::from_bits(self.word()?);
        }
        Ok(out)
    }

    fn text(&mut self) -> Result<Arc<str>, SavedError> {
        let length = self.count()?;
        let end = self.at.saturating_add(length);
        let bytes = self.bytes.get(self.at..end).ok_or(SavedError::Damaged(self.at))?;
        let text = std::str::from_utf8(bytes).map_err(|_| SavedError::Damaged(self.at))?;
        self.at = end;
        Ok(text.into())
    }

    fn learner(&mut self) -> Result<Learner, SavedError> {
        let mut learner = Learner::new();
        let model = &mut learner.model;
        model.learned = self.small()?;
        model.run = self.small()?;
        [model.last, model.fast, model.slow, model.center] = self.floats()?;
        [model.error, model.usual] = self.floats()?;
        for side in &mut model.tail.sides {
            let [start, excess, square, count] = self.floats()?;
            *side = Side { start, excess, square, count };
        }
        learner.seen = self.small()?;
        learner.sized = self.small()?;
        [learner.level, learner.weight, learner.active, learner.size] = self.floats()?;
        [learner.low, learner.high] = self.floats()?;
        model.lifts = self.floats()?;
        model.losses = self.floats()?;
        model.guesses = self.floats()?;
        for bin in &mut model.bins {
            *bin = f32::from_bits(u32::from_le_bytes(self.take()?));
        }
        model.seen = self.take()?;
        Ok(learner)
    }

    fn outlook(&mut self) -> Result<Outlook, SavedError> {
        let log = self.flag()?;
        let [unit, center, spread] = self.floats()?;
        let space = Space { log, unit };
        let (below, above) = (self.curve()?, self.curve()?);
        let [low, high, surprise] = self.floats()?;
        let records = Records { low, high, surprise };
        let [expected, lower, upper, weight] = self.floats()?;
        let curves = [below, above];
        Ok(Outlook { space, center, spread, curves, records, expected, lower, upper, weight })
    }

    fn curve(&mut self) -> Result<Curve, SavedError> {
        let [start, shape, scale] = self.floats()?;
        Ok(Curve { start, shape, scale })
    }

    fn finding(&mut self) -> Result<Finding, SavedError> {
        let kind = match self.byte()? {
            0 => Kind::Spike,
            1 => Kind::Drop,
            2 => Kind::Missing,
            _ => return Err(SavedError::Damaged(self.at)),
        };
        let severity = Severity::parse(&self.text()?).ok_or(SavedError::Damaged(self.at))?;
        let (value, expected) = (self.wide()?, self.wide()?);
        let (lower, upper) = (self.wide()?, self.wide()?);
        let [deviation, z, p] = self.floats()?;
        Ok(Finding { kind, severity, value, expected, lower, upper, deviation, z, p })
    }

    fn track(&mut self) -> Result<Track, SavedError> {
        let mut track = Track::default();
        if self.flag()? {
            let (first, shown) = (self.instant()?, self.instant()?);
            let (figures, has_older) = (self.finding()?, self.flag()?);
            let (told, owes) = (self.instant()?, self.flag()?);
            let episode = Episode { first, shown, figures, has_older, told, owes };
            track.open = Some(Box::new(episode));
        }
        for _ in 0..self.count()? {
            let bucket = self.instant()?;
            let figures = self.finding()?;
            track.recent.push(Bad { bucket, figures, is_cause: self.flag()? });
        }
        Ok(track)
    }

    fn entry(&mut self, scorer: &mut Scorer, cells: &dyn Cells) -> Result<(), SavedError> {
        let (kpi, tenant, dims) = (self.text()?, self.text()?, self.text()?);
        let grain = Grain::parse(&self.text()?).ok_or(SavedError::Damaged(self.at))?;
        let id = cells.series(&kpi, &tenant, &dims);
        let unknown = SavedError::Kpi(Arc::clone(&kpi));
        let name = Name { kpi, tenant, dims, grain };
        let mut entry = new_entry(&scorer.kpis, name, self.instant()?).ok_or(unknown)?;
        entry.id = id;
        entry.next = self.instant()?;
        entry.stale = self.flag()?;
        entry.learner = self.learner()?;
        for _ in 0..self.count()? {
            let bucket = self.instant()?;
            entry.outlooks.push((bucket, self.outlook()?));
        }
        for track in &mut entry.tracks {
            *track = self.track()?;
        }
        scorer.add(entry);
        Ok(())
    }
}

/// Reads the state into a scorer that is new.
pub(crate) fn read(scorer: &mut Scorer, bytes: &[u8], cells: &dyn Cells) -> Result<(), SavedError> {
    let mut reader = Reader { bytes, at: 0 };
    let version = reader.byte()?;
    if version != VERSION {
        return Err(SavedError::Version(version));
    }
    scorer.cursor = reader.maybe_instant()?;
    scorer.settle = reader.maybe_instant()?;
    scorer.epoch = reader.word()?;
    for _ in 0..reader.count()? {
        reader.entry(scorer, cells)?;
    }
    if reader.at == bytes.len() { Ok(()) } else { Err(SavedError::Damaged(reader.at)) }
}
