//! The points of one series, packed: what the store keeps of each cell.
//!
//! # Guarantees
//! - Points are ascending by grain and period, in chunks that readers share: a reader's chunk never
//!   changes, and a writer copies at most [`CHUNK`] points for it.
//! - Without gaps between periods, finding a point looks at that point alone.
//! - A value comes back as it was put. One whose numbers fit 64 bits takes no memory of its own, or, of
//!   a ratio, 32 bytes.

use std::sync::Arc;

use schemas::{CellValue, EpochId, Grain, Micros, Status};

/// The most points of a chunk: what one change may have to copy.
pub(super) const CHUNK: usize = 64;

const HOUR_US: i64 = 3_600_000_000;

/// Grains and windows, by the number that points have of them.
const EVERY: [Grain; Grain::ALL.len() + Grain::WINDOWS.len()] = {
    let mut every = [Grain::Hour; Grain::ALL.len() + Grain::WINDOWS.len()];
    let (calendar, windows) = every.split_at_mut(Grain::ALL.len());
    calendar.copy_from_slice(&Grain::ALL);
    windows.copy_from_slice(&Grain::WINDOWS);
    every
};

/// Chunk of points that a reader may hold.
pub(super) type Chunk = Arc<[Point]>;

/// Place of a point in its series.
pub(super) type PointKey = (Grain, Micros);

/// One cell without the name of its series.
#[derive(Debug, Clone)]
pub(super) struct Point {
    start: Micros,
    /// The epoch, and in the lowest byte the grain.
    stamp: u64,
    value: Packed,
}

/// A cell's value in as few bytes as it needs.
#[derive(Debug, Clone)]
enum Packed {
    /// A value that is ok, without numerator and denominator.
    Plain(i64),
    /// Numbers that fit 64 bits.
    Narrow(Box<Narrow>),
    /// Anything.
    Wide(Box<CellValue>),
}

#[derive(Debug, Clone, Copy)]
struct Narrow {
    numbers: [i64; 3],
    is_there: [bool; 3],
    status: Status,
}

impl Narrow {
    /// Whether it is ok, without numerator and denominator.
    fn is_plain(&self) -> bool {
        self.is_there == [true, false, false] && self.status == Status::Ok
    }
}

impl Packed {
    fn new(value: CellValue) -> Packed {
        match Packed::narrow(&value) {
            Some(narrow) if narrow.is_plain() => Packed::Plain(narrow.numbers[0]),
            Some(narrow) => Packed::Narrow(Box::new(narrow)),
            None => Packed::Wide(Box::new(value)),
        }
    }

    /// The value in 64 bits a number, if that is enough.
    fn narrow(value: &CellValue) -> Option<Narrow> {
        let CellValue { value, numerator, denominator, status } = *value;
        let parts = [value, numerator, denominator];
        let mut numbers = [0; 3];
        for (number, part) in numbers.iter_mut().zip(parts) {
            *number = i64::try_from(part.unwrap_or(0)).ok()?;
        }
        Some(Narrow { numbers, is_there: parts.map(|part| part.is_some()), status })
    }

    /// Another value in the place of this one, and in its memory where that fits.
    fn set(&mut self, value: CellValue) {
        match (&mut *self, Packed::narrow(&value)) {
            (Packed::Narrow(held), Some(narrow)) if !narrow.is_plain() => **held = narrow,
            _ => *self = Packed::new(value),
        }
    }

    fn get(&self) -> CellValue {
        match self {
            Packed::Plain(value) => CellValue {
                value: Some(i128::from(*value)),
                numerator: None,
                denominator: None,
                status: Status::Ok,
            },
            Packed::Narrow(narrow) => {
                let Narrow { numbers: [value, numerator, denominator], is_there, status } =
                    **narrow;
                let [has_value, has_numerator, has_denominator] = is_there;
                let part = |is_there: bool, number: i64| is_there.then(|| i128::from(number));
                CellValue {
                    value: part(has_value, value),
                    numerator: part(has_numerator, numerator),
                    denominator: part(has_denominator, denominator),
                    status,
                }
            }
            Packed::Wide(value) => **value,
        }
    }
}

