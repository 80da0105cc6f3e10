//! The object store that delta-rs writes log entries through: the local disk, synced.
//!
//! # Guarantees
//! - A put that returned `Ok` survives a power cut (the store that delta-rs brings never syncs).
//! - `PutMode::Create` never replaces an object.
//!
//! # Non-guarantees
//! - Multipart uploads and copies are refused: nothing in a lake is written that way.

use std::fmt;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use deltalake::logstore::object_store::local::LocalFileSystem;
use deltalake::logstore::object_store::path::Path;
use deltalake::logstore::object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use deltalake::logstore::{LogStoreRef, StorageConfig, logstore_with};
use futures::stream::BoxStream;
use url::Url;

use crate::durable;
use crate::error::LakeError;

const NAME: &str = "durable local disk";

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The log store of the table in `folder` (an absolute path), over a [`DurableStore`].
pub(crate) fn log_store(folder: &std::path::Path) -> Result<LogStoreRef, LakeError> {
    let url = Url::from_directory_path(folder).map_err(|()| LakeError::Engine {
        action: "open",
        place: folder.display().to_string(),
        detail: "the path is not absolute".to_owned(),
    })?;
    let store: Arc<dyn ObjectStore> = Arc::new(DurableStore { inner: LocalFileSystem::new() });
    logstore_with(store, &url, StorageConfig::default())
        .map_err(LakeError::engine("open", folder.display()))
}

/// The local file system with every write synced, file and folder.
#[derive(Debug)]
pub(crate) struct DurableStore {
    inner: LocalFileSystem,
}

impl fmt::Display for DurableStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAME)
    }
}

fn refused<T>(operation: &str) -> Result<T> {
    Err(Error::NotImplemented { operation: operation.to_owned(), implementer: NAME.to_owned() })
}

async fn put(
    path: Result<std::path::PathBuf>,
    payload: PutPayload,
    mode: PutMode,
) -> Result<PutResult> {
    let path = path?;
    let name = path.display().to_string();
    let written = tokio::task::spawn_blocking(move || {
        let parts = payload.iter().map(|part| part.as_ref());
        match mode {
            PutMode::Create => durable::put_new(&path, parts),
            _ => durable::put_replace(&path, parts),
        }
    });
    let written = written.await.map_err(|source| Error::JoinError { source })?;
    match written {
        Ok(()) => Ok(PutResult { e_tag: None, version: None }),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            Err(Error::AlreadyExists { path: name, source: Box::new(error) })
        }
        Err(error) => Err(Error::Generic { store: NAME, source: Box::new(error) }),
    }
}

// The methods that only pass on return the inner store's future as it is.
impl ObjectStore for DurableStore {
    fn put_opts<'life0, 'life1, 'async_trait>(
        &'life0 self,
        location: &'life1 Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Boxed<'async_trait, Result<PutResult>>
    where
        'life0: 'async_trait,
        'life1: 'async_trait,
        Self: 'async_trait,
    {
        if matches!(opts.mode, PutMode::Update(_)) {
            return Box::pin(async { refused("put with PutMode::Update") });
        }
        Box::pin(put(self.inner.path_to_filesystem(location), payload, opts.mode))
    }

    fn put_multipart_opts<'life0, 'life1, 'async_trait>(
        &'life0 self,
        _: &'life1 Path,
        _: PutMultipartOptions,
    ) -> Boxed<'async_trait, Result<Box<dyn MultipartUpload>>>
    where
        'life0: 'async_trait,
        'life1: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(async { refused("multipart upload") })
    }

    fn get_opts<'life0, 'life1, 'async_trait>(
        &'life0 self,
        location: &'life1 Path,
        options: GetOptions,
    ) -> Boxed<'async_trait, Result<GetResult>>
    where
        'life0: 'async_trait,
        'life1: 'async_trait,
        Self: 'async_trait,
    {
        self.inner.get_opts(location, options)
    }

    fn get_ranges<'life0, 'life1, 'life2, 'async_trait>(
        &'life0 self,
        location: &'life1 Path,
        ranges: &'life2 [Range<u64>],
    ) -> Boxed<'async_trait, Result<Vec<Bytes>>>
    where
        'life0: 'async_trait,
        'life1: 'async_trait,
        'life2: 'async_trait,
        Self: 'async_trait,
    {
        self.inner.get_ranges(location, ranges)
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    fn list_with_delimiter<'life0, 'life1, 'async_trait>(
        &'life0 self,
        prefix: Option<&'life1 Path>,
    ) -> Boxed<'async_trait, Result<ListResult>>
    where
        'life0: 'async_trait,
        'life1: 'async_trait,
        Self: 'async_trait,
    {
        self.inner.list_with_delimiter(prefix)
    }

    fn copy_opts<'life0, 'life1, 'life2, 'async_trait>(
        &'life0 self,
        _: &'life1 Path,
        _: &'life2 Path,
        _: CopyOptions,
    ) -> Boxed<'async_trait, Result<()>>
    where
        'life0: 'async_trait,
        'life1: 'async_trait,
        'life2: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(async { refused("copy") })
    }
}
