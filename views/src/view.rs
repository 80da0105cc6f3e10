//! A view: what its text has become, and what each of its columns is to KPIs.

use std::collections::BTreeMap;

use expr::Expression;
use schemas::contract::OWN_RELATIONS;
use schemas::{ColumnType, RowSchema};

use crate::explain::Explain;
use crate::lower::{self, Root, TENANT};
use crate::operator::Call;
use crate::plan::{self, Node, Plan};
use crate::print;
use crate::refusal::{Code, Refusal};
use crate::relations::Relations;
use crate::sql;

/// What a column of a view is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// Whose the row is; the number is that of a column of the view's rows.
    Tenant(usize),
    /// The period that holds the instant in this column of the view's rows.
    Period(usize),
    /// What rows are grouped by, or a column of a view that groups nothing.
    Group(usize),
    /// An aggregate over the view's rows.
    Measure(Call),
    /// An expression over the view's groups: see [`View::groups_schema`].
    Computed(Expression),
    /// What other rows decide, too: the number of ROW_NUMBER, LAG, a running sum, and what is computed of
    /// them.
    Window,
}

impl Role {
    /// The role in a word.
    pub fn name(&self) -> &'static str {
        match self {
            Role::Tenant(_) => "tenant",
            Role::Period(_) => "period",
            Role::Group(_) => "group",
            Role::Measure(_) => "measure",
            Role::Computed(_) => "computed",
            Role::Window => "window",
        }
    }
}

/// One column of what a view holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewColumn {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: ColumnType,
    /// What it is.
    pub role: Role,
}

/// A view that is accepted.
#[derive(Debug, Clone)]
pub struct View {
    name: String,
    sql: String,
    inputs: Vec<String>,
    columns: Vec<ViewColumn>,
    plan: Plan,
    /// The group that its columns are made of, where it has one.
    group: Option<Plan>,
    /// What KPIs are over.
    rows: Plan,
    keys: usize,
    period: Option<usize>,
    until: Option<usize>,
    overlaps: bool,
    is_regroupable: bool,
}

/// Reads a view over `relations`.
///
/// # Errors
/// When it asks for what cannot be kept up to date.
pub fn accept(name: &str, text: &str, relations: &Relations) -> Result<View, Refusal> {
    read(name, text, relations).map_err(|refusal| refusal.located(text))
}

fn read(name: &str, text: &str, relations: &Relations) -> Result<View, Refusal> {
    let query = sql::query(text)?;
    let canonical = query.to_string();
    let planned = sql::plan(query, relations)?;
    View::of(name, canonical, lower::lower(&planned, relations)?)
}

/// A view's text as [`View::sql`] has it; `None` where it is no SELECT.
pub fn canonical(text: &str) -> Option<String> {
    sql::query(text).ok().map(|query| query.to_string())
}

/// Reads views, each a name and a text, that may read each other. They come in an order in which each
/// stands behind those that it reads.
///
/// # Errors
/// All that are refused, by name.
pub fn accept_all(
    texts: &[(String, String)],
    contracts: &Relations,
) -> Result<Vec<View>, Vec<(String, Refusal)>> {
    let (views, refused) = check_all(texts, contracts);
    if refused.is_empty() { Ok(views) } else { Err(refused) }
}

/// The same, those that are accepted beside those that are refused.
pub fn check_all(
    texts: &[(String, String)],
    contracts: &Relations,
) -> (Vec<View>, Vec<(String, Refusal)>) {
    let (mut known, mut views, mut refused) = (contracts.clone(), Vec::new(), BTreeMap::new());
    let mut open: Vec<&(String, String)> = texts.iter().collect();
    while !open.is_empty() {
        let waiting: Vec<&str> = open.iter().map(|(name, _)| name.as_str()).collect();
        let mut later = Vec::new();
        for &(name, text) in open.iter() {
            let reads = sql::query(text).map(|query| sql::relations(&query)).unwrap_or_default();
            if reads.iter().any(|read| waiting.contains(&read.as_str())) {
                later.push((name, text));
                continue;
            }
            match accept_one(name, text, &known, &refused, &reads) {
                Ok(view) => {
                    known.add_view(&view);
                    views.push(view);
                }
                Err(refusal) => {
                    refused.insert(name.clone(), refusal);
                }
            }
        }
        if later.len() == open.len() {
            for (name, text) in later {
                refused.insert(name.clone(), cycle(name, &waiting).located(text));
            }
            break;
        }
        let left = later.into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        open.retain(|(name, _)| left.contains(&name));
    }
    (views, refused.into_iter().collect())
}

