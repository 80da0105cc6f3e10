//! Deletion vectors: which rows of a data file are gone, in the form that Delta lays down.
//!
//! A vector is a 64-bit Roaring bitmap of row numbers in the portable format. A small one lies in the
//! log entry itself, as z85 text; others lie in a file beside the data, one file a commit.
//!
//! # Guarantees
//! - When [`stage`] returns, the vectors are on stable storage; their files never change.
//! - A vector that was read has the size, the checksum and the number of rows that the log says.
//!
//! # Non-guarantees
//! - Vectors under an absolute path (storage type `p`) are refused: no lake has them.

use std::io::{self, Read, Write};

use bytes::Bytes;
use parquet::arrow::arrow_reader::{RowSelection, RowSelector};
use roaring::RoaringBitmap;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::LakeError;
use crate::store::Store;

/// The longest bitmap that is kept in the log entry.
const INLINE_BYTES_MAX: usize = 1_024;
/// Begins a bitmap.
const MAGIC: u32 = 1_681_511_377;
/// Begins a file of vectors.
const FILE_VERSION: u8 = 1;
/// Characters of a z85 text that hold the id of a file.
const ID_CHARS: usize = 20;

const INLINE: &str = "i";
const BESIDE: &str = "u";

/// A pointer to a vector, as an action of the log holds it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct DeletionVector {
    storage_type: String,
    path_or_inline_dv: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    offset: Option<u32>,
    size_in_bytes: u32,
    cardinality: u64,
}

impl DeletionVector {
    /// The number of rows that are gone.
    pub(crate) fn row_count(&self) -> u64 {
        self.cardinality
    }

    /// The file that holds it, below the table's folder; `None` if the log entry does.
    pub(crate) fn file_name(&self) -> Result<Option<String>, String> {
        match self.storage_type.as_str() {
            INLINE => Ok(None),
            BESIDE => {
                let text = &self.path_or_inline_dv;
                let at = text.len().checked_sub(ID_CHARS);
                let (prefix, id) =
                    at.and_then(|at| text.split_at_checked(at)).ok_or_else(|| {
                        format!("has a deletion vector in `{text}`, which is no file")
                    })?;
                let id = z85::decode(id).ok().and_then(|id| Uuid::from_slice(&id).ok());
                let id = id.ok_or_else(|| {
                    format!("has a deletion vector in `{text}`, which is no file")
                })?;
                let slash = if prefix.is_empty() { "" } else { "/" };
                Ok(Some(format!("{prefix}{slash}{}", file_name(id))))
            }
            other => Err(format!(
                "has a deletion vector of storage type `{other}`, which this program does not know"
            )),
        }
    }

    /// The bytes that its file must have at least.
    pub(crate) fn file_size_min(&self) -> u64 {
        // The size before the bitmap and the checksum after it.
        u64::from(self.offset.unwrap_or(1)) + u64::from(self.size_in_bytes) + 8
    }

    /// The numbers of the rows that are gone, or what is wrong with the vector. `store` is the table's.
    pub(crate) fn rows(&self, store: &dyn Store) -> Result<RoaringBitmap, String> {
        let bytes = match self.file_name()? {
            None => z85::decode(&self.path_or_inline_dv)
                .map_err(|error| format!("has a deletion vector that is no z85 ({error})"))?
                .into(),
            Some(name) => self
                .read_stored(store, &name)
                .map_err(|error| format!("has a deletion vector in {name}, which {error}"))?,
        };
        let size = usize::try_from(self.size_in_bytes).unwrap_or(usize::MAX);
        let bytes = bytes.get(..size).ok_or("has a deletion vector that is cut short")?;
        let rows = decode(bytes)
            .map_err(|error| format!("has a deletion vector that is no bitmap ({error})"))?;
        if rows.len() != self.cardinality {
            let (found, said) = (rows.len(), self.cardinality);
            return Err(format!("has a deletion vector of {found} rows, the log says {said}"));
        }
        Ok(rows)
    }

