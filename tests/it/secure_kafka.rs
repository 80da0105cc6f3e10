//! Kafka that asks who we are: TLS, certificates of clients, logins; and what is said when it refuses.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use harness::Log;

use crate::live;
use crate::support::http::try_request;
use crate::support::services::{self, script};
use crate::support::stream::{options, produce_at, read_topics_at, records};
use crate::support::{Done, Place, assert_clean};

/// The listeners of `secure-kafka.sh`.
const SASL: &str = "127.0.0.1:19192";
const MUTUAL: &str = "127.0.0.1:19193";
const PLAIN: &str = "127.0.0.1:19194";

/// The password, which nothing may show or keep.
const PASSWORD: &str = "let-weir-in";
const KEY_PASSWORD: &str = "open-the-key";

const SOON: Duration = Duration::from_secs(30);

type Properties<'a> = &'a [(&'a str, &'a str)];

/// A broker with TLS, and the folder of its certificates.
struct Secure {
    _held: services::Held,
    certificates: PathBuf,
}

impl Secure {
    fn start() -> Secure {
        let held = services::secure_kafka();
        let folder = script("secure-kafka.sh", &["certificates"]);
        Secure { _held: held, certificates: PathBuf::from(folder.trim()) }
    }

    fn file(&self, name: &str) -> String {
        self.certificates.join(name).display().to_string()
    }
}

/// A topic of orders with 1,000 records, and what the broker holds of it.
fn filled(name: &str) -> (String, Log) {
    let topic = format!("it-secure-{name}-{}.orders", std::process::id());
    script("secure-kafka.sh", &["topic", &topic, "2"]);
    let records = records(&options(31, 2_000));
    let orders: Vec<_> = records.into_iter().filter(|r| r.topic.ends_with("orders")).collect();
    produce_at(PLAIN, &orders, |_| topic.clone());
    let log = read_topics_at(PLAIN, &[&topic]);
    (topic, log)
}

fn configure(place: &Place, brokers: &str, topic: &str, properties: Properties<'_>) {
    place.configure_kafka("", brokers, &[(topic, "orders")]);
    let path = place.path("weir.toml");
    let mut text = std::fs::read_to_string(&path).unwrap();
    text.push_str("[sources.librdkafka]\n");
    for (property, value) in properties {
        text.push_str(&format!("\"{property}\" = \"{value}\"\n"));
    }
    std::fs::write(&path, text).unwrap();
}

/// Neither says nor keeps the secrets.
fn keeps_quiet(place: &Place, done: &[&Done]) {
    let shown: String = done.iter().map(|d| format!("{}{}", d.stdout, d.stderr)).collect();
    for secret in [PASSWORD, KEY_PASSWORD] {
        assert!(!shown.contains(secret), "{secret} is shown:\n{shown}");
        if place.lake().exists() {
            let kept = holds(place.lake(), secret.as_bytes());
            assert!(kept.is_empty(), "{secret} is in {kept:?}");
        }
    }
}

/// The files below a folder that hold these bytes.
fn holds(folder: &Path, bytes: &[u8]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(holds(&path, bytes));
        } else if std::fs::read(&path).unwrap().windows(bytes.len()).any(|w| w == bytes) {
            found.push(path);
        }
    }
    found
}

/// Reads the topic to its end; silver and bronze are what the broker holds.
fn reads(place: &Place, topic: &str, expected: &Log) {
    let check = place.succeeds(&["check"]);
    assert!(check.stdout.contains("2 partitions, contract orders"), "{}", check.stdout);
    let run = place.succeeds(&["run", "--until-end"]);
    let topics = [(topic.to_owned(), "orders".to_owned())].into();
    let options = harness::Options { topics, bronze_only: false };
    let report = assert_clean(place.lake(), Some(expected), &options);
    assert!(report.bronze.records > 500, "{report}");
    let show = place.succeeds(&["config", "show"]);
    keeps_quiet(place, &[&check, &run, &show]);
}

