//! Why a broker gives no answer, from librdkafka's words.
//!
//! # Guarantees
//! - Each cause says what is wrong and what to do, and holds no value of the configuration.
//!
//! # Non-guarantees
//! - Words that are not known have no cause; they are shown as they are.
//! - An untrusted authority and a wrong host name read the same: only a [`super::probe`] tells them apart.

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Nobody listens at the port, or nobody lets us through to it.
    Closed,
    /// The name of the host has no address.
    Unresolved,
    /// We speak TLS, the listener does not.
    Plaintext,
    /// The listener speaks TLS, we do not.
    Encrypted,
    /// The listener asks for a login, we give none.
    Anonymous,
    /// The authority that signed the broker's certificate is not trusted, or the certificate is for
    /// another host, or expired.
    Certificate,
    /// The authority that signed the broker's certificate is not trusted.
    Authority,
    /// The broker's certificate is for another host.
    HostName,
    /// The broker wants a certificate of ours, or another one.
    ClientCertificate,
    /// The broker does not know this user and password.
    Password,
    /// The broker does not offer the way to log in, or offers none.
    Mechanism,
    /// The broker refused the token, or there is none.
    Token,
}

/// A connection that was up for less than this, in milliseconds, was closed for what we asked.
const EARLY: u64 = 2_000;

/// Whether a connection was closed soon after it was up: `(after 2ms in state UP)`.
fn is_early(text: &str) -> bool {
    let span = text.rsplit_once("(after ").and_then(|(_, rest)| rest.split_once("ms in state UP"));
    span.and_then(|(span, _)| span.parse::<u64>().ok()).is_some_and(|span| span < EARLY)
}

impl Cause {
    /// The cause that librdkafka's words tell.
    pub fn of(text: &str) -> Option<Cause> {
        let has = |part: &str| text.contains(part);
        let in_handshake = has("SSL handshake failed") || has("state SSL_HANDSHAKE");
        Some(match text {
            _ if has("OAUTHBEARER") || has("invalid_token") => Cause::Token,
            _ if has("mechanism handshake failed") => Cause::Mechanism,
            _ if has("SASL authentication error") => Cause::Password,
            _ if has("certificate verify failed") || has("verify broker certificate") => {
                Cause::Certificate
            }
            _ if has("alert bad certificate")
                || has("alert certificate")
                || has("certificate required")
                || has("alert unknown ca")
                || has("unexpected message") =>
            {
                Cause::ClientCertificate
            }
            _ if in_handshake => Cause::Plaintext,
            _ if has("Disconnected") && has("state APIVERSION_QUERY") && !has("ssl://") => {
                Cause::Encrypted
            }
            _ if has("Disconnected") && !has("sasl_") && is_early(text) => Cause::Anonymous,
            _ if has("Failed to resolve") => Cause::Unresolved,
            _ if has("Connect to ") || has("Connection setup timed out") => Cause::Closed,
            _ => return None,
        })
    }

    /// The broker, or a look at its certificate, said no: trying again is of no use. Other causes are
    /// also seen while a broker starts or stops.
    pub fn is_refusal(self) -> bool {
        !matches!(
            self,
            Cause::Closed
                | Cause::Unresolved
                | Cause::Plaintext
                | Cause::Encrypted
                | Cause::Anonymous
        )
    }

