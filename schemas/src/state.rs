//! State that is saved record by record, so that a barrier writes the records that changed.
//!
//! A **part** is a list of records: bytes under a number. Whoever owns a part freezes it, and says which
//! records changed since the freeze before; how they become durable is `lake::state`'s business.
//!
//! # Guarantees
//! - [`encode`] is canonical: equal values are equal bytes, as long as maps and sets are sorted.
//! - [`decode`] refuses bytes that are cut short or longer than the value.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::marks::Marks;
use crate::paged::Paged;

/// The records of a part as they were at one epoch.
pub trait Records {
    /// The records that changed since the freeze before, each once; `None` when every number may mean
    /// something else than before.
    fn changed(&self) -> Option<&[u32]>;

    /// One more than the highest number of a record.
    fn end(&self) -> u32;

    /// Appends the record with this number; `false` when there is none.
    fn write(&self, number: u32, out: &mut Vec<u8>) -> bool;
}

/// A part by its name.
pub struct StatePart<'a> {
    /// What it is saved and found under.
    pub name: String,
    /// What it holds.
    pub records: Box<dyn Records + 'a>,
}

impl std::fmt::Debug for StatePart<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StatePart").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<'a> StatePart<'a> {
    /// A part of these records.
    pub fn new(name: impl Into<String>, records: impl Records + 'a) -> StatePart<'a> {
        StatePart { name: name.into(), records: Box::new(records) }
    }

    /// A part of one small record, which every barrier writes.
    pub fn head(name: impl Into<String>, value: &impl Serialize) -> StatePart<'a> {
        let mut bytes = Vec::new();
        encode(value, &mut bytes);
        StatePart::new(name, Head(bytes))
    }
}

struct Head(Vec<u8>);

impl Records for Head {
    fn changed(&self) -> Option<&[u32]> {
        Some(&[0])
    }

    fn end(&self) -> u32 {
        1
    }

    fn write(&self, number: u32, out: &mut Vec<u8>) -> bool {
        if number == 0 {
            out.extend_from_slice(&self.0);
        }
        number == 0
    }
}

/// A part that is a list of values, each under its number.
#[derive(Debug)]
pub struct Slots<T> {
    slots: Paged<Option<T>>,
    changed: Marks,
}

/// The values at one epoch.
#[derive(Debug)]
pub struct FrozenSlots<T> {
    slots: Paged<Option<T>>,
    changed: Vec<u32>,
}

impl<T: Clone> Default for Slots<T> {
    fn default() -> Slots<T> {
        Slots { slots: Paged::new(1), changed: Marks::default() }
    }
}

impl<T: Clone> Slots<T> {
    /// The value under a number.
    pub fn get(&self, number: u32) -> Option<&T> {
        self.slots.get(number as usize)?.as_ref()
    }

    /// Replaces a value, or removes it.
    pub fn set(&mut self, number: u32, value: Option<T>) {
        self.restore(number, value);
        self.changed.mark(number);
    }

    /// Puts a value back as it was saved.
    pub fn restore(&mut self, number: u32, value: Option<T>) {
        while self.slots.len() <= number as usize {
            self.slots.push(None);
        }
        if let Some(held) = self.slots.get_mut(number as usize) {
            *held = value;
        }
    }

    /// One more than the highest number.
    pub fn end(&self) -> u32 {
        u32::try_from(self.slots.len()).unwrap_or(u32::MAX)
    }

    /// The values as they are now.
    pub fn freeze(&mut self) -> FrozenSlots<T> {
        FrozenSlots { slots: self.slots.freeze(), changed: self.changed.take() }
    }
}

impl<T: Clone + Serialize> Records for &FrozenSlots<T> {
    fn changed(&self) -> Option<&[u32]> {
        Some(&self.changed)
    }

    fn end(&self) -> u32 {
        u32::try_from(self.slots.len()).unwrap_or(u32::MAX)
    }

    fn write(&self, number: u32, out: &mut Vec<u8>) -> bool {
        let value = self.slots.get(number as usize).and_then(Option::as_ref);
        value.into_iter().for_each(|value| encode(value, out));
        value.is_some()
    }
}

/// Saved state as it is read back, part by part.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Saved {
    parts: BTreeMap<String, SavedPart>,
}

impl Saved {
    /// Every record of these parts.
    pub fn of(parts: &[StatePart<'_>]) -> Saved {
        let mut saved = Saved::default();
        saved.update(parts);
        saved
    }

    /// Takes what changed of these parts; all of those that are not here yet or numbered anew.
    pub fn update(&mut self, parts: &[StatePart<'_>]) {
        for StatePart { name, records } in parts {
            match records.changed().filter(|_| self.parts.contains_key(name)) {
                Some(changed) => self.take(name, &**records, changed.iter().copied()),
                None => {
                    self.clear(name);
                    self.take(name, &**records, 0..records.end());
                }
            }
        }
    }

    fn take(&mut self, name: &str, records: &dyn Records, numbers: impl Iterator<Item = u32>) {
        let part = self.part_mut(name);
        let mut bytes = Vec::new();
        for number in numbers {
            bytes.clear();
            let is_there = records.write(number, &mut bytes);
            part.put(number, is_there.then_some(&*bytes));
        }
    }

    /// The records of a part.
    pub fn part(&self, name: &str) -> Option<&SavedPart> {
        self.parts.get(name)
    }

    /// The names of all parts, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.parts.keys().map(String::as_str)
    }

    /// The value of a part that is one record.
    ///
    /// # Errors
    /// When there is no such part, or it is not that.
    pub fn head<'a, T: Deserialize<'a>>(&'a self, name: &str) -> Result<T, SavedError> {
        let record = self.part(name).and_then(|part| part.get(0));
        decode(record.ok_or_else(|| SavedError::Missing(name.to_owned()))?)
            .ok_or_else(|| SavedError::Record(name.to_owned(), 0))
    }

    /// The values of a part, by number; none when there is no such part.
    pub fn values<'a, T: DeserializeOwned>(
        &'a self,
        name: &'a str,
    ) -> impl Iterator<Item = Result<(u32, T), SavedError>> + 'a {
        let records = self.part(name).into_iter().flat_map(SavedPart::records);
        records.map(move |(number, bytes)| {
            let value = decode(bytes);
            let value = value.ok_or_else(|| SavedError::Record(name.to_owned(), number))?;
            Ok((number, value))
        })
    }

    /// A part to be filled, made when it is not there.
    pub fn part_mut(&mut self, name: &str) -> &mut SavedPart {
        self.parts.entry(name.to_owned()).or_default()
    }

    /// Forgets the records of a part.
    pub fn clear(&mut self, name: &str) {
        self.parts.remove(name);
    }
}

