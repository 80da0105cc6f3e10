-- Customers of twelve months before the end of each period: what they brought in a month then, what they do now, and
-- of that what is no more than then. Twelve months are those of UTC's calendar.
SELECT r.tenant_id, p.period_start AS period, r.currency,
       SUM(r.before) AS mrr_before, SUM(r.before * 12) AS arr_before, SUM(r.mrr) AS mrr, SUM(r.kept) AS mrr_kept,
       COUNT(*) FILTER (WHERE r.is_before) AS customers_before,
       COUNT(*) FILTER (WHERE NOT r.is_before) AS customers_kept,
       SUM(CASE WHEN r.is_before THEN 1 ELSE -1 END) AS customers_lost
FROM (
  SELECT tenant_id, currency, mrr AS before, 0 AS mrr, 0 AS kept, TRUE AS is_before,
         started_at + INTERVAL '12 months' AS started_at, ended_at + INTERVAL '12 months' AS ended_at
  FROM customer_mrr
  WHERE mrr > 0
  UNION ALL
  SELECT tenant_id, currency, 0, mrr, CASE WHEN mrr < before THEN mrr ELSE before END, FALSE,
         CASE WHEN started_at > before_from THEN started_at ELSE before_from END,
         CASE WHEN before_to IS NULL OR ended_at < before_to THEN ended_at ELSE before_to END
  FROM (
    SELECT n.tenant_id, n.currency, n.mrr, n.started_at, n.ended_at, b.mrr AS before,
           b.started_at + INTERVAL '12 months' AS before_from, b.ended_at + INTERVAL '12 months' AS before_to
    FROM customer_mrr n
    JOIN customer_mrr b
      ON b.tenant_id = n.tenant_id AND b.customer_id = n.customer_id AND b.currency = n.currency
    WHERE n.mrr > 0 AND b.mrr > 0
  ) both
  WHERE (before_to IS NULL OR started_at < before_to) AND (ended_at IS NULL OR before_from < ended_at)
) r
JOIN periods p ON r.started_at < p.period_end AND (r.ended_at IS NULL OR r.ended_at >= p.period_end)
GROUP BY 1, 2, 3
