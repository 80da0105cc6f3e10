//! What is accepted and what is refused, and what a view's columns are.

use schemas::{Column, ColumnType, RowSchema};

use super::*;

fn relations() -> Relations {
    let mut relations = Relations::default();
    let mut add = |name: &str, columns: &[(&str, &str)]| {
        let column = |(name, kind): &(&str, &str)| Column {
            name: (*name).to_owned(),
            kind: ColumnType::parse(kind).unwrap(),
            required: false,
        };
        relations.add(name, RowSchema::new(columns.iter().map(column).collect()), Some(0));
    };
    add(
        "orders",
        &[
            ("tenant_id", "text"),
            ("order_id", "text"),
            ("customer_id", "text"),
            ("currency", "text"),
            ("status", "text"),
            ("amount", "decimal(18,4)"),
            ("placed_at", "timestamp"),
            ("weight", "double"),
            ("tags", "json"),
        ],
    );
    add(
        "order_items",
        &[
            ("tenant_id", "text"),
            ("order_id", "text"),
            ("category", "text"),
            ("quantity", "bigint"),
            ("unit_price", "decimal(18,4)"),
        ],
    );
    add("customers", &[("tenant_id", "text"), ("customer_id", "text"), ("country", "text")]);
    add(
        "subscriptions",
        &[
            ("tenant_id", "text"),
            ("plan", "text"),
            ("mrr", "decimal(18,4)"),
            ("started_at", "timestamp"),
            ("ended_at", "timestamp"),
            ("paid_until", "date"),
        ],
    );
    relations
}

const ITEM_SALES: &str = "
    -- What was sold.
    select o.tenant_id, period(o.placed_at) AS period, o.currency, c.country, i.category,
           SUM(i.quantity * i.unit_price) AS revenue, COUNT(DISTINCT o.customer_id) AS buyers,
           MAX(o.amount) AS largest, SUM(o.amount) / NULLIF(COUNT(*), 0) AS mean
    FROM orders o
    JOIN order_items i ON i.order_id = o.order_id
    LEFT JOIN customers c ON c.customer_id = o.customer_id
    WHERE o.status <> 'cancelled'
    GROUP BY 1, 2, 3, 4, 5";

#[test]
fn the_columns_of_a_view_are_what_they_say() {
    let view = accept("item_sales", ITEM_SALES, &relations()).unwrap();
    assert_eq!(view.inputs(), ["customers", "order_items", "orders"]);
    assert!(view.is_regroupable());
    let columns = view.columns().iter().map(|column| {
        let role = match &column.role {
            Role::Tenant(at) => format!("tenant {at}"),
            Role::Period(at) => format!("period {at}"),
            Role::Group(at) => format!("group {at}"),
            Role::Measure(call) => format!("{} {:?}", call.text, call.column),
            Role::Computed(expression) => format!("= {expression}"),
            Role::Window => "window".to_owned(),
        };
        format!("{} {} {role}", column.name, column.ty)
    });
    assert_eq!(
        columns.collect::<Vec<_>>(),
        [
            "tenant_id text tenant 0",
            "period timestamp period 1",
            "currency text group 2",
            "country text group 3",
            "category text group 4",
            "revenue decimal(38,4) SUM(quantity * unit_price) Some(5)",
            "buyers bigint COUNT DISTINCT(customer_id) Some(6)",
            "largest decimal(18,4) MAX(amount) Some(7)",
            "mean decimal(32,8) = \"SUM(amount)\" / nullif(\"COUNT(*)\", 0)",
        ]
    );
    let rows: Vec<&str> = view.rows_schema().iter().map(|c| c.name.as_str()).collect();
    let arguments = ["argument_1", "customer_id", "amount"];
    let keys = ["tenant_id", "period", "currency", "country", "category"];
    assert_eq!(rows, [&keys[..], &arguments[..]].concat());
    assert_eq!((view.keys(), view.period_key(), view.tenant()), (5, Some(1), Some(0)));
    assert!(view.sql().starts_with("SELECT o.tenant_id, period(o.placed_at) AS period"));
    let explain = view.explain();
    assert_eq!(explain.tier, "T1");
    assert!(explain.failures.iter().any(|why| why.contains("quantity * unit_price")));
    assert!(explain.to_string().contains("left join on customer_id = customer_id"), "{explain}");
}

