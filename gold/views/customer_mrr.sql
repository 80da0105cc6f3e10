-- What a customer brought in a month, from one change of it to the next; the last one has no end.
SELECT tenant_id, customer_id, currency, mrr, at AS started_at,
       LAG(at, 1) OVER (PARTITION BY tenant_id, customer_id, currency ORDER BY at DESC) AS ended_at
FROM mrr_steps