impl Point {
    /// A cell that `epoch` changed last.
    pub(super) fn new((grain, start): PointKey, value: CellValue, epoch: EpochId) -> Point {
        let place = EVERY.iter().position(|own| *own == grain).unwrap_or(0);
        Point { start, stamp: epoch << 8 | place as u64, value: Packed::new(value) }
    }

    /// Where its period starts.
    pub(super) fn start(&self) -> Micros {
        self.start
    }

    /// The grain.
    pub(super) fn grain(&self) -> Grain {
        let place = usize::try_from(self.stamp & 0xff).unwrap_or(0);
        EVERY.get(place).copied().unwrap_or(Grain::Hour)
    }

    /// The epoch that changed it last.
    pub(super) fn epoch(&self) -> EpochId {
        self.stamp >> 8
    }

    /// What it says.
    pub(super) fn value(&self) -> CellValue {
        self.value.get()
    }

    fn key(&self) -> PointKey {
        (self.grain(), self.start)
    }

    /// Another value; the epoch of the one that was there.
    fn set(&mut self, value: CellValue, epoch: EpochId) -> EpochId {
        let before = self.epoch();
        self.stamp = epoch << 8 | self.stamp & 0xff;
        self.value.set(value);
        before
    }
}

/// A chunk with its first and last key, which are looked at without it.
#[derive(Debug, Clone)]
struct Held {
    first: PointKey,
    last: PointKey,
    points: Chunk,
}

impl Held {
    /// Points of which there is one at least; `None` without any.
    fn new(points: Vec<Point>) -> Option<Held> {
        let (first, last) = (points.first()?.key(), points.last()?.key());
        Some(Held { first, last, points: points.into() })
    }

    /// Where a key is, or where it would be put in.
    fn place(&self, key: PointKey) -> Result<usize, usize> {
        let guess = self.guess(key);
        if guess.is_some_and(|at| self.points.get(at).is_some_and(|point| point.key() == key)) {
            return guess.ok_or(0);
        }
        self.points.binary_search_by_key(&key, Point::key)
    }

    /// Where a key is when periods follow each other without a gap.
    fn guess(&self, (grain, start): PointKey) -> Option<usize> {
        let length = match grain {
            Grain::Hour => HOUR_US,
            Grain::Day => 24 * HOUR_US,
            _ => return None,
        };
        let is_same = self.first.0 == grain;
        usize::try_from(start.0.checked_sub(self.first.1.0)? / length).ok().filter(|_| is_same)
    }
}

/// The points of a series. A copy shares them.
#[derive(Debug, Clone, Default)]
pub(super) struct Points {
    chunks: Vec<Held>,
}

impl Points {
    /// These, in any order; of two with one key, the later one.
    pub(super) fn of(mut points: Vec<Point>) -> Points {
        points.sort_by_key(Point::key);
        points.reverse();
        points.dedup_by_key(|point| point.key());
        points.reverse();
        let mut chunks = Vec::with_capacity(points.len().div_ceil(CHUNK));
        let mut points = points.into_iter();
        loop {
            let Some(held) = Held::new(points.by_ref().take(CHUNK).collect()) else {
                return Points { chunks };
            };
            chunks.push(held);
        }
    }

    /// How many.
    pub(super) fn len(&self) -> usize {
        self.chunks.iter().map(|held| held.points.len()).sum()
    }

    /// The point with this key.
    pub(super) fn get(&self, key: PointKey) -> Option<&Point> {
        let held = self.chunks.get(self.chunk_of(key))?;
        held.place(key).ok().and_then(|at| held.points.get(at))
    }

