//! Incoming webhooks as Slack has them, and those that take the same.

use reqwest::{Client, Url};
use schemas::Micros;
use serde_json::json;

use super::{Route, Sending};
use crate::http;
use crate::notice::Notice;
use crate::settings::RouteSettings;

struct Slack {
    client: Client,
    url: Url,
}

/// The URL is the secret where none is given.
pub(super) fn make(settings: &RouteSettings, client: &Client) -> Result<Box<dyn Route>, String> {
    let secret = settings.secret()?;
    if secret.is_some() && !settings.url.0.is_empty() {
        return Err("its secret is its URL: leave out `url` or the secret".to_owned());
    }
    let url = http::url(&settings.one_url(secret.as_ref().map(|secret| secret.0.as_str()))?)?;
    Ok(Box::new(Slack { client: client.clone(), url }))
}

impl Route for Slack {
    fn deliver<'a>(&'a self, notice: &'a Notice, _now: Micros) -> Sending<'a> {
        let request = http::post(&self.client, &self.url, &json!({ "text": text(notice) }));
        Box::pin(async move { http::send(request).await.map(drop) })
    }
}

/// Three lines in Slack's own mark-up.
fn text(notice: &Notice) -> String {
    let mut lines = vec![format!("*{}*", escaped(&notice.title())), escaped(notice.summary())];
    lines.extend(notice.annotations.get("description").map(|text| escaped(text)));
    lines.extend(notice.link.as_ref().map(|link| format!("<{}|Look>", escaped(link))));
    lines.join("\n")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use schemas::Severity;

    use super::*;
    use crate::samples::notice;

    #[test]
    fn names_cannot_make_links() {
        let mut notice = notice("a", crate::Kind::Opened, Severity::Error);
        notice.annotations.insert("summary".into(), "<!channel> & more".into());
        let text = text(&notice);
        assert!(text.contains("&lt;!channel&gt; &amp; more"), "{text}");
        let link = "<https://weir.example/?tenant=acme&amp;kpi=revenue_by_channel&amp;grain=hour\
                    &amp;at=2026-11-21T09%3A00%3A00Z&amp;dim.channel=web|Look>";
        assert!(text.ends_with(link), "{text}");
    }
}