#[test]
fn what_follows_the_groups_keeps_them_from_being_regrouped() {
    let sums = "SELECT tenant_id, status, SUM(amount) AS amount FROM orders GROUP BY 1, 2";
    let accepted = |text: &str| accept("v", text, &relations()).unwrap().is_regroupable();
    assert!(accepted(sums));
    for tail in [" HAVING SUM(amount) > 10", " ORDER BY amount DESC LIMIT 3"] {
        assert!(!accepted(&format!("{sums}{tail}")), "{tail}");
    }
    assert!(!accepted(&sums.replace("SELECT", "SELECT DISTINCT")));
    assert!(!accepted("SELECT tenant_id, order_id FROM orders"));
}

/// The text, its code, and a part of what is said.
const REFUSED: &[(&str, &str, &str)] = &[
    ("SELEC 1", "SYNTAX", "one SELECT"),
    ("DELETE FROM orders", "SYNTAX", "no SELECT"),
    ("SELECT 1; SELECT 2", "SYNTAX", "2 statements"),
    ("SELECT order_id FROM orders WHERE (", "SYNTAX", ""),
    ("SELECT order_id FROM ordres", "UNKNOWN_RELATION", "did you mean `orders`"),
    ("SELECT orderid FROM orders", "UNKNOWN_COLUMN", "did you mean `order_id`"),
    ("SELECT tenant_id, COUNT(*) AS n FROM orders", "INVALID", "GROUP BY"),
    ("SELECT median(amount) AS m FROM orders", "UNKNOWN_FUNCTION", "median"),
    ("SELECT now() AS at FROM orders", "VOLATILE", "`now`"),
    ("SELECT order_id FROM orders WHERE placed_at > current_timestamp", "VOLATILE", "clock"),
    ("SELECT random() AS r FROM orders", "VOLATILE", "random"),
    ("SELECT SUM(weight) AS w FROM orders", "DOUBLE", "not exact"),
    ("SELECT weight, COUNT(*) AS n FROM orders GROUP BY 1", "DOUBLE", "decimal(p,s)"),
    ("SELECT MAX(weight) AS w FROM orders", "DOUBLE", "not exact"),
    ("SELECT DISTINCT weight FROM orders", "DOUBLE", "not exact"),
    ("SELECT AVG(quantity) AS q FROM order_items", "DOUBLE", "DECIMAL(20,0)"),
    ("SELECT SUM(DISTINCT amount) AS a FROM orders", "AGGREGATE", "COUNT(DISTINCT x)"),
    ("SELECT COUNT(DISTINCT order_id, status) AS a FROM orders", "AGGREGATE", "one argument"),
    ("SELECT MIN(tags) AS t FROM orders", "AGGREGATE", "JSON"),
    ("SELECT PERCENTILE_EXACT(amount, 95) AS p FROM orders", "AGGREGATE", "from 0 to 1"),
    ("SELECT PERCENTILE_EXACT(amount, amount) AS p FROM orders", "AGGREGATE", "write it out"),
    ("SELECT PERCENTILE_EXACT(weight, 0.5) AS p FROM orders", "INVALID", "a bigint or a decimal"),
    (
        "SELECT order_id FROM orders WHERE customer_id IN (SELECT customer_id FROM customers)",
        "SUBQUERY",
        "JOIN",
    ),
    ("SELECT order_id, (SELECT MAX(country) FROM customers) AS c FROM orders", "SUBQUERY", "JOIN"),
    ("SELECT o.order_id FROM orders o, customers c", "JOIN_CONDITION", "ON a.x = b.x"),
    ("SELECT o.order_id FROM orders o CROSS JOIN customers c", "JOIN_CONDITION", "ON a.x = b.x"),
    (
        "SELECT o.order_id FROM orders o JOIN customers c ON o.customer_id < c.customer_id",
        "JOIN_CONDITION",
        "ON a.x = b.x",
    ),
    (
        "SELECT o.order_id FROM orders o LEFT JOIN customers c \
         ON o.customer_id = c.customer_id AND o.amount > 5",
        "JOIN_CONDITION",
        "no equality",
    ),
    (
        "SELECT o.order_id FROM orders o RIGHT JOIN customers c ON o.customer_id = c.customer_id",
        "JOIN_KIND",
        "sides changed",
    ),
    (
        "SELECT o.order_id FROM orders o FULL JOIN customers c ON o.customer_id = c.customer_id",
        "JOIN_KIND",
        "UNION ALL",
    ),
    (
        "SELECT customer_id FROM orders EXCEPT SELECT customer_id FROM customers",
        "JOIN_KIND",
        "EXCEPT",
    ),
    (
        "SELECT o.order_id FROM orders o JOIN order_items i ON o.order_id = i.quantity",
        "TYPE_MISMATCH",
        "CAST",
    ),
    ("SELECT status, COUNT(*) AS n FROM orders GROUP BY ROLLUP(status)", "GROUPING_SETS", ""),
    (
        "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT n FROM r",
        "RECURSIVE",
        "levels",
    ),
    ("SELECT order_id FROM orders LIMIT 5", "LIMIT", "ORDER BY"),
    ("SELECT order_id FROM orders ORDER BY 1", "LIMIT", "no order"),
    ("SELECT order_id FROM orders ORDER BY 1 LIMIT 5 OFFSET 2", "LIMIT", "OFFSET"),
    (
        "SELECT order_id, ROW_NUMBER() OVER (ORDER BY amount) AS rn FROM orders",
        "WINDOW",
        "WHERE rn <= 10",
    ),
    (
        "SELECT order_id, LEAD(amount) OVER (ORDER BY placed_at) AS after FROM orders",
        "WINDOW",
        "LAG(x, n)",
    ),
    (
        "SELECT order_id, SUM(amount) OVER (ORDER BY placed_at ROWS 3 PRECEDING) AS s FROM orders",
        "WINDOW",
        "running sums",
    ),
    (
        "SELECT order_id, AVG(amount) OVER (ORDER BY placed_at) AS s FROM orders",
        "WINDOW",
        "running sums",
    ),
    ("SELECT order_id, SUM(amount) OVER (PARTITION BY status) AS s FROM orders", "WINDOW", "order"),
    (
        "SELECT rn, m FROM (SELECT LAG(amount) OVER (ORDER BY amount) AS m, \
         ROW_NUMBER() OVER (ORDER BY amount) AS rn FROM orders) t WHERE rn < 5",
        "WINDOW",
        "",
    ),
    ("SELECT period(placed_at) AS period FROM orders", "PERIOD", "GROUP BY"),
    ("SELECT status AS period, COUNT(*) AS n FROM orders GROUP BY 1", "PERIOD", "period(ts)"),
    ("SELECT period(placed_at) AS p, COUNT(*) AS n FROM orders GROUP BY 1", "PERIOD", "AS period"),
    (
        "SELECT period(placed_at) AS period, COUNT(*) AS n FROM orders GROUP BY 1 HAVING COUNT(*) > 1",
        "PERIOD",
        "HAVING",
    ),
    ("SELECT period_start FROM periods", "PERIODS_UNBOUNDED", "has no end"),
    (
        "SELECT s.plan FROM subscriptions s JOIN periods p ON s.started_at < p.period_end",
        "PERIODS_UNBOUNDED",
        "has no end",
    ),
    ("SELECT amount + 1 FROM orders", "COLUMN_NAME", "AS"),
    ("SELECT o.order_id, i.order_id FROM orders o JOIN order_items i USING (order_id)", "", ""),
    ("SELECT 1 AS one", "NOT_SUPPORTED", "without FROM"),
    ("SELECT DISTINCT ON (status) order_id FROM orders", "NOT_SUPPORTED", "rn = 1"),
    ("SELECT NULL AS nothing FROM orders", "TYPE_MISMATCH", "CAST"),
];

