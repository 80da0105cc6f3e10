//! Whose turn it is to be written again: pages of a part's numbers, the one that was written longest
//! ago first.
//!
//! # Guarantees
//! - Every record that is not gone was written in [`Turns::first`] or a later segment.

use std::collections::{BTreeMap, VecDeque};
use std::io;

use schemas::{Records, StatePart};

use super::frame::Frames;

/// Numbers of one page.
const PAGE: u32 = 32;

/// The pages of all parts in the order of their turns.
#[derive(Debug, Clone, Default)]
pub(super) struct Turns {
    parts: BTreeMap<String, Pages>,
    queue: VecDeque<Turn>,
    /// What was written of changes and is not yet followed by as many bytes of pages in turn.
    owed: u64,
    /// The number of the next part.
    parts_seen: u32,
}

/// Which pages of a part are in the queue, as bits.
#[derive(Debug, Clone, Default)]
struct Pages {
    /// Its number in the queue: a part that starts over gets another.
    part: u32,
    queued: Vec<u64>,
}

#[derive(Debug, Clone, Copy)]
struct Turn {
    part: u32,
    page: u32,
    /// The oldest segment with a record of the page that is not gone.
    since: u64,
}

impl Pages {
    /// Notes that a page is in the queue; `false` when it was.
    fn add(&mut self, page: u32) -> bool {
        let (at, bit) = (page as usize / 64, 1 << (page % 64));
        if at >= self.queued.len() {
            self.queued.resize(at + 1, 0);
        }
        let word = self.queued.get_mut(at);
        word.is_some_and(|word| std::mem::replace(word, *word | bit) & bit == 0)
    }

    fn remove(&mut self, page: u32) {
        if let Some(word) = self.queued.get_mut(page as usize / 64) {
            *word &= !(1 << (page % 64));
        }
    }
}

impl Turns {
    /// The turns of parts as they were read: `u64::MAX` for numbers without a record, else the segment
    /// that it is in.
    pub(super) fn of(places: &BTreeMap<String, Vec<u64>>) -> Turns {
        let mut turns = Turns::default();
        for (name, places) in places {
            let mut pages = turns.new_part();
            for (page, places) in (0_u32..).zip(places.chunks(PAGE as usize)) {
                let since = places.iter().copied().min().unwrap_or(u64::MAX);
                if since < u64::MAX && pages.add(page) {
                    turns.queue.push_back(Turn { part: pages.part, page, since });
                }
            }
            turns.parts.insert(name.clone(), pages);
        }
        turns.queue.make_contiguous().sort_by_key(|turn| turn.since);
        turns
    }

    /// The first segment that is needed.
    pub(super) fn first(&self) -> Option<u64> {
        self.queue.front().map(|turn| turn.since)
    }

    fn new_part(&mut self) -> Pages {
        self.parts_seen += 1;
        Pages { part: self.parts_seen, queued: Vec::new() }
    }

    /// Writes what changed, and pages whose turn it is.
    pub(super) fn write(
        &mut self,
        parts: &[StatePart<'_>],
        out: &mut Frames<'_>,
    ) -> io::Result<()> {
        self.drop_parts(parts, out)?;
        for StatePart { name, records } in parts {
            match records.changed().filter(|_| self.parts.contains_key(name)) {
                Some(changed) => {
                    let mut changed = changed.to_vec();
                    changed.sort_unstable();
                    out.part(name, false)?;
                    self.owed += self.write_numbers(name, &**records, changed, out)?;
                }
                None => {
                    out.part(name, true)?;
                    let pages = self.new_part();
                    self.parts.insert(name.clone(), pages);
                    self.write_numbers(name, &**records, 0..records.end(), out)?;
                }
            }
        }
        self.write_pages(parts, out)
    }

    /// Parts that are no more.
    fn drop_parts(&mut self, parts: &[StatePart<'_>], out: &mut Frames<'_>) -> io::Result<()> {
        let gone: Vec<String> = self.parts.keys().cloned().collect();
        for name in gone.iter().filter(|name| parts.iter().all(|part| part.name != **name)) {
            self.parts.remove(name);
            out.part(name, true)?;
        }
        Ok(())
    }

    fn write_numbers(
        &mut self,
        name: &str,
        records: &dyn Records,
        numbers: impl IntoIterator<Item = u32>,
        out: &mut Frames<'_>,
    ) -> io::Result<u64> {
        let mut written = 0;
        let Some(pages) = self.parts.get_mut(name) else { return Ok(0) };
        for number in numbers {
            let (mut is_there, since) = (false, out.segment());
            written += out.record(number, |bytes| {
                is_there = records.write(number, bytes);
                is_there
            })?;
            let page = number / PAGE;
            if is_there && pages.add(page) {
                self.queue.push_back(Turn { part: pages.part, page, since });
            }
        }
        Ok(written)
    }

    /// Writes pages in turn, as many bytes as are owed.
    fn write_pages(&mut self, parts: &[StatePart<'_>], out: &mut Frames<'_>) -> io::Result<()> {
        let by_number: BTreeMap<u32, &StatePart<'_>> =
            parts.iter().filter_map(|own| Some((self.parts.get(&own.name)?.part, own))).collect();
        // Pages of this segment are as new as can be.
        while let Some(Turn { part, page, since }) = self.queue.front().copied() {
            let Some(StatePart { name, records }) = by_number.get(&part) else {
                self.queue.pop_front();
                continue;
            };
            if self.owed == 0 || since >= out.segment() {
                break;
            }
            self.queue.pop_front();
            out.part(name, false)?;
            let (mut is_there, since) = (false, out.segment());
            let numbers = page * PAGE..records.end().min((page + 1).saturating_mul(PAGE));
            let mut record = Vec::new();
            for number in numbers {
                record.clear();
                if records.write(number, &mut record) {
                    is_there = true;
                    let written = out.record(number, |bytes| {
                        bytes.extend_from_slice(&record);
                        true
                    })?;
                    self.owed = self.owed.saturating_sub(written);
                }
            }
            if is_there {
                self.queue.push_back(Turn { part, page, since });
            } else if let Some(pages) = self.parts.get_mut(name) {
                pages.remove(page);
            }
        }
        if self.queue.front().is_none_or(|turn| turn.since >= out.segment()) {
            self.owed = 0;
        }
        Ok(())
    }
}
