//! The HTTP client of routes: what it will not do, and what an answer means.
//!
//! # Guarantees
//! - No redirect is followed and no proxy is used. An address that is link-local or multicast, as those are at which
//!   clouds hand out secrets, is not connected to, whether it stands in the URL or a name says it. Loopback and
//!   private addresses are allowed: routes come from the operator.
//! - 2xx is success. 408, 425, 429, what 5xx says, and no answer within ten seconds may pass; so may what another
//!   setting would cure (401, 403, 404): nothing is lost over a wrong secret. All other answers are final.
//! - Neither a URL nor a secret is in an error.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};

use crate::error::DeliveryError;

/// How long a receiver has for its answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How much of an answer is told in an error.
const TOLD: usize = 200;
/// The longest answer that is read whole.
const ANSWER_MAX: usize = 32 << 20;
/// How much of an answer is read for that.
const READ: usize = 4_096;

/// The client of all routes.
///
/// # Errors
/// When TLS cannot be set up.
pub(crate) fn client() -> Result<Client, String> {
    Client::builder()
        .timeout(TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .dns_resolver(Arc::new(Guarded))
        .user_agent(concat!("weir/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|e| e.without_url().to_string())
}

/// A URL of a route.
///
/// # Errors
/// When it is none that is connected to; the text says why.
pub(crate) fn url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|e| format!("`url` is no URL: {e}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("`url` begins with http:// or https://".to_owned());
    }
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    match host.parse::<IpAddr>() {
        Ok(address) if !is_allowed(address) => Err(format!(
            "`url` names {address}, which is link-local or multicast, and is not connected to"
        )),
        _ => Ok(url),
    }
}

/// A request that posts JSON.
pub(crate) fn post(client: &Client, url: &Url, body: &serde_json::Value) -> RequestBuilder {
    client
        .post(url.clone())
        .header(reqwest::header::CONTENT_TYPE, "application/json")
        .body(body.to_string())
}

/// Sends a request and judges the answer, which is returned when it is a success.
pub(crate) async fn send(request: RequestBuilder) -> Result<Response, DeliveryError> {
    let response = request.send().await.map_err(|e| DeliveryError::later(plain(e)))?;
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let after = retry_after(&response);
    let why = format!("the receiver answers {status}{}", told(response).await);
    match may_pass(status) {
        true => Err(DeliveryError::Later { why, after }),
        false => Err(DeliveryError::Refused { why }),
    }
}

/// Reads an answer of JSON.
pub(crate) async fn json(mut response: Response) -> Result<serde_json::Value, DeliveryError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|e| DeliveryError::later(plain(e)))? {
        if bytes.len() + chunk.len() > ANSWER_MAX {
            return Err(DeliveryError::later("its answer is too long"));
        }
        bytes.extend_from_slice(&chunk);
    }
    let read = serde_json::from_slice(&bytes);
    read.map_err(|e| DeliveryError::later(format!("its answer is not JSON: {e}")))
}

fn may_pass(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status.as_u16(), 401 | 403 | 404 | 407 | 408 | 425 | 429)
}

fn retry_after(response: &Response) -> Option<Duration> {
    let text = response.headers().get(reqwest::header::RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}

/// The beginning of an answer, on one line.
async fn told(mut response: Response) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < READ {
        match response.chunk().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) | Err(_) => break,
        }
    }
    let text: String =
        String::from_utf8_lossy(&bytes).split_whitespace().collect::<Vec<_>>().join(" ");
    let begin: String = text.chars().take(TOLD).collect();
    match text.len() {
        0 => String::new(),
        all if all > begin.len() => format!(": {begin}..."),
        _ => format!(": {begin}"),
    }
}

/// What happened, without the URL, which may hold a secret.
fn plain(error: reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("no answer within {} s", TIMEOUT.as_secs());
    }
    schemas::chain(&error.without_url())
}

/// Resolves names and leaves out what is not connected to.
#[derive(Debug)]
struct Guarded;

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let host = name.as_str().to_owned();
        Box::pin(async move {
            let found: Vec<SocketAddr> =
                tokio::net::lookup_host((host.as_str(), 0)).await?.collect();
            let allowed: Vec<SocketAddr> =
                found.iter().copied().filter(|at| is_allowed(at.ip())).collect();
            if allowed.is_empty() && !found.is_empty() {
                return Err(
                    format!("{host} is link-local or multicast, and is not connected to").into()
                );
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

/// Whether an address is connected to.
fn is_allowed(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            // 100.100.100.200 hands out secrets in one cloud.
            let is_metadata = v4.octets() == [100, 100, 100, 200];
            !(v4.is_link_local()
                || v4.is_multicast()
                || v4.is_broadcast()
                || v4.is_unspecified()
                || is_metadata)
        }
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => is_allowed(IpAddr::V4(v4)),
            None => {
                let is_metadata = v6 == Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
                !(v6.is_unicast_link_local()
                    || v6.is_multicast()
                    || v6.is_unspecified()
                    || is_metadata)
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_hand_out_secrets_are_not_connected_to() {
        for address in [
            "169.254.169.254",
            "fe80::1",
            "::ffff:169.254.169.254",
            "fd00:ec2::254",
            "0.0.0.0",
            "224.0.0.1",
        ] {
            assert!(!is_allowed(address.parse().unwrap()), "{address}");
        }
        for address in ["127.0.0.1", "::1", "10.0.0.5", "192.168.1.1", "203.0.113.7"] {
            assert!(is_allowed(address.parse().unwrap()), "{address}");
        }
        for text in
            ["http://169.254.169.254/x", "http://[fe80::1]/", "ftp://a.example/", "a.example"]
        {
            assert!(url(text).is_err(), "{text}");
        }
        assert!(url("https://a.example:8443/x").is_ok());
    }

    #[test]
    fn what_another_setting_cures_is_tried_again() {
        for status in [401, 403, 404, 408, 429, 500, 503] {
            assert!(may_pass(StatusCode::from_u16(status).unwrap()), "{status}");
        }
        for status in [301, 400, 410, 413, 422] {
            assert!(!may_pass(StatusCode::from_u16(status).unwrap()), "{status}");
        }
    }
}
