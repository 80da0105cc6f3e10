//! Two contracts that somebody adds, for tests of views over both.

/// A day in milliseconds, in which instants are sent.
pub(crate) const DAY_MS: i64 = 86_400_000;
/// 2026-01-30, so that months are crossed.
pub(crate) const START_MS: i64 = 20_483 * DAY_MS;

/// What is sold to clients.
pub(crate) const SALES: &str = r#"name = "sales"
format = "rows"
key = ["id"]
tenant = "shop"
columns = [
  { name = "id", type = "bigint" },
  { name = "shop", type = "text" },
  { name = "client", type = "bigint" },
  { name = "amount", type = "decimal(12,2)" },
  { name = "sold_at", type = "timestamp", unit = "ms" },
]
"#;
/// And who they are.
pub(crate) const CLIENTS: &str = r#"name = "clients"
format = "rows"
key = ["id"]
tenant = "shop"
columns = [
  { name = "id", type = "bigint" },
  { name = "shop", type = "text" },
  { name = "country", type = "text" },
]
"#;
