//! Who asks, and what they may see.
//!
//! # Guarantees
//! - A tenant's claim bounds every answer: a request can narrow it, never widen it.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::future::BoxFuture;
use schemas::Micros;

/// What a token allows to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Reading KPI values.
    KpiRead,
    /// Reading alerts.
    AlertsRead,
    /// Answering alerts: acknowledging, judging and muting them.
    AlertsWrite,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Scope; 3] = [Scope::KpiRead, Scope::AlertsRead, Scope::AlertsWrite];

    /// The word used in tokens.
    pub fn name(self) -> &'static str {
        match self {
            Scope::KpiRead => "kpi:read",
            Scope::AlertsRead => "alerts:read",
            Scope::AlertsWrite => "alerts:write",
        }
    }

    /// Parses [`Scope::name`].
    pub fn parse(name: &str) -> Option<Scope> {
        Scope::ALL.into_iter().find(|scope| scope.name() == name)
    }
}

/// Which tenants a token may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tenants {
    /// Every one: the claim `tenants` with the value `all`.
    All,
    /// One.
    One(Arc<str>),
}

/// What a valid token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// Whom it was given to.
    pub subject: Arc<str>,
    /// Whose numbers it may see.
    pub tenants: Tenants,
    /// What it may do.
    pub scopes: BTreeSet<Scope>,
    /// When it ends.
    pub expires_at: Micros,
}

impl Claims {
    /// The tenant to answer for when `asked` is wanted: `None` means all of them.
    ///
    /// # Errors
    /// [`Refused::Tenant`] when the token is for another one.
    pub fn tenant(&self, asked: Option<&str>) -> Result<Option<Arc<str>>, Refused> {
        match (&self.tenants, asked) {
            (Tenants::All, asked) => Ok(asked.map(Arc::from)),
            (Tenants::One(own), None) => Ok(Some(Arc::clone(own))),
            (Tenants::One(own), Some(asked)) if **own == *asked => Ok(Some(Arc::clone(own))),
            (Tenants::One(_), Some(asked)) => Err(Refused::Tenant(asked.to_owned())),
        }
    }

    /// Whether the token may see this tenant.
    pub fn sees(&self, tenant: &str) -> bool {
        match &self.tenants {
            Tenants::All => true,
            Tenants::One(own) => **own == *tenant,
        }
    }

    /// Asks for a token that may see every tenant.
    ///
    /// # Errors
    /// [`Refused::AllTenants`] when it may not.
    pub fn require_all_tenants(&self) -> Result<(), Refused> {
        if self.tenants == Tenants::All { Ok(()) } else { Err(Refused::AllTenants) }
    }

    /// Asks for a scope.
    ///
    /// # Errors
    /// [`Refused::Scope`] when the token does not have it.
    pub fn require(&self, scope: Scope) -> Result<(), Refused> {
        if self.scopes.contains(&scope) { Ok(()) } else { Err(Refused::Scope(scope)) }
    }
}

/// A valid token that does not allow what was asked (HTTP 403).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is for another tenant.
    #[error("this token is not for tenant `{0}`")]
    Tenant(String),
    /// It is for one tenant, and the answer is about all.
    #[error("this answer is about the tables of all tenants, and this token is for one")]
    AllTenants,
    /// It lacks a scope.
    #[error("this token does not have the scope `{}`", .0.name())]
    Scope(Scope),
}

/// A token that is not accepted (HTTP 401). The text never repeats the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// There is none.
    #[error("no token; send `Authorization: Bearer <token>`")]
    Missing,
    /// It is not valid.
    #[error("the token is not accepted: {0}")]
    Invalid(String),
    /// The keys to check it with cannot be had at the moment.
    #[error("tokens cannot be checked at the moment: {0}")]
    Unavailable(String),
}

/// Checks tokens.
pub trait TokenCheck: Send + Sync + std::fmt::Debug {
    /// What a token says, if it is valid now.
    fn check<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Claims, AuthError>>;
}
