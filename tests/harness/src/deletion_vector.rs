//! Deletion vectors: which rows of a data file are gone.
//!
//! A vector is a 64-bit Roaring bitmap of row numbers, either in the log entry itself or in a file
//! beside the data, as the Delta protocol lays down.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use crate::Error;

/// A pointer to a deletion vector, as a log entry holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletionVector {
    kind: String,
    place: String,
    offset: Option<u64>,
    size: u64,
    cardinality: u64,
}

impl DeletionVector {
    /// Reads the `deletionVector` field of an `add` or `remove`.
    pub fn from_action(value: &Value) -> Option<DeletionVector> {
        Some(DeletionVector {
            kind: value.get("storageType")?.as_str()?.to_owned(),
            place: value.get("pathOrInlineDv")?.as_str()?.to_owned(),
            offset: value.get("offset").and_then(Value::as_u64),
            size: value.get("sizeInBytes")?.as_u64()?,
            cardinality: value.get("cardinality")?.as_u64()?,
        })
    }

    /// What tells two vectors of one file apart.
    pub fn id(&self) -> String {
        let offset = self.offset.map(|at| format!("@{at}")).unwrap_or_default();
        format!("{}{}{offset}", self.kind, self.place)
    }

    /// The numbers of the deleted rows.
    ///
    /// # Errors
    /// When the vector cannot be read, is no bitmap, or has another cardinality than the log says.
    pub fn rows(&self, table: &Path) -> Result<BTreeSet<u64>, Error> {
        let bytes = match self.kind.as_str() {
            "i" => z85(&self.place).ok_or_else(|| Error::new("inline vector is not z85"))?,
            "u" => self.stored(&table.join(self.relative_path()?))?,
            "p" => self.stored(Path::new(self.place.trim_start_matches("file://")))?,
            other => return Err(Error::new(format!("unknown vector storage `{other}`"))),
        };
        let rows = bitmap(&bytes).ok_or_else(|| Error::new("deletion vector is no bitmap"))?;
        if rows.len() as u64 != self.cardinality {
            let (found, said) = (rows.len(), self.cardinality);
            return Err(Error::new(format!(
                "deletion vector has {found} rows, the log says {said}"
            )));
        }
        Ok(rows)
    }

    /// `<prefix>/deletion_vector_<uuid>.bin`: the last 20 characters are the uuid in z85.
    fn relative_path(&self) -> Result<String, Error> {
        let at = self.place.len().checked_sub(20).and_then(|at| self.place.split_at_checked(at));
        let (prefix, uuid) = at.ok_or_else(|| Error::new("vector path is too short"))?;
        let uuid = z85(uuid).ok_or_else(|| Error::new("vector path is not z85"))?;
        let mut name = String::new();
        for (index, byte) in uuid.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                name.push('-');
            }
            name.push_str(&format!("{byte:02x}"));
        }
        let slash = if prefix.is_empty() { "" } else { "/" };
        Ok(format!("{prefix}{slash}deletion_vector_{name}.bin"))
    }

    fn stored(&self, path: &Path) -> Result<Vec<u8>, Error> {
        let place = path.display().to_string();
        let file = std::fs::read(path).map_err(Error::at(&place))?;
        let at = usize::try_from(self.offset.unwrap_or(1)).map_err(Error::at(&place))?;
        let size = usize::try_from(self.size).map_err(Error::at(&place))?;
        let head = file.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_be_bytes);
        if head.map(u64::from) != Some(self.size) {
            return Err(Error::new(format!(
                "{place}: size {head:?} is not {size} as the log says"
            )));
        }
        let bytes = file.get(at + 4..at + 4 + size).map(<[u8]>::to_vec);
        bytes.ok_or_else(|| Error::new(format!("{place}: is cut short")))
    }
}

fn z85(text: &str) -> Option<Vec<u8>> {
    let digits =
        "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";
    let mut out = Vec::new();
    for group in text.as_bytes().chunks(5) {
        let mut number: u64 = 0;
        for &byte in group {
            number = number * 85 + digits.bytes().position(|d| d == byte)? as u64;
        }
        out.extend(u32::try_from(number).ok()?.to_be_bytes());
    }
    Some(out)
}

/// A cursor over little-endian numbers.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, tail) = self.0.split_first_chunk::<N>()?;
        self.0 = tail;
        Some(*head)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }
}

