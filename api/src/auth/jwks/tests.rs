//! Tokens that must not be accepted, and keys that come, go and cannot be fetched.

use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{EncodingKey, Header};
use parking_lot::Mutex as Lock;
use schemas::Micros;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::claims::{Scope, Tenants};

const RSA_N: &str = "11NBWMqchmInzg2mVBhLXyHVsyO2vo9VLkAMdPasUh_FwFtHN3FSRFbq2Ezr5re5ope3VAobj3UOsQznp1VD_9K_B69D0ICdfjo7CyyKTqtFwbRKuyk6moFOUjn-jzaF_gJLShVMxOsIAmiicHFZPxM0kQI1XSVmUKUIXwsxIxA9n3cRTPGY4qd2aM6IPxQxqhYkgywUzakWVDN6oFiHselS_unEI9JYMfdDVuFXqe6f_OI9nBMm3Wy_lKTUgX8Mo_OlfrWWd_asfBKnAC_RpooquZNSibTflNtkqXVFNlkjz8CcfAz15KdFMCnVN9EnxKO10xBUUCNrvUAbW27ATQ";
const OTHER_N: &str = "43QRJSzjXIvCGa8xUUzo2kZQ1vBw693Mi-78Ce-d86oeOF_j6U4VhS7q4mn9RYymQsZchnJ286RSO94lXqMSWlLJjYUyjcj3LLR6vQd7OnE3yImF5jUGoS2F0RqRSJMZlbIoygkN-z22_kFJt12XRlmtn-eBfv0UX875TngaOjUogC8_UeABW5JTst353ywrNFQtoOt3CcgNhI--MVSR7HtCncjG5egyHtSa5BDMGGvc8Pz88NyTO_XCnzKfgRCz9JdD2hqhmkLQ8woUmV8DharCDrq3Ooxv5WFMofWlCsgMlegwN8cjTH_orpa1wTRjpDHct95lI5RhHW1c8Pn04w";
const EC_X: &str = "wg9ZT7w6r9Z1nfbVU4rvC5D4yWE0BLrlwexwGvpNA4c";
const EC_Y: &str = "P76wiQTApfj9qJ_0j4aVs-7baTxOF_3JmncX2HnthHo";
const ED_X: &str = "z_8XiHD55XJv28azG8ylBjtd-TXRGacfxbklaw6u0DM";
/// 2026-11-21T10:00:00Z in seconds.
const NOW: i64 = 1_795_255_200;

#[derive(Debug)]
struct Noon;

impl Clock for Noon {
    fn now(&self) -> Micros {
        Micros(NOW * 1_000_000)
    }
}

/// A provider that answers every request with what it is told to.
struct Provider {
    url: String,
    answer: Arc<Lock<Option<String>>>,
    asked: Arc<AtomicUsize>,
}

impl Provider {
    async fn new(keys: Value) -> Provider {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        let answer = Arc::new(Lock::new(Some(json!({ "keys": keys }).to_string())));
        let asked = Arc::new(AtomicUsize::new(0));
        let (shown, counter) = (Arc::clone(&answer), Arc::clone(&asked));
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                drop(stream.read(&mut [0; 4096]).await);
                counter.fetch_add(1, Ordering::SeqCst);
                let body = shown.lock().clone();
                let (status, body) = body.map_or(("500 No", String::new()), |b| ("200 OK", b));
                let length = body.len();
                let head = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n");
                let all = format!("{head}connection: close\r\n\r\n{body}");
                drop(stream.write_all(all.as_bytes()).await);
            }
        });
        Provider { url, answer, asked }
    }

    fn show(&self, keys: Value) {
        *self.answer.lock() = Some(json!({ "keys": keys }).to_string());
    }

    fn jwks(&self, retry_after: Duration) -> Jwks {
        let timing = Timing { retry_after, ..TIMING };
        Jwks::with_timing(config(&self.url), Arc::new(Noon), timing).unwrap()
    }
}

fn config(url: &str) -> JwksConfig {
    let (issuer, audience) = ("https://idp.example/".to_owned(), "weir".to_owned());
    JwksConfig { url: url.to_owned(), issuer, audience }
}

fn rsa(kid: &str, n: &str) -> Value {
    json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid, "n": n, "e": "AQAB"})
}

