//! What a power cut leaves of files: the notes of `powercut.c`, read and applied.
//!
//! Knows files and notes, not SQLite. First all changes since the last sync are taken back, newest
//! first, which also recovers what each had written. Then those that a later sync saved are made
//! again, and of the rest as many as the cut is to leave. Invariant: what a successful sync covered
//! is always there, what only a failed one covered never.

use rand::RngExt;
use rand::rngs::StdRng;
use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The bytes that a disk writes at once.
const SECTOR: u64 = 512;
/// The five numbers before a note's bytes.
const HEAD: usize = 40;
/// What notes of a file are called.
const NOTES: &str = ".undo";

/// How much of what was not synced a power cut leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survival {
    /// Nothing.
    Nothing,
    /// Some writes, each whole or not at all.
    Writes,
    /// Of each sector some state that it had since the last sync.
    Sectors,
}

/// What a power cut did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// Changes that were not saved when it came.
    pub unsaved: u64,
    /// Those of them that are on the disk all the same, at least in part.
    pub kept: u64,
}

/// Leaves in `folder` what a power cut at the time of the kill would have left.
pub fn cut_power(folder: &Path, survival: Survival, rng: &mut StdRng) -> io::Result<Cut> {
    let mut cut = Cut::default();
    for (file, notes) in noted_files(folder)? {
        cut_file(&file, &fs::read(&notes)?, survival, rng, &mut cut)?;
        File::create(&notes)?;
    }
    for path in listed(folder)? {
        // Shared memory is gone with the power.
        if path.to_string_lossy().ends_with("-shm") {
            fs::remove_file(path)?;
        }
    }
    Ok(cut)
}

/// After a kill without a power cut: takes off a last note that was cut short, whose change was never made.
pub fn mend(folder: &Path) -> io::Result<()> {
    for (_, notes) in noted_files(folder)? {
        let (_, whole) = parse(&fs::read(&notes)?);
        OpenOptions::new().write(true).open(&notes)?.set_len(whole as u64)?;
    }
    Ok(())
}

/// Files with their notes, by name.
fn noted_files(folder: &Path) -> io::Result<Vec<(PathBuf, PathBuf)>> {
    let notes = listed(folder)?.into_iter();
    let file = |notes: &PathBuf| notes.to_str()?.strip_suffix(NOTES).map(PathBuf::from);
    Ok(notes.filter_map(|notes| Some((file(&notes)?, notes))).collect())
}

fn listed(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries: io::Result<Vec<PathBuf>> = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect();
    let mut entries = entries?;
    entries.sort();
    Ok(entries)
}

/// A note as it was written.
enum Note<'a> {
    Write {
        offset: u64,
        length: u64,
        old_size: u64,
        old: &'a [u8],
    },
    Length {
        length: u64,
        old_size: u64,
        old: &'a [u8],
    },
    Synced,
    SyncFailed,
}

/// The notes, and how many bytes they take; what follows was cut short.
fn parse(mut bytes: &[u8]) -> (Vec<Note<'_>>, usize) {
    let (all, mut notes) = (bytes.len(), Vec::new());
    while let Some((head, rest)) = bytes.split_at_checked(HEAD) {
        let number = |at: usize| u64::from_ne_bytes(head[at * 8..at * 8 + 8].try_into().expect("it is eight bytes"));
        let Some((old, rest)) = rest.split_at_checked(number(4) as usize) else {
            break;
        };
        notes.push(match number(0) {
            1 => Note::Write {
                offset: number(1),
                length: number(2),
                old_size: number(3),
                old,
            },
            2 => Note::Length {
                length: number(1),
                old_size: number(3),
                old,
            },
            3 => Note::Synced,
            _ => Note::SyncFailed,
        });
        bytes = rest;
    }
    (notes, all - bytes.len())
}

/// A change, with what it wrote.
enum Step {
    Write { offset: u64, bytes: Vec<u8> },
    Length(u64),
    Synced,
    SyncFailed,
}

