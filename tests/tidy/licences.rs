//! What the crates we build on allow, and which we do not want at all.

use crate::crates::dependencies;
use crate::repository::{packages, text};

/// Licences that ask for no more than their text.
const ALLOWED: [&str; 14] = [
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
    "bzip2-1.0.6",
    "Apache-2.0 WITH LLVM-exception",
];

/// Crates under another licence, which was read: MPL-2.0 binds changes of that crate's own files, and the CDLA asks for
/// its text beside the data.
const READ: [(&str, &str); 2] =
    [("option-ext", "MPL-2.0"), ("webpki-roots", "CDLA-Permissive-2.0")];

/// Crates that must not come in by the back door: TLS is rustls, but for librdkafka's own.
const BANNED: [&str; 3] = ["native-tls", "openssl", "openssl-src"];

/// What may use the system's OpenSSL. SQLite names it for encrypted files, which are not built.
const OPENSSL: [&str; 3] = ["curl-sys", "libsqlite3-sys", "rdkafka-sys"];

#[test]
fn every_crate_has_a_licence_that_we_accept() {
    for package in packages() {
        let name = text(package, "name");
        let licence = package["license"].as_str();
        let licence = licence.unwrap_or_else(|| panic!("`{name}` names no licence"));
        if READ.contains(&(name, licence)) {
            continue;
        }
        assert!(is_allowed(licence), "`{name}` is under `{licence}`");
    }
}

#[test]
fn no_banned_crate_is_compiled() {
    for package in packages() {
        let name = text(package, "name");
        assert!(!BANNED.contains(&name), "`{name}` is banned");
    }
}

#[test]
fn only_librdkafka_uses_the_systems_openssl() {
    let users = packages().iter().filter(|p| dependencies(p).any(|on| on == "openssl-sys"));
    let users: Vec<&str> = users.map(|package| text(package, "name")).collect();
    assert_eq!(users, OPENSSL);
}

#[test]
fn licence_expressions_are_understood() {
    for (expression, expected) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("GPL-3.0 OR MIT", true),
        ("GPL-3.0 AND MIT", false),
        ("MIT/Apache-2.0", true),
        ("(GPL-3.0 OR MIT) AND ISC", true),
        ("GPL-3.0 OR MIT AND GPL-2.0", false),
        ("Apache-2.0 WITH LLVM-exception", true),
        ("MIT AND", false),
    ] {
        assert_eq!(is_allowed(expression), expected, "{expression}");
    }
}

/// Whether an SPDX expression can be satisfied with allowed licences. AND binds stronger than OR.
fn is_allowed(expression: &str) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    let allowed = any(&words, &mut at);
    allowed && at == words.len()
}

fn any(words: &[&str], at: &mut usize) -> bool {
    let mut allowed = all(words, at);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        allowed |= all(words, at);
    }
    allowed
}

fn all(words: &[&str], at: &mut usize) -> bool {
    let mut allowed = one(words, at);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        allowed &= one(words, at);
    }
    allowed
}

fn one(words: &[&str], at: &mut usize) -> bool {
    let Some(word) = words.get(*at) else { return false };
    *at += 1;
    if *word == "(" {
        let allowed = any(words, at);
        let closed = words.get(*at) == Some(&")");
        *at += 1;
        return allowed && closed;
    }
    if words.get(*at) == Some(&"WITH") {
        let exception = words.get(*at + 1).copied().unwrap_or_default();
        *at += 2;
        return ALLOWED.contains(&format!("{word} WITH {exception}").as_str());
    }
    ALLOWED.contains(word)
}