fn all_keys() -> Value {
    json!([
        rsa("rsa", RSA_N),
        {"kty": "EC", "crv": "P-256", "kid": "ec", "x": EC_X, "y": EC_Y},
        {"kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": ED_X},
        {"kty": "oct", "kid": "secret", "k": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"},
        {"kty": "RSA", "use": "enc", "kid": "enc", "n": RSA_N, "e": "AQAB"},
        {"kty": "RSA", "kid": "short", "n": "wg9ZT7w6r9Z1nfbVU4rvC5D4yWE0BLrlwexwGvpNA4c", "e": "AQAB"},
        {"kty": "RSA", "alg": "PS256", "kid": "pss", "n": RSA_N, "e": "AQAB"},
        {"kty": "EC", "crv": "P-521", "kid": "wide", "x": EC_X, "y": EC_Y},
        {"kty": "later", "kid": "later"},
        {"kty": 5},
    ])
}

fn signer(algorithm: Algorithm) -> EncodingKey {
    match algorithm {
        Algorithm::ES256 => EncodingKey::from_ec_der(include_bytes!("test_keys/ec.der")),
        Algorithm::EdDSA => EncodingKey::from_ed_der(include_bytes!("test_keys/ed.der")),
        _ => EncodingKey::from_rsa_der(include_bytes!("test_keys/rsa.der")),
    }
}

fn good() -> Value {
    json!({
        "iss": "https://idp.example/", "aud": "weir", "sub": "user", "tenant": "t1",
        "scope": "openid kpi:read", "exp": NOW + 600, "nbf": NOW - 5, "iat": NOW - 5,
    })
}

fn with(claim: &str, value: Value) -> Value {
    let mut claims = good();
    claims[claim] = value;
    claims
}

fn without(claim: &str) -> Value {
    let mut claims = good();
    claims.as_object_mut().unwrap().remove(claim);
    claims
}

fn all_tenants(value: Value) -> Value {
    let mut claims = without("tenant");
    claims["tenants"] = value;
    claims
}

fn sign_with(algorithm: Algorithm, kid: &str, claims: &Value) -> String {
    let header = Header { kid: Some(kid.to_owned()), ..Header::new(algorithm) };
    jsonwebtoken::encode(&header, claims, &signer(algorithm)).unwrap()
}

fn sign(claims: &Value) -> String {
    sign_with(Algorithm::RS256, "rsa", claims)
}

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// A token of hand-written parts, signed with the RSA key as if it were right.
fn raw(header: &str, claims: &str) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let key = signer(Algorithm::RS256);
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::RS256).unwrap();
    format!("{message}.{signature}")
}

#[tokio::test]
async fn good_tokens_of_every_algorithm_are_accepted() {
    let provider = Provider::new(all_keys()).await;
    let jwks = provider.jwks(RETRY_AFTER);
    for (algorithm, kid) in
        [(Algorithm::RS256, "rsa"), (Algorithm::ES256, "ec"), (Algorithm::EdDSA, "ed")]
    {
        let claims = jwks.check(&sign_with(algorithm, kid, &good())).await.unwrap();
        assert_eq!(&*claims.subject, "user");
        assert_eq!(claims.tenants, Tenants::One("t1".into()));
        assert_eq!(claims.scopes.into_iter().collect::<Vec<_>>(), [Scope::KpiRead]);
        assert_eq!(claims.expires_at, Micros((NOW + 600) * 1_000_000));
    }
    let both = [Scope::KpiRead, Scope::AlertsRead];
    for claims in [
        with("scope", json!("alerts:read kpi:read")),
        with("scope", json!(["alerts:read", "kpi:read", "other"])),
        with("scp", json!("alerts:read")),
        with("scp", json!(["alerts:read"])),
    ] {
        let claims = jwks.check(&sign(&claims)).await.unwrap();
        assert_eq!(claims.scopes, both.into_iter().collect());
    }
    for accepted in [
        with("aud", json!(["other", "weir"])),
        all_tenants(json!("all")),
        with("exp", json!(NOW - 29)),
        with("nbf", json!(NOW + 30)),
        without("nbf"),
    ] {
        assert!(jwks.check(&sign(&accepted)).await.is_ok(), "{accepted}");
    }
    let mut typ = Header::new(Algorithm::RS256);
    (typ.typ, typ.kid) = (Some("at+JWT".to_owned()), Some("rsa".to_owned()));
    let token = jsonwebtoken::encode(&typ, &good(), &signer(Algorithm::RS256)).unwrap();
    assert!(jwks.check(&token).await.is_ok());
    assert_eq!(provider.asked.load(Ordering::SeqCst), 1, "keys are fetched once");
}

