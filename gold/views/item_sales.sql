-- Lines of orders that were not cancelled, by the time of the order.
SELECT o.tenant_id, period(o.placed_at) AS period, i.currency, i.category,
       SUM(i.quantity * i.unit_price) AS revenue, SUM(i.quantity) AS units
FROM order_items i
JOIN orders o ON o.order_id = i.order_id
WHERE o.status <> 'cancelled'
GROUP BY 1, 2, 3, 4
