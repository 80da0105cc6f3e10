//! `weir token`: development tokens.

use std::time::Duration;

use api::{MintRequest, Scope, Tenants};
use clap::{Args, Subcommand};
use schemas::chain;
use schemas::contract::ALL_TENANTS;

use crate::config::{Config, parse_duration};
use crate::failure::Failure;
use crate::output;
use crate::serve::dev_keys;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Print a token signed with the lake's development key, which is made when there is none.
    Mint(Mint),
}

#[derive(Debug, Args)]
pub(crate) struct Mint {
    /// Whom it is for: connections are counted per subject.
    #[arg(long, default_value = "dev", value_name = "S", value_parser = name)]
    sub: String,
    /// The tenant whose numbers it may see; `*` is all of them.
    #[arg(long, default_value = "*", value_name = "T", value_parser = name)]
    tenant: String,
    /// What it may do: `kpi:read`, `alerts:read`, `alerts:write`. May be repeated; all of them unless given.
    #[arg(long, value_name = "SCOPE", value_parser = scope)]
    scope: Vec<Scope>,
    /// How long it is valid, from `1s` on.
    #[arg(long, default_value = "1h", value_name = "1h", value_parser = duration)]
    ttl: Duration,
}

/// Tokens say when they end in whole seconds: one that is shorter would have ended already.
const TTL_MIN: Duration = Duration::from_secs(1);

fn duration(text: &str) -> Result<Duration, String> {
    match parse_duration(text) {
        Some(ttl) if ttl >= TTL_MIN => Ok(ttl),
        Some(_) => Err("a token is valid for at least `1s`".to_owned()),
        None => Err(format!("`{text}` is no duration; write it as `1h`")),
    }
}

fn name(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err("it must not be empty; leave the option out for its default".to_owned());
    }
    Ok(text.to_owned())
}

fn scope(text: &str) -> Result<Scope, String> {
    let known = || Scope::ALL.map(Scope::name).join(", ");
    Scope::parse(text).ok_or_else(|| format!("there is no scope `{text}`; there are {}", known()))
}

pub(crate) fn execute(config: &Config, command: &Command) -> Result<(), Failure> {
    let Command::Mint(mint) = command;
    if let Some(url) = config.auth.jwks_url() {
        let issuer = &config.auth.issuer;
        return Err(Failure::Usage(format!(
            "tokens of this configuration come from `{issuer}`, whose keys are at {url}: ask there, or \
             remove [auth] to use development tokens on loopback"
        )));
    }
    let scopes = if mint.scope.is_empty() { Scope::ALL.to_vec() } else { mint.scope.clone() };
    let tenants = match mint.tenant.as_str() {
        ALL_TENANTS => Tenants::All,
        tenant => Tenants::One(tenant.into()),
    };
    let request = MintRequest { subject: mint.sub.clone(), tenants, scopes, ttl: mint.ttl };
    let token = dev_keys(&config.lake.uri)?.mint(&request);
    output::line(&token.map_err(|e| Failure::Stopped(chain(&e)))?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_that_nobody_could_use_are_not_made() {
        assert_eq!(duration("1s"), Ok(Duration::from_secs(1)));
        for (text, expected) in [("0s", "at least"), ("999ms", "at least"), ("soon", "no duration")]
        {
            assert!(duration(text).unwrap_err().contains(expected), "{text}");
        }
        assert_eq!(name("t1"), Ok("t1".to_owned()));
        for text in ["", "  "] {
            assert!(name(text).unwrap_err().contains("empty"));
        }
    }
}