    /// Puts a point in; the epoch of the one it replaces.
    pub(super) fn put(
        &mut self,
        key: PointKey,
        value: CellValue,
        epoch: EpochId,
    ) -> Option<EpochId> {
        // Behind all of them, it goes to the last chunk.
        let place = self.chunk_of(key).min(self.chunks.len().saturating_sub(1));
        let Some(held) = self.chunks.get_mut(place) else {
            self.chunks.extend(Held::new(vec![Point::new(key, value, epoch)]));
            return None;
        };
        match held.place(key) {
            Ok(at) => Some(Arc::make_mut(&mut held.points).get_mut(at)?.set(value, epoch)),
            Err(at) => {
                let (before, after) = held.points.split_at(at);
                let mut longer = Vec::with_capacity(held.points.len() + 1);
                longer.extend_from_slice(before);
                longer.push(Point::new(key, value, epoch));
                longer.extend_from_slice(after);
                self.replace(place, longer);
                None
            }
        }
    }

    /// Takes a point out; the epoch of it.
    pub(super) fn remove(&mut self, key: PointKey) -> Option<EpochId> {
        let place = self.chunk_of(key);
        let held = self.chunks.get(place)?;
        let at = held.place(key).ok()?;
        let epoch = held.points.get(at)?.epoch();
        let (before, after) = held.points.split_at(at);
        let shorter = before.iter().chain(after.iter().skip(1)).cloned().collect();
        self.replace(place, shorter);
        Some(epoch)
    }

    /// The chunk that holds a key if any does: the first that does not end before it.
    fn chunk_of(&self, key: PointKey) -> usize {
        self.chunks.partition_point(|held| held.last < key)
    }

    /// Makes these the points of a chunk: of two, when there are too many, and of none without any.
    fn replace(&mut self, place: usize, mut points: Vec<Point>) {
        // Points come in order mostly: the first chunk stays full.
        let at_end = place + 1 == self.chunks.len();
        let rest = match points.len() <= CHUNK {
            true => Vec::new(),
            false => points.split_off(if at_end { CHUNK } else { points.len() / 2 }),
        };
        let new = [points, rest].into_iter().filter_map(Held::new);
        self.chunks.splice(place..=place, new);
    }

    /// Runs of points from a key, included, to another one, excluded.
    pub(super) fn runs(&self, from: PointKey, to: PointKey) -> impl Iterator<Item = Run> {
        let chunks = self.chunks.get(self.chunk_of(from)..).unwrap_or_default().iter();
        let chunks = chunks.take_while(move |held| held.first < to);
        let run = move |Held { points, .. }: &Held| {
            let first = points.partition_point(|point| point.key() < from);
            let end = points.partition_point(|point| point.key() < to).max(first);
            Run { chunk: Arc::clone(points), first, end }
        };
        chunks.map(run).filter(|run| !run.points().is_empty())
    }

    /// All points as runs.
    pub(super) fn all(&self) -> impl Iterator<Item = Run> {
        let run =
            |held: &Held| Run { chunk: Arc::clone(&held.points), first: 0, end: held.points.len() };
        self.chunks.iter().map(run)
    }

    /// The last point from a key, included, to another one, excluded.
    pub(super) fn last(&self, from: PointKey, to: PointKey) -> Option<Run> {
        let place = self.chunks.partition_point(|held| held.first < to);
        let chunk = &self.chunks.get(place.checked_sub(1)?)?.points;
        let end = chunk.partition_point(|point| point.key() < to);
        let first = end.checked_sub(1)?;
        let is_wanted = chunk.get(first).is_some_and(|point| from <= point.key());
        is_wanted.then(|| Run { chunk: Arc::clone(chunk), first, end })
    }
}

/// Neighbouring points of one chunk, as they were when it was read.
#[derive(Debug, Clone)]
pub(super) struct Run {
    chunk: Chunk,
    first: usize,
    end: usize,
}

impl Run {
    /// A run of one point.
    pub(super) fn of(point: Point) -> Run {
        Run { chunk: Arc::new([point]), first: 0, end: 1 }
    }

