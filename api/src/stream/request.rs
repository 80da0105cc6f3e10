//! What a client may say. Pure.
//!
//! # Guarantees
//! - A message is taken whole or refused with what is wrong with it: unknown types and fields, wrong
//!   types and fields that are there twice are refused, in the words of the protocol.

use std::sync::Arc;

use schemas::{EpochId, Grain};

use super::fields::Fields;
use super::page::Channel;
use crate::earlier::Against;
use crate::query::{NAME_MAX, parse_instant, shown};
use crate::store::{CellFilter, DimFilter};

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
    pub(crate) filter: CellFilter,
    /// What the client has already.
    pub(crate) since: Option<Since>,
}

/// Where a client stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Since {
    /// The stream generation.
    pub(crate) generation: String,
    /// The offset.
    pub(crate) offset: EpochId,
}

/// Reads a message; the error says what is wrong with it.
pub(crate) fn parse(text: &str) -> Result<Request, String> {
    let mut fields = Fields::parse(text, "the message")?;
    if fields.is_empty() {
        return Ok(Request::Pong);
    }
    let kind = fields.text("type")?.ok_or("the message has no `type`")?;
    let request = match kind.as_str() {
        "connect" => Request::Connect(fields.must("token", Fields::text)?),
        "refresh" => Request::Refresh(fields.must("token", Fields::text)?),
        "unsubscribe" => Request::Unsubscribe(fields.must("id", Fields::whole)?),
        "subscribe" => Request::Subscribe(subscribe(&mut fields)?),
        _ => {
            let kind = shown(&kind);
            return Err(format!(
                "the type `{kind}` is unknown; use connect, subscribe, unsubscribe or refresh"
            ));
        }
    };
    fields.end()?;
    Ok(request)
}

fn subscribe(fields: &mut Fields) -> Result<Subscribe, String> {
    let id = fields.must("id", Fields::whole)?;
    let channel = match fields.must("channel", Fields::text)?.as_str() {
        "kpi" => Channel::Kpi,
        "alerts" => Channel::Alerts,
        other => {
            return Err(format!("the channel `{}` is unknown; use kpi or alerts", shown(other)));
        }
    };
    let filter = fields.object("filter")?.map(filter).transpose()?.unwrap_or_default();
    let of_cells = filter.from.is_some() || filter.to.is_some() || filter.against.is_some();
    if channel == Channel::Alerts && of_cells {
        return Err("`from`, `to` and `compare` are not for the channel `alerts`".into());
    }
    let since = fields.object("since")?.map(|mut since| {
        let generation = since.must("generation", Fields::text)?;
        let offset = since.must("offset", Fields::whole)?;
        since.end().map(|()| Since { generation, offset })
    });
    Ok(Subscribe { id, channel, filter, since: since.transpose()? })
}

