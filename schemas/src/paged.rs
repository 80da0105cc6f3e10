//! A list in pages that can be frozen: a reader keeps it as it was while the owner goes on writing.
//!
//! # Guarantees
//! - [`Paged::freeze`] copies no record, and writing costs no atomic operation on a page that nobody
//!   shares. The first write to a page that a reader still holds copies that page alone.
//! - Records never move within a page, so a list that grows copies none of them.

use std::sync::Arc;

/// Records of one page.
const PAGE: usize = 256;

/// Records of `stride` values each, numbered from 0.
#[derive(Debug, Clone)]
pub struct Paged<T> {
    pages: Vec<Page<T>>,
    stride: usize,
    len: usize,
}

#[derive(Debug, Clone)]
enum Page<T> {
    Own(Box<[T]>),
    /// A frozen list has it, too, or had it.
    Shared(Arc<Box<[T]>>),
}

impl<T: Clone> Page<T> {
    fn values(&self) -> &[T] {
        match self {
            Page::Own(values) => values,
            Page::Shared(values) => values,
        }
    }

    fn values_mut(&mut self) -> &mut [T] {
        if let Page::Shared(values) = self {
            *self = Page::Own(Arc::unwrap_or_clone(std::mem::take(values)));
        }
        match self {
            Page::Own(values) => values,
            // Not reached: it was made this page's own above.
            Page::Shared(_) => &mut [],
        }
    }

    fn share(&mut self) -> Page<T> {
        if let Page::Own(values) = self {
            *self = Page::Shared(Arc::new(std::mem::take(values)));
        }
        self.clone()
    }
}

impl<T: Clone> Paged<T> {
    /// No records yet, of `stride` values each.
    pub fn new(stride: usize) -> Paged<T> {
        Paged { pages: Vec::new(), stride, len: 0 }
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
        if at.is_multiple_of(PAGE) {
            self.pages.push(Page::Own(vec![value; PAGE * self.stride].into()));
            self.len += 1;
            return at;
        }
        self.len += 1;
        self.record_mut(at).fill(value);
        at
    }

    /// The record with this number; empty when there is none.
    pub fn record(&self, at: usize) -> &[T] {
        let from = at % PAGE * self.stride;
        let page = self.pages.get(at / PAGE).map_or(&[][..], Page::values);
        page.get(from..from + self.stride).unwrap_or_default()
    }

    /// The same, to be written.
    pub fn record_mut(&mut self, at: usize) -> &mut [T] {
        let from = at % PAGE * self.stride;
        let page = self.pages.get_mut(at / PAGE).map_or(&mut [][..], Page::values_mut);
        page.get_mut(from..from + self.stride).unwrap_or_default()
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
        let values = self.pages.iter().flat_map(Page::values);
        values.step_by(self.stride.max(1)).take(self.len)
    }

    /// The list as it is now.
    #[must_use]
    pub fn freeze(&mut self) -> Paged<T> {
        let pages = self.pages.iter_mut().map(Page::share).collect();
        Paged { pages, stride: self.stride, len: self.len }
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