    /// What is wrong.
    pub fn what(self) -> &'static str {
        match self {
            Cause::Closed => "nobody listens there",
            Cause::Unresolved => "the host name has no address",
            Cause::Plaintext => "the listener does not speak TLS",
            Cause::Encrypted => "the listener speaks TLS only",
            Cause::Anonymous => "the listener asks for a login (SASL)",
            Cause::Certificate => "the broker's certificate is not accepted",
            Cause::Authority => {
                "the broker's certificate is signed by an authority that is not trusted, or expired"
            }
            Cause::HostName => "the broker's certificate is for another host name",
            Cause::ClientCertificate => "the broker does not accept our certificate, or wants one",
            Cause::Password => "the broker refused the user name or the password",
            Cause::Mechanism => "the broker does not offer this way to log in",
            Cause::Token => "the broker refused the token, or none could be had",
        }
    }

    /// What to do about it.
    pub fn advice(self) -> &'static str {
        match self {
            Cause::Closed => {
                "check that the broker runs, that `brokers` has its host and port, and that no \
                 firewall is between"
            }
            Cause::Unresolved => "correct the host in `brokers`, or its entry in DNS",
            Cause::Plaintext => {
                "use the port of the listener with TLS, or set `security.protocol` to `PLAINTEXT` or \
                 `SASL_PLAINTEXT`"
            }
            Cause::Encrypted => {
                "set `security.protocol` to `SSL` or `SASL_SSL`, or use the port of another listener"
            }
            Cause::Anonymous => {
                "set `security.protocol` to `SASL_SSL` (or `SASL_PLAINTEXT`), `sasl.mechanism` and \
                 who logs in"
            }
            Cause::Certificate => {
                "name the file of its authority in `ssl.ca.location`, and the host in `brokers` as \
                 the certificate does; `weir check` tells which of them it is"
            }
            Cause::Authority => {
                "name the file of the authority that signed it in `ssl.ca.location` (without it, the \
                 system's are trusted), or renew the certificate"
            }
            Cause::HostName => {
                "write the host in `brokers` as the certificate names it, or have the broker's \
                 certificate made for this name; brokers are reached under their advertised names"
            }
            Cause::ClientCertificate => {
                "set `ssl.certificate.location` and `ssl.key.location` to a certificate that the \
                 broker's authority signed; its log says more"
            }
            Cause::Password => {
                "correct `sasl.username` and the password; for SCRAM the user needs credentials of \
                 this mechanism"
            }
            Cause::Mechanism => {
                "set `sasl.mechanism` to one that the broker offers, or `security.protocol` to one \
                 without SASL"
            }
            Cause::Token => {
                "check `sasl.oauthbearer.method` and the properties of the token's issuer"
            }
        }
    }

    /// What is wrong, librdkafka's words, and what to do.
    pub(super) fn explain(self, text: &str) -> String {
        format!("{} ({text}); {}", self.what(), self.advice())
    }
}

/// What librdkafka said of connections: the words that tell most are kept.
#[derive(Debug, Clone, Default)]
pub(super) struct Heard {
    best: Option<(Option<Cause>, String)>,
}

impl Heard {
    /// Takes in a complaint.
    pub(super) fn hear(&mut self, text: &str) {
        let cause = Cause::of(text);
        // How long that took, and in which state, helps only to find the cause.
        let text = text.rsplit_once(" (after ").map_or(text, |(said, _)| said).to_owned();
        let rank = |cause: Option<Cause>| cause.map_or(0, |c| 1 + u8::from(c.is_refusal()));
        if self.best.as_ref().is_none_or(|(known, _)| rank(cause) >= rank(*known)) {
            self.best = Some((cause, text));
        }
    }

    /// The cause, where it is known.
    pub(super) fn cause(&self) -> Option<Cause> {
        self.best.as_ref().and_then(|(cause, _)| *cause)
    }

    /// What was said, in librdkafka's words.
    pub(super) fn text(&self) -> Option<&str> {
        self.best.as_ref().map(|(_, text)| text.as_str())
    }

