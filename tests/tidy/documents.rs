//! That documents name what is there: paths, settings, commands, flags, columns.

use std::collections::BTreeSet;

use crate::repository::{documents, fences, files, prose, read, root, spans, toml, weir};

/// What is in a lake and looks like a path of the repository.
const TABLES: [&str; 6] = [
    "gold/_metrics.json",
    "gold/anomalies",
    "gold/audit",
    "gold/kpi_current",
    "gold/kpi_history",
    "gold/kpis",
];

#[test]
fn named_paths_exist() {
    let roots: BTreeSet<&str> = files().iter().filter_map(|path| path.split('/').next()).collect();
    for document in documents() {
        for span in spans(&read(document)) {
            let path = span.trim_end_matches('/');
            let is_path = !path.contains(|c: char| c.is_whitespace() || "<>*{}".contains(c))
                && path.split('/').next().is_some_and(|first| roots.contains(first))
                && (path.contains('/') || path.contains('.'));
            if !is_path || TABLES.contains(&path) {
                continue;
            }
            assert!(root().join(path).exists(), "{document} names `{path}`, which does not exist");
        }
    }
}

#[test]
fn links_lead_somewhere() {
    for document in documents() {
        let folder = document.rsplit_once('/').map_or("", |(folder, _)| folder);
        let text = prose(&read(document));
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.starts_with("http") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path = if file.is_empty() {
                root().join(document)
            } else {
                root().join(folder).join(file)
            };
            assert!(path.exists(), "{document} links to `{target}`, which does not exist");
            if !anchor.is_empty() {
                let headings = anchors(&std::fs::read_to_string(&path).unwrap());
                assert!(
                    headings.contains(anchor),
                    "{document} links to `{target}`: no such heading"
                );
            }
        }
    }
}

/// Headings as links name them.
fn anchors(markdown: &str) -> BTreeSet<String> {
    let prose = prose(markdown);
    let headings = prose.lines().filter(|line| line.starts_with('#'));
    let kept = |c: char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    let anchor = |line: &str| {
        let words = line.trim_start_matches('#').trim().to_lowercase();
        words.chars().filter(|c| kept(*c)).collect::<String>().replace(' ', "-")
    };
    headings.map(anchor).collect()
}

#[test]
fn every_setting_is_documented_with_its_default() {
    let defaults = toml("src/config/default.toml");
    let document = read("docs/reference/configuration.md");
    let mut known = BTreeSet::new();
    for (section, values) in &defaults {
        for (key, value) in values.as_table().expect("sections of settings") {
            let setting = format!("{section}.{key}");
            let shown = match value {
                toml::Value::String(text) if text.is_empty() => "empty".to_owned(),
                toml::Value::String(text) => format!("`{text}`"),
                other => format!("`{other}`"),
            };
            let row = format!("| `{setting}` | {shown} |");
            assert!(document.contains(&row), "docs/reference/configuration.md lacks: {row}");
            known.insert(setting);
        }
    }
    known.extend(source_keys().iter().map(|key| format!("sources.{key}")));
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let documented: BTreeSet<String> =
        rows.filter(|name| name.contains('.')).map(str::to_owned).collect();
    assert_eq!(documented, known, "settings in docs/reference/configuration.md and in the code");
}

/// The keys of `[[sources]]` that the configuration accepts.
fn source_keys() -> Vec<String> {
    let code = read("src/config/mod.rs");
    let list = code.split("const SOURCE_KEYS").nth(1).and_then(|rest| rest.split("];").next());
    let list = list.expect("SOURCE_KEYS in src/config/mod.rs");
    list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn configurations_in_documents_are_accepted() {
    let mut checked = 0;
    for document in documents() {
        for file in fences(&read(document), "toml") {
            if file.contains("[[sources]]") {
                accept(document, &file);
                checked += 1;
            }
        }
    }
    assert!(checked >= 2, "README.md and the reference show a configuration");
}

fn accept(document: &str, file: &str) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weir.toml");
    std::fs::write(&path, file).unwrap();
    let shown = weir(&["config", "show", "--config", path.to_str().unwrap()], &[]);
    let said = String::from_utf8_lossy(&shown.stderr);
    assert!(shown.status.success(), "{document}: a configuration is refused: {said}");
}

/// What `weir ... --help` prints.
fn help(words: &[&str]) -> String {
    let mut arguments = words.to_vec();
    arguments.push("--help");
    let output = weir(&arguments, &[]);
    assert!(output.status.success(), "`weir {}` is no command", words.join(" "));
    String::from_utf8(output.stdout).unwrap()
}