    fn read_stored(&self, store: &dyn Store, name: &str) -> Result<Bytes, String> {
        let unreadable = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => "is missing".to_owned(),
            _ => format!("cannot be read ({error})"),
        };
        let at = u64::from(self.offset.unwrap_or(1));
        let size = usize::try_from(self.size_in_bytes).map_err(|error| error.to_string())?;
        let read = store.read_range(name, at, size.saturating_add(8)).map_err(unreadable)?;
        let bytes = read.slice(4..size.saturating_add(4));
        if read.get(..4) != Some(&self.size_in_bytes.to_be_bytes()[..]) {
            return Err("holds another vector at its place".to_owned());
        }
        if read.last_chunk() != Some(&crc32fast::hash(&bytes).to_be_bytes()) {
            return Err("does not match its checksum: it was overwritten".to_owned());
        }
        Ok(bytes)
    }
}

/// Writes vectors down and returns pointers to them, in order. None of them may be empty.
pub(crate) fn stage(
    store: &dyn Store,
    vectors: &[&RoaringBitmap],
) -> Result<Vec<DeletionVector>, LakeError> {
    let id = Uuid::new_v4();
    let name = file_name(id);
    let fail = |error: io::Error| LakeError::at("write", store, &name)(error);
    let mut file = vec![FILE_VERSION];
    let mut staged = Vec::with_capacity(vectors.len());
    for rows in vectors {
        let mut bytes = encode(rows).map_err(fail)?;
        let size_in_bytes = small(bytes.len()).map_err(fail)?;
        let cardinality = rows.len();
        staged.push(if bytes.len() <= INLINE_BYTES_MAX {
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            DeletionVector {
                storage_type: INLINE.to_owned(),
                path_or_inline_dv: z85::encode(&bytes),
                offset: None,
                size_in_bytes,
                cardinality,
            }
        } else {
            let offset = Some(small(file.len()).map_err(fail)?);
            file.extend(size_in_bytes.to_be_bytes());
            file.extend(&bytes);
            file.extend(crc32fast::hash(&bytes).to_be_bytes());
            DeletionVector {
                storage_type: BESIDE.to_owned(),
                path_or_inline_dv: z85::encode(id.as_bytes()),
                offset,
                size_in_bytes,
                cardinality,
            }
        });
    }
    if staged.iter().any(|vector| vector.storage_type == BESIDE) {
        put(store, &name, &file).map_err(fail)?;
    }
    Ok(staged)
}

/// True for the name of a file of vectors.
pub(crate) fn is_file_name(name: &str) -> bool {
    name.starts_with("deletion_vector_") && name.ends_with(".bin")
}

/// The rows of `groups` (first row and number of rows, ascending) that are not gone.
pub(crate) fn selection(
    gone: &RoaringBitmap,
    groups: impl Iterator<Item = (u32, u32)>,
) -> RowSelection {
    let mut selectors = Vec::new();
    let length =
        |from: u32, to: u32| usize::try_from(to.saturating_sub(from)).unwrap_or(usize::MAX);
    for (first, rows) in groups {
        let end = first.saturating_add(rows);
        let mut next = first;
        for row in gone.range(first..end) {
            selectors.push(RowSelector::select(length(next, row)));
            selectors.push(RowSelector::skip(1));
            next = row.saturating_add(1);
        }
        selectors.push(RowSelector::select(length(next, end)));
    }
    selectors.retain(|selector| selector.row_count > 0);
    RowSelection::from(selectors)
}

fn file_name(id: Uuid) -> String {
    format!("deletion_vector_{id}.bin")
}

fn small(number: usize) -> io::Result<u32> {
    // Delta keeps sizes and offsets as signed 32-bit numbers.
    i32::try_from(number).and_then(u32::try_from).map_err(io::Error::other)
}

fn put(store: &dyn Store, name: &str, bytes: &[u8]) -> io::Result<()> {
    let mut upload = store.upload_new(name)?;
    upload.write_all(bytes)?;
    upload.finish()
}

/// The portable form: magic, number of 32-bit bitmaps, and each with its upper half as key.
fn encode(rows: &RoaringBitmap) -> io::Result<Vec<u8>> {
    let mut bytes = MAGIC.to_le_bytes().to_vec();
    bytes.extend(1_u64.to_le_bytes());
    bytes.extend(0_u32.to_le_bytes());
    rows.serialize_into(&mut bytes)?;
    Ok(bytes)
}

