//! What every file of the repository keeps to.

use std::collections::BTreeSet;

use crate::repository::{files, read, root};

/// A file longer than this is two files.
const LINES_MAX: usize = 500;

fn rust_files() -> impl Iterator<Item = &'static str> {
    files().iter().map(String::as_str).filter(|path| path.ends_with(".rs"))
}

/// Files that are compiled for tests only: by their folder, or because a `mod` line says so.
fn test_files() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for path in rust_files() {
        if ["tests/", "benches/"].iter().any(|folder| in_folder(path, folder)) {
            found.insert(path.to_owned());
        }
        let source = read(path);
        let lines: Vec<&str> = source.lines().collect();
        let modules = lines.windows(2).filter_map(|pair| match pair {
            ["#[cfg(test)]", module] => module.rsplit_once("mod ")?.1.strip_suffix(';'),
            _ => None,
        });
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let folder = match name {
            "mod.rs" | "lib.rs" | "main.rs" => folder.to_owned(),
            _ => path.trim_end_matches(".rs").to_owned(),
        };
        found.extend(modules.map(|module| format!("{folder}/{module}.rs")));
    }
    found
}

fn in_folder(path: &str, folder: &str) -> bool {
    path.starts_with(folder) || path.contains(&format!("/{folder}"))
}

/// The part of a file that is compiled outside of tests, with line numbers.
fn production(source: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines: Vec<&str> = source.lines().collect();
    let starts_tests =
        |pair: &[&str]| matches!(pair, ["#[cfg(test)]", next] if next.ends_with('{'));
    let end = lines.windows(2).position(starts_tests).unwrap_or(lines.len());
    lines.into_iter().take(end).enumerate().map(|(at, line)| (at + 1, line))
}

/// Fails with all findings at once.
fn none(findings: &[String]) {
    assert!(findings.is_empty(), "\n{}", findings.join("\n"));
}

#[test]
fn every_source_file_says_what_it_is() {
    let silent = rust_files().filter(|path| !read(path).starts_with("//! "));
    none(&silent.map(|path| format!("{path} does not open with `//!`")).collect::<Vec<_>>());
}

#[test]
fn source_files_are_short() {
    let tests = test_files();
    let mut findings = Vec::new();
    for path in rust_files().filter(|path| !tests.contains(*path)) {
        let lines = read(path).lines().count();
        if lines > LINES_MAX {
            findings.push(format!("{path} has {lines} lines, more than {LINES_MAX}"));
        }
    }
    none(&findings);
}

#[test]
fn nothing_is_left_to_do_or_unwrapped() {
    let unfinished = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
    let tests = test_files();
    let mut findings = Vec::new();
    for path in rust_files() {
        let source = read(path);
        for (at, line) in source.lines().enumerate() {
            if unfinished.iter().any(|word| line.contains(word)) {
                findings.push(format!("{path}:{}: unfinished: {line}", at + 1));
            }
        }
        if tests.contains(path) {
            continue;
        }
        for (at, line) in production(&source) {
            let code = line.split("//").next().unwrap_or_default();
            if code.contains(".unwrap()") {
                findings.push(format!("{path}:{at}: unwrap outside tests"));
            }
        }
    }
    none(&findings);
}

#[test]
fn the_text_speaks_of_the_project_alone() {
    let never = [
        concat!("/wo", "rk/"),
        concat!("iss", "ue #"),
        concat!("clau", "de"),
        concat!("anthro", "pic"),
        concat!("chat", "gpt"),
        concat!("copi", "lot"),
        concat!("sub", "agent"),
    ];
    let mut findings = Vec::new();
    for path in files().iter().filter(|path| *path != "Cargo.lock") {
        let Ok(text) = std::fs::read_to_string(root().join(path)) else { continue };
        let text = text.to_lowercase();
        let found = never.iter().filter(|word| text.contains(**word));
        findings.extend(found.map(|word| format!("{path} names `{word}`")));
    }
    none(&findings);
}

#[test]
fn text_files_end_in_one_newline_and_lines_in_no_blank() {
    let kinds = [".rs", ".toml", ".md", ".sh", ".yml", ".sql"];
    let mut findings = Vec::new();
    for path in files().iter().filter(|path| kinds.iter().any(|kind| path.ends_with(kind))) {
        let text = read(path);
        if !text.ends_with('\n') || text.ends_with("\n\n") {
            findings.push(format!("{path} does not end in one newline"));
        }
        let trailing = text.lines().position(|line| line.ends_with([' ', '\t', '\r']));
        if let Some(at) = trailing {
            findings.push(format!("{path}:{}: blank at the end of the line", at + 1));
        }
    }
    none(&findings);
}
