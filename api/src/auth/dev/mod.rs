//! The development key: a secret in the lake's folder that signs and checks tokens of this machine.
//!
//! # Guarantees
//! - The key is 32 bytes of the system's random source, in a file that only its owner can read.
//! - Two processes that create it at once end up with the same key.
//!
//! # Non-guarantees
//! - It is no identity provider: whoever reads the file can make any token. See
//!   [`may_listen`](super::may_listen).

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use schemas::{Clock, Micros};
use serde_json::json;

use super::token::{self, Expected, Key};
use crate::claims::{AuthError, Claims, Scope, Tenants, TokenCheck};

/// The file's name in the folder `_weir` of the lake.
const KEY_FILE: &str = "dev.key";
const KEY_BYTES: usize = 32;
const ISSUER: &str = "weir-dev";
const AUDIENCE: &str = "weir";

/// The development key cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum DevKeyError {
    /// The file cannot be read or written.
    #[error("{path}: {action}: {error}; make the folder writable for this user")]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// Why not.
        error: io::Error,
    },
    /// It is not what was written.
    #[error(
        "{path}: has {length} bytes instead of 32; delete it, and a new key is made, for which \
         tokens must be minted again"
    )]
    Length {
        /// The file.
        path: PathBuf,
        /// How long it is.
        length: usize,
    },
    /// A token cannot be signed.
    #[error("cannot sign a token: {0}")]
    Sign(#[from] jsonwebtoken::errors::Error),
}

/// What a new token is to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MintRequest {
    /// Whom it is for.
    pub subject: String,
    /// Whose numbers it may see.
    pub tenants: Tenants,
    /// What it allows.
    pub scopes: Vec<Scope>,
    /// How long it is valid.
    pub ttl: Duration,
}

/// Makes and checks development tokens.
pub struct DevKeys {
    encoding: EncodingKey,
    key: Key,
    expected: Expected,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for DevKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DevKeys")
    }
}

impl DevKeys {
    /// The key of a lake: reads `dev.key` in its folder `_weir`, and creates it if it is not there.
    ///
    /// # Errors
    /// [`DevKeyError`].
    pub fn open(folder: &Path, clock: Arc<dyn Clock>) -> Result<DevKeys, DevKeyError> {
        let path = folder.join(KEY_FILE);
        let secret = match read(&path)? {
            Some(secret) => secret,
            None => create(folder, &path)?,
        };
        Ok(DevKeys::with_secret(&secret, clock))
    }

    /// Keys of a secret that is held in memory only.
    pub fn with_secret(secret: &[u8; KEY_BYTES], clock: Arc<dyn Clock>) -> DevKeys {
        let key = Key { algorithm: Algorithm::HS256, key: DecodingKey::from_secret(secret) };
        let expected = Expected { issuer: ISSUER.to_owned(), audience: AUDIENCE.to_owned() };
        DevKeys { encoding: EncodingKey::from_secret(secret), key, expected, clock }
    }

    /// Makes a token.
    ///
    /// # Errors
    /// [`DevKeyError::Sign`].
    pub fn mint(&self, request: &MintRequest) -> Result<String, DevKeyError> {
        let now = self.clock.now().0.div_euclid(1_000_000);
        let ttl = i64::try_from(request.ttl.as_secs()).unwrap_or(i64::MAX);
        let scopes: Vec<&str> = request.scopes.iter().map(|scope| scope.name()).collect();
        let (claim, whose) = match &request.tenants {
            Tenants::All => ("tenants", token::ALL),
            Tenants::One(tenant) => ("tenant", &**tenant),
        };
        let claims = json!({
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": request.subject,
            claim: whose,
            "scope": scopes.join(" "),
            "iat": now,
            "nbf": now,
            "exp": now.saturating_add(ttl),
        });
        Ok(jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.encoding)?)
    }

    fn check_now(&self, token: &str, now: Micros) -> Result<Claims, AuthError> {
        token::header(token)?;
        token::check(token, &self.key, &self.expected, now)
    }
}

impl TokenCheck for DevKeys {
    fn check<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Claims, AuthError>> {
        Box::pin(async move { self.check_now(token, self.clock.now()) })
    }
}

fn failed(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> DevKeyError {
    let path = path.to_owned();
    move |error| DevKeyError::Io { path, action, error }
}

fn read(path: &Path) -> Result<Option<[u8; KEY_BYTES]>, DevKeyError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(path, "cannot be opened")(error)),
    };
    let metadata = file.metadata().map_err(failed(path, "cannot be looked at"))?;
    if metadata.permissions().mode() & 0o077 != 0 {
        tracing::warn!(
            path = %path.display(),
            "others could read the development key; only its owner can now. If they may have, \
             delete it and start again"
        );
        file.set_permissions(Permissions::from_mode(0o600))
            .map_err(failed(path, "can be read by others, and that cannot be changed"))?;
    }
    let mut bytes = Vec::with_capacity(KEY_BYTES);
    // One byte more than a key tells that it is too long.
    file.take(KEY_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(failed(path, "cannot be read"))?;
    let length = bytes.len();
    let secret = bytes.try_into();
    secret.map(Some).map_err(|_| DevKeyError::Length { path: path.to_owned(), length })
}

/// Writes a new key beside its place and links it there, so that a reader never sees half of it.
fn create(folder: &Path, path: &Path) -> Result<[u8; KEY_BYTES], DevKeyError> {
    let mut secret = [0; KEY_BYTES];
    let random = Path::new("/dev/urandom");
    File::open(random)
        .and_then(|mut source| source.read_exact(&mut secret))
        .map_err(failed(random, "cannot be read"))?;
    std::fs::create_dir_all(folder).map_err(failed(folder, "cannot be created"))?;
    let draft = folder.join(format!("{KEY_FILE}.{}.tmp", std::process::id()));
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)
        .and_then(|mut file| file.write_all(&secret).and_then(|()| file.sync_all()));
    let linked = written.and_then(|()| std::fs::hard_link(&draft, path));
    drop(std::fs::remove_file(&draft));
    match linked {
        Ok(()) => Ok(secret),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let other = read(path)?;
            other.ok_or_else(|| failed(path, "was deleted while it was created")(error))
        }
        Err(error) => Err(failed(path, "cannot be created")(error)),
    }
}

#[cfg(test)]
mod tests;
