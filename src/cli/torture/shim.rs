//! The library that is preloaded into the server: building it, and its control file.
//!
//! `powercut.c` says what it does. Linux only, and a C compiler is needed. Invariant: it works in
//! the server alone, never in the harness, so the harness sees the files as they are.

use crate::cli::failure;
use crate::domain::error::Error;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What is compiled.
const SOURCE: &str = include_str!("powercut.c");
/// The mapped file's length.
const CONTROL_BYTES: u64 = 4_096;
/// Where the counts begin in it.
const COUNTS: u64 = 64;

/// The environment variable that names the folder whose files are watched.
pub const FOLDER_VARIABLE: &str = "STREAMGATE_SHIM_DIR";

/// Compiles the library into `folder` and returns its path.
pub fn build(folder: &Path) -> Result<PathBuf, Error> {
    if !cfg!(target_os = "linux") {
        return Err(failure("power cuts are simulated on Linux only"));
    }
    let (source, library) = (folder.join("powercut.c"), folder.join("powercut.so"));
    std::fs::write(&source, SOURCE).map_err(|error| failure(format!("{}: {error}", source.display())))?;
    let mut compiler = Command::new("cc");
    compiler
        .args(["-shared", "-fPIC", "-O2", "-o"])
        .arg(&library)
        .arg(&source);
    let built = compiler.args(["-ldl", "-pthread"]).output();
    let built =
        built.map_err(|error| failure(format!("a C compiler is needed to simulate power cuts: cc: {error}")))?;
    if built.status.success() {
        return Ok(library);
    }
    let said = String::from_utf8_lossy(&built.stderr).into_owned();
    Err(failure(format!("cc does not compile {}: {said}", source.display())))
}

/// What the disk refuses to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ailment {
    /// Writes that make a file longer fail: no space left.
    Full,
    /// All writes fail: no space left.
    FullForAll,
    /// All writes fail: input/output error.
    Writes,
    /// Syncs fail, and what they were to save is never saved.
    Syncs,
}

impl Ailment {
    /// Place and value of its switch.
    fn switch(self) -> (u64, u32) {
        match self {
            Ailment::Full => (0, 1),
            Ailment::FullForAll => (0, 2),
            Ailment::Writes => (4, 1),
            Ailment::Syncs => (8, 1),
        }
    }
}

/// What the library has done since the control file was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Changes of watched files that were noted.
    pub noted: u64,
    /// Writes refused because the disk was full.
    pub refused: u64,
    /// Writes failed.
    pub failed: u64,
    /// Syncs done.
    pub synced: u64,
    /// Syncs failed.
    pub sync_failed: u64,
}

impl Counts {
    /// How often it failed something.
    pub fn bites(&self) -> u64 {
        self.refused + self.failed + self.sync_failed
    }
}

/// The switches.
pub struct Control {
    file: File,
}

impl Control {
    /// Makes the file in `folder` if need be, everything switched off.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.open(folder.join("shim.control"))?;
        file.set_len(CONTROL_BYTES)?;
        let control = Self { file };
        control.heal()?;
        Ok(control)
    }

    /// Makes the disk ill.
    pub fn ail(&self, ailment: Ailment) -> io::Result<()> {
        let (place, value) = ailment.switch();
        self.file.write_all_at(&value.to_ne_bytes(), place)
    }

    /// Makes the disk work.
    pub fn heal(&self) -> io::Result<()> {
        self.file.write_all_at(&[0; 12], 0)
    }

    /// What was done so far.
    pub fn counts(&self) -> io::Result<Counts> {
        let mut bytes = [0; 40];
        self.file.read_exact_at(&mut bytes, COUNTS)?;
        let (numbers, _) = bytes.as_chunks::<8>();
        let [noted, refused, failed, synced, sync_failed] = [0, 1, 2, 3, 4].map(|at| u64::from_ne_bytes(numbers[at]));
        Ok(Counts {
            noted,
            refused,
            failed,
            synced,
            sync_failed,
        })
    }
}
