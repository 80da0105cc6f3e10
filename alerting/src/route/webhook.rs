//! Webhooks, signed as Standard Webhooks 1.0 says.
//!
//! # Guarantees
//! - The header `webhook-id` is the notice's id: a receiver that keeps ids takes each once.
//! - With a secret (`whsec_` and base64) the body is signed with id and time of sending.

use reqwest::{Client, Url};
use schemas::Micros;
use serde_json::{Value, json};
use standardwebhooks::Webhook as Signer;

use super::{Route, Sending};
use crate::error::DeliveryError;
use crate::heartbeat::SignOfLife;
use crate::http;
use crate::notice::{Kind, Notice};
use crate::settings::RouteSettings;

struct Webhook {
    client: Client,
    url: Url,
    signer: Option<Signer>,
}

pub(super) fn make(settings: &RouteSettings, client: &Client) -> Result<Box<dyn Route>, String> {
    let url = http::url(&settings.one_url(None)?)?;
    let signer = match settings.secret()? {
        None => None,
        Some(secret) => Some(Signer::new(&secret.0).map_err(|_| {
            "the secret is `whsec_` followed by base64 of 24 to 64 bytes, as Standard Webhooks has it".to_owned()
        })?),
    };
    Ok(Box::new(Webhook { client: client.clone(), url, signer }))
}

impl Webhook {
    async fn post(&self, id: &str, at: Micros, body: Value) -> Result<(), DeliveryError> {
        let body = body.to_string();
        let seconds = at.0.div_euclid(1_000_000);
        let mut request = self.client.post(self.url.clone());
        request = request.header("content-type", "application/json");
        request = request.header("webhook-id", id).header("webhook-timestamp", seconds);
        if let Some(signer) = &self.signer {
            let signature = signer.sign(id, seconds, body.as_bytes());
            let signature =
                signature.map_err(|e| DeliveryError::later(format!("it cannot be signed: {e}")))?;
            request = request.header("webhook-signature", signature);
        }
        http::send(request.body(body)).await.map(drop)
    }
}

impl Route for Webhook {
    fn deliver<'a>(&'a self, notice: &'a Notice, now: Micros) -> Sending<'a> {
        if notice.kind == Kind::Digest {
            let body = json!({
                "type": "digest",
                "timestamp": now.to_string(),
                "digest": notice.body,
                "summary": notice.summary(),
                "link": notice.link,
            });
            return Box::pin(self.post(&notice.id, now, body));
        }
        let body = json!({
            "type": format!("alert.{}", notice.kind.name()),
            "timestamp": now.to_string(),
            "alert": notice.body,
            "summary": notice.summary(),
            "link": notice.link,
            "flapping": notice.annotations.contains_key("flapping"),
        });
        Box::pin(self.post(&notice.id, now, body))
    }

    fn sign_of_life<'a>(&'a self, sign: &'a SignOfLife) -> Option<Sending<'a>> {
        let body = json!({
            "type": "heartbeat",
            "timestamp": sign.at.to_string(),
            "as_of": sign.as_of.map(|at| at.to_string()),
            "degraded": sign.troubles,
        });
        let id = format!("heartbeat.{}", sign.at.0);
        Some(Box::pin(async move { self.post(&id, sign.at, body).await }))
    }
}
