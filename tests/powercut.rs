//! The simulated disk of `streamgate torture`: a real program under the real library, killed, and
//! what a power cut is then said to leave, compared with a model that knows what was synced.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use streamgate::cli::torture::disk::{Cut, Survival, cut_power, mend};
use streamgate::cli::torture::shim::{Control, FOLDER_VARIABLE, build};
use tempfile::TempDir;

const ENOSPC: &str = "28";
const EIO: &str = "5";

/// A folder with a watched file, the library, and the program that writes.
struct Bench {
    folder: TempDir,
    library: PathBuf,
    writer: PathBuf,
    control: Control,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let writer = folder.path().join("writer");
        let mut compiler = Command::new("cc");
        compiler.args(["-O1", "-o"]).arg(&writer);
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/powercut/writer.c");
        assert!(compiler.arg(source).status().expect("there is a compiler").success());
        Self {
            library: build(folder.path()).expect("it compiles"),
            control: Control::open(folder.path()).expect("a control file"),
            writer,
            folder,
        }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("test.db-wal")
    }

    /// Runs a script; returns the outcome of each of its steps.
    fn run(&self, script: &str) -> Vec<String> {
        let mut writer = Command::new(&self.writer);
        writer.arg(self.file()).args(script.split_whitespace());
        writer
            .env("LD_PRELOAD", &self.library)
            .env(FOLDER_VARIABLE, self.folder.path());
        let ended = writer.output().expect("it runs");
        assert_eq!(String::from_utf8_lossy(&ended.stderr), "");
        String::from_utf8_lossy(&ended.stdout)
            .lines()
            .map(str::to_owned)
            .collect()
    }

    fn cut(&self, survival: Survival) -> Cut {
        self.cut_with(survival, 1)
    }

    fn cut_with(&self, survival: Survival, seed: u64) -> Cut {
        let mut rng = StdRng::seed_from_u64(seed);
        cut_power(self.folder.path(), survival, &mut rng).expect("the files can be written")
    }

    fn text(&self) -> String {
        String::from_utf8(fs::read(self.file()).expect("it is there")).expect("it is text")
    }
}

#[test]
fn what_was_not_synced_is_gone_and_what_was_is_there() {
    let bench = Bench::new();
    bench.run("w 0 6 a s w 3 6 b t 4 a 2 c k");
    assert_eq!(bench.text(), "aaabcc", "a kill alone takes nothing");
    let cut = bench.cut(Survival::Nothing);
    assert_eq!((bench.text().as_str(), cut.unsaved, cut.kept), ("aaaaaa", 3, 0));
    assert_eq!(bench.cut(Survival::Nothing), Cut::default(), "the notes are used up");
    bench.run("w 3 6 b s k");
    bench.cut(Survival::Nothing);
    assert_eq!(bench.text(), "aaabbbbbb");
}

#[test]
fn what_one_life_left_unsaved_the_next_one_saves_or_loses() {
    let bench = Bench::new();
    bench.run("w 0 3 a s w 3 3 b k");
    let notes = bench.folder.path().join("test.db-wal.undo");
    let mut torn = fs::read(&notes).expect("there are notes");
    torn.extend_from_slice(&torn.clone()[..20]);
    fs::write(&notes, torn).expect("it can be written");
    mend(bench.folder.path()).expect("the files can be written");
    bench.run("w 6 3 c k");
    bench.cut(Survival::Nothing);
    assert_eq!(bench.text(), "aaa");
    bench.run("w 3 3 b k");
    bench.run("s w 6 3 c k");
    bench.cut(Survival::Nothing);
    assert_eq!(bench.text(), "aaabbb");
}

#[test]
fn what_a_failed_sync_covered_is_lost_unless_written_again() {
    let bench = Bench::new();
    let said = bench.run("w 0 9 a s w 0 3 b w 3 3 c c 8 1 s c 8 0 w 3 3 d s w 6 3 e k");
    assert_eq!(said[5], EIO, "{said:?}");
    assert_eq!(bench.text(), "bbbdddeee");
    bench.cut(Survival::Nothing);
    assert_eq!(bench.text(), "aaadddaaa");
    assert_eq!(bench.control.counts().expect("counts").sync_failed, 1);
}

