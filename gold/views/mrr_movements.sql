-- Movements of the monthly recurring revenue: a customer's first, more, less, none, and some again. The first four
-- and the last, losses taken away, add up to the change.
SELECT tenant_id, period(at) AS period, currency,
       SUM(step) FILTER (WHERE number = 1) AS new,
       SUM(step) FILTER (WHERE step > 0 AND mrr > step) AS expansion,
       SUM(-step) FILTER (WHERE step < 0 AND mrr > 0) AS contraction,
       SUM(-step) FILTER (WHERE step < 0 AND mrr <= 0) AS churn,
       SUM(step) FILTER (WHERE step > 0 AND mrr <= step AND number > 1) AS reactivation,
       SUM(step) AS change,
       COUNT(*) FILTER (WHERE number = 1) AS customers_won,
       COUNT(*) FILTER (WHERE step < 0 AND mrr <= 0) AS customers_lost
FROM mrr_steps
GROUP BY 1, 2, 3
