//! Entries in bytes: a partition's names and those of quiet origins are written once in a segment, and offsets
//! as what has been read since the entry before.
//!
//! # Guarantees
//! - What [`Coder::put`] wrote after the entries before it is what [`Coder::take`] reads after them.

use std::collections::BTreeSet;
use std::sync::Arc;

use hashbrown::{Equivalent, HashMap};
use schemas::{EpochId, Span};

use super::Entry;
use super::frame::{number, put_number, put_signed, put_text, signed, text};

const QUIET: u64 = 1;
const HASHED: u64 = 2;

/// One partition of one life of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Place {
    source: String,
    topic: String,
    incarnation: String,
    partition: i32,
}

/// The place of a span, borrowed. Its fields hash as those of [`Place`].
#[derive(Hash)]
struct PlaceOf<'a> {
    source: &'a str,
    topic: &'a str,
    incarnation: &'a str,
    partition: i32,
}

impl<'a> PlaceOf<'a> {
    fn new(span: &'a Span) -> PlaceOf<'a> {
        let Span { source, topic, incarnation, partition, .. } = span;
        PlaceOf { source, topic, incarnation, partition: *partition }
    }
}

impl Equivalent<Place> for PlaceOf<'_> {
    fn equivalent(&self, place: &Place) -> bool {
        self.partition == place.partition
            && self.topic == place.topic
            && self.source == place.source
            && self.incarnation == place.incarnation
    }
}

/// What the entries of a segment so far say about the next one.
#[derive(Debug, Default)]
pub(super) struct Coder {
    numbers: HashMap<Place, usize>,
    /// By number: the place and the offset reached.
    places: Vec<(Place, i64)>,
    /// By number: origins that were quiet.
    origins: Vec<Arc<str>>,
    clock: i64,
}

impl Coder {
    /// A coder for the first entry of a segment that begins at this clock.
    pub(super) fn new(clock: i64) -> Coder {
        Coder { clock, ..Coder::default() }
    }

    /// Appends an entry, without its epoch number. `None` when its hash is none.
    pub(super) fn put(&mut self, out: &mut Vec<u8>, entry: &Entry) -> Option<()> {
        let hash = match entry.hash.as_str() {
            "" => None,
            hash => Some(u128::from_str_radix(hash, 16).ok()?),
        };
        let quiet = if entry.quiet.is_empty() { 0 } else { QUIET };
        put_number(out, quiet | hash.map_or(0, |_| HASHED));
        put_signed(out, entry.clock.wrapping_sub(self.clock));
        self.clock = entry.clock;
        if let Some(hash) = hash {
            out.extend_from_slice(&hash.to_le_bytes());
        }
        if quiet != 0 {
            self.put_origins(out, &entry.quiet);
        }
        let known = self.places.len();
        let numbers: Vec<usize> = entry.spans.iter().map(|span| self.number_of(span)).collect();
        let new = self.places.get(known..).unwrap_or_default();
        put_number(out, new.len() as u64);
        for (place, _) in new {
            put_text(out, &place.source);
            put_text(out, &place.topic);
            put_text(out, &place.incarnation);
            put_signed(out, i64::from(place.partition));
        }
        put_number(out, numbers.len() as u64);
        for (number, span) in numbers.into_iter().zip(&entry.spans) {
            let (_, reached) = self.places.get_mut(number)?;
            put_number(out, number as u64);
            put_signed(out, span.from.wrapping_sub(*reached));
            put_signed(out, span.to.wrapping_sub(span.from));
            *reached = span.to;
        }
        Some(())
    }

    /// Reads the entry of `epoch` from all of `bytes`. `None` when they are none.
    pub(super) fn take(&mut self, mut bytes: &[u8], epoch: EpochId) -> Option<Entry> {
        let rest = &mut bytes;
        let flags = number(rest)?;
        self.clock = self.clock.wrapping_add(signed(rest)?);
        let hash = match flags & HASHED {
            0 => String::new(),
            _ => {
                let (hash, after) = rest.split_first_chunk::<16>()?;
                *rest = after;
                format!("{:032x}", u128::from_le_bytes(*hash))
            }
        };
        let quiet = if flags & QUIET == 0 { BTreeSet::new() } else { self.take_origins(rest)? };
        for _ in 0..number(rest)? {
            let (source, topic, incarnation) = (text(rest)?, text(rest)?, text(rest)?);
            let partition = i32::try_from(signed(rest)?).ok()?;
            self.places.push((Place { source, topic, incarnation, partition }, 0));
        }
        let mut spans = Vec::new();
        for _ in 0..number(rest)? {
            let (place, reached) = self.places.get_mut(usize::try_from(number(rest)?).ok()?)?;
            let from = reached.wrapping_add(signed(rest)?);
            let to = from.wrapping_add(signed(rest)?);
            *reached = to;
            let Place { source, topic, incarnation, partition } = place.clone();
            spans.push(Span { source, topic, incarnation, partition, from, to });
        }
        let entry = Entry { epoch, clock: self.clock, quiet, hash, spans };
        rest.is_empty().then_some(entry)
    }

    fn put_origins(&mut self, out: &mut Vec<u8>, origins: &BTreeSet<Arc<str>>) {
        put_number(out, origins.len() as u64);
        for origin in origins {
            let known = self.origins.iter().position(|known| known == origin);
            let at = known.unwrap_or(self.origins.len());
            put_number(out, at as u64);
            if known.is_none() {
                put_text(out, origin);
                self.origins.push(Arc::clone(origin));
            }
        }
    }

    fn take_origins(&mut self, rest: &mut &[u8]) -> Option<BTreeSet<Arc<str>>> {
        let mut origins = BTreeSet::new();
        for _ in 0..number(rest)? {
            let at = usize::try_from(number(rest)?).ok()?;
            if at == self.origins.len() {
                self.origins.push(text(rest)?.into());
            }
            origins.insert(Arc::clone(self.origins.get(at)?));
        }
        Some(origins)
    }

    fn number_of(&mut self, span: &Span) -> usize {
        if let Some(number) = self.numbers.get(&PlaceOf::new(span)) {
            return *number;
        }
        let Span { source, topic, incarnation, partition, .. } = span.clone();
        let place = Place { source, topic, incarnation, partition };
        let number = self.places.len();
        self.numbers.insert(place.clone(), number);
        self.places.push((place, 0));
        number
    }
}
