//! What the hot machines cost, counted: instructions and allocations of a turn, which are the same
//! on every run and so can be compared between commits.
//!
//! `cargo bench --bench counts` (`-- --help` lists the settings), with `valgrind` installed. Every case of
//! `benches/bench/machines.rs` runs under callgrind, which counts within its turns only, and twice under
//! memcheck, the second time with as many turns again: the difference, divided by those turns, is what
//! one allocates. So nothing that comes before or after counts.
//!
//! Printed: a row a case, and by how much it differs from `benches/counts.txt`, if by more than 0.1 %.
//! `-- --save` writes that file anew. Figures depend on the compiler and its settings, so a comparison
//! means something between builds of the same toolchain and profile only; both stand in the file.

mod bench;

use bench::failure;
use bench::machines::{CASES, Case, FINDS, Growth, Turn};
use clap::Parser;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::process::Command;

/// Where the figures to compare with are.
const BASELINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/counts.txt");
/// Turns before anything counts: tables grow, and the allocator settles.
const WARM_UP: usize = 16;
/// About how much all counted turns of a case have together where cost grows, and how many turns at least
/// and at most.
const UNITS: usize = 20_000;
const TURNS: std::ops::RangeInclusive<usize> = 4..=2_000;
/// The function within which instructions count.
const COUNTED: &str = "--toggle-collect=*repeat_turns*";
/// A difference that is shown, in per cent.
const SHOWN: f64 = 0.1;

/// Counts what the machines cost.
#[derive(Parser)]
struct Settings {
    /// Only those with this in their name.
    only: Option<String>,
    /// Writes the figures to compare with anew.
    #[arg(long)]
    save: bool,
    /// Runs one case, as this program tells itself to.
    #[arg(long, hide = true, num_args = 3, value_names = ["CASE", "SIZE", "TURNS"])]
    turn: Option<Vec<String>>,
    /// Cargo says this to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What one turn costs.
#[derive(Clone, Copy)]
struct Cost {
    instructions: f64,
    allocations: f64,
    bytes: f64,
}

fn main() -> std::io::Result<()> {
    let settings = Settings::parse();
    if let Some(words) = &settings.turn {
        return work(words);
    }
    let mut text = head();
    println!("{text}");
    let before = read_baseline(&text);
    for case in CASES {
        if settings.only.as_ref().is_some_and(|part| !case.name.contains(part)) {
            continue;
        }
        for size in case.sizes {
            let row = row(case, *size, Cost::of(case, *size)?);
            let name = format!("{} {size}", case.name);
            println!(
                "{row}{}",
                before.get(&name).map_or_else(String::new, |old| changed(&row, old))
            );
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{row}");
        }
    }
    match (settings.save, &settings.only) {
        (false, _) => Ok(()),
        (true, None) => std::fs::write(BASELINE, text),
        (true, Some(_)) => Err(failure("only all of them can be saved")),
    }
}

/// Which build the figures are of, and what the columns are.
fn head() -> String {
    let compiler = Command::new("rustc").arg("--version").output();
    let compiler = compiler.map_or_else(
        |_| "unknown".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    );
    let profile = match cfg!(debug_assertions) {
        true => "unoptimized",
        false => "optimized",
    };
    format!(
        "# {compiler}, {profile}, {}; one turn: instructions, allocations, allocated bytes\n",
        std::env::consts::ARCH
    )
}

/// As it stands in the file: name, size, unit, figures.
fn row(case: &Case, size: usize, cost: Cost) -> String {
    format!(
        "{:<20} {size:>6} {:<11} {:>14.1} {:>10.2} {:>14.1}",
        case.name, case.unit, cost.instructions, cost.allocations, cost.bytes
    )
}

/// The rows of the file by name and size; none if they are of another build.
fn read_baseline(head: &str) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(BASELINE).unwrap_or_default();
    if !text.starts_with(head) {
        println!("not compared: {BASELINE} is of another build\n");
        return BTreeMap::new();
    }
    let rows = text.lines().filter(|line| !line.starts_with('#'));
    rows.filter_map(|line| {
        let mut words = line.split_whitespace();
        Some((format!("{} {}", words.next()?, words.next()?), line.to_owned()))
    })
    .collect()
}