#[test]
fn everything_else_is_refused_with_code_and_advice() {
    for (text, code, says) in REFUSED {
        let refusal = match accept("v", text, &relations()) {
            Err(refusal) => refusal,
            Ok(view) if code.is_empty() => {
                assert_eq!(view.columns().len(), 2);
                continue;
            }
            Ok(_) => panic!("accepted: {text}"),
        };
        let said = refusal.to_string();
        assert_eq!(refusal.code.name(), *code, "{text}: {said}");
        assert!(said.contains(says), "{text}: {said}");
    }
    // The page of views has every code.
    let page = include_str!("../../docs/reference/views.md");
    for code in Code::ALL {
        assert!(page.contains(&format!("| `{}` |", code.name())), "{}", code.name());
    }
}

/// A view of what is alive at the end of each period.
const ALIVE: &str = "SELECT s.tenant_id, p.period_start AS period, s.plan, SUM(s.mrr) AS mrr, COUNT(*) AS n
    FROM subscriptions s
    JOIN periods p ON s.started_at < p.period_end AND (s.ended_at IS NULL OR s.ended_at >= p.period_end)
    WHERE s.plan <> 'free' GROUP BY 1, 2, 3";

#[test]
fn a_join_with_periods_says_from_when_and_until_when_a_row_counts() {
    let rows = |text: &str| {
        let view = accept("v", text, &relations()).unwrap();
        assert_eq!((view.tenant(), view.period(), view.period_key()), (Some(0), Some(1), Some(1)));
        let names: Vec<String> = view.rows_schema().iter().map(|c| c.name.clone()).collect();
        (names.join(" "), view.until(), view.rows_sql())
    };
    let (names, until, sql) = rows(ALIVE);
    assert_eq!((names.as_str(), until), ("tenant_id period plan until mrr", Some(3)));
    assert!(sql.contains("\"plan\" <> 'free'") && !sql.contains("periods"), "{sql}");
    // However it is written.
    for (from, to) in [
        ("s.started_at < p.period_end", "p.period_end > s.started_at"),
        (
            "(s.ended_at IS NULL OR s.ended_at >= p.period_end)",
            "(p.period_end <= s.ended_at OR s.ended_at IS NULL)",
        ),
        ("FROM subscriptions s\n    JOIN periods p", "FROM periods p JOIN subscriptions s"),
        ("JOIN periods p", "JOIN periods AS p"),
    ] {
        assert!(ALIVE.contains(from), "{from}");
        assert_eq!(rows(&ALIVE.replace(from, to)), rows(ALIVE), "{to}");
    }
    let alive =
        "s.started_at < p.period_end AND (s.ended_at IS NULL OR s.ended_at >= p.period_end)";
    let point = "s.started_at >= p.period_start AND s.started_at < p.period_end";
    let (names, until, sql) = rows(&ALIVE.replace(alive, point));
    assert_eq!((names.as_str(), until), ("tenant_id period plan mrr", None));
    let own = "SELECT tenant_id, period(started_at) AS period, plan, SUM(mrr) AS mrr, COUNT(*) AS n \
               FROM subscriptions WHERE plan <> 'free' GROUP BY 1, 2, 3";
    assert_eq!(rows(own), (names, until, sql));
    let explain = accept("v", ALIVE, &relations()).unwrap().explain().to_string();
    assert!(explain.contains("every later period of its series"), "{explain}");
}

