//! That the container files fit the code and each other: ports, paths, variables, versions.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::repository::{members, read, root, text, toml, weir};

const COMPOSE: &str = "docker-compose.yml";
const SETTINGS: &str = "deploy/weir.toml";

/// The words after an instruction of the Dockerfile, for each time it is there.
fn instruction(name: &str) -> Vec<Vec<String>> {
    let file = read("Dockerfile").replace("\\\n", " ");
    let of = |line: &str| {
        let mut words = line.split_whitespace();
        (words.next() == Some(name)).then(|| words.map(str::to_owned).collect())
    };
    file.lines().filter_map(of).collect()
}

/// The lines of each service, without comments and blank lines.
fn services() -> BTreeMap<String, Vec<String>> {
    let mut services: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let (mut section, mut service) = (String::new(), String::new());
    for line in read(COMPOSE).lines() {
        let indent = line.len() - line.trim_start().len();
        let bare = line.trim();
        if bare.is_empty() || bare.starts_with('#') {
            continue;
        }
        assert!(indent % 2 == 0 && !line.contains('\t'), "{COMPOSE}: indentation of `{line}`");
        match indent {
            0 => section = bare.trim_end_matches(':').to_owned(),
            2 if section == "services" => service = bare.trim_end_matches(':').to_owned(),
            _ if section == "services" => {
                services.entry(service.clone()).or_default().push(line.to_owned());
            }
            _ => {}
        }
    }
    services
}

/// The entries below a key of a service.
fn below(service: &[String], key: &str) -> Vec<String> {
    let header = format!("    {key}:");
    let lines = service.iter().skip_while(|line| **line != header).skip(1);
    let lines = lines.take_while(|line| line.starts_with("      "));
    lines.map(|line| line.trim().trim_start_matches("- ").to_owned()).collect()
}

fn environment(service: &[String]) -> Vec<(String, String)> {
    let pair = |line: String| {
        let (name, value) = line.split_once(": ").expect("a variable with a value");
        (name.to_owned(), value.trim_matches('"').to_owned())
    };
    below(service, "environment").into_iter().map(pair).collect()
}

fn variable(service: &[String], name: &str) -> String {
    let found = environment(service).into_iter().find(|(key, _)| key == name);
    found.unwrap_or_else(|| panic!("{COMPOSE}: {name} is not set")).1
}

fn image(service: &[String]) -> String {
    let line = service.iter().find_map(|line| line.trim().strip_prefix("image: "));
    line.expect("an image").to_owned()
}

/// A constant of the scripts that start the services for tests.
fn script_constant(name: &str) -> String {
    let lib = read("tests/services/lib.sh");
    let line = lib.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    line.unwrap_or_else(|| panic!("tests/services/lib.sh does not set {name}")).to_owned()
}

fn port(listen: &toml::Value) -> String {
    listen.as_str().and_then(|text| text.rsplit(':').next()).expect("host:port").to_owned()
}

