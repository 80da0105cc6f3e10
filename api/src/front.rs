//! The front of the server: which routes answer, exchanged while connections stay open.
//!
//! # Guarantees
//! - A request is answered by one set of routes from its beginning to its end, and each next one of the same
//!   connection by those that are shown then.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::MethodRouter;
use parking_lot::RwLock;
use tower::Service;

use crate::app::App;
use crate::router::router;

/// Routes that can be exchanged. Clones show the same.
#[derive(Clone)]
pub struct Front(Arc<RwLock<Router>>);

impl Front {
    /// A front that shows all routes over this state. `stream` answers `GET /api/v1/stream`.
    pub fn new(app: &Arc<App>, stream: MethodRouter<Arc<App>>) -> Front {
        Front::of(router(Arc::clone(app), stream))
    }

    /// Shows all routes over another state from now on.
    pub fn show(&self, app: &Arc<App>, stream: MethodRouter<Arc<App>>) {
        self.put(router(Arc::clone(app), stream));
    }

    fn of(router: Router) -> Front {
        Front(Arc::new(RwLock::new(router)))
    }

    fn put(&self, router: Router) {
        let before = std::mem::replace(&mut *self.0.write(), router);
        drop(before);
    }

    /// The front as a router: each request is given to the routes that are shown when it comes.
    pub fn router(&self) -> Router {
        let front = self.clone();
        Router::new().fallback(move |request: Request| {
            let mut shown = front.0.read().clone();
            async move {
                let answered: Result<Response, Infallible> = shown.call(request).await;
                answered.unwrap_or_else(|never| match never {})
            }
        })
    }
}

impl fmt::Debug for Front {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Front")
    }
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::routing::get;

    use super::*;

    async fn ask(router: &Router) -> String {
        let request = Request::builder().uri("/who").body(Body::empty()).unwrap();
        let answer = router.clone().call(request).await.unwrap();
        let body = to_bytes(answer.into_body(), 100).await.unwrap();
        String::from_utf8(body.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn each_request_is_answered_by_what_is_shown_when_it_comes() {
        let says =
            |text: &'static str| Router::new().route("/who", get(move || async move { text }));
        let front = Front::of(says("old"));
        let outside = front.router();
        assert_eq!(ask(&outside).await, "old");
        front.put(says("new"));
        assert_eq!(ask(&outside).await, "new");
    }
}
