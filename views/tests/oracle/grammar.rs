//! Random views of what is accepted.
//!
//! Expressions are plain: what they are worth has an oracle of its own. Orders are over all columns, so that
//! there is one answer.

use crate::Dice;
use crate::tables::TABLES;

/// What a column is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Whole,
    Decimal,
    Text,
    Instant,
    Day,
    Flag,
    Json,
}

const KINDS: [Kind; 6] =
    [Kind::Whole, Kind::Decimal, Kind::Text, Kind::Instant, Kind::Day, Kind::Flag];

/// A column as it is named where it is read.
#[derive(Debug, Clone)]
struct Column {
    name: String,
    kind: Kind,
}

/// A query, and the columns that it gives.
struct Query {
    sql: String,
    columns: Vec<Column>,
}

/// What stands behind FROM.
struct From {
    sql: String,
    columns: Vec<Column>,
}

pub(crate) struct Grammar<'a> {
    dice: &'a mut Dice,
    aliases: usize,
    /// Within how many orders a query stands. DataFusion takes a column that is a constant in each part of a
    /// UNION for one constant, and leaves it out of orders: there are none below an order.
    orders: usize,
}

impl<'a> Grammar<'a> {
    pub(crate) fn new(dice: &'a mut Dice) -> Grammar<'a> {
        Grammar { dice, aliases: 0, orders: 0 }
    }

    /// The text of a view.
    pub(crate) fn view(&mut self) -> String {
        self.query(2).sql
    }

    fn query(&mut self, depth: usize) -> Query {
        let shapes = if depth == 0 { 5 } else { 13 };
        match self.dice.pick(shapes) {
            0 | 1 => self.plain(depth, ""),
            2..=4 => self.grouped(depth),
            5 | 6 => self.union(depth),
            7 => self.plain(depth, "DISTINCT "),
            8 | 9 => self.ranked(depth),
            10 => self.limited(depth),
            11 => self.windowed(depth),
            _ => self.with(depth),
        }
    }

    fn plain(&mut self, depth: usize, distinct: &str) -> Query {
        let from = self.from(depth);
        let (mut items, mut columns) = (Vec::new(), Vec::new());
        for at in 0..=self.dice.pick(4) {
            let kind = self.kind();
            let item = self.value(&from.columns, kind, 2);
            items.push(format!("{item} AS c{at}"));
            columns.push(Column { name: format!("c{at}"), kind });
        }
        let condition = self.condition_of(&from.columns);
        let sql = format!("SELECT {distinct}{} FROM {}{condition}", items.join(", "), from.sql);
        Query { sql, columns }
    }

    fn grouped(&mut self, depth: usize) -> Query {
        let from = self.from(depth);
        let (mut items, mut columns) = (Vec::new(), Vec::new());
        let count = self.dice.pick(3);
        for at in 0..count {
            let kind = self.kind();
            let key = self.value(&from.columns, kind, 1);
            items.push(format!("{key} AS c{at}"));
            columns.push(Column { name: format!("c{at}"), kind });
        }
        for at in count..=count + self.dice.pick(4) {
            let (call, kind) = self.measure(&from.columns);
            items.push(format!("{call} AS c{at}"));
            columns.push(Column { name: format!("c{at}"), kind });
        }
        let keys: Vec<String> = (1..=count).map(|at| at.to_string()).collect();
        let by = if count == 0 { String::new() } else { format!(" GROUP BY {}", keys.join(", ")) };
        let having = if self.dice.one_in(4) {
            let (call, kind) = self.aggregate(&from.columns);
            let than = self.literal(kind);
            format!(" HAVING {call} {} {than}", self.test())
        } else {
            String::new()
        };
        let condition = self.condition_of(&from.columns);
        let distinct = if self.dice.one_in(8) { "DISTINCT " } else { "" };
        let items = items.join(", ");
        let sql = format!("SELECT {distinct}{items} FROM {}{condition}{by}{having}", from.sql);
        Query { sql, columns }
    }

    /// Of two or three; a number may be whole in one of them and decimal in another.
    fn union(&mut self, depth: usize) -> Query {
        let kinds: Vec<Kind> = (0..=self.dice.pick(3)).map(|_| self.kind()).collect();
        let name = |at: usize| format!("c{at}");
        let branches = (0..2 + self.dice.pick(2)).map(|_| {
            let from = self.from(depth - 1);
            let items = kinds.iter().enumerate().map(|(at, kind)| {
                let kind = match kind {
                    Kind::Decimal if self.dice.one_in(2) => Kind::Whole,
                    kind => *kind,
                };
                let is_null = self.orders == 0 && self.dice.one_in(8);
                let item = if is_null { "NULL".into() } else { self.value(&from.columns, kind, 1) };
                format!("{item} AS {}", name(at))
            });
            let items = items.collect::<Vec<_>>().join(", ");
            let condition = self.condition_of(&from.columns);
            format!("SELECT {items} FROM {}{condition}", from.sql)
        });
        let sql = branches.collect::<Vec<_>>().join(" UNION ALL ");
        // A column that is NULL in every branch has no type.
        let typed = kinds.iter().enumerate().map(|(at, kind)| {
            let (name, literal) = (name(at), self.literal(*kind));
            format!("COALESCE({name}, {literal}) AS {name}")
        });
        let typed = typed.collect::<Vec<_>>().join(", ");
        let alias = self.alias();
        let sql = if self.orders > 0 || self.dice.one_in(2) {
            format!("SELECT {typed} FROM ({sql}) AS {alias}")
        } else {
            let whole = kinds.iter().enumerate().map(|(at, kind)| {
                let literal = self.literal(*kind);
                format!("{literal} AS {}", name(at))
            });
            let whole = whole.collect::<Vec<_>>().join(", ");
            format!("{sql} UNION ALL SELECT {whole} FROM b")
        };
        let columns =
            kinds.iter().enumerate().map(|(at, kind)| Column { name: name(at), kind: *kind });
        Query { sql, columns: columns.collect() }
    }

    /// The first rows of each partition.
    fn ranked(&mut self, depth: usize) -> Query {
        let inner = self.ordered(depth - 1);
        let (alias, outer) = (self.alias(), self.alias());
        let partition = match self.dice.pick(3) {
            0 => String::new(),
            _ => format!("PARTITION BY {} ", self.dice.of(&inner.columns).name),
        };
        let order = self.order(&inner.columns);
        let bound = self.dice.of(&["rn <= 2", "rn < 3", "rn = 1", "3 >= rn", "rn <= 4 AND rn > 1"]);
        let rn = format!("r{}", self.aliases);
        let bound = bound.replace("rn", &rn);
        let names: Vec<&str> = inner.columns.iter().map(|column| column.name.as_str()).collect();
        let names = names.join(", ");
        let number = if self.dice.one_in(2) { format!(", {rn}") } else { String::new() };
        let sql = format!(
            "SELECT {names}{number} FROM (SELECT *, ROW_NUMBER() OVER ({partition}ORDER BY {order}) \
             AS {rn} FROM ({}) AS {alias}) AS {outer} WHERE {bound}",
            inner.sql
        );
        Query { sql, columns: inner.columns }
    }

    fn limited(&mut self, depth: usize) -> Query {
        let inner = self.ordered(depth - 1);
        let (alias, order) = (self.alias(), self.order(&inner.columns));
        let count = 1 + self.dice.pick(4);
        let sql =
            format!("SELECT * FROM ({}) AS {alias} ORDER BY {order} LIMIT {count}", inner.sql);
        // A LIMIT in a UNION would be that of the whole.
        let alias = self.alias();
        Query { sql: format!("SELECT * FROM ({sql}) AS {alias}"), columns: inner.columns }
    }

    /// LAG and a running sum.
    fn windowed(&mut self, depth: usize) -> Query {
        let inner = self.ordered(depth - 1);
        let alias = self.alias();
        let partition = match self.dice.pick(3) {
            0 => String::new(),
            _ => format!("PARTITION BY {} ", self.dice.of(&inner.columns).name),
        };
        let (order, argument) = (self.order(&inner.columns), self.dice.of(&inner.columns));
        let by = self.dice.of(&["", ", 1", ", 2", ", 3"]);
        let lag = format!("LAG({}{by}) OVER ({partition}ORDER BY {order})", argument.name);
        let number = inner.columns.iter().find(|c| matches!(c.kind, Kind::Whole | Kind::Decimal));
        let (a, b) = (format!("l{}", self.aliases), format!("s{}", self.aliases));
        let mut items = vec![format!("{lag} AS {a}")];
        let mut columns = inner.columns.clone();
        columns.push(Column { name: a, kind: argument.kind });
        if let Some(number) = number {
            // A running sum is over a part of the order, too: peers have one.
            let over = match self.dice.one_in(2) {
                true => order,
                false => self.dice.of(&inner.columns).name,
            };
            items.push(format!("SUM({}) OVER ({partition}ORDER BY {over}) AS {b}", number.name));
            columns.push(Column { name: b, kind: number.kind });
        }
        let sql = format!("SELECT *, {} FROM ({}) AS {alias}", items.join(", "), inner.sql);
        Query { sql, columns }
    }

    /// A query that is put in order.
    fn ordered(&mut self, depth: usize) -> Query {
        self.orders += 1;
        let inner = self.query(depth);
        self.orders -= 1;
        inner
    }

    /// A value that reads no column of its kind. It is no constant: DataFusion drops a constant key of a group,
    /// and then there is a row of no rows.
    fn constant(&mut self, columns: &[Column], kind: Kind) -> String {
        let (literal, other) = (self.literal(kind), self.literal(kind));
        let column = self.dice.of(columns).name;
        format!("CASE WHEN {column} IS NULL THEN {literal} ELSE {other} END")
    }

    /// A WITH that is read once, or twice and joined with itself.
    fn with(&mut self, depth: usize) -> Query {
        let inner = self.query(depth - 1);
        let name = format!("w{}", self.aliases);
        self.aliases += 1;
        let key = self.dice.of(&inner.columns);
        let (one, other) = (self.alias(), self.alias());
        let is_joined = self.dice.one_in(2) && key.kind != Kind::Json;
        let columns = inner.columns.clone();
        let names = columns.iter().map(|c| format!("{one}.{} AS {}", c.name, c.name));
        let names = names.collect::<Vec<_>>().join(", ");
        let from = if is_joined {
            let (kind, key) = (self.dice.of(&["JOIN", "LEFT JOIN"]), key.name);
            format!("{name} AS {one} {kind} {name} AS {other} ON {one}.{key} = {other}.{key}")
        } else {
            format!("{name} AS {one}")
        };
        let sql = format!("WITH {name} AS ({}) SELECT {names} FROM {from}", inner.sql);
        // A WITH stands in front only.
        let alias = self.alias();
        Query { sql: format!("SELECT * FROM ({sql}) AS {alias}"), columns }
    }

    fn from(&mut self, depth: usize) -> From {
        if depth > 0 && self.dice.one_in(3) {
            return self.subquery(depth - 1);
        }
        if self.dice.one_in(2) {
            return self.table();
        }
        let left = self.table();
        let right = match depth > 0 && self.dice.one_in(3) {
            true => self.subquery(depth - 1),
            false => self.table(),
        };
        let joined = self.join(left, right);
        if self.dice.one_in(4) {
            let third = self.table();
            return self.join(joined, third);
        }
        joined
    }

    fn subquery(&mut self, depth: usize) -> From {
        let inner = self.query(depth);
        let alias = self.alias();
        let columns = qualified(&alias, &inner.columns);
        From { sql: format!("({}) AS {alias}", inner.sql), columns }
    }

    fn join(&mut self, left: From, right: From) -> From {
        let mut on = Vec::new();
        for _ in 0..=self.dice.pick(3) / 2 {
            let kind =
                self.dice.of(&[Kind::Whole, Kind::Text, Kind::Whole, Kind::Flag, Kind::Instant]);
            let depth = self.dice.pick(5) / 4;
            let one = self.value(&left.columns, kind, depth);
            let other = self.value(&right.columns, kind, depth);
            let is_over_both = one.contains('.') && other.contains('.');
            if is_over_both {
                on.push(format!("{one} = {other}"));
            }
        }
        if on.is_empty() {
            return left;
        }
        let is_left = self.dice.one_in(3);
        if self.dice.one_in(4) {
            let over = match is_left {
                true => right.columns.clone(),
                false => [left.columns.clone(), right.columns.clone()].concat(),
            };
            let column = self.dice.of(&over);
            on.push(format!("{} IS NOT NULL", column.name));
        }
        let kind = if is_left { "LEFT JOIN" } else { "JOIN" };
        let sql = format!("{} {kind} {} ON {}", left.sql, right.sql, on.join(" AND "));
        From { sql, columns: [left.columns, right.columns].concat() }
    }

    fn table(&mut self) -> From {
        let (name, columns) = self.dice.of(&TABLES);
        let alias = self.alias();
        let columns = columns.iter().map(|(name, kind)| Column {
            name: (*name).to_owned(),
            kind: match *kind {
                "bigint" => Kind::Whole,
                "text" => Kind::Text,
                "timestamp" => Kind::Instant,
                "date" => Kind::Day,
                "boolean" => Kind::Flag,
                "json" => Kind::Json,
                _ => Kind::Decimal,
            },
        });
        let columns: Vec<Column> = columns.collect();
        From { sql: format!("{name} AS {alias}"), columns: qualified(&alias, &columns) }
    }

    fn measure(&mut self, columns: &[Column]) -> (String, Kind) {
        let (call, kind) = self.aggregate(columns);
        match (self.dice.pick(6), kind) {
            (0, Kind::Whole | Kind::Decimal) => (format!("{call} + 1"), kind),
            (1, Kind::Whole) => {
                let (other, _) = (self.counted(columns), ());
                (format!("{call} / NULLIF({other}, 0)"), kind)
            }
            (2, kind) => (format!("COALESCE({call}, {})", self.literal(kind)), kind),
            _ => (call, kind),
        }
    }

    fn counted(&mut self, columns: &[Column]) -> String {
        format!("COUNT({})", self.dice.of(columns).name)
    }

    fn aggregate(&mut self, columns: &[Column]) -> (String, Kind) {
        let kind = self.kind();
        let (call, kind) = match self.dice.pick(10) {
            0 => ("COUNT(*)".to_owned(), Kind::Whole),
            1 => (self.counted(columns), Kind::Whole),
            2 => {
                let value = self.value(columns, kind, 1);
                (format!("COUNT(DISTINCT {value})"), Kind::Whole)
            }
            3 => (format!("SUM({})", self.value(columns, Kind::Whole, 1)), Kind::Whole),
            4 => (format!("SUM({})", self.value(columns, Kind::Decimal, 1)), Kind::Decimal),
            5 => (format!("AVG({})", self.value(columns, Kind::Decimal, 1)), Kind::Decimal),
            7 => {
                let name = self.dice.of(&["PERCENTILE_EXACT", "APPROX_PERCENTILE_CONT"]);
                let kind = self.dice.of(&[Kind::Whole, Kind::Decimal]);
                let share = self.dice.of(&["0.5", "0.95", "0", "1", "0.333333"]);
                (format!("{name}({}, {share})", self.value(columns, kind, 1)), kind)
            }
            6 => {
                let name = self.dice.of(&["BOOL_AND", "BOOL_OR"]);
                (format!("{name}({})", self.value(columns, Kind::Flag, 1)), Kind::Flag)
            }
            _ => {
                let name = self.dice.of(&["MIN", "MAX"]);
                (format!("{name}({})", self.value(columns, kind, 1)), kind)
            }
        };
        if self.dice.one_in(5) {
            let condition = self.condition(columns, 1);
            return (format!("{call} FILTER (WHERE {condition})"), kind);
        }
        (call, kind)
    }

    fn kind(&mut self) -> Kind {
        self.dice.of(&KINDS)
    }

    fn order(&mut self, columns: &[Column]) -> String {
        let first = self.dice.pick(columns.len());
        let turned = (0..columns.len()).map(|at| (at + first) % columns.len());
        let order = turned.map(|at| {
            let name = &columns[at].name;
            let way = self.dice.of(&["", " DESC", " ASC NULLS FIRST", " DESC NULLS LAST"]);
            format!("{name}{way}")
        });
        order.collect::<Vec<_>>().join(", ")
    }

    fn condition_of(&mut self, columns: &[Column]) -> String {
        if self.dice.one_in(2) {
            return String::new();
        }
        format!(" WHERE {}", self.condition(columns, 2))
    }

    fn condition(&mut self, columns: &[Column], depth: usize) -> String {
        let kind = self.kind();
        let value = self.value(columns, kind, 0);
        if depth == 0 {
            return format!("{value} {} {}", self.test(), self.literal(kind));
        }
        match self.dice.pick(7) {
            0 => format!("{value} IS {}NULL", self.dice.of(&["", "NOT "])),
            1 => {
                let word = self.dice.of(&[" AND ", " OR "]);
                let (one, other) =
                    (self.condition(columns, depth - 1), self.condition(columns, depth - 1));
                format!("({one}{word}{other})")
            }
            2 => format!("NOT ({})", self.condition(columns, depth - 1)),
            3 => {
                let text = self.value(columns, Kind::Text, 0);
                format!("{text} IN ('x', 'zz')")
            }
            4 => {
                let whole = self.value(columns, Kind::Whole, 0);
                format!("{whole} BETWEEN -1 AND 2")
            }
            _ => {
                let (one, other) = (self.value(columns, kind, depth - 1), self.literal(kind));
                format!("{one} {} {other}", self.test())
            }
        }
    }

    fn value(&mut self, columns: &[Column], kind: Kind, depth: usize) -> String {
        let own: Vec<&Column> = columns.iter().filter(|column| column.kind == kind).collect();
        if depth == 0 || self.dice.one_in(2) {
            return match own.is_empty() {
                true => self.constant(columns, kind),
                false => self.dice.of(&own).name.clone(),
            };
        }
        let d = depth - 1;
        if self.dice.one_in(5) {
            let (when, then, other) = (
                self.condition(columns, d),
                self.value(columns, kind, d),
                self.value(columns, kind, d),
            );
            return format!("CASE WHEN {when} THEN {then} ELSE {other} END");
        }
        let (one, other) = (self.value(columns, kind, d), self.value(columns, kind, d));
        match kind {
            Kind::Whole => match self.dice.pick(4) {
                0 => format!("({one} + {other})"),
                1 => format!("({one} - {other})"),
                2 => {
                    let at = self.value(columns, Kind::Instant, 0);
                    format!("extract(day FROM {at})")
                }
                _ => format!("COALESCE({one}, {other})"),
            },
            Kind::Decimal => match self.dice.pick(3) {
                0 => format!("({one} + {other})"),
                1 => {
                    let whole = self.value(columns, Kind::Whole, 0);
                    format!("CAST({whole} AS DECIMAL(12,3))")
                }
                _ => format!("CAST({one} AS DECIMAL(14,3))"),
            },
            Kind::Text => match self.dice.pick(4) {
                0 => format!("({one} || {other})"),
                1 => format!("lower({one})"),
                2 => self.member(columns).unwrap_or(one),
                _ => format!("substr({one}, 1, 1)"),
            },
            Kind::Instant => {
                let unit = self.dice.of(&["day", "week", "month"]);
                format!("date_trunc('{unit}', {one})")
            }
            Kind::Day => format!("COALESCE({one}, {other})"),
            Kind::Flag => format!("({one} AND {other})"),
            Kind::Json => one,
        }
    }

    fn member(&mut self, columns: &[Column]) -> Option<String> {
        let own: Vec<&Column> = columns.iter().filter(|c| c.kind == Kind::Json).collect();
        if own.is_empty() {
            return None;
        }
        Some(format!("({} ->> 'team')", self.dice.of(&own).name))
    }

    fn literal(&mut self, kind: Kind) -> String {
        let of: &[&str] = match kind {
            Kind::Whole => &["1", "-1", "2"],
            Kind::Decimal => &["1.5", "-0.25", "2.500"],
            Kind::Text => &["'x'", "'zz'", "''"],
            Kind::Instant => &["CAST('2026-01-20T00:00:00Z' AS TIMESTAMP WITH TIME ZONE)"],
            Kind::Day => &["DATE '2026-02-01'"],
            Kind::Flag => &["TRUE", "FALSE"],
            Kind::Json => &["'{}'"],
        };
        self.dice.of(of).to_owned()
    }

    fn test(&mut self) -> &'static str {
        self.dice.of(&["=", "<>", "<", "<=", ">", ">="])
    }
}

fn qualified(alias: &str, columns: &[Column]) -> Vec<Column> {
    let column =
        |column: &Column| Column { name: format!("{alias}.{}", column.name), kind: column.kind };
    columns.iter().map(column).collect()
}

impl Grammar<'_> {
    fn alias(&mut self) -> String {
        self.aliases += 1;
        format!("t{}", self.aliases)
    }
}
