-- Checks of services by their time.
SELECT tenant_id, period(checked_at) AS period, service,
       COUNT(*) FILTER (WHERE up) AS up, COUNT(*) AS checks
FROM uptime
GROUP BY 1, 2, 3
