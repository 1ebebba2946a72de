//! The gate: no kind of query takes more instructions than what `baseline.txt` records, give or take 2 %.
//!
//! `make instructions` records a new baseline, which belongs into the commit that changes the figures.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Queries per kind; the figure is their mean.
const TIMES: u64 = 1000;
/// Growth that passes.
const TOLERANCE: f64 = 0.02;
/// With another compiler than the baseline's: it decides on its own what to inline.
const TOLERANCE_ELSEWHERE: f64 = 0.20;
/// Set by `make instructions`.
const RECORD: &str = "SUBM_RECORD_INSTRUCTIONS";

#[test]
fn no_kind_of_query_takes_more_instructions_than_recorded() {
    let program = build();
    let kinds = run(Command::new(&program));
    let compiler = run({
        let mut rustc = Command::new("rustc");
        rustc.arg("--version");
        rustc
    });
    let compiler = compiler.trim();
    let counted: Vec<(&str, f64)> = kinds
        .lines()
        .map(|kind| (kind, count(&program, kind)))
        .collect();
    if std::env::var_os(RECORD).is_some() {
        std::fs::write(baseline_path(), baseline_text(compiler, &counted)).unwrap();
        return;
    }
    let text = std::fs::read_to_string(baseline_path()).unwrap();
    let (recorded_with, baseline) = parse(&text);
    let tolerance = if recorded_with == compiler {
        TOLERANCE
    } else {
        eprintln!(
            "recorded with {recorded_with}, counted with {compiler}: {TOLERANCE_ELSEWHERE} passes"
        );
        TOLERANCE_ELSEWHERE
    };
    let mut report = String::new();
    let mut worse = false;
    for (kind, count) in &counted {
        let Some(recorded) = baseline.get(kind) else {
            writeln!(report, "{kind}: {count:.0}, not recorded").unwrap();
            worse = true;
            continue;
        };
        let growth = count / recorded - 1.0;
        let exceeded = growth > tolerance;
        worse |= exceeded;
        let mark = if exceeded { "  <-- too many" } else { "" };
        writeln!(
            report,
            "{kind}: {count:.0}, recorded {recorded:.0} ({:+.1} %){mark}",
            growth * 100.0
        )
        .unwrap();
    }
    println!("{report}");
    assert!(
        !worse,
        "instructions per query:\n{report}if the growth is worth it, `make instructions` records it; commit baseline.txt and say why"
    );
    let names: Vec<&str> = counted.iter().map(|(kind, _)| *kind).collect();
    assert!(
        baseline.keys().all(|kind| names.contains(kind)),
        "baseline.txt has kinds that are gone; `make instructions` records anew"
    );
}

/// Mean instructions of one `respond()`.
fn count(program: &Path, kind: &str) -> f64 {
    let mut valgrind = Command::new("valgrind");
    valgrind
        .args([
            "--tool=callgrind",
            "--callgrind-out-file=/dev/null",
            "--toggle-collect=*measured*",
        ])
        .arg(program)
        .args([kind, &TIMES.to_string()]);
    let output = valgrind
        .output()
        .expect("valgrind cannot be run; tests/tools.sh installs it");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{kind}: {text}");
    let collected = text
        .lines()
        .find_map(|line| line.split_once("Collected :")?.1.trim().parse::<f64>().ok());
    let collected = collected.unwrap_or_else(|| panic!("valgrind tells no count: {text}"));
    assert!(collected > 0.0, "nothing of {kind} was counted");
    collected / TIMES as f64
}

fn build() -> PathBuf {
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["build", "--release", "--quiet", "--message-format=json"])
        .args(["--package", env!("CARGO_PKG_NAME")]);
    let messages = run(cargo);
    let executable = messages.lines().find_map(|line| {
        let path = line.split_once("\"executable\":\"")?.1;
        path.split_once('"').map(|(path, _)| PathBuf::from(path))
    });
    executable.expect("cargo names the program that it has built")
}

fn run(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

fn baseline_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("baseline.txt")
}

fn baseline_text(compiler: &str, counted: &[(&str, f64)]) -> String {
    let mut text = format!("compiler: {compiler}\n");
    for (kind, count) in counted {
        writeln!(text, "{kind}: {count:.1}").unwrap();
    }
    text
}

/// The compiler, and instructions per query by kind.
fn parse(text: &str) -> (&str, BTreeMap<&str, f64>) {
    let mut lines = text.lines().filter_map(|line| line.split_once(": "));
    let (_, compiler) = lines.next().expect("baseline.txt begins with the compiler");
    let counts = lines.map(|(kind, count)| (kind, count.parse().expect("a number")));
    (compiler, counts.collect())
}