/// Why saved state cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SavedError {
    /// A part is not there.
    #[error("the saved state has no part `{0}`")]
    Missing(String),
    /// A record is not what this binary writes.
    #[error("record {1} of the saved state `{0}` is not what this binary writes")]
    Record(String, u32),
}

/// The records of one saved part.
#[derive(Debug, Clone, Default)]
pub struct SavedPart {
    bytes: Vec<u8>,
    /// Where each record lies, by number.
    spans: Vec<Option<(usize, u32)>>,
}

impl SavedPart {
    /// Replaces a record, or removes it.
    pub fn put(&mut self, number: u32, record: Option<&[u8]>) {
        let at = number as usize;
        if at >= self.spans.len() {
            if record.is_none() {
                return;
            }
            self.spans.resize(at + 1, None);
        }
        let span = record.and_then(|record| {
            let from = self.bytes.len();
            self.bytes.extend_from_slice(record);
            Some((from, u32::try_from(record.len()).ok()?))
        });
        if let Some(held) = self.spans.get_mut(at) {
            *held = span;
        }
    }

    /// The record with this number.
    pub fn get(&self, number: u32) -> Option<&[u8]> {
        self.bytes_of(*self.spans.get(number as usize)?)
    }

    /// All records, by number.
    pub fn records(&self) -> impl Iterator<Item = (u32, &[u8])> {
        let spans = (0_u32..).zip(&self.spans);
        spans.filter_map(|(number, span)| Some((number, self.bytes_of(*span)?)))
    }

    fn bytes_of(&self, span: Option<(usize, u32)>) -> Option<&[u8]> {
        let (from, length) = span?;
        self.bytes.get(from..from + length as usize)
    }
}

impl PartialEq for SavedPart {
    fn eq(&self, other: &SavedPart) -> bool {
        self.records().eq(other.records())
    }
}

impl Eq for SavedPart {}

/// Appends the bytes of a value.
pub fn encode(value: &impl Serialize, out: &mut Vec<u8>) {
    let before = out.len();
    // Plain data always has a form; a record without bytes is refused when it is read back.
    if postcard::serialize_with_flavor(value, End(out)).is_err() {
        out.truncate(before);
    }
}

/// The end of a buffer.
struct End<'a>(&'a mut Vec<u8>);

impl postcard::ser_flavors::Flavor for End<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// The value of these bytes; `None` when they are not those of one.
pub fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    let (value, rest) = postcard::take_from_bytes(bytes).ok()?;
    rest.is_empty().then_some(value)
}

/// Bytes that are copied as they are, without looking at each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bytes<'a>(pub &'a [u8]);

impl Serialize for Bytes<'_> {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(self.0)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Bytes<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Bytes<'a>, D::Error> {
        <&[u8]>::deserialize(from).map(Bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_back_and_nothing_else_is() {
        let value = (7_u32, Some(-3_i128), "text".to_owned(), [f64::NAN, -0.0].map(f64::to_bits));
        let mut bytes = vec![1];
        encode(&value, &mut bytes);
        assert_eq!(decode(&bytes[1..]), Some(value));
        assert_eq!(decode::<(u32, Option<i128>, String, [u64; 2])>(&bytes[2..]), None);
        for cut in 1..bytes.len() {
            assert_eq!(decode::<(u32, Option<i128>, String, [u64; 2])>(&bytes[1..cut]), None);
        }
        let mut short = Vec::new();
        encode(&Bytes(&[5, 6]), &mut short);
        assert_eq!((short.as_slice(), decode(&short)), (&[2, 5, 6][..], Some(Bytes(&[5, 6]))));
    }

    #[test]
    fn parts_hold_the_newest_record_of_each_number() {
        let mut saved = Saved::default();
        let part = saved.part_mut("a");
        part.put(3, Some(b"first"));
        part.put(9, None);
        part.put(0, Some(b""));
        part.put(3, Some(b"second"));
        assert_eq!(part.records().collect::<Vec<_>>(), [(0, &b""[..]), (3, b"second")]);
        part.put(3, None);
        assert_eq!((part.get(3), part.get(0), part.get(77)), (None, Some(&b""[..]), None));
        let again = Saved::of(&[StatePart::head("head", &"text")]);
        assert_eq!(again.head::<&str>("head"), Ok("text"));
        assert_eq!(again.head::<&str>("tail"), Err(SavedError::Missing("tail".into())));
        assert_eq!(again.head::<u64>("head"), Err(SavedError::Record("head".into(), 0)));
    }
}
