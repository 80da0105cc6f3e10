//! What a client may say. Pure.
//!
//! # Guarantees
//! - A message is taken whole or refused with what is wrong with it: unknown types and fields, wrong
//!   types and fields that are there twice are refused.

use std::collections::BTreeSet;
use std::sync::Arc;

use schemas::{EpochId, Grain, Micros};
use serde::Deserialize;

use super::cohort::Channel;
use crate::store::Filter;

/// One message of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Request {
    /// `{}`: a sign of life.
    Pong,
    /// The first message.
    Connect(String),
    /// A token that replaces the one before.
    Refresh(String),
    /// A new subscription.
    Subscribe(Subscribe),
    /// The end of one.
    Unsubscribe(u64),
}

/// A wish for a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subscribe {
    /// The client's name for it.
    pub(crate) id: u64,
    /// Cells or alerts.
    pub(crate) channel: Channel,
    /// What was asked; the tenant is not checked yet.
    pub(crate) filter: Filter,
    /// What the client has already.
    pub(crate) since: Option<Since>,
}

/// Where a client stands.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Since {
    /// The stream generation.
    pub(crate) generation: String,
    /// The offset.
    pub(crate) offset: EpochId,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
enum Wire {
    Connect { token: String },
    Refresh { token: String },
    Subscribe { id: u64, channel: WireChannel, filter: Option<WireFilter>, since: Option<Since> },
    Unsubscribe { id: u64 },
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum WireChannel {
    Kpi,
    Alerts,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct WireFilter {
    tenant: Option<String>,
    kpi: Option<Names>,
    grain: Option<String>,
    from: Option<String>,
    to: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "`kpi` must be a name or a list of names")]
enum Names {
    One(String),
    Many(Vec<String>),
}

/// Reads a message; the error says what is wrong with it.
pub(crate) fn parse(text: &str) -> Result<Request, String> {
    let inner = text.trim().strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    if inner.is_some_and(|inner| inner.trim().is_empty()) {
        return Ok(Request::Pong);
    }
    let wire = serde_json::from_str(text).map_err(|error| error.to_string())?;
    Ok(match wire {
        Wire::Connect { token } => Request::Connect(token),
        Wire::Refresh { token } => Request::Refresh(token),
        Wire::Unsubscribe { id } => Request::Unsubscribe(id),
        Wire::Subscribe { id, channel, filter, since } => {
            let filter = filter.unwrap_or_default();
            let channel = match channel {
                WireChannel::Kpi => Channel::Kpi,
                WireChannel::Alerts if filter.from.is_some() || filter.to.is_some() => {
                    return Err("`from` and `to` are not for the channel `alerts`".into());
                }
                WireChannel::Alerts => Channel::Alerts,
            };
            Request::Subscribe(Subscribe { id, channel, filter: filter.read()?, since })
        }
    })
}

impl WireFilter {
    fn read(self) -> Result<Filter, String> {
        let grain = |name: String| {
            Grain::parse(&name).ok_or_else(|| "`grain` must be hour, day or month".to_owned())
        };
        let instant = |field: &'static str| {
            move |text: String| {
                Micros::parse(&text).ok_or_else(|| format!("`{field}` is no RFC 3339 instant"))
            }
        };
        let kpis = self.kpi.map(|names| match names {
            Names::One(name) => BTreeSet::from([Arc::from(name)]),
            Names::Many(names) => names.into_iter().map(Arc::from).collect(),
        });
        Ok(Filter {
            tenant: self.tenant.map(Arc::from),
            kpis,
            grain: self.grain.map(grain).transpose()?,
            from: self.from.map(instant("from")).transpose()?,
            to: self.to.map(instant("to")).transpose()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_documentation_shows() {
        assert_eq!(parse(" { } "), Ok(Request::Pong));
        let text = r#"{"type":"connect","token":"t"}"#;
        assert_eq!(parse(text), Ok(Request::Connect("t".into())));
        let text = r#"{"type":"subscribe","id":3,"channel":"kpi",
            "filter":{"tenant":"t1","grain":"day","kpi":["orders","revenue_booked"],"from":"2026-11-01"},
            "since":{"generation":"g1","offset":815}}"#;
        let Ok(Request::Subscribe(subscribe)) = parse(text) else { panic!("{:?}", parse(text)) };
        assert_eq!((subscribe.id, subscribe.channel), (3, Channel::Kpi));
        assert_eq!(subscribe.filter.grain, Some(Grain::Day));
        assert_eq!(subscribe.filter.kpis.map(|kpis| kpis.len()), Some(2));
        assert_eq!(subscribe.since, Some(Since { generation: "g1".into(), offset: 815 }));
        let text = r#"{"type":"subscribe","id":2,"channel":"alerts"}"#;
        let Ok(Request::Subscribe(subscribe)) = parse(text) else { panic!("{:?}", parse(text)) };
        assert_eq!((subscribe.channel, subscribe.filter), (Channel::Alerts, Filter::default()));
    }

    #[test]
    fn refuses_everything_else_and_says_why() {
        for (text, word) in [
            ("", "EOF"),
            ("[]", ""),
            ("null", ""),
            (r#"{"type":"get"}"#, "unknown variant `get`"),
            (r#"{"id":1}"#, "type"),
            (r#"{"type":"connect"}"#, "token"),
            (r#"{"type":"connect","token":1}"#, "string"),
            (r#"{"type":"connect","token":"t","x":1}"#, "unknown field `x`"),
            (r#"{"type":"unsubscribe","id":"1"}"#, "u64"),
            (r#"{"type":"unsubscribe","id":-1}"#, "u64"),
            (r#"{"type":"unsubscribe","id":1,"id":2}"#, "duplicate"),
            (r#"{"type":"subscribe","id":1,"channel":"x"}"#, "unknown variant `x`"),
            (
                r#"{"type":"subscribe","id":1,"channel":"kpi","filter":{"g":1}}"#,
                "unknown field `g`",
            ),
            (r#"{"type":"subscribe","id":1,"channel":"kpi","filter":{"grain":"week"}}"#, "grain"),
            (r#"{"type":"subscribe","id":1,"channel":"kpi","filter":{"from":"soon"}}"#, "from"),
            (r#"{"type":"subscribe","id":1,"channel":"kpi","filter":{"kpi":1}}"#, "list of names"),
            (r#"{"type":"subscribe","id":1,"channel":"kpi","since":{"offset":1}}"#, "generation"),
            (
                r#"{"type":"subscribe","id":1,"channel":"alerts","filter":{"to":"2026-11-01"}}"#,
                "to",
            ),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