    /// The points.
    pub(super) fn points(&self) -> &[Point] {
        self.chunk.get(self.first..self.end).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    fn random_value(random: &mut StdRng) -> CellValue {
        let mut number = || {
            let small = i128::from(random.random_range(i64::MIN..=i64::MAX));
            match random.random_range(0..4) {
                0 => None,
                1 => Some(small << 40),
                2 => Some(i128::from(i64::MAX) + i128::from(random.random_range(-1..=1))),
                _ => Some(small),
            }
        };
        let (value, numerator, denominator) = (number(), number(), number());
        let status = Status::ALL[random.random_range(0..Status::ALL.len())];
        if random.random_bool(0.5) {
            return CellValue { value, numerator: None, denominator: None, status };
        }
        CellValue { value, numerator, denominator, status }
    }

    fn told(runs: impl Iterator<Item = Run>) -> Vec<(PointKey, CellValue, EpochId)> {
        let runs: Vec<Run> = runs.collect();
        let points = runs.iter().flat_map(|run| run.points());
        points.map(|point| (point.key(), point.value(), point.epoch())).collect()
    }

    /// Some are whole hours and days, as all are that the engine makes.
    fn random_key(random: &mut StdRng) -> PointKey {
        let length = [1, HOUR_US, 24 * HOUR_US][random.random_range(0..3)];
        let grain = Grain::ALL[random.random_range(0..Grain::ALL.len())];
        (grain, Micros(random.random_range(-100..100) * length))
    }

    #[test]
    fn points_are_a_sorted_map_whose_readers_see_no_change() {
        let mut random = StdRng::seed_from_u64(11);
        let (mut points, mut model) = (Points::default(), BTreeMap::new());
        let mut held = Vec::new();
        for epoch in 1..6_000 {
            let key = random_key(&mut random);
            if random.random_bool(0.6) {
                let value = random_value(&mut random);
                let before = model.insert(key, (value, epoch)).map(|(_, epoch)| epoch);
                assert_eq!(points.put(key, value, epoch), before);
            } else {
                let before = model.remove(&key).map(|(_, epoch)| epoch);
                assert_eq!(points.remove(key), before);
            }
            assert_eq!(points.get(key).map(|p| (p.value(), p.epoch())), model.get(&key).copied());
            let (from, to) = (random_key(&mut random), random_key(&mut random));
            let wanted =
                |(key, (value, epoch)): (&PointKey, &(CellValue, EpochId))| (*key, *value, *epoch);
            let expected: Vec<_> = match from < to {
                true => model.range(from..to).map(wanted).collect(),
                false => Vec::new(),
            };
            assert_eq!(told(points.runs(from, to)), expected);
            assert_eq!(
                told(points.last(from, to).into_iter()),
                expected.last().copied().into_iter().collect::<Vec<_>>()
            );
            if epoch % 500 == 0 {
                held.push((points.all().collect::<Vec<_>>(), told(points.all())));
            }
        }
        assert_eq!(points.len(), model.len());
        assert!(points.chunks.iter().all(|held| (1..=CHUNK).contains(&held.points.len())));
        for (runs, expected) in held {
            assert_eq!(told(runs.into_iter()), expected, "a reader's points have changed");
        }
    }

    #[test]
    fn points_put_in_at_once_are_those_put_in_one_by_one() {
        let mut random = StdRng::seed_from_u64(5);
        let mut one_by_one = Points::default();
        let given: Vec<Point> = (1..500)
            .map(|epoch| Point::new(random_key(&mut random), random_value(&mut random), epoch))
            .collect();
        for point in &given {
            one_by_one.put(point.key(), point.value(), point.epoch());
        }
        assert_eq!(told(Points::of(given).all()), told(one_by_one.all()));
    }

    #[test]
    fn a_point_takes_32_bytes() {
        assert_eq!(size_of::<Point>(), 32);
        assert_eq!(size_of::<Narrow>(), 32);
    }
}
