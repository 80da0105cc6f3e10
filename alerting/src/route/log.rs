//! The log of the process, for those who read that.

use reqwest::Client;
use schemas::{Micros, Severity};

use super::{Route, Sending};
use crate::heartbeat::SignOfLife;
use crate::notice::{Kind, Notice};
use crate::settings::RouteSettings;

struct Log;

pub(super) fn make(settings: &RouteSettings, _client: &Client) -> Result<Box<dyn Route>, String> {
    match settings.url.0.is_empty()
        && settings.secret_file.is_none()
        && settings.secret_env.is_none()
    {
        true => Ok(Box::new(Log)),
        false => Err("a log has no `url` and no secret".to_owned()),
    }
}

impl Route for Log {
    fn deliver<'a>(&'a self, notice: &'a Notice, _now: Micros) -> Sending<'a> {
        let (id, title, summary) = (&notice.id, notice.title(), notice.summary());
        if notice.kind == Kind::Digest {
            tracing::info!(id, "{title}: {summary}");
            return Box::pin(async { Ok(()) });
        }
        match notice.severity >= Severity::Error && !notice.kind.is_last() {
            true => tracing::error!(id, "alert {title} {summary}"),
            false => tracing::warn!(id, "alert {title} {summary}"),
        }
        Box::pin(async { Ok(()) })
    }

    fn sign_of_life<'a>(&'a self, sign: &'a SignOfLife) -> Option<Sending<'a>> {
        let as_of = sign.as_of.map(|at| at.to_string()).unwrap_or_default();
        tracing::info!(as_of, "alive");
        Some(Box::pin(async { Ok(()) }))
    }
}
