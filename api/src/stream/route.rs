//! The stream as a route of the server.

use std::sync::Arc;

use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, get};

use super::Streams;
use crate::app::App;
use crate::problem::Problem;

impl Streams {
    /// `GET /api/v1/stream`: an upgrade to a WebSocket; anything else is told what it takes.
    pub fn route(self: &Arc<Self>) -> MethodRouter<Arc<App>> {
        let streams = Arc::clone(self);
        let upgrade = move |headers: HeaderMap, upgrade: Upgrade| async move {
            match upgrade {
                Ok(upgrade) => streams.upgrade(&headers, upgrade).await,
                Err(refused) => {
                    let status = refused.into_response().status();
                    Problem::new(status, WHAT).into_response()
                }
            }
        };
        // There is nothing that `HEAD` could tell, so it must not stand for `GET` here.
        get(upgrade).head(only_get).fallback(only_get)
    }
}

/// What the route is for.
const WHAT: &str = "this is a WebSocket: send an upgrade with GET, with the subprotocol `kpi.v1`";

async fn only_get() -> Problem {
    Problem::not_allowed("GET", WHAT)
}

type Upgrade = Result<WebSocketUpgrade, WebSocketUpgradeRejection>;