fn accept_one(
    name: &str,
    text: &str,
    known: &Relations,
    refused: &BTreeMap<String, Refusal>,
    reads: &std::collections::BTreeSet<String>,
) -> Result<View, Refusal> {
    if known.find(name).is_some() {
        let problem = format!("there is a contract or a view `{name}` already");
        return Err(Refusal::new(Code::Invalid, name, problem, "give it another name"));
    }
    if OWN_RELATIONS.contains(&name) {
        let problem = format!("`{name}` is a relation of Weir's own");
        return Err(Refusal::new(Code::Invalid, name, problem, "give it another name"));
    }
    let bad = reads.iter().find(|read| refused.contains_key(*read) && known.find(read).is_none());
    if let Some(bad) = bad {
        let problem = format!("it reads the view `{bad}`, which is refused itself");
        let refusal = Refusal::new(Code::RefusedRelation, bad, problem, "cure that one first");
        return Err(refusal.located(text));
    }
    accept(name, text, known)
}

fn cycle(name: &str, among: &[&str]) -> Refusal {
    let problem = format!("`{name}` reads itself through views: one of {}", among.join(", "));
    Refusal::new(Code::Cycle, name, problem, "let each read only what does not read it")
}

impl View {
    fn of(name: &str, sql: String, root: Root) -> Result<View, Refusal> {
        let Root { plan, inputs, grouped } = root;
        let group = top_group(&plan).cloned();
        let keys = match group.as_ref().map(|group| &group.node) {
            Some(Node::Group { keys, .. }) => keys.len(),
            _ => 0,
        };
        let is_regroupable = grouped.is_some();
        let base = base(&plan, group.as_ref().filter(|_| is_regroupable));
        let overlaps = grouped.as_ref().is_some_and(|own| own.overlaps);
        let (period, until) = grouped.map_or((None, None), |own| (own.period, own.until));
        let columns = plan.schema.iter().enumerate().map(|(at, column)| {
            check_name(&column.name)?;
            let role = match role(&plan, at) {
                Role::Group(own) if column.name == TENANT => {
                    Role::Tenant(if is_regroupable { own } else { at })
                }
                Role::Group(own) if period == Some(own) && column.name == PERIOD => {
                    Role::Period(own)
                }
                _ if column.name == PERIOD => return Err(no_period()),
                // Its rows are what it holds.
                Role::Group(_) if !is_regroupable => Role::Group(at),
                role => role,
            };
            Ok(ViewColumn { name: column.name.clone(), ty: column.kind, role })
        });
        let columns = columns.collect::<Result<Vec<_>, Refusal>>()?;
        let rows = if period.is_some() { base.clone() } else { always(base)? };
        let name = name.to_owned();
        let view = View {
            name,
            sql,
            inputs,
            columns,
            plan,
            group,
            rows,
            keys,
            period,
            until,
            overlaps,
            is_regroupable,
        };
        Ok(view)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its text, canonical: blanks, comments and the case of keywords make no difference.
    pub fn sql(&self) -> &str {
        &self.sql
    }

    /// The relations that it reads, each once.
    pub fn inputs(&self) -> &[String] {
        &self.inputs
    }

    /// The columns of what it holds.
    pub fn columns(&self) -> &[ViewColumn] {
        &self.columns
    }

    /// The column that says whose a row is.
    pub fn tenant(&self) -> Option<usize> {
        self.columns.iter().position(|column| matches!(column.role, Role::Tenant(_)))
    }

    /// The column that is a period.
    pub fn period(&self) -> Option<usize> {
        self.columns.iter().position(|column| matches!(column.role, Role::Period(_)))
    }

    /// What it holds.
    pub fn schema(&self) -> RowSchema {
        self.plan.schema.clone()
    }

    /// The rows that KPIs are over. Where it is regroupable those that its aggregates are over: tenant, instant of its
    /// period, other keys of its groups, until when they are alive, then arguments of aggregates, FILTER folded in.
    /// What it holds itself where it is not. Then, where it has no period, [`View::always`].
    pub fn rows_schema(&self) -> &RowSchema {
        &self.rows.schema
    }

    /// The column of its rows with one and the same instant, where it has no period: each row is of all times.
    pub fn always(&self) -> Option<usize> {
        self.period.is_none().then(|| self.rows.schema.len().saturating_sub(1))
    }

    /// How many columns of its rows are keys of its groups.
    pub fn keys(&self) -> usize {
        self.keys
    }

    /// The key among them whose period is meant.
    pub fn period_key(&self) -> Option<usize> {
        self.period
    }

    /// The column of its rows with the instant up to which they count, from that of the period on, where it is of
    /// what is alive at the end of a period or overlaps it. Where it is null there is no end to what is alive, and
    /// nothing that overlaps.
    pub fn until(&self) -> Option<usize> {
        self.until
    }

    /// Whether its rows count in every period that they overlap.
    pub fn overlaps(&self) -> bool {
        self.overlaps
    }

    /// The aggregates over its rows, in order.
    pub fn calls(&self) -> &[Call] {
        match self.group.as_ref().map(|group| &group.node) {
            Some(Node::Group { calls, .. }) => calls,
            _ => &[],
        }
    }

    /// Its groups: their keys, then their aggregates. What expressions over measures read.
    pub fn groups_schema(&self) -> Option<&RowSchema> {
        self.group.as_ref().map(|group| &group.schema)
    }

    /// SQL that gives its rows, for DataFusion to recompute. It calls no function that DataFusion does not
    /// have but `->` and `->>`.
    pub fn rows_sql(&self) -> String {
        print::sql(self.rows())
    }

    /// SQL that gives all that it holds, with what its orders leave open decided.
    pub fn result_sql(&self) -> String {
        print::sql(&self.plan)
    }

    /// The same of a view that groups, over those of its rows that a relation of this name has.
    pub fn sql_above(&self, rows: &str) -> String {
        print::sql(&self.plan.over_relation(rows))
    }

    /// Whether its rows may be grouped by fewer keys, or by longer periods, to the same effect as in its
    /// own SQL: its outermost SELECT groups, and neither DISTINCT, HAVING, LIMIT nor ROW_NUMBER follows.
    pub fn is_regroupable(&self) -> bool {
        self.is_regroupable
    }

    /// What it is made of, and what that costs.
    pub fn explain(&self) -> Explain {
        Explain::of(&self.plan, self.until.map(|_| self.overlaps))
    }

    /// The step that gives its rows.
    pub(crate) fn rows(&self) -> &Plan {
        &self.rows
    }

    /// The step of [`View::plan`] that its rows are made of.
    pub(crate) fn base(&self) -> &Plan {
        base(&self.plan, self.group.as_ref().filter(|_| self.is_regroupable))
    }

    /// The step that gives what it holds.
    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }
}