/// The commands that a help text lists.
fn commands(help: &str) -> Vec<String> {
    let listed = help.split("\nCommands:\n").nth(1).unwrap_or_default();
    let listed = listed.lines().take_while(|line| line.starts_with("  "));
    let named = listed.filter(|line| !line.starts_with("    "));
    let first = |line: &str| line.split_whitespace().next().map(str::to_owned);
    named.filter_map(first).filter(|name| name != "help").collect()
}

/// The flags that a text names.
fn flags(text: &str) -> BTreeSet<String> {
    let part = |c: char| !(c.is_ascii_alphanumeric() || c == '-');
    let words = text.split(part).filter(|word| word.len() > 2 && word.starts_with("--"));
    words.filter(|word| !word.trim_matches('-').is_empty()).map(str::to_owned).collect()
}

/// Command lines of `weir` in a document: spans of code, and lines of code blocks.
fn command_lines(markdown: &str) -> Vec<String> {
    let mut lines = spans(markdown);
    for language in ["", "sh", "text"] {
        lines.extend(
            fences(markdown, language).iter().flat_map(|block| block.lines().map(str::to_owned)),
        );
    }
    lines.extend(markdown.lines().filter_map(|l| l.strip_prefix("    ")).map(str::to_owned));
    let bare = lines.iter().map(|line| line.split(" #").next().unwrap_or_default().trim());
    bare.filter(|line| line.starts_with("weir ")).map(str::to_owned).collect()
}

#[test]
fn named_commands_and_flags_exist() {
    for document in documents() {
        for line in command_lines(&read(document)) {
            let words: Vec<&str> = line.split_whitespace().skip(1).collect();
            let Some(first) = words.first().filter(|word| word.starts_with(char::is_lowercase))
            else {
                continue;
            };
            let mut path = vec![*first];
            let below = commands(&help(&path));
            let second = words.get(1).filter(|word| word.starts_with(char::is_lowercase));
            if let (Some(second), false) = (second, below.is_empty()) {
                let known = below.iter().any(|name| name == second);
                assert!(known, "{document}: `{line}`: `weir {first}` has no `{second}`");
                path.push(second);
            }
            let known = flags(&help(&path));
            for flag in flags(&line) {
                assert!(known.contains(&flag), "{document}: `{line}`: there is no `{flag}`");
            }
        }
    }
}

/// Flags that every command has, or may have.
const EVERYWHERE: [&str; 3] = ["--help", "--config", "--json"];

/// The flags that a command has of its own.
fn own_flags(words: &[&str]) -> BTreeSet<String> {
    let mut known = flags(&help(words));
    known.retain(|flag| !EVERYWHERE.contains(&flag.as_str()));
    known
}

#[test]
fn every_command_is_documented() {
    let document = read("docs/reference/commands.md");
    for first in commands(&help(&[])) {
        let below = commands(&help(&[first.as_str()]));
        let mut paths: Vec<Vec<&str>> =
            below.iter().map(|second| vec![first.as_str(), second.as_str()]).collect();
        if paths.is_empty() {
            paths.push(vec![first.as_str()]);
        }
        for path in paths {
            let command = format!("`weir {}", path.join(" "));
            assert!(
                document.contains(&format!("| {command}")),
                "docs/reference/commands.md lacks {command}`"
            );
            let needs_section = !own_flags(&path).is_empty();
            let has_section = document.contains(&format!("\n## {command}`"));
            assert_eq!(has_section, needs_section, "a section on the flags of {command}`");
        }
    }
}

#[test]
fn documented_flags_are_those_of_the_commands() {
    let document = read("docs/reference/commands.md");
    for section in document.split("\n## `weir ").skip(1) {
        let (command, text) = section.split_once('`').expect("a heading with a command");
        let words: Vec<&str> = command.split_whitespace().collect();
        let text = text.split("\n## ").next().unwrap_or_default();
        let rows = text.lines().filter(|line| line.starts_with("| `--"));
        let cell = |line: &str| flags(line.split('|').nth(1).unwrap_or_default());
        let documented: BTreeSet<String> = rows.flat_map(cell).collect();
        let known = own_flags(&words);
        assert_eq!(documented, known, "flags of `weir {command}` in docs/reference/commands.md");
    }
}

