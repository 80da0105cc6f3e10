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
