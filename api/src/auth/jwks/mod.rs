//! The keys of an identity provider, fetched from its JSON Web Key Set.
//!
//! # Guarantees
//! - RS256, ES256 and EdDSA, as the key says. Symmetric keys, RSA keys below 2048 bits and keys for
//!   encryption are not taken.
//! - Keys are fetched again every 10 minutes, and for an unknown key id at most once a minute. While
//!   that fails, the keys that are there stay.
//! - An answer of more than 256 KiB or 64 keys, or a redirect, is a failure.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse,
};
use jsonwebtoken::{Algorithm, DecodingKey};
use parking_lot::RwLock;
use schemas::Clock;
use serde::Deserialize;
use tokio::sync::Mutex;
use url::{Host, Url};

use super::token::{self, Expected, Key};
use crate::claims::{AuthError, Claims, TokenCheck};

const BODY_MAX: usize = 256 << 10;
const KEYS_MAX: usize = 64;
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// How old keys may get before they are fetched again.
const REFRESH_EVERY: Duration = Duration::from_secs(600);
/// The least time between two attempts to fetch.
const RETRY_AFTER: Duration = Duration::from_secs(60);
/// The least time between two attempts while there is no key at all.
const FIRST_RETRY_AFTER: Duration = Duration::from_secs(5);
/// An RSA modulus of 2048 bits, in bytes.
const RSA_BYTES_MIN: usize = 256;

/// Where keys come from, and what tokens must say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwksConfig {
    /// The address of the key set.
    pub url: String,
    /// The `iss` that tokens must have.
    pub issuer: String,
    /// The `aud` that tokens must have.
    pub audience: String,
}

/// The settings cannot work.
#[derive(Debug, thiserror::Error)]
pub enum JwksError {
    /// The address is no good.
    #[error("[auth] jwks_url `{url}`: {reason}")]
    Url {
        /// The address.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// A name is missing.
    #[error("[auth] {0} is empty; set it to what the identity provider writes into tokens")]
    Empty(&'static str),
    /// TLS cannot be set up.
    #[error("cannot set up TLS for [auth] jwks_url: {0}")]
    Client(reqwest::Error),
}

type Keys = HashMap<String, Key>;

/// Checks tokens with an identity provider's keys.
pub struct Jwks {
    shared: Arc<Shared>,
    expected: Expected,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Jwks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Jwks").field("url", &self.shared.url.as_str()).finish_non_exhaustive()
    }
}

struct Shared {
    url: Url,
    client: reqwest::Client,
    held: RwLock<Held>,
    /// Held by the one fetch that runs. What is in it: when the last one began.
    fetch: Mutex<Option<Instant>>,
    timing: Timing,
}

#[derive(Debug, Clone, Copy)]
struct Timing {
    refresh_every: Duration,
    retry_after: Duration,
}

const TIMING: Timing = Timing { refresh_every: REFRESH_EVERY, retry_after: RETRY_AFTER };

#[derive(Debug, Clone, Default)]
struct Held {
    keys: Arc<Keys>,
    fetched_at: Option<Instant>,
}

impl Jwks {
    /// Checks the settings. No key is fetched yet: see [`Jwks::refresh`].
    ///
    /// # Errors
    /// [`JwksError`].
    pub fn new(config: JwksConfig, clock: Arc<dyn Clock>) -> Result<Jwks, JwksError> {
        Jwks::with_timing(config, clock, TIMING)
    }

    fn with_timing(
        config: JwksConfig,
        clock: Arc<dyn Clock>,
        timing: Timing,
    ) -> Result<Jwks, JwksError> {
        let JwksConfig { url: text, issuer, audience } = config;
        let url = parse(&text).map_err(|reason| JwksError::Url { url: text, reason })?;
        for (name, value) in [("issuer", &issuer), ("audience", &audience)] {
            if value.trim().is_empty() {
                return Err(JwksError::Empty(name));
            }
        }
        let mut client = reqwest::Client::builder()
            .timeout(FETCH_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none());
        if is_loopback(&url) {
            client = client.no_proxy();
        }
        let client = client.build().map_err(JwksError::Client)?;
        let (held, fetch) = (RwLock::default(), Mutex::default());
        let shared = Arc::new(Shared { url, client, held, fetch, timing });
        Ok(Jwks { shared, expected: Expected { issuer, audience }, clock })
    }

    /// Fetches the keys now, unless that was just tried.
    ///
    /// # Errors
    /// When there is no key to check tokens with.
    pub async fn refresh(&self) -> Result<(), AuthError> {
        self.shared.refresh(None).await;
        if self.shared.held.read().keys.is_empty() {
            return Err(AuthError::Unavailable(
                "no key could be fetched from [auth] jwks_url; the log of the server says why"
                    .to_owned(),
            ));
        }
        Ok(())
    }