fn bitmap(bytes: &[u8]) -> Option<BTreeSet<u64>> {
    let mut bytes = Bytes(bytes);
    if bytes.u32()? != 1_681_511_377 {
        return None;
    }
    let mut rows = BTreeSet::new();
    for _ in 0..bytes.u64()? {
        let high = u64::from(bytes.u32()?) << 32;
        bitmap_32(&mut bytes, high, &mut rows)?;
    }
    Some(rows)
}

/// The portable Roaring format: a cookie, which containers are runs, (key, cardinality - 1) of
/// each, offsets (unless there are runs and fewer than four containers), the containers.
fn bitmap_32(bytes: &mut Bytes<'_>, high: u64, rows: &mut BTreeSet<u64>) -> Option<()> {
    let cookie = bytes.u32()?;
    let with_runs = cookie & 0xffff == 12_347;
    let count = if with_runs { (cookie >> 16) + 1 } else { bytes.u32()? };
    if !with_runs && cookie != 12_346 {
        return None;
    }
    let mut run_bits = Vec::new();
    for _ in 0..if with_runs { count.div_ceil(8) } else { 0 } {
        run_bits.push(bytes.take::<1>()?[0]);
    }
    let mut containers = Vec::new();
    for index in 0..count as usize {
        let (key, cardinality) = (bytes.u16()?, u32::from(bytes.u16()?) + 1);
        let is_run = run_bits.get(index / 8).is_some_and(|bits| bits & (1 << (index % 8)) != 0);
        containers.push((high | u64::from(key) << 16, cardinality, is_run));
    }
    if !with_runs || count >= 4 {
        for _ in 0..count {
            bytes.u32()?;
        }
    }
    for (base, cardinality, is_run) in containers {
        container(bytes, base, cardinality, is_run, rows)?;
    }
    Some(())
}

fn container(
    bytes: &mut Bytes<'_>,
    base: u64,
    cardinality: u32,
    is_run: bool,
    rows: &mut BTreeSet<u64>,
) -> Option<()> {
    if is_run {
        for _ in 0..bytes.u16()? {
            let (start, more) = (u64::from(bytes.u16()?), u64::from(bytes.u16()?));
            rows.extend(base + start..=base + start + more);
        }
    } else if cardinality <= 4096 {
        for _ in 0..cardinality {
            rows.insert(base + u64::from(bytes.u16()?));
        }
    } else {
        for word in 0..1024 {
            let bits = bytes.u64()?;
            rows.extend(
                (0..64).filter(|bit| bits >> bit & 1 == 1).map(|bit| base + word * 64 + bit),
            );
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(count: u64) -> Vec<u8> {
        let mut bytes = 1_681_511_377_u32.to_le_bytes().to_vec();
        bytes.extend(count.to_le_bytes());
        bytes
    }

    #[test]
    fn reads_arrays_bitmaps_and_runs() {
        let mut array = head(1);
        for word in [0_u32, 12_346, 1] {
            array.extend(word.to_le_bytes());
        }
        for half in [0_u16, 2, 16, 0, 3, 4, 900] {
            array.extend(half.to_le_bytes());
        }
        assert_eq!(bitmap(&array), Some([3, 4, 900].into()));

        let mut run = head(1);
        run.extend(0_u32.to_le_bytes());
        run.extend(12_347_u32.to_le_bytes());
        run.push(1);
        for half in [1_u16, 2, 1, 10, 2] {
            run.extend(half.to_le_bytes());
        }
        assert_eq!(bitmap(&run), Some([65_546, 65_547, 65_548].into()));

        let mut dense = head(1);
        for word in [0_u32, 12_346, 1] {
            dense.extend(word.to_le_bytes());
        }
        dense.extend([0, 0, 0xff, 0xff, 16, 0, 0, 0]);
        dense.extend([0xff; 8192]);
        assert_eq!(bitmap(&dense).map(|rows| rows.len()), Some(65_536));
        assert_eq!(bitmap(&dense[..dense.len() - 1]), None);
    }

    #[test]
    fn finds_the_file_of_a_stored_vector() {
        // The example of the Delta protocol.
        let action = serde_json::json!({"storageType": "u", "pathOrInlineDv": "ab^-aqEH.-t@S}K{vb[*k^",
            "offset": 4, "sizeInBytes": 40, "cardinality": 6});
        let vector = DeletionVector::from_action(&action).unwrap();
        let path = vector.relative_path().unwrap();
        assert_eq!(path, "ab/deletion_vector_d2c639aa-8816-431a-aaf6-d3fe2512ff61.bin");
    }
}