#[test]
fn other_joins_with_periods_are_refused() {
    for (from, to, code, says) in [
        (
            "AS period, s.plan",
            "AS period, p.grain AS plan",
            "PERIODS_UNBOUNDED",
            "`p.grain` reads a period",
        ),
        ("SUM(s.mrr)", "MAX(p.period_end)", "PERIODS_UNBOUNDED", "reads a period"),
        ("SUM(s.mrr)", "MAX(s.mrr)", "PERIODS_UNBOUNDED", "there are SUM and COUNT"),
        (
            "p.period_start AS period, s.plan",
            "s.paid_until AS day, s.plan",
            "PERIODS_UNBOUNDED",
            "not grouped",
        ),
        (
            "GROUP BY 1, 2, 3",
            "GROUP BY 1, 2, 3 HAVING COUNT(*) > 1",
            "PERIODS_UNBOUNDED",
            "has no end",
        ),
        ("JOIN periods", "LEFT JOIN periods", "PERIODS_UNBOUNDED", "without a period"),
        (
            "s.ended_at >= p.period_end",
            "s.ended_at > p.period_start",
            "PERIODS_UNBOUNDED",
            "has no meaning",
        ),
        (
            " AND (s.ended_at IS NULL OR s.ended_at >= p.period_end)",
            "",
            "PERIODS_UNBOUNDED",
            "neither",
        ),
        ("s.started_at < ", "s.started_at <= ", "PERIODS_UNBOUNDED", "has no meaning"),
        ("'free'", "p.zone", "PERIODS_UNBOUNDED", "has no meaning"),
        ("s.plan <> 'free'", "p.grain = 'hour'", "PERIODS_UNBOUNDED", "has no meaning"),
        (
            "s.ended_at IS NULL OR s.ended_at",
            "s.paid_until IS NULL OR s.paid_until",
            "PERIOD",
            "CAST",
        ),
        ("p.period_start AS period", "p.period_start AS month", "PERIOD", "AS period"),
    ] {
        assert!(ALIVE.contains(from), "{from}");
        let text = ALIVE.replace(from, to);
        let refusal = accept("v", &text, &relations()).map(|_| text).unwrap_err();
        let said = refusal.to_string();
        assert_eq!(refusal.code.name(), code, "{to}: {said}");
        assert!(said.contains(says), "{to}: {said}");
    }
}

