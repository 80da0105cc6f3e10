//! What a token must say, whoever signed it.
//!
//! # Guarantees
//! - A token is accepted only if its signature is by the given key under that key's own algorithm,
//!   issuer and audience are the expected ones, and it is valid now.
//! - What is wrong is said without repeating the token.

use std::collections::BTreeSet;
use std::sync::Arc;

use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation};
use schemas::Micros;
use schemas::contract::ALL_TENANTS;
use serde::Deserialize;

use crate::claims::{AuthError, Claims, Scope, Tenants};

/// The claim `tenants` of a token for all of them.
pub(super) const ALL: &str = "all";
/// A longer token is not looked at.
pub(super) const TOKEN_MAX: usize = 8 << 10;
/// Clocks of issuer and server may differ by this much.
pub(super) const LEEWAY_US: i64 = 30_000_000;
/// The last second of the year 9999: what is later is no date.
const LAST_SECOND: i64 = 253_402_300_799;

/// A key and the one algorithm that it is for.
#[derive(Debug, Clone)]
pub(super) struct Key {
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
}

/// Who must have made a token, and for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Expected {
    pub(super) issuer: String,
    pub(super) audience: String,
}

/// Claims as they are written. A claim that is there twice is an error of the reader.
#[derive(Deserialize)]
struct Raw {
    iss: Option<String>,
    sub: Option<String>,
    aud: Option<OneOrMore>,
    exp: Option<i64>,
    nbf: Option<i64>,
    tenant: Option<String>,
    tenants: Option<String>,
    scope: Option<OneOrMore>,
    scp: Option<OneOrMore>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl OneOrMore {
    fn words(&self) -> Vec<&str> {
        match self {
            OneOrMore::One(text) => text.split_ascii_whitespace().collect(),
            OneOrMore::More(texts) => texts.iter().map(String::as_str).collect(),
        }
    }

    fn has(&self, wanted: &str) -> bool {
        match self {
            OneOrMore::One(text) => text == wanted,
            OneOrMore::More(texts) => texts.iter().any(|text| text == wanted),
        }
    }
}

fn invalid(what: impl Into<String>) -> AuthError {
    AuthError::Invalid(what.into())
}

/// The header of a token that may be worth checking.
pub(super) fn header(token: &str) -> Result<Header, AuthError> {
    if token.len() > TOKEN_MAX {
        return Err(invalid(format!("it is longer than {TOKEN_MAX} bytes")));
    }
    let header = jsonwebtoken::decode_header(token)
        .map_err(|_| invalid("it is no signed JSON web token of a known algorithm"))?;
    // `crit` asks for an understanding of extensions, of which there is none here.
    if header.crit.is_some() || header.enc.is_some() || header.zip.is_some() {
        return Err(invalid("its header asks for extensions that are not supported"));
    }
    let typ = header.typ.as_deref().map(str::to_ascii_lowercase);
    match typ.as_deref() {
        None | Some("jwt" | "at+jwt" | "application/at+jwt") => Ok(header),
        Some(_) => Err(invalid("its `typ` is not that of an access token")),
    }
}

/// What a token says, if it is valid at `now`.
pub(super) fn check(
    token: &str,
    key: &Key,
    expected: &Expected,
    now: Micros,
) -> Result<Claims, AuthError> {
    let mut validation = Validation::new(key.algorithm);
    // Times are checked below with the clock that everything else uses, names with fewer exceptions.
    validation.required_spec_claims.clear();
    (validation.validate_exp, validation.validate_nbf, validation.validate_aud) =
        (false, false, false);
    let data = jsonwebtoken::decode::<Raw>(token, &key.key, &validation).map_err(|error| {
        use jsonwebtoken::errors::ErrorKind;
        invalid(match error.kind() {
            ErrorKind::InvalidAlgorithm => "its algorithm is not the one of the key",
            ErrorKind::InvalidSignature => "its signature is wrong",
            ErrorKind::Json(_) => "its claims do not have the expected types",
            _ => "it cannot be read",
        })
    })?;
    claims(&data.claims, expected, now)
}

fn claims(raw: &Raw, expected: &Expected, now: Micros) -> Result<Claims, AuthError> {
    let missing = |claim: &str| invalid(format!("it has no `{claim}`"));
    if raw.iss.as_ref().ok_or_else(|| missing("iss"))? != &expected.issuer {
        return Err(invalid("its `iss` is not the issuer that is trusted"));
    }
    if !raw.aud.as_ref().ok_or_else(|| missing("aud"))?.has(&expected.audience) {
        return Err(invalid("its `aud` is not this service"));
    }
    let expires_at = instant(raw.exp.ok_or_else(|| missing("exp"))?, "exp")?;
    if expires_at.plus(LEEWAY_US) <= now {
        return Err(invalid("it has expired; get a new one"));
    }
    if let Some(from) = raw.nbf
        && instant(from, "nbf")? > now.plus(LEEWAY_US)
    {
        return Err(invalid("it is not valid yet"));
    }
    let subject = raw.sub.as_deref().filter(|sub| !sub.is_empty()).ok_or_else(|| missing("sub"))?;
    let words = [&raw.scope, &raw.scp].into_iter().flatten().flat_map(OneOrMore::words);
    Ok(Claims {
        subject: Arc::from(subject),
        tenants: tenants(raw)?,
        scopes: words.filter_map(Scope::parse).collect::<BTreeSet<_>>(),
        expires_at,
    })
}

/// Whose numbers: all, or those of one tenant. A name never means all: whoever may choose it could choose that.
fn tenants(raw: &Raw) -> Result<Tenants, AuthError> {
    match (raw.tenant.as_deref(), raw.tenants.as_deref()) {
        (None, Some(ALL)) => Ok(Tenants::All),
        (Some(_), Some(_)) => Err(invalid("it has both `tenant` and `tenants`; leave one out")),
        (None, Some(_)) => Err(invalid("its `tenants` is not `all`; name one tenant as `tenant`")),
        (Some(ALL_TENANTS), None) => Err(invalid(
            "its `tenant` is `*`, which is the name of none; for all tenants give it the claim `tenants` with the \
             value `all`, and no `tenant`",
        )),
        (None | Some(""), None) => Err(invalid("it has no `tenant`")),
        (Some(name), None) => Ok(Tenants::One(Arc::from(name))),
    }
}

fn instant(seconds: i64, claim: &str) -> Result<Micros, AuthError> {
    if (0..=LAST_SECOND).contains(&seconds) {
        return Ok(Micros(seconds * 1_000_000));
    }
    Err(invalid(format!("its `{claim}` is no date")))
}