    /// What is wrong and what to do, as far as that is known; `otherwise` where nothing was said.
    pub(super) fn explain(&self, otherwise: &str) -> String {
        match &self.best {
            Some((Some(cause), text)) => cause.explain(text),
            Some((None, text)) => format!("{text}; check that the broker runs"),
            None => format!("{otherwise}; check that the broker runs and can be reached"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As librdkafka 2.12.1 and Kafka 4.3.1 said it.
    const SAID: [(&str, Cause); 16] = [
        (
            "sasl_ssl://127.0.0.1:19192/bootstrap: SASL authentication error: Authentication failed: Invalid username or password (after 315ms in state AUTH_REQ)",
            Cause::Password,
        ),
        (
            "SASL authentication error: Authentication failed during authentication due to invalid credentials with SASL mechanism SCRAM-SHA-256 (after 383ms in state AUTH_REQ)",
            Cause::Password,
        ),
        (
            "SASL authentication error: {\"status\":\"invalid_token\"} (after 302ms in state AUTH_REQ)",
            Cause::Token,
        ),
        (
            "SSL handshake failed: error:0A000086:SSL routines::certificate verify failed: broker certificate could not be verified, verify that ssl.ca.location is correctly configured (after 57ms in state SSL_HANDSHAKE)",
            Cause::Certificate,
        ),
        (
            "error:0A000086:SSL routines::certificate verify failed (after 38ms in state SSL_HANDSHAKE)",
            Cause::Certificate,
        ),
        (
            "SSL handshake failed: error:0A000126:SSL routines::unexpected eof while reading (after 19ms in state SSL_HANDSHAKE)",
            Cause::Plaintext,
        ),
        ("Disconnected (after 11ms in state SSL_HANDSHAKE)", Cause::Plaintext),
        (
            "127.0.0.1:19192/bootstrap: Disconnected: connection closed by peer (after 4ms in state APIVERSION_QUERY)",
            Cause::Encrypted,
        ),
        (
            "ssl://127.0.0.1:19192/bootstrap: Disconnected: connection closed by peer (after 2ms in state UP, 1 identical error(s) suppressed)",
            Cause::Anonymous,
        ),
        (
            "SASL PLAIN mechanism handshake failed: Broker: Request not valid in current SASL state: broker's supported mechanisms:  (after 3ms in state AUTH_HANDSHAKE)",
            Cause::Mechanism,
        ),
        (
            "Receive failed: error:0A000412:SSL routines::sslv3 alert bad certificate: SSL alert number 42 (after 0ms in state APIVERSION_QUERY)",
            Cause::ClientCertificate,
        ),
        (
            "Receive failed: error:0A000416:SSL routines::sslv3 alert certificate unknown: SSL alert number 46 (after 19ms in state APIVERSION_QUERY)",
            Cause::ClientCertificate,
        ),
        (
            "Connect to ipv4#127.0.0.1:19199 failed: Connection refused (after 0ms in state CONNECT)",
            Cause::Closed,
        ),
        ("Connection setup timed out in state CONNECT (after 30000ms)", Cause::Closed),
        (
            "Failed to resolve 'nosuch.invalid:1': Name or service not known (after 2ms in state CONNECT)",
            Cause::Unresolved,
        ),
        (
            "Failed to acquire SASL OAUTHBEARER token: Failed to retrieve token from the issuer",
            Cause::Token,
        ),
    ];

    #[test]
    fn each_of_librdkafkas_complaints_has_its_cause() {
        for (text, cause) in SAID {
            assert_eq!(Cause::of(text), Some(cause), "{text}");
        }
        for text in [
            "1/1 brokers are down",
            "Disconnected (after 60000ms in state UP)",
            "sasl_ssl://b:1: Disconnected (after 5ms in state UP)",
            "ssl://b:1: Disconnected (after 5ms in state APIVERSION_QUERY)",
        ] {
            assert_eq!(Cause::of(text), None, "{text}");
        }
    }

    #[test]
    fn a_refusal_is_kept_over_what_follows_from_it() {
        let said = |texts: &[&str]| {
            let mut heard = Heard::default();
            texts.iter().for_each(|text| heard.hear(text));
            heard
        };
        let refused = "SASL authentication error: Invalid username or password";
        let again =
            format!("{refused} (after 5ms in state AUTH_REQ, 1 identical error(s) suppressed)");
        let closed = "Connect to ipv6#[::1]:1 failed: Connection refused";
        let heard = said(&[closed, &again, closed, "1/1 brokers are down"]);
        assert_eq!((heard.cause(), heard.text()), (Some(Cause::Password), Some(refused)));
        let words = heard.explain("x");
        assert!(words.contains(refused) && words.contains("`sasl.username`"), "{words}");
        assert_eq!(said(&["1/1 brokers are down", closed]).cause(), Some(Cause::Closed));
        assert!(said(&[]).explain("no answer").starts_with("no answer; check"));
    }
}
