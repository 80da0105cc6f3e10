-- Orders with who gave them: what was not cancelled, by the time of the order.
SELECT o.tenant_id, period(o.placed_at) AS period, o.currency, c.country, c.segment,
       SUM(o.amount) AS revenue, COUNT(*) AS orders, COUNT(DISTINCT o.customer_id) AS buyers
FROM orders o
LEFT JOIN customers c ON c.customer_id = o.customer_id
WHERE o.status <> 'cancelled'
GROUP BY 1, 2, 3, 4, 5