/// A view of what overlaps each period, its amounts spread over their days.
const OVERLAP: &str = "SELECT s.tenant_id, p.period_start AS period, s.plan,
    SUM(allocate(s.mrr, s.started_at, s.ended_at)) AS mrr, COUNT(*) AS n
    FROM subscriptions s
    JOIN periods p ON s.started_at < p.period_end AND s.ended_at > p.period_start
    GROUP BY 1, 2, 3";

#[test]
fn what_overlaps_periods_is_spread_over_its_days() {
    let view = accept("v", OVERLAP, &relations()).unwrap();
    assert_eq!((view.until(), view.overlaps()), (Some(3), true));
    let sql = view.rows_sql();
    assert!(sql.contains("DECIMAL(38,10)") && !sql.contains("allocate"), "{sql}");
    let spread: Vec<bool> = view.calls().iter().map(|call| call.allocates).collect();
    assert_eq!(spread, [true, false]);
    assert_eq!(view.schema().kind(3), Some(ColumnType::Decimal { precision: 38, scale: 10 }));
    let explain = view.explain().to_string();
    assert!(explain.contains("every period that the row overlaps"), "{explain}");
    assert!(!accept("v", ALIVE, &relations()).unwrap().overlaps());
    let filtered = OVERLAP.replace(")) AS mrr", ")) FILTER (WHERE s.plan <> 'free') AS mrr");
    let view = accept("v", &filtered, &relations()).unwrap();
    assert!(view.calls()[0].allocates && view.rows_sql().contains("CASE WHEN"));
    for (from, to, code, says) in [
        ("SUM(allocate", "MAX(allocate", "PERIODS_UNBOUNDED", "SUM(allocate(amount"),
        ("SUM(allocate", "SUM(1 + allocate", "PERIODS_UNBOUNDED", "nothing around"),
        ("COUNT(*)", "MIN(s.mrr)", "PERIODS_UNBOUNDED", "of what overlaps a period"),
        (
            "s.started_at, s.ended_at)",
            "s.started_at, s.started_at)",
            "PERIODS_UNBOUNDED",
            "other instants",
        ),
        (
            "s.ended_at > p.period_start",
            "s.ended_at >= p.period_start",
            "PERIODS_UNBOUNDED",
            "neither of what has a meaning",
        ),
        (
            "s.ended_at > p.period_start",
            "(s.ended_at IS NULL OR s.ended_at >= p.period_end)",
            "PERIODS_UNBOUNDED",
            "started < p.period_end AND ended > p.period_start",
        ),
        ("allocate(s.mrr,", "allocate(s.plan,", "INVALID", "two timestamps"),
        ("JOIN periods", "LEFT JOIN periods", "PERIODS_UNBOUNDED", "without a period"),
    ] {
        assert!(OVERLAP.contains(from), "{from}");
        let text = OVERLAP.replace(from, to);
        let refusal = accept("v", &text, &relations()).map(|_| text).unwrap_err();
        let said = refusal.to_string();
        assert_eq!(refusal.code.name(), code, "{to}: {said}");
        assert!(said.contains(says), "{to}: {said}");
    }
}

