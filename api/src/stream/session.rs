//! Who a connection is, from the first token to the last.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::Shared;
use super::admission::Slot;
use super::close::{self, End};
use super::outlet::Outlet;
use super::page::{Channel, quoted, text};
use super::request::Subscribe;
use crate::claims::{AuthError, Claims, Refused, Scope};

/// An authenticated connection.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) claims: Claims,
    /// The generation that the client was told.
    pub(crate) generation: Arc<str>,
    /// When the token and its grace are over.
    pub(crate) ends_at: Instant,
}

/// The scope that a channel needs.
pub(crate) fn scope(channel: Channel) -> Scope {
    match channel {
        Channel::Kpi => Scope::KpiRead,
        Channel::Alerts => Scope::AlertsRead,
    }
}

/// Claims of a client's first token, which must be there in `wait`.
pub(super) async fn first_claims(
    shared: &Shared,
    token: &str,
    wait: Duration,
) -> Result<Claims, End> {
    match timeout(wait, shared.tokens.check(token)).await {
        Err(_) => Err(End::close(close::CONNECT_TIMEOUT, "the token check took too long")),
        Ok(Err(error @ AuthError::Unavailable(_))) => {
            Err(End::close(close::TRY_LATER, error.to_string()))
        }
        Ok(Err(error)) => Err(End::close(close::TOKEN, error.to_string())),
        Ok(Ok(claims)) => Ok(claims),
    }
}

impl Session {
    /// Begins when the client is known, and tells it where the stream is.
    pub(super) async fn begin(
        outlet: &mut Outlet,
        slot: &mut Slot,
        claims: Claims,
    ) -> Result<Session, End> {
        let many = || End::close(close::TOO_MANY, "too many connections of this subject");
        slot.authenticate(&claims.subject).ok_or_else(many)?;
        let later = || End::close(close::TRY_LATER, "nothing is served yet");
        let position = outlet.shared.store.position().ok_or_else(later)?;
        let ttl = outlet.shared.ttl(&claims);
        let frame = format!(
            "{{\"type\":\"connected\",\"generation\":{},\"offset\":{},\"token_ttl_s\":{}}}",
            quoted(&position.generation),
            position.offset,
            ttl.as_secs()
        );
        let ends_at = Instant::now() + ttl + outlet.shared.limits.expiry_grace;
        let session = Session { ends_at, generation: position.generation, claims };
        outlet.send(text(frame)).await?;
        Ok(session)
    }

    /// Takes another token of the same subject; its time to live, or `None` when it could not be
    /// checked, of which the client was told.
    pub(super) async fn refresh(
        &mut self,
        outlet: &mut Outlet,
        token: &str,
    ) -> Result<Option<Duration>, End> {
        let shared = Arc::clone(&outlet.shared);
        let slow = "the token check took too long";
        let claims = match timeout(shared.limits.connect_timeout, shared.tokens.check(token)).await
        {
            Err(_) => {
                outlet.fail(None, "unavailable", slow).await?;
                return Ok(None);
            }
            Ok(Err(error @ AuthError::Unavailable(_))) => {
                outlet.fail(None, "unavailable", &error.to_string()).await?;
                return Ok(None);
            }
            Ok(Err(error)) => return Err(End::close(close::TOKEN, error.to_string())),
            Ok(Ok(claims)) => claims,
        };
        if claims.subject != self.claims.subject {
            return Err(End::close(close::FORBIDDEN, "the new token is of another subject"));
        }
        let ttl = shared.ttl(&claims);
        self.ends_at = Instant::now() + ttl + shared.limits.expiry_grace;
        self.claims = claims;
        Ok(Some(ttl))
    }

    /// Binds the filter of a wish to the tenant that the token is for, if the token allows it.
    pub(super) fn bind(&self, wish: &mut Subscribe) -> Result<(), Refused> {
        self.claims.require(scope(wish.channel))?;
        wish.filter.tenant = self.claims.tenant(wish.filter.tenant.as_deref())?;
        Ok(())
    }
}
