//! `harness generate` writes a change stream, `harness check` judges a lake, `harness stream` follows a
//! running server.
#![allow(clippy::print_stdout, reason = "a command line tool answers on stdout")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use harness::workload::Options as Stream;
use harness::{Error, Log, Options, Workload, check_lake, stream};
use schemas::Micros;

const USAGE: &str = "usage:
  harness generate --out FILE[.gz] [--seed N] [--events N] [--tenants N] [--partitions N]
                   [--now TIME] [--span-days N] [--snapshot N] [--poison SHARE] [--redelivery SHARE]
  harness check LAKE [--log FILE] [--topic TOPIC=CONTRACT]... [--bronze-only]
  harness stream ADDRESS --token-file FILE --for SECONDS [--tenant T] [--kpi K] [--grain G]
                 [--compare-every SECONDS] [--patience SECONDS] [--until-offset N]";

/// What stands on the command line: plain words, and `--name value` in order.
struct Arguments {
    words: Vec<String>,
    options: Vec<(String, String)>,
}

impl Arguments {
    fn read() -> Result<Arguments, Error> {
        let (mut words, mut options) = (Vec::new(), Vec::new());
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.strip_prefix("--") {
                Some("bronze-only") => options.push(("bronze-only".into(), String::new())),
                Some(name) => {
                    let value = arguments.next();
                    let value =
                        value.ok_or_else(|| Error::new(format!("--{name} needs a value")))?;
                    options.push((name.to_owned(), value));
                }
                None => words.push(argument),
            }
        }
        Ok(Arguments { words, options })
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.options.iter().rev().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    fn number<T: std::str::FromStr>(&self, name: &str, otherwise: T) -> Result<T, Error> {
        let Some(text) = self.get(name) else { return Ok(otherwise) };
        text.parse().map_err(|_| Error::new(format!("--{name}: `{text}` is no number")))
    }

    fn only(&self, known: &[&str]) -> Result<(), Error> {
        match self.options.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            Some((name, _)) => Err(Error::new(format!("unknown option --{name}"))),
            None => Ok(()),
        }
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<bool, Error> {
    let arguments = Arguments::read()?;
    let words: Vec<&str> = arguments.words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["generate"] => generate(&arguments),
        ["check", lake] => check(&arguments, Path::new(lake)),
        ["stream", address] => follow(&arguments, address),
        _ => Err(Error::new(USAGE)),
    }
}

fn generate(arguments: &Arguments) -> Result<bool, Error> {
    arguments.only(&[
        "out",
        "seed",
        "events",
        "tenants",
        "partitions",
        "now",
        "span-days",
        "snapshot",
        "poison",
        "redelivery",
    ])?;
    let standard = Stream::default();
    let now = match arguments.get("now") {
        Some(text) => Micros::parse(text)
            .ok_or_else(|| Error::new(format!("--now: `{text}` is no instant")))?,
        None => standard.now,
    };
    let options = Stream {
        seed: arguments.number("seed", standard.seed)?,
        events: arguments.number("events", standard.events)?,
        tenants: arguments.number("tenants", standard.tenants)?,
        partitions: arguments.number("partitions", standard.partitions)?,
        now,
        span_days: arguments.number("span-days", standard.span_days)?,
        snapshot: arguments.number("snapshot", standard.snapshot)?,
        poison: arguments.number("poison", standard.poison)?,
        redelivery: arguments.number("redelivery", standard.redelivery)?,
    };
    let shares = [options.poison, options.redelivery];
    if shares.iter().any(|share| !(0.0..=0.5).contains(share)) {
        return Err(Error::new("--poison and --redelivery are shares between 0 and 0.5"));
    }
    let out = arguments.get("out").ok_or_else(|| Error::new(USAGE))?;
    let log = Workload::new(options).write_ndjson(Path::new(out))?;
    println!("{} records", log.len());
    Ok(true)
}

fn follow(arguments: &Arguments, address: &str) -> Result<bool, Error> {
    arguments.only(&[
        "token-file",
        "for",
        "tenant",
        "kpi",
        "grain",
        "compare-every",
        "patience",
        "until-offset",
    ])?;
    let path = arguments.get("token-file").ok_or_else(|| Error::new(USAGE))?;
    let token = std::fs::read_to_string(path).map_err(Error::at(path))?;
    let text = |name: &str| arguments.get(name).map(str::to_owned);
    let seconds = |name: &str| -> Result<Option<Duration>, Error> {
        let seconds: f64 = arguments.number(name, -1.0)?;
        Ok(Duration::try_from_secs_f64(seconds).ok())
    };
    let standard = stream::Options::new(address, &token);
    let options = stream::Options {
        tenant: text("tenant"),
        kpi: text("kpi"),
        grain: text("grain"),
        compare_every: seconds("compare-every")?,
        patience: seconds("patience")?.unwrap_or(standard.patience),
        until_offset: arguments.number("until-offset", 0)?,
        ..standard
    };
    let lasts = seconds("for")?.ok_or_else(|| Error::new(USAGE))?;
    let stop = Arc::new(AtomicBool::new(false));
    let of_timer = Arc::clone(&stop);
    std::thread::spawn(move || {
        std::thread::sleep(lasts);
        of_timer.store(true, Ordering::Release);
    });
    match stream::follow(&options, &stop) {
        Ok(figures) => {
            print!("{figures}");
            Ok(true)
        }
        Err(error) => {
            println!("{error}");
            Ok(false)
        }
    }
}

fn check(arguments: &Arguments, lake: &Path) -> Result<bool, Error> {
    arguments.only(&["log", "topic", "bronze-only"])?;
    let mut topics = BTreeMap::new();
    for (_, text) in arguments.options.iter().filter(|(name, _)| name == "topic") {
        let pair = text.split_once('=').ok_or_else(|| Error::new("--topic is TOPIC=CONTRACT"))?;
        topics.insert(pair.0.to_owned(), pair.1.to_owned());
    }
    let options = Options { topics, bronze_only: arguments.get("bronze-only").is_some() };
    let log = arguments.get("log").map(|path| Log::read(Path::new(path))).transpose()?;
    let report = check_lake(lake, log.as_ref(), &options)?;
    println!("{report}");
    Ok(report.is_clean())
}
