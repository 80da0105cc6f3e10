//! Who may connect: bounds on connections, and the checks of an upgrade.
//!
//! # Guarantees
//! - A connection gives its places back when it ends, however it ends.

use std::collections::HashMap;
use std::sync::Arc;

use axum::http::{HeaderMap, header};
use parking_lot::Mutex;

use super::limits::StreamLimits;

/// The subprotocol.
pub(crate) const PROTOCOL: &str = "kpi.v1";

/// Places for connections.
#[derive(Debug)]
pub(crate) struct Admission {
    connections: usize,
    unauthenticated: usize,
    per_subject: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    connections: usize,
    unauthenticated: usize,
    subjects: HashMap<Arc<str>, usize>,
}

/// A place, given back when dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    admission: Arc<Admission>,
    subject: Option<Arc<str>>,
}

impl Admission {
    pub(crate) fn new(limits: &StreamLimits) -> Admission {
        Admission {
            connections: limits.connections,
            unauthenticated: limits.unauthenticated,
            per_subject: limits.per_subject,
            taken: Mutex::default(),
        }
    }

    /// Takes a place, of a subject if that is known already.
    pub(crate) fn enter(self: &Arc<Self>, subject: Option<&Arc<str>>) -> Option<Slot> {
        let mut taken = self.taken.lock();
        if taken.connections >= self.connections {
            return None;
        }
        match subject {
            Some(subject) => taken.add(subject, self.per_subject)?,
            None if taken.unauthenticated >= self.unauthenticated => return None,
            None => taken.unauthenticated += 1,
        }
        taken.connections += 1;
        Some(Slot { admission: Arc::clone(self), subject: subject.map(Arc::clone) })
    }

    /// Places taken.
    pub(crate) fn connections(&self) -> usize {
        self.taken.lock().connections
    }
}

impl Taken {
    fn add(&mut self, subject: &Arc<str>, most: usize) -> Option<()> {
        let count = self.subjects.entry(Arc::clone(subject)).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(())
    }
}

impl Slot {
    /// The connection has said who it is; `None` when that subject has too many.
    pub(crate) fn authenticate(&mut self, subject: &Arc<str>) -> Option<()> {
        if self.subject.is_none() {
            let mut taken = self.admission.taken.lock();
            taken.add(subject, self.admission.per_subject)?;
            taken.unauthenticated -= 1;
            drop(taken);
            self.subject = Some(Arc::clone(subject));
        }
        Some(())
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.admission.taken.lock();
        taken.connections -= 1;
        match &self.subject {
            None => taken.unauthenticated -= 1,
            Some(subject) => {
                if let Some(count) = taken.subjects.get_mut(subject) {
                    *count -= 1;
                    if *count == 0 {
                        taken.subjects.remove(subject);
                    }
                }
            }
        }
    }
}

/// Whether the page that asks came from here, or from where it may. Programs send no origin.
pub(crate) fn is_origin_allowed(headers: &HeaderMap, allowed: &[String]) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    if allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin)) {
        return true;
    }
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let own = origin.split_once("://").map(|(_, authority)| authority);
    own.zip(host).is_some_and(|(own, host)| own.eq_ignore_ascii_case(host))
}

/// The token of the header `Authorization`.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = text.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_and_come_back() {
        let limits = StreamLimits {
            connections: 3,
            unauthenticated: 2,
            per_subject: 1,
            ..StreamLimits::default()
        };
        let admission = Arc::new(Admission::new(&limits));
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let mut first = admission.enter(None).unwrap();
        let mut second = admission.enter(None).unwrap();
        assert!(admission.enter(None).is_none(), "two wait to authenticate");
        first.authenticate(&a).unwrap();
        assert!(second.authenticate(&a).is_none(), "one for each subject");
        assert!(admission.enter(Some(&a)).is_none());
        let third = admission.enter(Some(&b)).unwrap();
        assert!(admission.enter(None).is_none(), "three at once");
        drop(first);
        second.authenticate(&a).unwrap();
        drop((second, third));
        assert_eq!(admission.connections(), 0);
        assert!(admission.taken.lock().subjects.is_empty());
        assert_eq!(admission.taken.lock().unauthenticated, 0);
    }

    #[test]
    fn origins_are_compared_with_the_host() {
        let headers = |origin: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, "127.0.0.1:8080".parse().unwrap());
            headers.insert(header::ORIGIN, origin.parse().unwrap());
            headers
        };
        assert!(is_origin_allowed(&HeaderMap::new(), &[]));
        assert!(is_origin_allowed(&headers("http://127.0.0.1:8080"), &[]));
        for foreign in ["http://evil.example", "http://127.0.0.1:8081", "null", "127.0.0.1:8080"] {
            assert!(!is_origin_allowed(&headers(foreign), &[]), "{foreign}");
        }
        assert!(is_origin_allowed(&headers("https://ok.example"), &["https://ok.example".into()]));
    }
}