/// What stands behind a row that differs.
fn changed(row: &str, old: &str) -> String {
    let figures = |row: &str| -> Vec<f64> {
        let words = row.split_whitespace().skip(3);
        words.filter_map(|word| word.parse().ok()).collect()
    };
    let columns = ["instructions", "allocations", "bytes"];
    let mut text = String::new();
    for ((name, new), old) in columns.iter().zip(figures(row)).zip(figures(old)) {
        let percent = 100.0 * (new - old) / old.max(f64::MIN_POSITIVE);
        if percent.abs() > SHOWN && new != old {
            let _ = match old == 0.0 {
                true => write!(text, "   {name} were none"),
                false => write!(text, "   {name} {percent:+.1} %"),
            };
        }
    }
    text
}

// --- counting -----------------------------------------------------------------------------------

impl Cost {
    fn of(case: &Case, size: usize) -> std::io::Result<Self> {
        let turns = turns(case, size);
        let executed = Tool::Callgrind.run(case, size, turns)?;
        let once = Tool::Memcheck.run(case, size, turns)?;
        let twice = Tool::Memcheck.run(case, size, 2 * turns)?;
        let allocated = |at: usize| (twice[at] as f64 - once[at] as f64) / turns as f64;
        Ok(Self {
            instructions: executed[0] as f64 / turns as f64,
            allocations: allocated(0),
            bytes: allocated(1),
        })
    }
}

/// How many are enough for a mean that is the same each time.
fn turns(case: &Case, size: usize) -> usize {
    match case.growth {
        Growth::Level => FINDS,
        Growth::Linear => (UNITS / size).clamp(*TURNS.start(), *TURNS.end()),
    }
}

/// What counts.
#[derive(Clone, Copy)]
enum Tool {
    /// Instructions.
    Callgrind,
    /// Allocations and their bytes.
    Memcheck,
}

impl Tool {
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Tool::Callgrind => &["--tool=callgrind", "--callgrind-out-file=/dev/null", COUNTED],
            Tool::Memcheck => &["--tool=memcheck", "--leak-check=no", "--undef-value-errors=no"],
        }
    }

    /// The line of what valgrind says in the end, and what stands before each figure in it.
    fn figures(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Tool::Callgrind => ("Collected", &[":"]),
            Tool::Memcheck => ("total heap usage", &[":", "frees,"]),
        }
    }

    /// With nothing of the environment, which would move the stack.
    fn run(self, case: &Case, size: usize, turns: usize) -> std::io::Result<Vec<u64>> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let output = Command::new("valgrind")
            .args(self.arguments())
            .arg(std::env::current_exe()?)
            .args(["--turn", case.name, &size.to_string(), &turns.to_string()])
            .env_clear()
            .env("PATH", path)
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        let (mark, before) = self.figures();
        let line = said.lines().find_map(|line| Some(line.split_once(mark)?.1));
        let figures = line.and_then(|line| before.iter().map(|mark| figure(line, mark)).collect());
        match (output.status.success(), figures) {
            (true, Some(figures)) => Ok(figures),
            _ => Err(failure(format!("valgrind did not count: {said}"))),
        }
    }
}

/// The number behind a mark, with commas between its digits.
fn figure(line: &str, mark: &str) -> Option<u64> {
    let rest = line.split_once(mark)?.1.trim_start();
    let end = rest
        .find(|c: char| !c.is_ascii_digit() && c != ',')
        .unwrap_or(rest.len());
    rest[..end].replace(',', "").parse().ok()
}

/// What runs under valgrind.
fn work(words: &[String]) -> std::io::Result<()> {
    let case = CASES.iter().find(|case| case.name == words[0]);
    let case = case.ok_or_else(|| failure("no such case"))?;
    let number = |text: &str| text.parse::<usize>().map_err(std::io::Error::other);
    let (size, turns) = (number(&words[1])?, number(&words[2])?);
    let mut turn = (case.make)(size);
    (0..WARM_UP).for_each(|_| turn());
    repeat_turns(&mut turn, turns);
    Ok(())
}

/// Found by its name, so it must not vanish into who calls it.
#[inline(never)]
fn repeat_turns(turn: &mut Turn, turns: usize) {
    for _ in 0..turns {
        turn();
    }
}
