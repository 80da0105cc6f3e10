//! A server to try things on: it runs while the variables say so.
//!
//! `WEIR_TEST_SERVE=FILE` writes the address and a token into the file and serves until the file is
//! deleted. Without it the test does nothing.

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use api::Scope;

use crate::support::World;

#[tokio::test(flavor = "multi_thread")]
async fn serve_while_asked_to() {
    let Some(file) = std::env::var_os("WEIR_TEST_SERVE").map(PathBuf::from) else { return };
    let world = World::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let token = world.token("*", &Scope::ALL);
    let draft = file.with_extension("tmp");
    std::fs::write(&draft, format!("http://{address}\n{token}\n")).unwrap();
    std::fs::rename(&draft, &file).unwrap();
    let deleted = async {
        while file.exists() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    api::serve(listener, Arc::clone(&world.app), world.router.clone(), deleted).await.unwrap();
}
