//! The repository's files, Cargo's view of it, and the binary.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use serde_json::Value;

/// The folder of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The text of a file.
pub(crate) fn read(path: &str) -> String {
    let full = root().join(path);
    fs::read_to_string(&full).unwrap_or_else(|e| panic!("could not read {}: {e}", full.display()))
}

/// A TOML file.
pub(crate) fn toml(path: &str) -> toml::Table {
    read(path).parse().unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Every file that belongs to the repository, by its path in it.
pub(crate) fn files() -> &'static [String] {
    static FILES: OnceLock<Vec<String>> = OnceLock::new();
    FILES.get_or_init(|| {
        let mut files = tracked().unwrap_or_else(|| {
            let mut files = Vec::new();
            walk(root(), "", &mut files);
            files
        });
        files.sort();
        files
    })
}

/// What git keeps or would keep; `None` where there is no git.
fn tracked() -> Option<Vec<String>> {
    let arguments = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let listed = Command::new("git").current_dir(root()).args(arguments).output().ok()?;
    let text = String::from_utf8(listed.stdout).ok().filter(|_| listed.status.success())?;
    let present = |path: &&str| !path.is_empty() && root().join(path).is_file();
    Some(text.split('\0').filter(present).map(str::to_owned).collect())
}

fn walk(folder: &Path, prefix: &str, files: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let path = format!("{prefix}{name}");
        match entry.file_type().unwrap() {
            kind if kind.is_dir() && name != "target" && name != ".git" => {
                walk(&entry.path(), &format!("{path}/"), files);
            }
            kind if kind.is_file() => files.push(path),
            _ => {}
        }
    }
}

/// What `cargo metadata` says about everything that is compiled here.
pub(crate) fn metadata() -> &'static Value {
    static METADATA: OnceLock<Value> = OnceLock::new();
    METADATA.get_or_init(|| {
        let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
        let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .current_dir(root())
            .args(["metadata", "--format-version", "1", "--offline", "--locked"])
            .args(["--filter-platform", &platform])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "cargo metadata failed: {said}");
        serde_json::from_slice(&output.stdout).unwrap()
    })
}

/// All packages that are compiled here, this repository's own included.
pub(crate) fn packages() -> &'static [Value] {
    metadata()["packages"].as_array().unwrap()
}

/// The packages of this repository.
pub(crate) fn members() -> impl Iterator<Item = &'static Value> {
    let members = metadata()["workspace_members"].as_array().unwrap();
    packages().iter().filter(move |package| members.contains(&package["id"]))
}

/// A text field of a JSON object.
pub(crate) fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("no `{field}` in {value}"))
}

/// Runs the binary in an empty folder, under these settings of the environment only.
pub(crate) fn weir(arguments: &[&str], environment: &[(String, String)]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_weir"));
    let environment = environment.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let mut command = Command::new(binary);
    command.current_dir(folder.path()).args(arguments).env_clear().envs(environment);
    command.output().unwrap()
}

/// The contents of code fences of a language, in a Markdown text.
pub(crate) fn fences(markdown: &str, language: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut open: Option<(bool, String)> = None;
    for line in markdown.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(name)) => open = Some((name.trim() == language, String::new())),
            (Some((wanted, body)), Some(_)) => {
                if *wanted {
                    found.push(std::mem::take(body));
                }
                open = None;
            }
            (Some((_, body)), None) => {
                body.push_str(line);
                body.push('\n');
            }
            (None, None) => {}
        }
    }
    found
}

/// A Markdown text without its code fences and indented code.
pub(crate) fn prose(markdown: &str) -> String {
    let mut fenced = false;
    let mut lines = Vec::new();
    for line in markdown.lines() {
        if line.starts_with("```") {
            fenced = !fenced;
        } else if !fenced && !line.starts_with("    ") {
            lines.push(line);
        }
    }
    lines.join("\n")
}

/// What stands between single backticks in prose; it may be broken between lines.
pub(crate) fn spans(markdown: &str) -> Vec<String> {
    let prose = prose(markdown);
    let paragraphs = prose.split("\n\n").map(|paragraph| paragraph.replace('\n', " "));
    let spans = |text: String| text.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    paragraphs.flat_map::<Vec<String>, _>(spans).collect()
}

/// The Markdown files for people who use or change Weir.
pub(crate) fn documents() -> impl Iterator<Item = &'static str> {
    let is_document = |path: &&str| {
        let in_docs = path.starts_with("docs/") && path.ends_with(".md");
        in_docs || matches!(*path, "README.md" | "CONTRIBUTING.md" | "CHANGELOG.md")
    };
    files().iter().map(String::as_str).filter(is_document)
}