#[test]
fn tables_and_kpis_are_documented() {
    let tables = read("docs/reference/tables.md");
    let built_in = |folder: &'static str| {
        files().iter().filter(move |path| path.starts_with(folder) && path.ends_with(".toml"))
    };
    for path in built_in("schemas/contracts/tables/") {
        let contract = toml(path);
        let name = contract["name"].as_str().unwrap();
        let section = tables.split(&format!("### `silver/{name}`")).nth(1);
        let section =
            section.unwrap_or_else(|| panic!("docs/reference/tables.md lacks silver/{name}"));
        let section = section.split("\n#").next().unwrap_or_default();
        for column in contract["columns"].as_array().unwrap() {
            let (name, kind) = (column["name"].as_str().unwrap(), column["type"].as_str().unwrap());
            let row = format!("| `{name}` | {kind} |");
            assert!(section.contains(&row), "docs/reference/tables.md, {path}: no row {row}");
        }
    }
    let kpis = read("docs/kpis/README.md");
    for path in built_in("gold/kpis/") {
        let key = toml(path)["key"].as_str().unwrap().to_owned();
        assert!(kpis.contains(&format!("\n- `{key}`: ")), "docs/kpis/README.md lacks `{key}`");
    }
}

/// The text of all product code, string literals as they are printed.
fn product_text() -> String {
    let is_product = |path: &&String| path.ends_with(".rs") && !path.starts_with("tests/");
    let mut all = String::new();
    for path in files().iter().filter(is_product) {
        let source = read(path);
        for line in source.lines().filter(|line| !line.trim_start().starts_with("//")) {
            match line.trim_start().strip_suffix('\\') {
                Some(continued) => all.push_str(continued),
                None => {
                    all.push_str(line.trim_start());
                    all.push('\n');
                }
            }
        }
    }
    all.replace("\\\"", "\"")
}

#[test]
fn quoted_messages_are_said_by_the_code() {
    let text = product_text();
    let quoted = spans(&read("docs/operations.md"));
    for message in quoted.iter().filter(|span| span.contains(' ') && !span.starts_with("weir ")) {
        for part in message.split("...").map(str::trim).filter(|part| !part.is_empty()) {
            assert!(text.contains(part), "docs/operations.md quotes `{part}`, which no code says");
        }
    }
}

/// The rows of the tables in a document, as cells.
fn rows(markdown: &str) -> Vec<Vec<String>> {
    let is_row = |line: &&str| line.starts_with("| ") && !line.starts_with("| ---");
    let cells =
        |line: &str| line.trim_matches('|').split('|').map(|c| c.trim().to_owned()).collect();
    markdown.lines().filter(is_row).map(cells).collect()
}

#[test]
fn terms_of_the_glossary_are_sorted_and_in_the_code() {
    let glossary = read("docs/glossary.md");
    let rows: Vec<Vec<String>> = rows(&glossary).into_iter().skip(1).collect();
    assert!(rows.len() > 20, "the glossary has {} terms", rows.len());
    let terms: Vec<String> = rows.iter().map(|row| row[0].to_lowercase()).collect();
    let sorted: Vec<String> = terms.iter().cloned().collect::<BTreeSet<_>>().into_iter().collect();
    assert_eq!(terms, sorted, "terms are sorted, and each is there once");
    let text = product_text();
    let words: BTreeSet<&str> = text
        .split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .filter(|w| !w.is_empty())
        .collect();
    let kinds = ["struct", "enum", "trait", "type", "const", "static"];
    for row in &rows {
        let names = spans(&row[2]);
        assert!(!names.is_empty(), "`{}` has no name in the code", row[0]);
        for name in names {
            let is_there = if name.starts_with(char::is_uppercase) {
                let defined = |kind: &&str| {
                    ["(", "<", " ", ":", ";"]
                        .iter()
                        .any(|end| text.contains(&format!("{kind} {name}{end}")))
                };
                kinds.iter().any(defined)
            } else {
                words.contains(name.as_str())
            };
            assert!(is_there, "docs/glossary.md names `{name}`, which no code defines");
        }
    }
}

#[test]
fn verbs_of_the_developer_script_are_documented() {
    let script = read("dev");
    let case = script.split("\ncase ").nth(1).expect("the verbs of ./dev");
    let labels = case.lines().filter_map(|line| line.strip_prefix("  ")?.split_once(')'));
    let labels = labels.filter(|(label, _)| label.starts_with(|c: char| c.is_ascii_lowercase()));
    let verbs: BTreeSet<String> =
        labels.filter_map(|(label, _)| label.split(" |").next().map(str::to_owned)).collect();
    let output = std::process::Command::new(root().join("dev")).arg("help").output().unwrap();
    assert!(output.status.success(), "./dev help");
    let help = String::from_utf8(output.stdout).unwrap();
    let listed = help.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    let listed: BTreeSet<String> = listed.map(str::to_owned).collect();
    assert_eq!(listed, verbs, "verbs that ./dev help lists, and those that there are");
    let named = spans(&read("CONTRIBUTING.md"));
    let named = named.iter().filter_map(|span| span.strip_prefix("./dev ")?.split(' ').next());
    let named: BTreeSet<String> = named.map(str::to_owned).collect();
    assert_eq!(named, verbs, "verbs that CONTRIBUTING.md names, and those that there are");
}
