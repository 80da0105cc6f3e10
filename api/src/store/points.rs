//! The points of one series, packed: what the store keeps of each cell.
//!
//! # Guarantees
//! - Points are ascending by grain and period, in chunks that readers share: a reader's chunk never
//!   changes, and a writer copies at most [`CHUNK`] points for it.
//! - A value comes back as it was put. One whose numbers fit 64 bits takes no memory of its own, or, of
//!   a ratio, 32 bytes.

use std::sync::Arc;

use schemas::{CellValue, EpochId, Grain, Micros, Status};

/// The most points of a chunk: what one change may have to copy.
pub(super) const CHUNK: usize = 64;

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

impl Packed {
    fn new(value: CellValue) -> Packed {
        let CellValue { value: whole, numerator, denominator, status } = value;
        let parts = [whole, numerator, denominator];
        let narrow = |part: Option<i128>| i64::try_from(part.unwrap_or(0)).ok();
        let [Some(first), Some(second), Some(third)] = parts.map(narrow) else {
            return Packed::Wide(Box::new(value));
        };
        match (parts, status) {
            ([Some(_), None, None], Status::Ok) => Packed::Plain(first),
            _ => Packed::Narrow(Box::new(Narrow {
                numbers: [first, second, third],
                is_there: parts.map(|part| part.is_some()),
                status,
            })),
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
        let place = Grain::ALL.iter().position(|own| *own == grain).unwrap_or(0);
        Point { start, stamp: epoch << 8 | place as u64, value: Packed::new(value) }
    }

    /// Where its period starts.
    pub(super) fn start(&self) -> Micros {
        self.start
    }

    /// The grain.
    pub(super) fn grain(&self) -> Grain {
        let place = usize::try_from(self.stamp & 0xff).unwrap_or(0);
        Grain::ALL.get(place).copied().unwrap_or(Grain::Hour)
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
}

/// The points of a series.
#[derive(Debug, Default)]
pub(super) struct Points {
    /// None of them empty.
    chunks: Vec<Chunk>,
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
            let chunk: Vec<Point> = points.by_ref().take(CHUNK).collect();
            if chunk.is_empty() {
                return Points { chunks };
            }
            chunks.push(chunk.into());
        }
    }

    /// How many.
    pub(super) fn len(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.len()).sum()
    }

    /// The point with this key.
    pub(super) fn get(&self, key: PointKey) -> Option<&Point> {
        let chunk = self.chunks.get(self.chunk_of(key))?;
        chunk.binary_search_by_key(&key, Point::key).ok().and_then(|at| chunk.get(at))
    }

    /// Puts a point in; the epoch of the one it replaces.
    pub(super) fn put(&mut self, point: Point) -> Option<EpochId> {
        let key = point.key();
        // Behind all of them, it goes to the last chunk.
        let place = self.chunk_of(key).min(self.chunks.len().saturating_sub(1));
        let Some(chunk) = self.chunks.get_mut(place) else {
            self.chunks.push(Arc::from([point]));
            return None;
        };
        match chunk.binary_search_by_key(&key, Point::key) {
            Ok(at) => {
                let own = Arc::make_mut(chunk).get_mut(at)?;
                Some(std::mem::replace(own, point).epoch())
            }
            Err(at) => {
                let (before, after) = chunk.split_at(at);
                let longer: Vec<Point> =
                    before.iter().cloned().chain([point]).chain(after.iter().cloned()).collect();
                self.replace(place, longer);
                None
            }
        }
    }

    /// Takes a point out; the epoch of it.
    pub(super) fn remove(&mut self, key: PointKey) -> Option<EpochId> {
        let place = self.chunk_of(key);
        let chunk = self.chunks.get(place)?;
        let at = chunk.binary_search_by_key(&key, Point::key).ok()?;
        let epoch = chunk.get(at)?.epoch();
        let (before, after) = chunk.split_at(at);
        let shorter = before.iter().chain(after.iter().skip(1)).cloned().collect();
        self.replace(place, shorter);
        Some(epoch)
    }

    /// The chunk that holds a key if any does: the first that does not end before it.
    fn chunk_of(&self, key: PointKey) -> usize {
        self.chunks.partition_point(|chunk| chunk.last().is_some_and(|last| last.key() < key))
    }

    /// Makes these the points of a chunk: of two, when there are too many, and of none without any.
    fn replace(&mut self, place: usize, mut points: Vec<Point>) {
        let new: Vec<Chunk> = if points.is_empty() {
            Vec::new()
        } else if points.len() <= CHUNK {
            vec![points.into()]
        } else {
            // Points come in order mostly: the first chunk stays full.
            let at_end = place + 1 == self.chunks.len();
            let rest = points.split_off(if at_end { CHUNK } else { points.len() / 2 });
            vec![points.into(), rest.into()]
        };
        self.chunks.splice(place..=place, new);
    }

    /// Runs of points from a key, included, to another one, excluded.
    pub(super) fn runs(&self, from: PointKey, to: PointKey) -> impl Iterator<Item = Run> {
        let chunks = self.chunks.get(self.chunk_of(from)..).unwrap_or_default().iter();
        let chunks =
            chunks.take_while(move |chunk| chunk.first().is_some_and(|first| first.key() < to));
        let run = move |chunk: &Chunk| {
            let first = chunk.partition_point(|point| point.key() < from);
            let end = chunk.partition_point(|point| point.key() < to).max(first);
            Run { chunk: Arc::clone(chunk), first, end }
        };
        chunks.map(run).filter(|run| !run.points().is_empty())
    }

    /// All points as runs.
    pub(super) fn all(&self) -> impl Iterator<Item = Run> {
        let run = |chunk: &Chunk| Run { chunk: Arc::clone(chunk), first: 0, end: chunk.len() };
        self.chunks.iter().map(run)
    }

    /// The last point from a key, included, to another one, excluded.
    pub(super) fn last(&self, from: PointKey, to: PointKey) -> Option<Run> {
        let place = self
            .chunks
            .partition_point(|chunk| chunk.first().is_some_and(|first| first.key() < to));
        let chunk = self.chunks.get(place.checked_sub(1)?)?;
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
        let all = [Status::Ok, Status::NoData, Status::Error];
        let status = all[random.random_range(0..3)];
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

    fn random_key(random: &mut StdRng) -> PointKey {
        (Grain::ALL[random.random_range(0..3)], Micros(random.random_range(-200..200)))
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
                assert_eq!(points.put(Point::new(key, value, epoch)), before);
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
        assert!(points.chunks.iter().all(|chunk| (1..=CHUNK).contains(&chunk.len())));
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
            one_by_one.put(point.clone());
        }
        assert_eq!(told(Points::of(given).all()), told(one_by_one.all()));
    }

    #[test]
    fn a_point_takes_32_bytes() {
        assert_eq!(size_of::<Point>(), 32);
        assert_eq!(size_of::<Narrow>(), 32);
    }
}
