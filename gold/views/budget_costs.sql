-- Cost beside budgets, each by its start.
SELECT tenant_id, period(at) AS period, currency, service_name, SUM(cost) AS cost, SUM(budget) AS budget
FROM (
  SELECT tenant_id, charge_period_start AS at, billing_currency AS currency, service_name,
         effective_cost AS cost, 0 AS budget
  FROM costs
  UNION ALL
  SELECT tenant_id, period_start, currency, service_name, 0, amount
  FROM budgets
) both
GROUP BY 1, 2, 3, 4
