//! The REST routes below `/api/v1`.
//!
//! # Guarantees
//! - Every answer is of one epoch, which it names; none is given before recovery is over.
//! - A token's tenant and scopes bound every answer, before anything is looked up.
//! - Answers are bounded by [`POINTS_MAX`] cells and [`ALERTS_MAX`] alerts.

mod accept;
mod alerts;
mod answers;
pub(crate) mod ask;
mod csv;
pub(crate) mod document;
mod explain;
mod forecast;
mod kpis;
mod listing;
mod meta;
mod mutes;
mod past;
mod score;
mod series;
mod shapes;
mod sources;
mod top;

use std::sync::Arc;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;

/// Cells or points of one answer.
pub const POINTS_MAX: usize = 100_000;
/// Alerts of one answer.
pub const ALERTS_MAX: usize = 10_000;

/// The routes with their description.
pub(crate) fn documented() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::with_openapi(document::base())
        .routes(routes!(kpis::kpis))
        .routes(routes!(series::series))
        .routes(routes!(explain::explain))
        .routes(routes!(forecast::forecast))
        .routes(routes!(alerts::alerts))
        .routes(routes!(alerts::one))
        .routes(routes!(answers::acknowledge))
        .routes(routes!(answers::feedback))
        .routes(routes!(score::score))
        .routes(routes!(mutes::mutes, mutes::mute))
        .routes(routes!(mutes::unmute))
        .routes(routes!(meta::meta))
        .routes(routes!(meta::status))
        .routes(routes!(sources::sources))
}
