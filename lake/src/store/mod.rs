//! The store of a lake: the one way to the objects that its tables are made of.
//!
//! Log entries, checkpoints, data files and vectors are read, put, listed and deleted here, so that they may
//! lie elsewhere than on a local disk. Paths are texts below the store's root, with `/` between their parts.
//!
//! # Guarantees
//! - A put or a finished upload that returned `Ok` survives a power cut, name and contents.
//! - [`Store::put_new`] never replaces an object, and of two at the same path one succeeds.
//! - An object that is open stays readable while it is open, also when it is deleted meanwhile.
//!
//! # Non-guarantees
//! - A deletion may be undone by a power cut until something else is put into its folder.
//! - What belongs to one machine is not here: the lock, and all of the working folder.

mod local;

use std::fmt;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use parquet::errors::Result as ParquetResult;
use parquet::file::reader::{ChunkReader, Length};

pub(crate) use local::LocalStore;

/// Objects below a root. What is not there is an error of kind `NotFound`; a folder that is not there may also
/// list as an empty one.
pub(crate) trait Store: fmt::Debug + Send + Sync {
    /// The store of what lies below `folder`.
    fn below(&self, folder: &str) -> Arc<dyn Store>;

    /// Where `path` lies, for people.
    fn place(&self, path: &str) -> PathBuf;

    /// The whole object.
    fn read(&self, path: &str) -> io::Result<Vec<u8>>;

    /// `size` bytes from `at` on; an error of kind `UnexpectedEof` if there are fewer.
    fn read_range(&self, path: &str, at: u64, size: usize) -> io::Result<Bytes> {
        self.open(path)?.bytes(at, size)
    }

    /// The object, to be read in parts.
    fn open(&self, path: &str) -> io::Result<Opened>;

    /// Writes `parts` as a new object; fails with `AlreadyExists` if there is one.
    fn put_new(&self, path: &str, parts: &[&[u8]]) -> io::Result<()>;

    /// Writes `parts` as the object, in place of an older one if there is one.
    fn put(&self, path: &str, parts: &[&[u8]]) -> io::Result<()>;

    /// Starts to write a new object, whose folder is made. Until it is finished, a part of it may be seen.
    fn upload_new(&self, path: &str) -> io::Result<Box<dyn Upload>>;

    /// Starts to write an object that appears when it is finished, in place of an older one if there is one.
    fn upload(&self, path: &str) -> io::Result<Box<dyn Upload>>;

    /// Makes sure of an object that is there although its put failed.
    fn confirm(&self, path: &str) -> io::Result<()>;

    /// What is known of an object without reading it.
    fn stat(&self, path: &str) -> io::Result<Stat>;

    /// What lies directly in `folder`, in no order.
    fn list(&self, folder: &str) -> io::Result<Vec<Listed>>;

    /// Whether there is such a folder.
    fn has_folder(&self, folder: &str) -> bool;

    /// Makes a folder and those above it, where folders are more than a part of names. Only
    /// [`Store::upload_new`] does so by itself.
    fn create_folder(&self, folder: &str) -> io::Result<()>;

    /// Deletes an object.
    fn delete(&self, path: &str) -> io::Result<()>;

    /// Gives an object, or all that is in a folder, another path.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes what writers that crashed left unfinished in `folder`, but for parts of new objects.
    fn remove_unfinished(&self, folder: &str) -> io::Result<()>;
}

/// An object that is being written. What is dropped unfinished is removed.
pub(crate) trait Upload: Write + Send {
    /// Makes what was written durable, so that finishing is short.
    fn sync(&mut self) -> io::Result<()>;

    /// Ends the object and makes it durable.
    fn finish(&mut self) -> io::Result<()>;
}

/// Bytes of an object, wherever they lie.
pub(crate) trait Object: Send + Sync {
    /// How many there are.
    fn size(&self) -> u64;

    /// `size` of them from `at` on.
    fn bytes(&self, at: u64, size: usize) -> io::Result<Bytes>;

    /// Those from `at` on, one after the other.
    fn reader(&self, at: u64) -> io::Result<Box<dyn Read + Send>>;
}

/// An object that is open for reading.
pub(crate) struct Opened(Box<dyn Object>);

impl Opened {
    pub(crate) fn new(object: impl Object + 'static) -> Opened {
        Opened(Box::new(object))
    }

    /// `size` bytes from `at` on.
    pub(crate) fn bytes(&self, at: u64, size: usize) -> io::Result<Bytes> {
        self.0.bytes(at, size)
    }

    /// The bytes from `at` on, one after the other.
    pub(crate) fn reader(&self, at: u64) -> io::Result<Box<dyn Read + Send>> {
        self.0.reader(at)
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Opened").field(&self.0.size()).finish()
    }
}

impl Length for Opened {
    fn len(&self) -> u64 {
        self.0.size()
    }
}

impl ChunkReader for Opened {
    type T = Box<dyn Read + Send>;

    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        Ok(self.0.reader(start)?)
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        Ok(self.0.bytes(start, length)?)
    }
}

/// What is known of an object without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) size: u64,
    pub(crate) modified: SystemTime,
}

/// A name in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) name: String,
    pub(crate) is_folder: bool,
    /// Of an object, where listing tells it at no cost.
    pub(crate) stat: Option<Stat>,
}

#[cfg(test)]
pub(crate) mod tests;