fn decode(bytes: &[u8]) -> io::Result<RoaringBitmap> {
    let (mut reader, mut magic, mut count) = (bytes, [0_u8; 4], [0_u8; 8]);
    reader.read_exact(&mut magic)?;
    reader.read_exact(&mut count)?;
    if u32::from_le_bytes(magic) != MAGIC {
        return Err(io::Error::other("it begins otherwise"));
    }
    let mut rows = RoaringBitmap::new();
    for _ in 0..u64::from_le_bytes(count) {
        let mut key = [0_u8; 4];
        reader.read_exact(&mut key)?;
        if u32::from_le_bytes(key) != 0 {
            return Err(io::Error::other("it names rows beyond any file's"));
        }
        rows = RoaringBitmap::deserialize_from(&mut reader)?;
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::LocalStore;

    fn spread(step: u32, count: u32) -> RoaringBitmap {
        (0..count).map(|row| row * step).collect()
    }

    #[test]
    fn vectors_are_read_back_small_and_large_from_one_file() {
        let folder = tempfile::tempdir().unwrap();
        let store = LocalStore::shared(folder.path());
        let vectors = [spread(7, 3), spread(3, 5_000), spread(1, 100_000), spread(1_000, 1)];
        let given: Vec<&RoaringBitmap> = vectors.iter().collect();
        let staged = stage(&*store, &given).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "one file for them all");
        for (vector, rows) in staged.iter().zip(&vectors) {
            assert_eq!(vector.rows(&*store).as_ref(), Ok(rows));
            assert_eq!(vector.row_count(), rows.len());
        }
        assert_eq!(staged[0].storage_type, "i");
        assert_eq!(staged[1].storage_type, "u");
    }

    #[test]
    fn every_changed_byte_of_a_stored_vector_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let store = LocalStore::shared(folder.path());
        let rows = spread(2, 600);
        let vector = stage(&*store, &[&rows]).unwrap().remove(0);
        let path = folder.path().join(vector.file_name().unwrap().unwrap());
        let whole = std::fs::read(&path).unwrap();
        assert_eq!(whole.len() as u64, vector.file_size_min());
        for at in 1..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            std::fs::write(&path, &changed).unwrap();
            assert!(vector.rows(&*store).is_err(), "byte {at}");
        }
        std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        assert!(vector.rows(&*store).is_err(), "cut");
        std::fs::remove_file(&path).unwrap();
        assert!(vector.rows(&*store).unwrap_err().contains("is missing"));
    }

    #[test]
    fn the_example_of_the_protocol_has_its_file() {
        let vector = DeletionVector {
            storage_type: "u".to_owned(),
            path_or_inline_dv: "ab^-aqEH.-t@S}K{vb[*k^".to_owned(),
            offset: Some(4),
            size_in_bytes: 40,
            cardinality: 6,
        };
        let name = "ab/deletion_vector_d2c639aa-8816-431a-aaf6-d3fe2512ff61.bin";
        assert_eq!(vector.file_name().unwrap().as_deref(), Some(name));
        assert!(is_file_name(name.trim_start_matches("ab/")));
    }

    #[test]
    fn the_inline_example_of_the_protocol_is_read() {
        let vector = DeletionVector {
            storage_type: "i".to_owned(),
            path_or_inline_dv: "^Bg9^0rr910000000000iXQKl0rr91000f55c8Xg0@@D72lkbi5=-{L".to_owned(),
            offset: None,
            size_in_bytes: 44,
            cardinality: 6,
        };
        let store = LocalStore::shared(std::path::Path::new("."));
        let rows: Vec<u32> = vector.rows(&*store).unwrap().into_iter().collect();
        assert_eq!(rows, [3, 4, 7, 11, 18, 29]);
    }

    #[test]
    fn live_rows_are_selected_group_by_group() {
        let gone: RoaringBitmap = [0, 1, 5, 12, 19].into_iter().collect();
        let selectors: Vec<RowSelector> = selection(&gone, [(0, 8), (16, 4)].into_iter()).into();
        let expected = [
            RowSelector::skip(2),
            RowSelector::select(3),
            RowSelector::skip(1),
            RowSelector::select(2 + 3),
            RowSelector::skip(1),
        ];
        assert_eq!(selectors, expected);
    }
}
