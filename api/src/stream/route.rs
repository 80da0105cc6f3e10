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
        get(move |headers: HeaderMap, upgrade: Upgrade| async move {
            match upgrade {
                Ok(upgrade) => streams.upgrade(&headers, upgrade).await,
                Err(refused) => {
                    let status = refused.into_response().status();
                    let detail =
                        "this is a WebSocket: send an upgrade, with the subprotocol `kpi.v1`";
                    Problem::new(status, detail).into_response()
                }
            }
        })
    }
}

type Upgrade = Result<WebSocketUpgrade, WebSocketUpgradeRejection>;