#[test]
fn a_full_disk_takes_no_more_and_a_broken_one_nothing() {
    let bench = Bench::new();
    let said = bench.run("w 0 4 a s c 0 1 w 2 2 b w 2 3 b a 1 b t 5 c 0 2 w 0 1 c c 0 0 a 1 d s k");
    let growing = ["0", ENOSPC, ENOSPC, ENOSPC];
    assert_eq!(said[3..7], growing, "{said:?}");
    assert_eq!(said[8], ENOSPC, "{said:?}");
    assert_eq!(bench.text(), "aabbd");
    let said = bench.run("c 4 1 w 0 1 x c 4 0 w 0 1 y s k");
    assert_eq!(said, ["0", EIO, "0", "0", "0"]);
    bench.cut(Survival::Nothing);
    assert_eq!(bench.text(), "yabbd");
    let counts = bench.control.counts().expect("counts");
    assert_eq!((counts.refused, counts.failed, counts.bites()), (4, 1, 5));
}

#[test]
fn an_unlinked_file_takes_its_notes_with_it() {
    let bench = Bench::new();
    bench.run("w 0 4 a s w 0 4 b x w 0 2 c s w 2 2 d k");
    bench.cut(Survival::Nothing);
    assert_eq!(bench.text(), "cc");
}

/// A random script, and the file as it was after each of its steps; the last sync's number.
fn random_script(rng: &mut StdRng) -> (String, Vec<Vec<u8>>, usize) {
    let (mut script, mut file, mut states, mut synced) = (String::new(), Vec::new(), vec![Vec::new()], 0);
    for step in 1..=rng.random_range(5..40) {
        let (place, length) = (rng.random_range(0..3_000), rng.random_range(1..2_000));
        let letter = rng.random_range(b'a'..=b'z');
        match rng.random_range(0..10) {
            0 => {
                script += "s ";
                synced = step;
            }
            1 => {
                script += &format!("t {place} ");
                file.resize(place, 0);
            }
            _ => {
                script += &format!("w {place} {length} {} ", char::from(letter));
                file.resize(file.len().max(place + length), 0);
                file[place..place + length].fill(letter);
            }
        }
        states.push(file.clone());
    }
    (script + "k", states, synced)
}

#[test]
fn any_script_ends_at_its_last_sync() {
    let bench = Bench::new();
    let mut rng = StdRng::seed_from_u64(11);
    for round in 0..60 {
        let (script, states, synced) = random_script(&mut rng);
        let _ = fs::remove_file(bench.file());
        bench.run(&script);
        let whole = fs::read(bench.file()).expect("it is there");
        assert!(whole == states[states.len() - 1], "{round}: {script}");
        bench.cut(Survival::Nothing);
        let left = fs::read(bench.file()).expect("it is there");
        assert!(left == states[synced], "{round}: {script}");
    }
}

#[test]
fn sectors_are_as_they_were_at_some_moment_since_the_last_sync() {
    let bench = Bench::new();
    let mut rng = StdRng::seed_from_u64(12);
    let mut mixed = 0;
    for round in 0..40 {
        let (script, states, synced) = random_script(&mut rng);
        // A file's length and its sectors are not saved at one moment.
        if script.contains('t') {
            continue;
        }
        let _ = fs::remove_file(bench.file());
        bench.run(&script);
        bench.cut_with(Survival::Sectors, round);
        let left = fs::read(bench.file()).expect("it is there");
        let padded = |state: &[u8], at: usize| {
            let byte = |place| state.get(place).copied().unwrap_or(0);
            (at..at + 512).map(byte).collect::<Vec<u8>>()
        };
        for at in (0..left.len()).step_by(512) {
            let known = states[synced..]
                .iter()
                .any(|state| padded(state, at) == padded(&left, at));
            assert!(known, "{round}: sector at {at}: {script}");
        }
        mixed += u32::from(states[synced..].iter().all(|state| *state != left));
    }
    assert!(mixed > 0, "no cut left a file as it never was");
}

#[test]
fn whole_writes_are_kept_or_lost() {
    let bench = Bench::new();
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..32 {
        let _ = fs::remove_file(bench.file());
        bench.run("w 0 4 a s w 0 2 b w 2 2 c k");
        let cut = bench.cut_with(Survival::Writes, seed);
        assert_eq!(cut.unsaved, 2);
        seen.insert(bench.text());
    }
    let all: Vec<&str> = seen.iter().map(String::as_str).collect();
    assert_eq!(all, ["aaaa", "aacc", "bbaa", "bbcc"]);
}