#[test]
fn passwords_let_weir_in_from_files_and_the_environment() {
    let secure = Secure::start();
    let (topic, expected) = filled("login");
    let (authority, password) = (secure.file("ca.pem"), secure.file("password"));
    let login = |mechanism, place: (&'static str, &str)| {
        [
            ("security.protocol", "SASL_SSL".to_owned()),
            ("ssl.ca.location", authority.clone()),
            ("sasl.mechanism", String::from(mechanism)),
            ("sasl.username", "weir".to_owned()),
            (place.0, place.1.to_owned()),
        ]
    };
    let from_file = ("sasl.password_file", password.as_str());
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let place = Place::new();
        configure(&place, SASL, &topic, &borrowed(&login(mechanism, from_file)));
        reads(&place, &topic, &expected);
    }
    // The environment wins over the file, and over what stands in weir.toml.
    let variable = "WEIR__SOURCES__KAFKA__LIBRDKAFKA__SASL_PASSWORD";
    let place = Place::new().with_variable(variable, PASSWORD);
    for wrong in [("sasl.password_file", "/nonexistent"), ("sasl.password", "nobody-knows")] {
        configure(&place, SASL, &topic, &borrowed(&login("SCRAM-SHA-512", wrong)));
        reads(&place, &topic, &expected);
    }
    // In plain it works, with a warning that says what to do.
    let place = Place::new();
    configure(&place, SASL, &topic, &borrowed(&login("PLAIN", ("sasl.password", PASSWORD))));
    let check = place.succeeds(&["check"]);
    for part in ["`sasl.password` of source `kafka` stands in", "sasl.password_file", variable] {
        assert!(check.stdout.contains(part), "{part}:\n{}", check.stdout);
    }
    reads(&place, &topic, &expected);
}

