//! Who a connection is, from the first token to the last.

use std::sync::Arc;

use tokio::time::{Instant, timeout};

use super::close;
use super::connection::{Connection, End, left};
use super::page::{quoted, text};
use super::request::Subscribe;
use crate::claims::{AuthError, Claims, Refused, Scope};

use super::cohort::Channel;

/// An authenticated connection.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) claims: Claims,
    /// The generation that the client was told.
    pub(crate) generation: Arc<str>,
    /// When the token and its grace are over.
    pub(crate) ends_at: Instant,
}

/// What a channel needs.
pub(crate) fn scope(channel: Channel) -> Scope {
    match channel {
        Channel::Kpi => Scope::KpiRead,
        Channel::Alerts => Scope::AlertsRead,
    }
}

impl Connection {
    /// `connect`: the first token, or, after the header's, the same as `refresh`.
    pub(super) async fn connect(&mut self, token: &str) -> Result<(), End> {
        if self.session.is_some() {
            return self.refresh(token).await;
        }
        let wait = left(self.connect_by);
        let shared = Arc::clone(&self.shared);
        let claims = match timeout(wait, shared.tokens.check(token)).await {
            Err(_) => {
                return Err(End::close(close::CONNECT_TIMEOUT, "the token check took too long"));
            }
            Ok(Err(error @ AuthError::Unavailable(_))) => {
                return Err(End::close(close::TRY_LATER, error.to_string()));
            }
            Ok(Err(error)) => return Err(End::close(close::TOKEN, error.to_string())),
            Ok(Ok(claims)) => claims,
        };
        self.begin(claims).await
    }

    /// The client is known.
    pub(super) async fn begin(&mut self, claims: Claims) -> Result<(), End> {
        let many = || End::close(close::TOO_MANY, "too many connections of this subject");
        self.slot.authenticate(&claims.subject).ok_or_else(many)?;
        let later = || End::close(close::TRY_LATER, "nothing is served yet");
        let position = self.shared.store.position().ok_or_else(later)?;
        let ttl = self.shared.ttl(&claims);
        let frame = format!(
            "{{\"type\":\"connected\",\"generation\":{},\"offset\":{},\"token_ttl_s\":{}}}",
            quoted(&position.generation),
            position.offset,
            ttl.as_secs()
        );
        self.session = Some(Session {
            ends_at: Instant::now() + ttl + self.shared.limits.expiry_grace,
            generation: position.generation,
            claims,
        });
        self.send(text(frame)).await
    }

    /// Another token of the same subject, which must still allow every subscription.
    pub(super) async fn refresh(&mut self, token: &str) -> Result<(), End> {
        let shared = Arc::clone(&self.shared);
        let claims = match timeout(shared.limits.connect_timeout, shared.tokens.check(token)).await
        {
            Err(_) => return self.fail(None, "unavailable", "the token check took too long").await,
            Ok(Err(error @ AuthError::Unavailable(_))) => {
                return self.fail(None, "unavailable", &error.to_string()).await;
            }
            Ok(Err(error)) => return Err(End::close(close::TOKEN, error.to_string())),
            Ok(Ok(claims)) => claims,
        };
        let Some(session) = &mut self.session else { return Ok(()) };
        if claims.subject != session.claims.subject {
            return Err(End::close(close::FORBIDDEN, "the new token is of another subject"));
        }
        let ttl = shared.ttl(&claims);
        session.ends_at = Instant::now() + ttl + shared.limits.expiry_grace;
        session.claims = claims.clone();
        let refused = self.subscriptions.iter().find_map(|subscription| {
            let id = subscription.id;
            subscription.recheck(&claims).err().map(|refused| (id, refused))
        });
        if let Some((id, refused)) = refused {
            return Err(self.forbid(id, &refused).await);
        }
        self.send(text(format!("{{\"type\":\"refreshed\",\"token_ttl_s\":{}}}", ttl.as_secs())))
            .await
    }

    /// Whether the token allows it. The filter is bound to the tenant that the token is for.
    pub(super) fn bind(&self, wish: &mut Subscribe) -> Result<(), Refused> {
        let Some(session) = &self.session else { return Err(Refused::Scope(scope(wish.channel))) };
        session.claims.require(scope(wish.channel))?;
        wish.filter.tenant = session.claims.tenant(wish.filter.tenant.as_deref())?;
        Ok(())
    }

    /// Tells of a failure that leaves the connection open.
    pub(super) async fn fail(
        &mut self,
        id: Option<u64>,
        code: &str,
        message: &str,
    ) -> Result<(), End> {
        let id = id.map_or_else(String::new, |id| format!("\"id\":{id},"));
        let message = quoted(message);
        let frame = format!("{{\"type\":\"error\",{id}\"code\":\"{code}\",\"message\":{message}}}");
        self.send(text(frame)).await
    }

    /// Tells of a failure that closes it.
    pub(super) async fn fail_finally(
        &mut self,
        id: u64,
        (code, name): (u16, &str),
        message: &str,
    ) -> End {
        match self.fail(Some(id), name, message).await {
            Err(end) => end,
            Ok(()) => End::close(code, message),
        }
    }

    /// The end of a client that asked for what its token does not allow.
    pub(super) async fn forbid(&mut self, id: u64, refused: &Refused) -> End {
        self.fail_finally(id, (close::FORBIDDEN, "forbidden"), &refused.to_string()).await
    }
}