#[test]
fn the_image_is_built_with_our_compiler_and_runs_our_settings() {
    let toolchain = toml("rust-toolchain.toml");
    let channel = toolchain["toolchain"]["channel"].as_str().unwrap();
    let build = &instruction("FROM")[0][0];
    assert!(build.starts_with(&format!("rust:{channel}-")), "Dockerfile builds with {build}");

    let settings = toml(SETTINGS);
    let copied: Vec<String> = instruction("COPY").iter().map(|words| words.join(" ")).collect();
    assert!(copied.contains(&format!("{SETTINGS} /etc/weir/weir.toml")), "{copied:?}");
    let command = instruction("CMD").concat().join(" ");
    assert_eq!(command, r#"["run", "--config", "/etc/weir/weir.toml"]"#);
    assert_eq!(instruction("ENTRYPOINT").concat(), [r#"["weir"]"#]);
    let uri = settings["lake"]["uri"].as_str().unwrap();
    assert_eq!(instruction("VOLUME").concat(), [uri], "the volume is the lake");

    let port_default = port(&toml("src/config/default.toml")["api"]["listen"]);
    assert_eq!(port(&settings["api"]["listen"]), port_default);
    assert_eq!(instruction("EXPOSE").concat(), [port_default]);
}

/// What a build needs besides a compiler is in the image that builds, and its library in the one that runs.
#[test]
fn the_image_has_the_libraries_that_the_build_links() {
    let setup = read("tests/setup.sh");
    let packages = setup.split("packages+=(").skip(1).filter_map(|rest| rest.split(')').next());
    let packages: Vec<&str> = packages.filter(|name| *name != "build-essential").collect();
    assert_eq!(packages, ["pkg-config", "libssl-dev", "libcurl4-openssl-dev"]);
    let file = read("Dockerfile");
    let (build, run) = file.split_once("FROM debian").expect("two stages");
    for package in packages {
        assert!(build.contains(package), "Dockerfile builds without {package}");
    }
    for package in ["ca-certificates", "libcurl4", "libssl3"] {
        assert!(run.contains(package), "Dockerfile runs without {package}");
    }
}

#[test]
fn the_image_runs_without_root_and_gets_all_it_copies() {
    let user = instruction("USER").concat();
    assert!(user.first().is_some_and(|user| user != "root" && user != "0"), "USER {user:?}");
    for words in instruction("COPY") {
        if !words[0].starts_with("--") {
            assert!(root().join(&words[0]).exists(), "Dockerfile copies {}", words[0]);
        }
    }
    let ignored = read(".dockerignore");
    let ignored: Vec<&str> = ignored.lines().map(|line| line.trim_matches('/')).collect();
    for member in members() {
        let manifest = text(member, "manifest_path");
        let folder = manifest.trim_end_matches("Cargo.toml").trim_end_matches('/');
        let folder = std::path::Path::new(folder).strip_prefix(root()).unwrap().to_str().unwrap();
        let parts: Vec<&str> = folder.split('/').collect();
        for length in 1..=parts.len() {
            let path = parts[..length].join("/");
            assert!(
                path.is_empty() || !ignored.contains(&path.as_str()),
                ".dockerignore leaves out {path}"
            );
        }
    }
    for needed in ["src", "deploy", "Cargo.toml", "Cargo.lock", "rust-toolchain.toml"] {
        assert!(!ignored.contains(&needed), ".dockerignore leaves out {needed}");
    }
}

#[test]
fn published_ports_are_on_the_loopback_interface() {
    for (name, service) in services() {
        for port in below(&service, "ports") {
            let port = port.trim_matches('"');
            assert!(port.starts_with("127.0.0.1:"), "{COMPOSE}: {name} publishes {port}");
        }
    }
}

#[test]
fn services_name_what_is_there() {
    let services = services();
    let names: Vec<&str> = services.keys().map(String::as_str).collect();
    assert_eq!(names, ["connect", "kafka", "postgres", "register", "weir"]);
    let compose = read(COMPOSE);
    let volumes = compose.split("\nvolumes:\n").nth(1).unwrap_or_default();
    for (name, service) in &services {
        for line in below(service, "depends_on") {
            let other = line.split(':').next().unwrap_or_default();
            assert!(services.contains_key(other), "{COMPOSE}: {name} depends on {other}");
        }
        for volume in below(service, "volumes") {
            let from = volume.split(':').next().unwrap_or_default();
            match from.strip_prefix("./") {
                Some(path) => {
                    assert!(root().join(path).is_file(), "{COMPOSE}: {name} mounts {path}")
                }
                None => {
                    assert!(volumes.contains(&format!("  {from}:\n")), "{COMPOSE}: volume {from}")
                }
            }
        }
    }
}

#[test]
fn versions_are_those_of_the_tests() {
    let services = services();
    let kafka = format!("apache/kafka:{}", script_constant("KAFKA_VERSION"));
    assert_eq!(image(&services["kafka"]), kafka);
    let connect = format!("quay.io/debezium/connect:{}", script_constant("DEBEZIUM_VERSION"));
    assert_eq!(image(&services["connect"]), connect);
    assert_eq!(image(&services["register"]), connect);
    let postgres = image(&services["postgres"]);
    let version = postgres.strip_prefix("postgres:").expect("the official image");
    let script = read("tests/services/postgres.sh");
    assert!(script.contains(&format!("/usr/lib/postgresql/{version}/bin")), "{postgres}");
    let replicates = services["postgres"].iter().any(|line| line.contains("wal_level=logical"));
    assert!(replicates, "{COMPOSE}: postgres must write its log for logical decoding");
}

#[test]
fn weir_accepts_its_settings_and_variables() {
    let services = services();
    let variables = environment(&services["weir"]);
    let settings = root().join(SETTINGS);
    let shown =
        weir(&["config", "show", "--json", "--config", settings.to_str().unwrap()], &variables);
    let said = String::from_utf8_lossy(&shown.stderr);
    assert!(shown.status.success(), "{SETTINGS} or the variables in {COMPOSE} are refused: {said}");
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    for (name, value) in &variables {
        let is_used = |entry: &&Value| {
            text(entry, "origin").contains(name.as_str())
                && text(entry, "value").contains(value.as_str())
        };
        let used = shown.as_array().unwrap().iter().find(is_used);
        assert!(used.is_some(), "{COMPOSE}: variable {name} has no effect");
    }
}

#[test]
fn everybody_names_the_same_broker_and_topics() {
    let services = services();
    let broker = variable(&services["connect"], "BOOTSTRAP_SERVERS");
    let advertised = variable(&services["kafka"], "KAFKA_ADVERTISED_LISTENERS");
    assert!(advertised.contains(&format!("INSIDE://{broker}")), "{advertised}");
    // Weir is on the host's network, where its loopback address is everybody's.
    assert!(services["weir"].iter().any(|line| line.trim() == "network_mode: host"));
    let outside = variable(&services["weir"], "KAFKA_BOOTSTRAP_SERVERS");
    assert!(advertised.contains(&format!("OUTSIDE://{outside}")), "{advertised}");
    let source = toml(SETTINGS)["sources"][0].clone();
    assert_eq!(source["brokers"].as_str(), Some(broker.as_str()));

    let connector: Value = serde_json::from_str(&read("deploy/shop-connector.json")).unwrap();
    let prefix = text(&connector, "topic.prefix");
    let tables = text(&connector, "table.include.list").split(',');
    let mut expected: Vec<String> = tables.map(|table| format!("{prefix}.{table}")).collect();
    expected.sort();
    let mut topics: Vec<String> = source["topics"].as_table().unwrap().keys().cloned().collect();
    topics.sort();
    assert_eq!(topics, expected, "topics of {SETTINGS} and of the connector");

    let register = services["register"].join("\n");
    assert!(register.contains("http://connect:8083/connectors/shop/config"), "{register}");
    let database = variable(&services["postgres"], "POSTGRES_DB");
    assert_eq!(text(&connector, "database.dbname"), database);
    let password = variable(&services["postgres"], "POSTGRES_PASSWORD");
    assert_eq!(text(&connector, "database.password"), password);
}
