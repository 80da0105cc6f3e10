//! The file of the key, and what its tokens allow.

use std::sync::atomic::{AtomicI64, Ordering};

use super::*;

#[derive(Debug)]
struct TestClock(AtomicI64);

impl Clock for TestClock {
    fn now(&self) -> Micros {
        Micros(self.0.load(Ordering::SeqCst))
    }
}

fn clock() -> Arc<TestClock> {
    Arc::new(TestClock(AtomicI64::new(1_795_255_200_000_000)))
}

fn request(ttl_s: u64) -> MintRequest {
    MintRequest {
        subject: "me".to_owned(),
        tenants: Tenants::One("t1".into()),
        scopes: vec![Scope::AlertsRead],
        ttl: Duration::from_secs(ttl_s),
    }
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn the_key_is_made_once_and_is_its_owners() {
    let lake = tempfile::tempdir().unwrap();
    let folder = lake.path().join("_weir");
    let first = DevKeys::open(&folder, clock()).unwrap();
    let path = folder.join("dev.key");
    assert_eq!(mode(&path), 0o600);
    assert_eq!(std::fs::read(&path).unwrap().len(), 32);
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1, "no draft is left");
    std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    let second = DevKeys::open(&folder, clock()).unwrap();
    assert_eq!(mode(&path), 0o600, "what others could read they cannot read any more");
    let token = first.mint(&request(60)).unwrap();
    assert!(second.check_now(&token, clock().now()).is_ok(), "it is the same key");
    let other = DevKeys::open(&lake.path().join("other"), clock()).unwrap();
    assert!(other.check_now(&token, clock().now()).is_err(), "another lake has another key");
}

#[test]
fn a_file_that_is_no_key_is_refused() {
    let lake = tempfile::tempdir().unwrap();
    for length in [0, 31, 33] {
        std::fs::write(lake.path().join("dev.key"), vec![1; length]).unwrap();
        let refused = DevKeys::open(lake.path(), clock()).unwrap_err();
        assert!(refused.to_string().contains("delete it"), "{refused}");
    }
}

#[test]
fn racing_processes_get_one_key() {
    let lake = tempfile::tempdir().unwrap();
    let folder = lake.path();
    let path = folder.join(KEY_FILE);
    let first = create(folder, &path).unwrap();
    assert_eq!(create(folder, &path).unwrap(), first, "the second one takes what is there");
}

#[tokio::test]
async fn a_token_says_what_was_asked_for_until_it_expires() {
    let clock = clock();
    let keys = DevKeys::with_secret(&[1; 32], Arc::<TestClock>::clone(&clock));
    let token = keys.mint(&request(60)).unwrap();
    let claims = keys.check(&token).await.unwrap();
    assert_eq!((&*claims.subject, claims.tenants), ("me", Tenants::One("t1".into())));
    assert_eq!(claims.scopes.into_iter().collect::<Vec<_>>(), [Scope::AlertsRead]);
    assert_eq!(claims.expires_at, clock.now().plus(60_000_000));
    let payload = token.split('.').nth(1).unwrap();
    use base64::Engine;
    let payload = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).unwrap();
    let payload: serde_json::Value = serde_json::from_slice(&payload).unwrap();
    let expected = json!({
        "iss": "weir-dev", "aud": "weir", "sub": "me", "tenant": "t1", "scope": "alerts:read",
        "iat": 1_795_255_200, "nbf": 1_795_255_200, "exp": 1_795_255_260,
    });
    assert_eq!(payload, expected);
    clock.0.fetch_add(90_000_000, Ordering::SeqCst);
    assert!(matches!(keys.check(&token).await, Err(AuthError::Invalid(_))));
    assert!(!format!("{keys:?}").contains('1'), "the secret is not in logs");
}

#[tokio::test]
async fn other_secrets_and_algorithms_are_refused() {
    let keys = DevKeys::with_secret(&[1; 32], clock());
    let other = DevKeys::with_secret(&[2; 32], clock());
    assert!(keys.check(&other.mint(&request(60)).unwrap()).await.is_err());
    let claims = json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "me", "tenants": "all", "scope": "kpi:read",
        "exp": 1_795_255_300,
    });
    let signed = |algorithm| {
        let secret = EncodingKey::from_secret(&[1; 32]);
        jsonwebtoken::encode(&Header::new(algorithm), &claims, &secret).unwrap()
    };
    assert!(keys.check(&signed(Algorithm::HS256)).await.is_ok());
    assert!(keys.check(&signed(Algorithm::HS384)).await.is_err());
    assert!(keys.check(&signed(Algorithm::HS512)).await.is_err());
}
