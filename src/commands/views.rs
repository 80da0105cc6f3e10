//! `weir views`: what SQL views are accepted, and what they are made of.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use engine::contracts;
use schemas::chain;
use serde_json::{Value, json};
use views::{Refusal, Role, View};

use crate::config::Config;
use crate::failure::Failure;
use crate::output;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Say of views whether they are accepted, and how they are kept up to date.
    Check(Check),
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Files of views, `<view>.sql`. None: those of `[gold] definitions`.
    files: Vec<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn execute(config: &Config, command: &Command) -> Result<(), Failure> {
    match command {
        Command::Check(check) => execute_check(config, check),
    }
}

fn execute_check(config: &Config, check: &Check) -> Result<(), Failure> {
    let known = contracts::load(config.contracts.folder()).map_err(Failure::Usage)?;
    let relations = gold::view_file::relations(&known);
    let given = check.files.iter().map(|file| read(file)).collect::<Result<Vec<_>, _>>()?;
    let mut texts = given.clone();
    for own in config.gold.folder().map(folder).transpose()?.into_iter().flatten() {
        // A file that is given stands for the view of the same name.
        if given.iter().all(|(name, _)| *name != own.0) {
            texts.push(own);
        }
    }
    let (accepted, refused) = views::check_all(&texts, &relations);
    let is_asked = |name: &str| given.is_empty() || given.iter().any(|(own, _)| own == name);
    let accepted: Vec<View> = accepted.into_iter().filter(|view| is_asked(view.name())).collect();
    let refused: Vec<_> = refused.into_iter().filter(|(name, _)| is_asked(name)).collect();
    if check.json {
        let all = accepted.iter().map(told).chain(refused.iter().map(told_refusal));
        output::json(&all.collect());
    } else {
        accepted.iter().for_each(show);
        refused.iter().for_each(|(name, why)| output::line(&format!("{name}: refused: {why}\n")));
    }
    match (accepted.len(), refused.len()) {
        (0, 0) => {
            let problem = "no views: name files, or put `<view>.sql` into the folder of \
                           `[gold] definitions`";
            Err(Failure::Usage(problem.to_owned()))
        }
        (_, 0) => Ok(()),
        (all, wrong) => Err(Failure::Check(format!("{wrong} of {} views refused", all + wrong))),
    }
}

/// The views of a folder: its files that end in `.sql`, by name.
fn folder(folder: &Path) -> Result<Vec<(String, String)>, Failure> {
    let files = gold::view_file::load_dir(folder).map_err(|e| Failure::Usage(chain(&e)))?;
    Ok(files.into_iter().map(|file| (file.name, file.text)).collect())
}

/// The name and the text of a view.
fn read(file: &Path) -> Result<(String, String), Failure> {
    let wrong = |problem: String| Failure::Usage(format!("{}: {problem}", file.display()));
    let name = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if name.is_empty() || !name.chars().all(plain) {
        let problem =
            "a view's file is named after it, in small letters, digits and _: `sales.sql`";
        return Err(wrong(problem.to_owned()));
    }
    let text = std::fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
    Ok((name.to_owned(), text))
}

/// What a column is, in a word, and what it is made of.
fn role(role: &Role) -> (&'static str, Option<String>) {
    let of = match role {
        Role::Measure(call) => Some(call.text.clone()),
        Role::Computed(expression) => Some(expression.text().to_owned()),
        Role::Tenant(_) | Role::Period(_) | Role::Group(_) | Role::Window => None,
    };
    (role.name(), of)
}

fn show(view: &View) {
    let explain = view.explain();
    output::line(&format!("{}: accepted, tier {}", view.name(), explain.tier));
    let rows = view.columns().iter().map(|column| {
        let (word, of) = role(&column.role);
        vec![column.name.clone(), column.ty.to_string(), word.to_owned(), of.unwrap_or_default()]
    });
    output::table(&["column", "type", "role", "of"], &rows.collect::<Vec<_>>());
    output::line(&format!("\n{explain}"));
}

fn told(view: &View) -> Value {
    let explain = view.explain();
    let columns = view.columns().iter().map(|column| {
        let (word, of) = role(&column.role);
        json!({ "name": column.name, "type": column.ty.to_string(), "role": word, "of": of })
    });
    let plan = explain.nodes.iter().map(|node| {
        json!({ "depth": node.depth, "what": node.what, "cost": node.cost, "keeps": node.keeps })
    });
    json!({
        "view": view.name(),
        "accepted": true,
        "tier": explain.tier,
        "inputs": view.inputs(),
        "columns": columns.collect::<Vec<_>>(),
        "plan": plan.collect::<Vec<_>>(),
        "failures": explain.failures,
    })
}

fn told_refusal((name, why): &(String, Refusal)) -> Value {
    json!({
        "view": name,
        "accepted": false,
        "code": why.code.name(),
        "place": why.place,
        "line": why.line,
        "problem": why.problem,
        "advice": why.advice,
    })
}