fn borrowed<'a>(owned: &'a [(&'static str, String)]) -> Vec<(&'static str, &'a str)> {
    owned.iter().map(|(property, value)| (*property, value.as_str())).collect()
}

#[test]
fn a_certificate_with_a_locked_key_lets_weir_in() {
    let secure = Secure::start();
    let (topic, expected) = filled("mutual");
    let [authority, certificate, key, password] =
        ["ca.pem", "client.pem", "client-locked.key", "key-password"].map(|f| secure.file(f));
    let mut properties = vec![
        ("security.protocol", "SSL"),
        ("ssl.ca.location", &authority),
        ("ssl.certificate.location", &certificate),
        ("ssl.key.location", &key),
        ("ssl.key.password_file", &password),
    ];
    let place = Place::new();
    configure(&place, MUTUAL, &topic, &properties);
    reads(&place, &topic, &expected);
    // The password of the user is not that of the key.
    let other = secure.file("password");
    properties[4].1 = &other;
    configure(&place, MUTUAL, &topic, &properties);
    let check = place.weir(&["check"]).exits(2);
    assert!(check.stdout.contains("`ssl.key.password_file`"), "{}", check.stdout);
    keeps_quiet(&place, &[&check]);
}

/// A token that nobody signed: the broker of these tests believes it.
fn token(subject: &str) -> String {
    #[allow(clippy::disallowed_methods, reason = "the broker compares with its own clock")]
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let now = now.as_secs();
    let claims = format!(r#"{{"sub":"{subject}","iat":{now},"exp":{}}}"#, now + 600);
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    format!("{}.{}.", part(r#"{"alg":"none"}"#), part(&claims))
}

/// An issuer of tokens for a client whose secret is [`PASSWORD`]. Returns its port.
fn issuer() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    // `weir-client` and the password, as HTTP's basic authentication has them.
    let wanted =
        base64::engine::general_purpose::STANDARD.encode(format!("weir-client:{PASSWORD}"));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut asked = Vec::new();
            let mut buffer = [0; 4096];
            while !String::from_utf8_lossy(&asked).contains("grant_type=client_credentials") {
                let read = stream.read(&mut buffer).unwrap();
                assert!(read > 0, "{}", String::from_utf8_lossy(&asked));
                asked.extend_from_slice(&buffer[..read]);
            }
            let known = String::from_utf8_lossy(&asked).contains(&wanted);
            let (status, body) = match known {
                true => ("200 OK", format!(r#"{{"access_token":"{}"}}"#, token("weir"))),
                false => ("401 Unauthorized", r#"{"error":"invalid_client"}"#.to_owned()),
            };
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
                 Connection: close\r\n\r\n{body}"
            );
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    port
}

#[test]
fn tokens_let_weir_in() {
    let secure = Secure::start();
    let (topic, expected) = filled("tokens");
    let [authority, password, other] =
        ["ca.pem", "password", "key-password"].map(|f| secure.file(f));
    let common = [
        ("security.protocol", "SASL_SSL"),
        ("ssl.ca.location", authority.as_str()),
        ("sasl.mechanism", "OAUTHBEARER"),
    ];
    let unsigned = [
        ("enable.sasl.oauthbearer.unsecure.jwt", "true"),
        ("sasl.oauthbearer.config", "principal=weir"),
    ];
    let place = Place::new();
    configure(&place, SASL, &topic, &[&common[..], &unsigned].concat());
    reads(&place, &topic, &expected);

    let endpoint = format!("http://127.0.0.1:{}/token", issuer());
    let mut issued = [
        ("sasl.oauthbearer.method", "oidc"),
        ("sasl.oauthbearer.token.endpoint.url", endpoint.as_str()),
        ("sasl.oauthbearer.client.id", "weir-client"),
        ("sasl.oauthbearer.client.secret_file", password.as_str()),
    ];
    let place = Place::new();
    configure(&place, SASL, &topic, &[&common[..], &issued].concat());
    reads(&place, &topic, &expected);
    issued[3].1 = &other;
    configure(&place, SASL, &topic, &[&common[..], &issued].concat());
    let check = place.weir(&["check"]).exits(3);
    assert!(check.stdout.contains("the token"), "{}", check.stdout);
    keeps_quiet(&place, &[&check]);
}

/// Each refusal in its own words, and what to do, by `check` and by a run.
#[test]
fn each_refusal_is_told_from_the_others() {
    let secure = Secure::start();
    let [authority, stranger] = ["ca.pem", "stranger.pem"].map(|f| secure.file(f));
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let (authority, stranger) = (authority.as_str(), stranger.as_str());
    let tls = vec![("security.protocol", "SSL"), ("ssl.ca.location", authority)];
    let login = |authority, mechanism| {
        vec![
            ("security.protocol", "SASL_SSL"),
            ("ssl.ca.location", authority),
            ("sasl.mechanism", mechanism),
            ("sasl.username", "weir"),
            ("sasl.password", "hunter2"),
        ]
    };
    let plain = login(authority, "PLAIN");
    let scram = login(authority, "SCRAM-SHA-256");
    let v4 = [("broker.address.family", "v4")];
    for (brokers, properties, word, text, advice) in [
        (SASL, plain.clone(), "REFUSED", "the password", "sasl.username"),
        (SASL, scram, "REFUSED", "the password", "sasl.username"),
        (SASL, login(stranger, "PLAIN"), "REFUSED", "not trusted", "ssl.ca.location"),
        (
            "localhost:19192",
            [&plain[..], &v4].concat(),
            "REFUSED",
            "another host name",
            "as the certificate names it",
        ),
        (MUTUAL, tls.clone(), "REFUSED", "our certificate", "ssl.certificate.location"),
        (&nobody, plain.clone(), "DOWN", "nobody listens", "the broker runs"),
        (PLAIN, plain.clone(), "DOWN", "does not speak TLS", "`SASL_PLAINTEXT`"),
        (SASL, vec![("client.id", "x")], "DOWN", "speaks TLS only", "`SASL_SSL`"),
        (SASL, tls, "DOWN", "asks for a login", "`sasl.mechanism`"),
    ] {
        let place = Place::new();
        configure(&place, brokers, "t", &properties);
        let check = place.weir(&["check"]).exits(3);
        let line = check.stdout.lines().skip_while(|line| !line.contains("broker ")).take(2);
        let said = line.collect::<Vec<_>>().join("\n");
        assert!(said.starts_with(word), "{word}: {}", check.stdout);
        for part in [text, advice] {
            assert!(said.contains(part), "`{part}`: {}", check.stdout);
        }
        let run = place.weir(&["run", "--until-end"]).exits(3);
        // A run does not look at the host name apart from the authority.
        let text =
            if said.contains("certificate is") { "certificate is not accepted" } else { text };
        assert!(run.stderr.contains(text), "`{text}`: {}", run.stderr);
        for done in [&check, &run] {
            let shown = format!("{}{}", done.stdout, done.stderr);
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }
}

#[test]
fn a_run_that_is_refused_says_why_and_goes_on_waiting() {
    let secure = Secure::start();
    let authority = secure.file("ca.pem");
    let place = Place::new();
    let properties = [
        ("security.protocol", "SASL_SSL"),
        ("ssl.ca.location", authority.as_str()),
        ("sasl.mechanism", "SCRAM-SHA-512"),
        ("sasl.username", "weir"),
        ("sasl.password", "hunter2"),
    ];
    configure(&place, SASL, "t", &properties);
    let mut run = place.start(&["run"]);
    let refused = "the broker refused the user name or the password";
    run.wait_for(refused, SOON);
    let port = live::port(&mut run);
    run.wait_while_running("the probe says why", SOON, |_| {
        try_request("GET", port, "/readyz", None)
            .is_ok_and(|a| a.status == 503 && a.body.contains(refused))
    });
    std::thread::sleep(Duration::from_secs(3));
    let done = run.stops();
    assert!(done.stderr.lines().count() < 40, "it says so too often:\n{}", done.stderr);
    assert!(!done.stderr.contains("hunter2"), "{}", done.stderr);
}