fn filter(mut fields: Fields) -> Result<CellFilter, String> {
    let tenant = fields.text("tenant")?;
    if tenant.as_ref().is_some_and(|tenant| !(1..=NAME_MAX).contains(&tenant.chars().count())) {
        return Err(format!("`tenant` must have 1 to {NAME_MAX} characters; leave it out for all"));
    }
    let kpis = fields.names("kpi")?;
    let mut dims = DimFilter::default();
    for (name, value) in fields.texts("dims")? {
        dims.or(&name, value.as_deref().unwrap_or_default());
    }
    let unknown =
        || format!("`grain` must be {}; or a window, {}", Grain::names(), Grain::window_names());
    let grain = |name: String| Grain::parse(&name).ok_or_else(unknown);
    let grain = fields.text("grain")?.map(grain).transpose()?;
    let unknown = || "`compare` must be previous or year".to_owned();
    let against = |name: String| Against::parse(&name).ok_or_else(unknown);
    let against = fields.text("compare")?.map(against).transpose()?;
    let mut instant = |name: &'static str| {
        let at = |text: String| {
            parse_instant(&text)
                .ok_or(format!("`{name}` must be RFC 3339 or a date, as 2026-03-01"))
        };
        fields.text(name)?.map(at).transpose()
    };
    let (from, to) = (instant("from")?, instant("to")?);
    if from.zip(to).is_some_and(|(from, to)| from > to) {
        return Err("`from` is later than `to`".into());
    }
    if let Some(grain) = grain.filter(|grain| grain.is_window() && from.or(to).is_some()) {
        return Err(format!("`{grain}` is one period, which moves; leave `from` and `to` out"));
    }
    if fields.has(&["sort", "limit", "cursor"]) {
        return Err("`sort`, `limit` and `cursor` are of REST; the stream sends every cell that a filter takes".into());
    }
    fields.end()?;
    Ok(CellFilter { tenant: tenant.map(Arc::from), kpis, dims, grain, from, to, against })
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
        assert_eq!((subscribe.channel, subscribe.filter), (Channel::Alerts, CellFilter::default()));
    }

    #[test]
    fn refuses_everything_else_and_says_why() {
        for (text, expected) in [
            ("", "the message is no JSON object"),
            ("nonsense", "the message is no JSON object"),
            ("[]", "the message is no JSON object"),
            ("null", "the message is no JSON object"),
            ("{} {}", "the message is no JSON object"),
            (r#"{"type":"get"}"#, "the type `get` is unknown"),
            (r#"{"type":7}"#, "`type` must be a text"),
            (r#"{"id":1}"#, "the message has no `type`"),
            (r#"{"type":"connect"}"#, "the message has no `token`"),
            (r#"{"type":"connect","token":null}"#, "the message has no `token`"),
            (r#"{"type":"connect","token":1}"#, "`token` must be a text"),
            (r#"{"type":"connect","token":"t","x":1}"#, "the message has an unknown field `x`"),
            (r#"{"type":"unsubscribe","id":"1"}"#, "`id` must be a whole number"),
            (r#"{"type":"unsubscribe","id":-1}"#, "`id` must be a whole number"),
            (r#"{"type":"unsubscribe","id":1.5}"#, "`id` must be a whole number"),
            (r#"{"type":"unsubscribe","id":1,"id":2}"#, "the message has the field `id` twice"),
            (r#"{"type":"subscribe","id":1,"channel":"x"}"#, "the channel `x` is unknown"),
            (r#"{"type":"subscribe","id":1}"#, "the message has no `channel`"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
        for (rest, expected) in [
            (r#""filter":7"#, "filter is no JSON object"),
            (r#""filter":{"g":1}"#, "filter has an unknown field `g`"),
            (r#""filter":{"kpi":"a","kpi":"b"}"#, "filter has the field `kpi` twice"),
            (
                r#""filter":{"grain":"weeks"}"#,
                "`grain` must be hour, day, week, month, quarter or year; or a window, last_24h,",
            ),
            (r#""filter":{"from":"soon"}"#, "`from` must be RFC 3339 or a date"),
            (r#""filter":{"to":"2026-11-20 14:00:00Z"}"#, "`to` must be RFC 3339 or a date"),
            (r#""filter":{"from":"2026-11-02","to":"2026-11-01"}"#, "`from` is later than `to`"),
            (r#""filter":{"kpi":1}"#, "`kpi` must be a name or a list of names"),
            (r#""filter":{"kpi":[]}"#, "`kpi` is an empty list"),
            (r#""filter":{"kpi":["orders",""]}"#, "`kpi` has an empty name"),
            (r#""filter":{"kpi":""}"#, "`kpi` has an empty name"),
            (r#""filter":{"compare":"month"}"#, "`compare` must be previous or year"),
            (r#""filter":{"sort":"value"}"#, "`sort`, `limit` and `cursor` are of REST"),
            (r#""filter":{"dims":7}"#, "dims is no JSON object"),
            (
                r#""filter":{"dims":{"channel":7}}"#,
                "`channel` must be a text, null or a list of them",
            ),
            (r#""filter":{"dims":{"channel":[]}}"#, "`channel` is an empty list"),
            (r#""filter":{"tenant":""}"#, "`tenant` must have 1 to 256 characters"),
            (r#""filter":{"tenant":5}"#, "`tenant` must be a text"),
            (r#""since":{"offset":1}"#, "since has no `generation`"),
            (r#""since":{"generation":"g","offset":1,"x":2}"#, "since has an unknown field `x`"),
        ] {
            let text = format!(r#"{{"type":"subscribe","id":1,"channel":"kpi",{rest}}}"#);
            let error = parse(&text).unwrap_err();
            assert!(error.starts_with(expected) && error.len() <= 123, "{text}: {error}");
        }
        let text = r#"{"type":"subscribe","id":1,"channel":"alerts","filter":{"to":"2026-11-01"}}"#;
        assert!(parse(text).unwrap_err().contains("not for the channel `alerts`"));
    }
}
