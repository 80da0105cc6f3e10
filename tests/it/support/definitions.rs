//! Definitions of the tests' own: a contract and KPIs that do not come with Weir.

/// The contract `refunds`, with this type of the amount and these columns at its end.
pub(crate) fn refunds(amount: &str, more: &str) -> String {
    format!(
        "name = \"refunds\"\nformat = \"debezium-json\"\nkey = [\"refund_id\"]\n\
         tenant = \"tenant_id\"\ncolumns = [\n\
         {{ name = \"refund_id\", type = \"text\", required = true }},\n\
         {{ name = \"tenant_id\", type = \"text\" }},\n\
         {{ name = \"amount\", type = \"{amount}\", required = true }},\n{more}]\n"
    )
}

/// A KPI that counts rows of a contract by the time in a column. `more`: further lines.
pub(crate) fn count_of(key: &str, contract: &str, time: &str, more: &str) -> String {
    format!(
        "key = \"{key}\"\ntitle = \"Rows of {contract}\"\nunit = \"count\"\ngood = \"up\"\n\
         contract = \"{contract}\"\ntime = \"{time}\"\naggregate = \"count(*)\"\n{more}"
    )
}

/// The costs once more, under a key of the user's, by days.
pub(crate) const CLOUD_SPEND: &str = r#"
key = "cloud_spend"
title = "Cloud spend"
unit = "currency"
good = "down"
contract = "costs"
time = "charge_period_start"
aggregate = "sum(effective_cost)"
dims = { currency = "billing_currency" }
grains = ["day"]

[anomaly]
detectors = ["change_week_before"]
"#;
