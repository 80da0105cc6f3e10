//! L, the log as it should be: which records were produced, and a hash of what each said.

use std::collections::BTreeMap;
use std::fs::File;
use std::hash::{DefaultHasher, Hasher};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use serde_json::value::RawValue;

use crate::Error;

/// The expected records of each topic and partition: offset and hash.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Log {
    partitions: BTreeMap<(String, i32), BTreeMap<i64, u64>>,
}

/// A hash of key and value in which null differs from empty.
pub fn hash(key: Option<&[u8]>, value: Option<&[u8]>) -> u64 {
    let mut hasher = DefaultHasher::new();
    for part in [key, value] {
        hasher.write_u8(u8::from(part.is_some()));
        hasher.write_usize(part.map_or(0, <[u8]>::len));
        hasher.write(part.unwrap_or_default());
    }
    hasher.finish()
}

impl Log {
    /// Adds a record.
    pub fn insert(
        &mut self,
        topic: &str,
        partition: i32,
        offset: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) {
        let records = self.partitions.entry((topic.to_owned(), partition)).or_default();
        records.insert(offset, hash(key, value));
    }

    /// Reads a file of lines `{"topic","partition","offset","key","value"}`, `.gz` or plain. Text
    /// stands for its bytes, null for none, and any other JSON for its own text.
    ///
    /// # Errors
    /// When the file cannot be read or a line has another shape.
    pub fn read(path: &Path) -> Result<Log, Error> {
        let place = path.display().to_string();
        let file = File::open(path).map_err(Error::at(&place))?;
        let packed = path.extension().is_some_and(|extension| extension == "gz");
        let reader: Box<dyn Read> =
            if packed { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
        let mut log = Log::default();
        for (number, line) in BufReader::new(reader).lines().enumerate() {
            let place = format!("{place}:{}", number + 1);
            let line = line.map_err(Error::at(&place))?;
            if !line.trim().is_empty() {
                log.insert_line(&line).map_err(Error::at(&place))?;
            }
        }
        Ok(log)
    }

    fn insert_line(&mut self, line: &str) -> Result<(), Error> {
        let fields: BTreeMap<String, Box<RawValue>> =
            serde_json::from_str(line).map_err(Error::new)?;
        let raw = |name: &str| fields.get(name).map_or("null", |field| field.get());
        let bytes = |name: &str| -> Result<Option<Vec<u8>>, Error> {
            let text = raw(name);
            if text == "null" {
                return Ok(None);
            }
            if !text.starts_with('"') {
                return Ok(Some(text.as_bytes().to_vec()));
            }
            let text: String = serde_json::from_str(text).map_err(Error::new)?;
            Ok(Some(text.into_bytes()))
        };
        let topic: String = serde_json::from_str(raw("topic")).map_err(Error::at("topic"))?;
        let partition = serde_json::from_str(raw("partition")).map_err(Error::at("partition"))?;
        let offset = serde_json::from_str(raw("offset")).map_err(Error::at("offset"))?;
        self.insert(
            &topic,
            partition,
            offset,
            bytes("key")?.as_deref(),
            bytes("value")?.as_deref(),
        );
        Ok(())
    }

    /// The number of records.
    pub fn len(&self) -> usize {
        self.partitions.values().map(BTreeMap::len).sum()
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The hash of one record.
    pub fn get(&self, topic: &str, partition: i32, offset: i64) -> Option<u64> {
        self.partitions.get(&(topic.to_owned(), partition))?.get(&offset).copied()
    }

    /// How many records of a partition lie in `from..to`.
    pub fn count(&self, topic: &str, partition: i32, from: i64, to: i64) -> usize {
        let records = self.partitions.get(&(topic.to_owned(), partition));
        records.map_or(0, |records| records.range(from..to.max(from)).count())
    }

    /// Every coordinate: topic, partition, offset.
    pub fn coordinates(&self) -> impl Iterator<Item = (&str, i32, i64)> {
        self.partitions.iter().flat_map(|((topic, partition), records)| {
            records.keys().map(move |offset| (topic.as_str(), *partition, *offset))
        })
    }
}
