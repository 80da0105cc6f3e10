//! Building a run: pages as records come, the footer at the end.

use std::io::{self, Write};

use schemas::state::{Bytes, encode};
use xxhash_rust::xxh3::xxh3_64;

use super::filter::Filter;
use super::{Footer, MAGIC};

/// Bytes of records after which a page ends.
const PAGE: usize = if cfg!(test) { 256 } else { 8 << 10 };

/// Takes the records of a run, in the order of [`super::rank`].
#[derive(Debug)]
pub struct RunBuilder<W> {
    out: W,
    footer: Footer,
    /// Records of the page that is being filled.
    page: Vec<(Vec<u8>, Vec<u8>)>,
    bytes: usize,
}

impl<W: Write> RunBuilder<W> {
    /// A run of `most` records at the most.
    pub(super) fn new(mut out: W, most: usize) -> io::Result<RunBuilder<W>> {
        out.write_all(MAGIC)?;
        let footer = Footer {
            filter: Filter::new(most),
            index: Vec::new(),
            end: MAGIC.len() as u64,
            count: 0,
            summary: Vec::new(),
        };
        Ok(RunBuilder { out, footer, page: Vec::new(), bytes: 0 })
    }

    /// Adds a record.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn push(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        let hash = xxh3_64(key);
        if self.page.is_empty() {
            self.footer.index.push((hash, self.footer.end));
        }
        self.footer.filter.add(hash);
        self.footer.count += 1;
        self.bytes += key.len() + value.len();
        self.page.push((key.to_vec(), value.to_vec()));
        if self.bytes >= PAGE { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.page.is_empty() {
            return Ok(());
        }
        let records: Vec<_> = self.page.iter().map(|(k, v)| (Bytes(k), Bytes(v))).collect();
        let mut body = Vec::with_capacity(self.bytes + 4 * records.len() + 16);
        encode(&records, &mut body);
        let sum = xxh3_64(&body);
        body.extend_from_slice(&sum.to_le_bytes());
        self.out.write_all(&body)?;
        self.footer.end += body.len() as u64;
        self.page.clear();
        self.bytes = 0;
        Ok(())
    }

    pub(super) fn finish(mut self, summary: Vec<u8>) -> io::Result<(W, Footer)> {
        self.flush()?;
        self.footer.summary = summary;
        self.footer.index.shrink_to_fit();
        Ok((self.out, self.footer))
    }
}
