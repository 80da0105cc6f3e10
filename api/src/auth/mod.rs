//! Tokens: development keys on the loopback interface, an identity provider's keys elsewhere.
//!
//! # Guarantees
//! - Which algorithm a signature is checked with is decided by the key, never by the token.
//! - A development key never guards an address that others can reach: [`may_listen`].

mod dev;
mod jwks;
mod token;

use std::net::SocketAddr;

pub use dev::{DevKeyError, DevKeys, MintRequest};
pub use jwks::{Jwks, JwksConfig, JwksError};

/// A development key must not guard this address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0} can be reached from other machines, and a development key must not guard it: set [auth] \
     jwks_url, issuer and audience, or listen on 127.0.0.1"
)]
pub struct ListenRefused(pub SocketAddr);

/// Whether the server may listen on an address.
///
/// # Errors
/// When others can reach it and tokens are checked with a development key.
pub fn may_listen(addr: SocketAddr, has_dev_key: bool) -> Result<(), ListenRefused> {
    if has_dev_key && !addr.ip().to_canonical().is_loopback() {
        return Err(ListenRefused(addr));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_development_key_guards_the_loopback_interface_only() {
        for local in ["127.0.0.1:80", "127.9.9.9:1", "[::1]:80", "[::ffff:127.0.0.1]:80"] {
            assert_eq!(may_listen(local.parse().unwrap(), true), Ok(()), "{local}");
        }
        for open in ["0.0.0.0:80", "[::]:80", "10.0.0.1:80", "[::ffff:10.0.0.1]:80"] {
            let open: SocketAddr = open.parse().unwrap();
            let refused = may_listen(open, true).unwrap_err().to_string();
            assert!(refused.contains("jwks_url"), "{refused}");
            assert_eq!(may_listen(open, false), Ok(()));
        }
    }
}