#[tokio::test]
async fn claims_that_are_not_as_they_must_be_are_refused() {
    let provider = Provider::new(all_keys()).await;
    let jwks = provider.jwks(RETRY_AFTER);
    for claims in [
        without("exp"),
        without("iss"),
        without("aud"),
        without("sub"),
        without("tenant"),
        with("exp", json!(NOW - 30)),
        with("exp", json!(0)),
        with("exp", json!(-1)),
        with("exp", json!(NOW as f64 + 600.5)),
        with("exp", json!((NOW + 600).to_string())),
        with("exp", json!(u64::MAX)),
        with("exp", json!(1e300)),
        with("exp", json!(i64::MAX)),
        with("exp", Value::Null),
        with("exp", json!([NOW + 600])),
        with("exp", json!(true)),
        with("nbf", json!(NOW + 31)),
        with("nbf", json!("now")),
        with("nbf", json!(-5)),
        with("iss", json!("https://idp.example")),
        with("iss", json!("https://idp.example//")),
        with("iss", json!(["https://idp.example/"])),
        with("iss", json!("HTTPS://IDP.EXAMPLE/")),
        with("iss", json!("")),
        with("iss", Value::Null),
        with("aud", json!("Weir")),
        with("aud", json!("weir ")),
        with("aud", json!("")),
        with("aud", json!(["other"])),
        with("aud", json!([])),
        with("aud", json!("weir,other")),
        with("aud", json!({"weir": true})),
        with("aud", json!([["weir"]])),
        with("tenant", json!("")),
        with("tenant", json!(7)),
        with("tenant", json!(["*"])),
        with("tenant", json!("*")),
        with("tenants", json!("all")),
        all_tenants(json!("ALL")),
        all_tenants(json!("*")),
        all_tenants(json!("")),
        all_tenants(json!(["all"])),
        all_tenants(json!(true)),
        all_tenants(Value::Null),
        with("tenant", Value::Null),
        with("sub", json!("")),
        with("sub", json!(1)),
        with("scope", json!(5)),
        with("scope", json!({"kpi:read": true})),
    ] {
        let refused = jwks.check(&sign(&claims)).await;
        assert!(matches!(refused, Err(AuthError::Invalid(_))), "{claims}: {refused:?}");
    }
    let twice = good().to_string().replace(r#""tenant":"t1""#, r#""tenant":"t1","tenant":"*""#);
    assert!(twice.contains(r#""*""#));
    for text in [twice.as_str(), "[]", "5", "null", "\"text\"", "{", ""] {
        let token = raw(r#"{"alg":"RS256","kid":"rsa"}"#, text);
        assert!(matches!(jwks.check(&token).await, Err(AuthError::Invalid(_))), "{text}");
    }
    // The way these are made is right: with good claims it is accepted.
    let token = raw(r#"{"alg":"RS256","kid":"rsa"}"#, &good().to_string());
    assert!(jwks.check(&token).await.is_ok());
}

#[tokio::test]
async fn headers_that_attack_are_refused() {
    let provider = Provider::new(all_keys()).await;
    let jwks = provider.jwks(RETRY_AFTER);
    let claims = good().to_string();
    for header in [
        r#"{"alg":"none","kid":"rsa"}"#,
        r#"{"alg":"None","kid":"rsa"}"#,
        r#"{"alg":"nOnE","kid":"rsa"}"#,
        r#"{"alg":"","kid":"rsa"}"#,
        r#"{"kid":"rsa"}"#,
        r#"{"alg":"HS256","kid":"rsa"}"#,
        r#"{"alg":"RS384","kid":"rsa"}"#,
        r#"{"alg":"RS512","kid":"rsa"}"#,
        r#"{"alg":"PS256","kid":"rsa"}"#,
        r#"{"alg":"ES256","kid":"rsa"}"#,
        r#"{"alg":"EdDSA","kid":"rsa"}"#,
        r#"{"alg":"RS256","kid":"ec"}"#,
        r#"{"alg":"RS256","kid":"ed"}"#,
        r#"{"alg":"RS256","kid":"enc"}"#,
        r#"{"alg":"RS256","kid":"pss"}"#,
        r#"{"alg":"RS256","kid":"short"}"#,
        r#"{"alg":"RS256","kid":"secret"}"#,
        r#"{"alg":"RS256","kid":"../../etc/passwd"}"#,
        r#"{"alg":"RS256","kid":"' OR 1=1 --"}"#,
        r#"{"alg":"RS256","kid":"http://evil.example/"}"#,
        r#"{"alg":"RS256","kid":""}"#,
        r#"{"alg":"RS256","kid":"rsa\u0000"}"#,
        r#"{"alg":"RS256"}"#,
        r#"{"alg":"RS256","kid":1}"#,
        r#"{"alg":"RS256","kid":"rsa","crit":["exp"]}"#,
        r#"{"alg":"RS256","kid":"rsa","crit":[]}"#,
        r#"{"alg":"RS256","kid":"rsa","zip":"DEF"}"#,
        r#"{"alg":"RS256","kid":"rsa","enc":"A128GCM"}"#,
        r#"{"alg":"RS256","kid":"rsa","typ":"id+jwt"}"#,
        r#"{"alg":"RS256","kid":"rsa","typ":"JWE"}"#,
        r#"{"alg":"RS256","alg":"none","kid":"rsa"}"#,
        "not json",
        "",
    ] {
        let refused = jwks.check(&raw(header, &claims)).await;
        assert!(matches!(refused, Err(AuthError::Invalid(_))), "{header}: {refused:?}");
    }
    let asked = provider.asked.load(Ordering::SeqCst);
    assert_eq!(asked, 1, "unknown key ids fetch the keys no more than once a minute");
}

#[tokio::test]
async fn signatures_of_others_are_refused() {
    let provider = Provider::new(all_keys()).await;
    let jwks = provider.jwks(RETRY_AFTER);
    let header = Header { kid: Some("rsa".to_owned()), ..Header::new(Algorithm::RS256) };
    let stranger = EncodingKey::from_rsa_der(include_bytes!("test_keys/rsa_other.der"));
    let own = sign(&good());
    let (message, signature) = own.rsplit_once('.').unwrap();
    let (head, _) = message.split_once('.').unwrap();
    let other = part(&with("tenant", json!("*")));
    // The public key as a secret, in each form that an attacker can know it.
    let modulus = URL_SAFE_NO_PAD.decode(RSA_N).unwrap();
    let confused = |secret: &[u8]| {
        let header = Header { kid: Some("rsa".to_owned()), ..Header::new(Algorithm::HS256) };
        jsonwebtoken::encode(&header, &good(), &EncodingKey::from_secret(secret)).unwrap()
    };
    let symmetric = Header { kid: Some("secret".to_owned()), ..Header::new(Algorithm::HS256) };
    let mut embedded = header.clone();
    embedded.jku = Some("https://evil.example/keys".to_owned());
    embedded.x5u = Some("https://evil.example/cert".to_owned());
    embedded.jwk = serde_json::from_value(rsa("rsa", OTHER_N)).unwrap();
    for token in [
        jsonwebtoken::encode(&header, &good(), &stranger).unwrap(),
        jsonwebtoken::encode(&embedded, &good(), &stranger).unwrap(),
        confused(RSA_N.as_bytes()),
        confused(&modulus),
        jsonwebtoken::encode(&symmetric, &good(), &EncodingKey::from_secret(&[0; 32])).unwrap(),
        format!("{head}.{other}.{signature}"),
        format!("{message}."),
        message.to_owned(),
        format!("{own}."),
        format!("{own}.{signature}"),
        format!("{own}="),
        format!("{own}\0"),
        own.replace('.', ". "),
        format!("{message}.{}", URL_SAFE_NO_PAD.encode([0; 256])),
        format!("{message}.ÄÖ"),
        "..".to_owned(),
        String::new(),
        "a".repeat(1 << 20),
        format!("{own}{}", "A".repeat(8192)),
    ] {
        let refused = jwks.check(&token).await;
        let Err(AuthError::Invalid(reason)) = refused else { panic!("{token}: {refused:?}") };
        assert!(!reason.contains(signature), "a token is never repeated");
    }
    assert!(jwks.check(&own).await.is_ok());
}

#[tokio::test]
async fn keys_are_rotated_and_stay_when_the_provider_fails() {
    let provider = Provider::new(json!([rsa("old", RSA_N)])).await;
    let jwks = provider.jwks(Duration::from_secs(3));
    let token = |kid: &str| sign_with(Algorithm::RS256, kid, &good());
    assert!(jwks.check(&token("old")).await.is_ok());
    provider.show(json!([rsa("new", RSA_N)]));
    for _ in 0..20 {
        assert!(jwks.check(&token("new")).await.is_err(), "too early to fetch again");
    }
    assert_eq!(provider.asked.load(Ordering::SeqCst), 1);
    tokio::time::sleep(Duration::from_millis(3_200)).await;
    let checks = (0..20).map(|_| token("new")).collect::<Vec<_>>();
    let checks = futures::future::join_all(checks.iter().map(|token| jwks.check(token))).await;
    assert!(checks.iter().all(Result::is_ok));
    assert_eq!(provider.asked.load(Ordering::SeqCst), 2, "one fetch serves all that wait");
    assert!(jwks.check(&token("old")).await.is_err(), "a key that is gone is no longer trusted");
    for broken in [None, Some("no json".to_owned()), Some(r#"{"keys":[]}"#.to_owned())] {
        *provider.answer.lock() = broken;
        tokio::time::sleep(Duration::from_millis(3_200)).await;
        let unknown = jwks.check(&token("unknown")).await;
        assert!(matches!(unknown, Err(AuthError::Invalid(_))));
        assert!(jwks.check(&token("new")).await.is_ok(), "keys stay while fetching fails");
    }
    assert_eq!(provider.asked.load(Ordering::SeqCst), 5);
}

#[tokio::test]
async fn old_keys_are_fetched_again_while_they_go_on() {
    let provider = Provider::new(json!([rsa("a", RSA_N)])).await;
    let (refresh_every, retry_after) = (Duration::from_millis(100), Duration::from_millis(50));
    let timing = Timing { refresh_every, retry_after };
    let jwks = Jwks::with_timing(config(&provider.url), Arc::new(Noon), timing).unwrap();
    let token = sign_with(Algorithm::RS256, "a", &good());
    assert!(jwks.check(&token).await.is_ok());
    assert!(jwks.check(&token).await.is_ok());
    assert_eq!(provider.asked.load(Ordering::SeqCst), 1, "young keys are not fetched again");
    provider.show(json!([rsa("b", RSA_N)]));
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert!(jwks.check(&token).await.is_ok(), "nobody waits for the fetch");
    for _ in 0..100 {
        if jwks.check(&token).await.is_err() {
            assert!(jwks.check(&sign_with(Algorithm::RS256, "b", &good())).await.is_ok());
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the keys were never fetched again");
}

#[tokio::test]
async fn without_any_key_nothing_is_accepted_and_that_is_said() {
    let provider = Provider::new(json!([])).await;
    *provider.answer.lock() = None;
    let jwks = provider.jwks(Duration::from_millis(50));
    let refused = jwks.check(&sign(&good())).await;
    assert!(matches!(refused, Err(AuthError::Unavailable(_))), "{refused:?}");
    assert!(matches!(jwks.refresh().await, Err(AuthError::Unavailable(_))));
    provider.show(json!([rsa("rsa", RSA_N)]));
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert_eq!(jwks.refresh().await, Ok(()));
    assert!(jwks.check(&sign(&good())).await.is_ok());
}

#[test]
fn key_sets_are_bounded() {
    let many: Vec<_> = (0..65).map(|number| rsa(&number.to_string(), RSA_N)).collect();
    let set = json!({ "keys": many }).to_string();
    assert!(read(set.as_bytes()).unwrap_err().contains("more than 64"));
    let set = json!({ "keys": all_keys() }).to_string();
    let mut taken: Vec<_> = read(set.as_bytes()).unwrap().into_keys().collect();
    taken.sort();
    assert_eq!(taken, ["ec", "ed", "rsa"]);
}

#[test]
fn settings_that_cannot_protect_are_refused() {
    let refusal = |url: &str| Jwks::new(config(url), Arc::new(Noon)).unwrap_err().to_string();
    assert!(refusal("http://idp.example/keys").contains("must be https"));
    assert!(refusal("http://127.0.0.1.evil.example/keys").contains("must be https"));
    assert!(refusal("http://localhost@evil.example/keys").contains("must be https"));
    assert!(refusal("file:///etc/passwd").contains("use https"));
    assert!(refusal("keys").contains("no address"));
    for good in ["https://idp.example/keys", "http://localhost:1/keys", "http://[::1]:1/keys"] {
        assert!(Jwks::new(config(good), Arc::new(Noon)).is_ok(), "{good}");
    }
    let empty = JwksConfig { audience: " ".to_owned(), ..config("https://idp.example/keys") };
    assert!(matches!(Jwks::new(empty, Arc::new(Noon)), Err(JwksError::Empty("audience"))));
}

#[test]
fn fetching_again_waits_for_its_time() {
    let start = Instant::now();
    let later = |seconds| start + Duration::from_secs(seconds);
    assert!(may_fetch(None, start, RETRY_AFTER));
    assert!(!may_fetch(Some(start), later(59), RETRY_AFTER));
    assert!(may_fetch(Some(start), later(60), RETRY_AFTER));
}
