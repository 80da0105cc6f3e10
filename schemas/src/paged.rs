//! A list in pages that can be frozen: a reader keeps it as it was while the owner goes on writing.
//!
//! Pages are held by chunks, so that freezing looks at each chunk and at the pages of those that were
//! written since: ten million records are 305 chunks.
//!
//! # Guarantees
//! - [`Paged::freeze`] copies no record, and writing costs no atomic operation on a page that nobody
//!   shares. The first write to a page that a reader still holds copies that page alone.
//! - Records never move within a page, so a list that grows copies none of them.

use std::sync::Arc;

/// Records of one page.
const PAGE: usize = 256;
/// Pages of one chunk.
const CHUNK: usize = 128;

/// Records of `stride` values each, numbered from 0.
#[derive(Debug, Clone)]
pub struct Paged<T> {
    chunks: Vec<Held<Page<T>>>,
    stride: usize,
    len: usize,
}

/// The values of some records.
type Page<T> = Held<T>;

/// Values of this list alone, or shared with a frozen one.
#[derive(Debug, Clone)]
enum Held<T> {
    Own(Vec<T>),
    /// A frozen list has them, too, or had them.
    Shared(Arc<Vec<T>>),
}

impl<T: Clone> Held<T> {
    fn values(&self) -> &[T] {
        match self {
            Held::Own(values) => values,
            Held::Shared(values) => values,
        }
    }

    /// The values, made this list's own.
    fn own(&mut self) -> &mut Vec<T> {
        loop {
            match self {
                Held::Own(values) => return values,
                Held::Shared(values) => {
                    *self = Held::Own(Arc::unwrap_or_clone(std::mem::take(values)));
                }
            }
        }
    }

    /// Lets a second holder have the values without copying them.
    fn share(&mut self) {
        if let Held::Own(values) = self {
            *self = Held::Shared(Arc::new(std::mem::take(values)));
        }
    }
}

impl<T: Clone> Held<Page<T>> {
    /// The same pages for a second holder: of a chunk that is shared already, all pages are.
    fn share_all(&mut self) -> Held<Page<T>> {
        if let Held::Own(pages) = self {
            pages.iter_mut().for_each(Held::share);
        }
        self.share();
        self.clone()
    }
}

impl<T: Clone> Paged<T> {
    /// No records yet, of `stride` values each.
    pub fn new(stride: usize) -> Paged<T> {
        Paged { chunks: Vec::new(), stride, len: 0 }
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a record of copies of `value`; returns its number.
    pub fn push(&mut self, value: T) -> usize {
        let at = self.len;
        self.len += 1;
        if !at.is_multiple_of(PAGE) {
            self.record_mut(at).fill(value);
            return at;
        }
        if at.is_multiple_of(PAGE * CHUNK) {
            self.chunks.push(Held::Own(Vec::new()));
        }
        if let Some(chunk) = self.chunks.last_mut() {
            chunk.own().push(Held::Own(vec![value; PAGE * self.stride]));
        }
        at
    }

    /// The record with this number; empty when there is none.
    pub fn record(&self, at: usize) -> &[T] {
        let from = at % PAGE * self.stride;
        let chunk = self.chunks.get(at / (PAGE * CHUNK)).map_or(&[][..], Held::values);
        let page = chunk.get(at / PAGE % CHUNK).map_or(&[][..], Held::values);
        page.get(from..from + self.stride).unwrap_or_default()
    }

    /// The same, to be written.
    pub fn record_mut(&mut self, at: usize) -> &mut [T] {
        let from = at % PAGE * self.stride;
        let chunk = self.chunks.get_mut(at / (PAGE * CHUNK));
        let page = chunk.and_then(|chunk| chunk.own().get_mut(at / PAGE % CHUNK));
        let values = page.map_or(&mut [][..], |page| page.own().as_mut_slice());
        values.get_mut(from..from + self.stride).unwrap_or_default()
    }

    /// The first value of a record.
    pub fn get(&self, at: usize) -> Option<&T> {
        self.record(at).first().filter(|_| at < self.len)
    }

    /// The same, to be written.
    pub fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        if at >= self.len { None } else { self.record_mut(at).first_mut() }
    }

    /// The first value of every record, in order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        let pages = self.chunks.iter().flat_map(Held::values);
        let values = pages.flat_map(Held::values);
        values.step_by(self.stride.max(1)).take(self.len)
    }

    /// The list as it is now.
    #[must_use]
    pub fn freeze(&mut self) -> Paged<T> {
        let chunks = self.chunks.iter_mut().map(Held::share_all).collect();
        Paged { chunks, stride: self.stride, len: self.len }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_frozen_stays_while_the_owner_writes() {
        let mut list = Paged::new(2);
        for number in 0..PAGE * 3 {
            assert_eq!(list.push(number), number);
        }
        let first = list.freeze();
        list.record_mut(5)[1] = 9000;
        list.push(7);
        let second = list.freeze();
        *list.get_mut(5).unwrap() = 1;
        list.record_mut(PAGE)[0] = 2;
        assert_eq!(first.record(5), [5, 5]);
        assert_eq!(second.record(5), [5, 9000]);
        assert_eq!(list.record(5), [1, 9000]);
        assert_eq!((first.len(), second.len(), list.len()), (768, 769, 769));
        assert_eq!((first.get(768), second.get(768)), (None, Some(&7)));
        assert_eq!(list.get_mut(769), None);
        assert!(first.iter().copied().eq(0..PAGE * 3));
        assert_eq!(list.iter().nth(PAGE), Some(&2));
    }

    #[test]
    fn chunks_are_frozen_as_pages_are() {
        let mut list = Paged::new(1);
        for number in 0..PAGE * CHUNK * 2 + 3 {
            list.push(number);
        }
        let frozen = list.freeze();
        *list.get_mut(PAGE * CHUNK).unwrap() = 1;
        list.push(2);
        assert!(frozen.iter().copied().eq(0..PAGE * CHUNK * 2 + 3));
        assert_eq!(list.get(PAGE * CHUNK), Some(&1));
        assert_eq!(list.iter().last(), Some(&2));
        assert!(list.freeze().iter().eq(list.iter()));
        assert_eq!(frozen.get(PAGE * CHUNK), Some(&(PAGE * CHUNK)));
    }

    #[test]
    fn only_pages_that_are_written_are_copied() {
        let mut list = Paged::new(1);
        for number in 0..PAGE * 2 {
            list.push(Arc::new(number));
        }
        let frozen = list.freeze();
        *list.get_mut(0).unwrap() = Arc::new(0);
        let copies = |at: usize| Arc::strong_count(frozen.get(at).unwrap());
        assert_eq!((copies(1), copies(PAGE)), (2, 1));
        drop(frozen);
        // A page that nobody else has any more is written in place.
        let last = Arc::clone(list.get(PAGE + 1).unwrap());
        *list.get_mut(PAGE).unwrap() = Arc::new(0);
        assert_eq!(Arc::strong_count(&last), 2);
    }

    #[test]
    fn records_without_values_are_counted() {
        let mut none: Paged<u8> = Paged::new(0);
        assert_eq!((0..PAGE * 2).map(|_| none.push(1)).last(), Some(PAGE * 2 - 1));
        assert_eq!((none.len(), none.record(300), none.get(0)), (PAGE * 2, &[][..], None));
        assert!(none.record_mut(3).is_empty() && none.freeze().iter().next().is_none());
    }
}