/// The name of the column that says which period a row is of.
const PERIOD: &str = crate::names::PERIOD;

fn no_period() -> Refusal {
    let problem = "a column named `period` is the KPI's period";
    let advice = "write period(ts) AS period, and group by it; or give it another name";
    Refusal::new(Code::Period, PERIOD, problem, advice)
}

fn check_name(name: &str) -> Result<(), Refusal> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let is_plain = name.chars().all(plain) && !name.starts_with(|c: char| c.is_ascii_digit());
    if is_plain && !name.is_empty() {
        return Ok(());
    }
    let problem = format!("a column of the view is called `{name}`");
    let advice = "give each a name of its own of small letters, digits and _, with AS";
    Err(Refusal::new(Code::ColumnName, name, problem, advice))
}

/// What stands right below a group, or the whole plan without one.
fn base<'a>(plan: &'a Plan, group: Option<&'a Plan>) -> &'a Plan {
    match group.map(|group| &group.node) {
        Some(Node::Group { input, .. }) => input,
        _ => plan,
    }
}

/// Rows with one and the same instant, which is on a day of every zone.
fn always(base: &Plan) -> Result<Plan, Refusal> {
    let instant = Expression::parse(ALWAYS, &plan::columns(&base.schema))?;
    let columns = base.through().into_iter().chain([instant]).collect();
    let own = base.schema.iter().map(|column| (column.name.clone(), column.kind));
    let own = own.chain([("always".to_owned(), ColumnType::Timestamp)]);
    let schema = plan::unique(own.collect::<Vec<_>>());
    Ok(Plan { node: Node::Map { input: Box::new(base.clone()), condition: None, columns }, schema })
}

/// No zone's clocks show a day before 1970 then.
const ALWAYS: &str = "CAST('1970-01-03T00:00:00Z' AS TIMESTAMP)";

/// The group that what stands above only selects from.
fn top_group(plan: &Plan) -> Option<&Plan> {
    match &plan.node {
        Node::Group { .. } => Some(plan),
        Node::Map { input, .. }
        | Node::Distinct { input }
        | Node::TopN { input, .. }
        | Node::Window { input, .. } => top_group(input),
        Node::Scan { .. } | Node::Union { .. } | Node::Join { .. } => None,
    }
}

/// What a column of a step is.
fn role(plan: &Plan, at: usize) -> Role {
    if top_group(plan).is_none() {
        return Role::Group(at);
    }
    match &plan.node {
        Node::Map { input, columns, .. } => {
            let column = columns.get(at);
            match (column.and_then(Expression::as_column), column) {
                (Some(below), _) => role(input, below),
                (None, Some(column)) if matches!(input.node, Node::Group { .. }) => {
                    Role::Computed(column.clone())
                }
                _ => Role::Window,
            }
        }
        Node::Distinct { input } => role(input, at),
        Node::TopN { input, .. } | Node::Window { input, .. } => match at < input.schema.len() {
            true => role(input, at),
            false => Role::Window,
        },
        Node::Group { keys, calls, .. } => match at.checked_sub(keys.len()) {
            None => Role::Group(keys.get(at).copied().unwrap_or(at)),
            Some(call) => calls.get(call).cloned().map_or(Role::Group(at), Role::Measure),
        },
        _ => Role::Group(at),
    }
}
