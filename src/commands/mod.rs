//! The commands: what they take, what they print, how they exit.
//!
//! Exit codes: 0 done, 1 a check failed, 2 usage or configuration error, 3 a needed service cannot be
//! reached.

mod alerts;
mod anomalies;
mod backtest;
mod check;
mod clock;
mod config;
mod consent;
mod contracts;
mod dead_letters;
mod decisions;
mod demo;
mod doubt;
mod eval;
mod explain;
mod in_force;
mod infer;
mod kpis;
mod mute;
mod obeyed;
mod reload;
mod retrain;
mod run;
mod setup;
mod sources;
mod sweep;
mod tables;
mod token;
mod upkeep;
mod verify;
mod views;

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::config::Effective;
use crate::failure::Failure;
use crate::output;
pub(crate) use reload::UNDER_WAY;

/// Turns database change streams into KPIs people can trust.
#[derive(Debug, Parser)]
#[command(name = "weir", version, about)]
struct Arguments {
    /// The configuration file; `weir.toml` in the current folder when there is one.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run everything on an embedded broker and a generated shop: no services needed.
    Demo(demo::Arguments),
    /// Run the pipeline against the configured sources.
    Run(run::Arguments),
    /// Check configuration, broker, topics and lake, and say what to do for each failure.
    Check(check::Arguments),
    /// Prove that bronze is unbroken, silver is its fold, and every KPI is its recomputation.
    Verify(verify::Arguments),
    /// KPI definitions and current values.
    #[command(subcommand)]
    Kpis(kpis::Command),
    /// The rows and records that a KPI's cells come from.
    Explain(explain::Arguments),
    /// SQL views, which KPIs will be over.
    #[command(subcommand)]
    Views(views::Command),
    /// The lake's tables.
    #[command(subcommand)]
    Tables(tables::Command),
    /// Where the machine's clock and the lake's time differ.
    #[command(subcommand)]
    Clock(clock::Command),
    /// Records that could not be decoded.
    #[command(subcommand)]
    DeadLetters(dead_letters::Command),
    /// Source tables that Weir understands.
    #[command(subcommand)]
    Contracts(contracts::Command),
    /// Where tables come from: origins, how far each was read, what waits for somebody.
    #[command(subcommand)]
    Sources(sources::Command),
    /// What was told to whom, and whether a route works.
    #[command(subcommand)]
    Alerts(alerts::Command),
    /// Measures the detector on what business series do.
    #[command(subcommand)]
    Eval(eval::Command),
    /// Why an alert is there, and what people think of it.
    #[command(subcommand)]
    Anomalies(anomalies::Command),
    /// What would have fired of a KPI: its cells through the detector, with the settings of the configuration.
    Backtest(backtest::Arguments),
    /// Train models of detectors on what came, and put those in force that foresee better.
    Retrain(retrain::Arguments),
    /// Tell nobody of some alerts for a while.
    Mute(mute::Arguments),
    /// Development tokens for API and stream.
    #[command(subcommand)]
    Token(token::Command),
    /// The effective configuration.
    #[command(subcommand)]
    Config(config::Command),
}

/// Runs the command line.
pub(crate) fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) if error.use_stderr() => {
            drop(error.print());
            return ExitCode::from(2);
        }
        Err(help) => {
            output::note(help.print());
            return end(Ok(()));
        }
    };
    start_log();
    end(dispatch(arguments))
}

/// Says how a command failed, also when it did all but what it says was lost.
fn end(result: Result<(), Failure>) -> ExitCode {
    let lost = output::lost().map(Failure::Stopped);
    let failures: Vec<Failure> = result.err().into_iter().chain(lost).collect();
    failures.iter().for_each(eprintln_error);
    failures.first().map_or(ExitCode::SUCCESS, |failure| ExitCode::from(failure.code()))
}

#[expect(clippy::print_stderr, reason = "the last word of a failed command goes to stderr")]
fn eprintln_error(failure: &Failure) {
    let text = failure.to_string();
    eprintln!("error: {}", output::escaped(&text, |c| c == '\n'));
}

fn start_log() {
    let stderr = std::io::stderr();
    let colour = stderr.is_terminal() && wants_colour(std::env::var_os("NO_COLOR").as_deref());
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(move || LogLines { is_coloured: colour })
        .with_ansi(colour)
        .with_target(false)
        .init();
}

/// Standard error, a line an event: what data brings begins no line of its own and moves no cursor.
struct LogLines {
    is_coloured: bool,
}

impl io::Write for LogLines {
    /// The logger writes each event at once.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let (text, end) = text.strip_suffix('\n').map_or((&*text, ""), |text| (text, "\n"));
        // The logger itself has escaped what is no colour of its own.
        let text = output::escaped(text, |c| c == '\t' || (c == '\u{1b}' && self.is_coloured));
        io::stderr().lock().write_all(format!("{text}{end}").as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().lock().flush()
    }
}

/// By <https://no-color.org>: set, and not to an empty text, means no.
fn wants_colour(no_color: Option<&std::ffi::OsStr>) -> bool {
    no_color.is_none_or(std::ffi::OsStr::is_empty)
}

fn dispatch(arguments: Arguments) -> Result<(), Failure> {
    let file = arguments.config.as_deref();
    match arguments.command {
        Command::Demo(arguments) => demo::execute(arguments),
        Command::Run(arguments) => run::execute(file, &arguments),
        Command::Check(arguments) => check::execute(&load(file)?.config, &arguments),
        Command::Verify(arguments) => verify::execute(&load(file)?.config, &arguments),
        Command::Explain(arguments) => explain::execute(&load(file)?.config, &arguments),
        Command::Kpis(command) => kpis::execute(&load(file)?.config, &command),
        Command::Views(command) => views::execute(&load(file)?.config, &command),
        Command::Tables(command) => tables::execute(&load(file)?.config, &command),
        Command::Clock(command) => clock::execute(&load(file)?.config, &command),
        Command::DeadLetters(command) => dead_letters::execute(&load(file)?.config, &command),
        Command::Contracts(command) => contracts::execute(&load(file)?.config, &command),
        Command::Sources(command) => sources::execute(&load(file)?.config, &command),
        Command::Alerts(command) => alerts::execute(&load(file)?.config, &command),
        Command::Eval(command) => eval::execute(&command),
        Command::Anomalies(command) => anomalies::execute(&load(file)?.config, &command),
        Command::Backtest(arguments) => backtest::execute(&load(file)?.config, &arguments),
        Command::Retrain(arguments) => retrain::execute(&load(file)?.config, &arguments),
        Command::Mute(arguments) => mute::execute(&load(file)?.config, &arguments),
        Command::Token(command) => token::execute(&load(file)?.config, &command),
        Command::Config(command) => config::execute(&load(file)?, &command),
    }
}

fn load(path: Option<&Path>) -> Result<Effective, Failure> {
    let usual = Path::new("weir.toml");
    let path = path.or_else(|| usual.is_file().then_some(usual));
    let environment: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    Ok(Effective::load(path, &environment)?)
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_empty_no_color_means_nothing() {
        let asked = |text: &str| super::wants_colour(Some(text.as_ref()));
        assert!(super::wants_colour(None) && asked("") && !asked("1") && !asked("0"));
    }
}