    async fn key(&self, kid: &str) -> Result<Key, AuthError> {
        let held = self.shared.held.read().clone();
        if let Some(key) = held.keys.get(kid) {
            if self.shared.is_refresh_due(held.fetched_at) {
                // Keys that are there go on; nobody waits for the fetch.
                let shared = Arc::clone(&self.shared);
                tokio::spawn(async move { shared.refresh(None).await });
            }
            return Ok(key.clone());
        }
        self.shared.refresh(Some(kid)).await;
        let held = self.shared.held.read().clone();
        match held.keys.get(kid) {
            Some(key) => Ok(key.clone()),
            None if held.fetched_at.is_none() => Err(AuthError::Unavailable(
                "the keys of the identity provider could not be fetched; try again soon".to_owned(),
            )),
            None => Err(AuthError::Invalid("its `kid` is not a key of the issuer".to_owned())),
        }
    }
}

impl TokenCheck for Jwks {
    fn check<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Claims, AuthError>> {
        Box::pin(async move {
            let header = token::header(token)?;
            let kid = header
                .kid
                .ok_or_else(|| AuthError::Invalid("its header has no `kid`".to_owned()))?;
            let key = self.key(&kid).await?;
            token::check(token, &key, &self.expected, self.clock.now())
        })
    }
}

impl Shared {
    /// Whether the keys are old, no fetch runs, and the last attempt is not too young.
    fn is_refresh_due(&self, fetched_at: Option<Instant>) -> bool {
        let now = Instant::now();
        let is_old = |at: Instant| now.saturating_duration_since(at) > self.timing.refresh_every;
        fetched_at.is_some_and(is_old)
            && self
                .fetch
                .try_lock()
                .is_ok_and(|last| may_fetch(*last, now, self.timing.retry_after))
    }

    /// Fetches the keys, unless a fetch that somebody else made since has brought `wanted`, or the
    /// last attempt is too young.
    async fn refresh(&self, wanted: Option<&str>) {
        let mut last = self.fetch.lock().await;
        let held = self.held.read().clone();
        if wanted.is_some_and(|kid| held.keys.contains_key(kid)) {
            return;
        }
        let mut pause = self.timing.retry_after;
        if held.fetched_at.is_none() {
            pause = pause.min(FIRST_RETRY_AFTER);
        }
        let now = Instant::now();
        if !may_fetch(*last, now, pause) {
            return;
        }
        *last = Some(now);
        match self.fetch().await {
            Ok(keys) => {
                tracing::info!(keys = keys.len(), url = %self.url, "fetched the keys for tokens");
                let keys = Arc::new(keys);
                *self.held.write() = Held { keys, fetched_at: Some(Instant::now()) };
            }
            Err(reason) => tracing::warn!(
                url = %self.url, reason,
                "cannot fetch the keys for tokens; going on with those that are there"
            ),
        }
    }

    async fn fetch(&self) -> Result<Keys, String> {
        let response = self.client.get(self.url.clone()).send().await;
        // The error of the client names the address, which the log line has already.
        let mut response = response.map_err(|error| error.without_url().to_string())?;
        if !response.status().is_success() {
            return Err(format!("it answered {}", response.status()));
        }
        let mut body = Vec::new();
        while let Some(part) = response.chunk().await.map_err(|e| e.without_url().to_string())? {
            if body.len() + part.len() > BODY_MAX {
                return Err(format!("it answered more than {BODY_MAX} bytes"));
            }
            body.extend_from_slice(&part);
        }
        read(&body)
    }
}

/// Whether it is time to fetch again.
fn may_fetch(last: Option<Instant>, now: Instant, pause: Duration) -> bool {
    last.is_none_or(|last| now.saturating_duration_since(last) >= pause)
}

fn parse(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("is no address: {error}"))?;
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        "http" => Err("must be https: keys that anybody can replace protect nothing".to_owned()),
        other => Err(format!("`{other}` is not supported; use https")),
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

/// Reads a key set. Keys that are not for this are left out.
fn read(body: &[u8]) -> Result<Keys, String> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<serde_json::Value>,
    }
    let set: Set =
        serde_json::from_slice(body).map_err(|error| format!("it is no key set: {error}"))?;
    if set.keys.len() > KEYS_MAX {
        return Err(format!("it has {} keys, more than {KEYS_MAX}", set.keys.len()));
    }
    let mut keys = Keys::new();
    for key in set.keys {
        let Ok(jwk) = serde_json::from_value::<Jwk>(key) else { continue };
        let Some(kid) = jwk.common.key_id.clone() else { continue };
        let Some(algorithm) = algorithm(&jwk) else {
            tracing::warn!(kid, "a key is not taken: it is not RS256 (2048 bits), ES256 or EdDSA");
            continue;
        };
        let Ok(key) = DecodingKey::from_jwk(&jwk) else { continue };
        keys.insert(kid, Key { algorithm, key });
    }
    if keys.is_empty() { Err("it has no key that can be used".to_owned()) } else { Ok(keys) }
}

/// The one algorithm that a key is for; `None` when it is not taken.
fn algorithm(jwk: &Jwk) -> Option<Algorithm> {
    if jwk.common.public_key_use.as_ref().is_some_and(|own| *own != PublicKeyUse::Signature) {
        return None;
    }
    let operations = jwk.common.key_operations.as_ref();
    if operations.is_some_and(|own| !own.contains(&KeyOperations::Verify)) {
        return None;
    }
    let (algorithm, declared) = match &jwk.algorithm {
        AlgorithmParameters::RSA(rsa) if modulus_bytes(&rsa.n) >= RSA_BYTES_MIN => {
            (Algorithm::RS256, KeyAlgorithm::RS256)
        }
        AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        AlgorithmParameters::OctetKeyPair(okp) if okp.curve == EllipticCurve::Ed25519 => {
            (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
        }
        _ => return None,
    };
    jwk.common.key_algorithm.is_none_or(|own| own == declared).then_some(algorithm)
}

fn modulus_bytes(n: &str) -> usize {
    use base64::Engine;
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(n).unwrap_or_default();
    bytes.iter().skip_while(|byte| **byte == 0).count()
}

#[cfg(test)]
mod tests;