fn cut_file(path: &Path, notes: &[u8], survival: Survival, rng: &mut StdRng, cut: &mut Cut) -> io::Result<()> {
    let file = match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let (notes, _) = parse(notes);
    let mut steps = notes
        .iter()
        .rev()
        .map(|note| take_back(&file, note))
        .collect::<io::Result<Vec<_>>>()?;
    steps.reverse();
    let mut unsaved = Vec::new();
    for step in steps {
        match step {
            Step::Synced => {
                for step in unsaved.drain(..) {
                    redo(&file, &step)?;
                }
            }
            Step::SyncFailed => {
                cut.unsaved += unsaved.len() as u64;
                unsaved.clear();
            }
            step => unsaved.push(step),
        }
    }
    cut.unsaved += unsaved.len() as u64;
    cut.kept += match survival {
        Survival::Nothing => 0,
        Survival::Writes => keep_writes(&file, &unsaved, rng)?,
        Survival::Sectors => keep_sectors(&file, &unsaved, rng)?,
    };
    Ok(())
}

/// Undoes a change; returns it so that it can be made again.
fn take_back(file: &File, note: &Note<'_>) -> io::Result<Step> {
    Ok(match note {
        Note::Write {
            offset,
            length,
            old_size,
            old,
        } => {
            let there = file.metadata()?.len().saturating_sub(*offset).min(*length);
            let mut bytes = vec![0; there as usize];
            file.read_exact_at(&mut bytes, *offset)?;
            file.write_all_at(old, *offset)?;
            file.set_len(*old_size)?;
            Step::Write { offset: *offset, bytes }
        }
        Note::Length { length, old_size, old } => {
            file.set_len(*old_size)?;
            file.write_all_at(old, *length)?;
            Step::Length(*length)
        }
        Note::Synced => Step::Synced,
        Note::SyncFailed => Step::SyncFailed,
    })
}

fn redo(file: &File, step: &Step) -> io::Result<()> {
    match step {
        Step::Write { offset, bytes } => file.write_all_at(bytes, *offset),
        Step::Length(length) => file.set_len(*length),
        Step::Synced | Step::SyncFailed => Ok(()),
    }
}

fn keep_writes(file: &File, unsaved: &[Step], rng: &mut StdRng) -> io::Result<u64> {
    let mut kept = 0;
    for step in unsaved {
        if rng.random_bool(0.5) {
            redo(file, step)?;
            kept += 1;
        }
    }
    Ok(kept)
}

/// Each sector was written to the disk at some moment, with all that had come before.
fn keep_sectors(file: &File, unsaved: &[Step], rng: &mut StdRng) -> io::Result<u64> {
    let (mut moments, mut kept) = (HashMap::new(), 0);
    for (at, step) in unsaved.iter().enumerate() {
        let mut is_kept = false;
        match step {
            Step::Write { offset, bytes } => {
                for (sector, piece) in pieces(*offset, bytes) {
                    let moment = *moments
                        .entry(sector / SECTOR)
                        .or_insert_with(|| rng.random_range(0..=unsaved.len()));
                    if at < moment {
                        file.write_all_at(piece, sector)?;
                        is_kept = true;
                    }
                }
            }
            other if rng.random_bool(0.5) => {
                redo(file, other)?;
                is_kept = true;
            }
            _ => {}
        }
        kept += u64::from(is_kept);
    }
    Ok(kept)
}

/// A write cut at the borders of sectors, each piece with its place.
fn pieces(mut offset: u64, mut bytes: &[u8]) -> Vec<(u64, &[u8])> {
    let mut pieces = Vec::new();
    while !bytes.is_empty() {
        let room = (SECTOR - offset % SECTOR) as usize;
        let (piece, rest) = bytes.split_at(room.min(bytes.len()));
        pieces.push((offset, piece));
        offset += piece.len() as u64;
        bytes = rest;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_end_where_sectors_end() {
        let bytes = vec![7; 1_100];
        let found = pieces(500, &bytes);
        let shape: Vec<(u64, usize)> = found.iter().map(|(at, piece)| (*at, piece.len())).collect();
        assert_eq!(shape, [(500, 12), (512, 512), (1_024, 512), (1_536, 64)]);
    }

    #[test]
    fn a_note_that_was_cut_short_is_no_note() {
        let mut bytes: Vec<u8> = [1_u64, 0, 3, 9, 2]
            .iter()
            .flat_map(|number| number.to_ne_bytes())
            .collect();
        bytes.extend_from_slice(b"ab");
        let whole = bytes.len();
        assert_eq!(parse(&bytes).1, whole);
        bytes.extend_from_slice(&bytes.clone()[..whole - 1]);
        let (notes, length) = parse(&bytes);
        assert_eq!((notes.len(), length), (1, whole));
    }
}