#[test]
fn a_refusal_says_the_line() {
    let refusal = accept("v", "SELECT order_id\nFROM orders\nWHERE statsu = 'x'", &relations());
    let said = refusal.unwrap_err().to_string();
    assert_eq!(
        said,
        "there is no column `statsu` (did you mean `status`?) (UNKNOWN_COLUMN, line 3)"
    );
}

#[test]
fn views_come_behind_those_that_they_read() {
    let text = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    let top = text("a_top", "SELECT tenant_id, n FROM b_sums WHERE n > 1");
    let sums = text("b_sums", "SELECT tenant_id, COUNT(*) AS n FROM orders GROUP BY 1");
    let views = accept_all(&[top.clone(), sums.clone()], &relations()).unwrap();
    let names: Vec<&str> = views.iter().map(View::name).collect();
    assert_eq!(names, ["b_sums", "a_top"]);
    assert!(Graph::new(&views, &relations()).is_ok());
    assert!(Graph::new(&views[1..], &relations()).is_err());

    let codes = |texts: &[(String, String)]| {
        let refused = accept_all(texts, &relations()).unwrap_err();
        let refused = refused.into_iter().map(|(name, why)| format!("{name} {}", why.code.name()));
        refused.collect::<Vec<_>>()
    };
    let ring = text("b_sums", "SELECT tenant_id, n FROM a_top");
    assert_eq!(codes(&[top.clone(), ring]), ["a_top CYCLE", "b_sums CYCLE"]);
    let own = text("c", "SELECT tenant_id FROM c");
    assert_eq!(codes(&[own]), ["c CYCLE"]);
    let bad = text("b_sums", "SELECT tenant_id, random() AS n FROM orders");
    assert_eq!(codes(&[top.clone(), bad]), ["a_top REFUSED_RELATION", "b_sums VOLATILE"]);
    let taken = text("orders", "SELECT tenant_id FROM customers");
    assert_eq!(codes(&[taken]), ["orders INVALID"]);
    let by_period =
        "SELECT tenant_id, period(placed_at) AS period, COUNT(*) AS n FROM orders GROUP BY 1, 2";
    assert_eq!(codes(&[top, text("b_sums", by_period)]), ["a_top PERIOD"]);
}
