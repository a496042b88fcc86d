//! What a running server holds: descriptors by kind, threads, memory.
//!
//! Read from `/proc`. Invariant: two censuses of servers that do the same are comparable; nothing
//! in a kind's name depends on which one it was.

use std::collections::BTreeMap;
use std::fs;
use std::io;

/// Threads that may be there more than before: those that await blocking calls come and go.
const THREADS_MORE: u64 = 4;
/// Descriptors of one file that may be there more than before: pools open their connections when
/// they are needed, and SQLite keeps a closed one for the next.
const FILES_MORE: u64 = 3;

/// What was counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Open descriptors by kind: `socket`, `pipe`, or a file's path.
    pub descriptors: BTreeMap<String, u64>,
    /// Threads.
    pub threads: u64,
    /// Memory in use, in KiB.
    pub resident_kib: u64,
}

impl Census {
    /// Counts what the server of this id holds now.
    pub fn take(pid: u32) -> io::Result<Self> {
        let mut census = Self::default();
        for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
            // It may have been closed since the folder was read.
            if let Ok(target) = fs::read_link(entry?.path()) {
                *census.descriptors.entry(kind(&target.to_string_lossy())).or_default() += 1;
            }
        }
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        census.threads = number(&status, "Threads:");
        census.resident_kib = number(&status, "VmRSS:");
        Ok(census)
    }

    /// Sockets, those that listen among them.
    pub fn sockets(&self) -> u64 {
        self.descriptors.get("socket").copied().unwrap_or(0)
    }

    /// What there is more of than before, one line each.
    pub fn leaks_since(&self, before: &Census) -> Vec<String> {
        let mut leaks = Vec::new();
        for (kind, now) in &self.descriptors {
            let then = before.descriptors.get(kind).copied().unwrap_or(0);
            let may_be = if kind.starts_with('/') { then + FILES_MORE } else { then };
            if *now > may_be {
                leaks.push(format!("{kind}: {then} before, {now} now"));
            }
        }
        if self.threads > before.threads + THREADS_MORE {
            leaks.push(format!("threads: {} before, {} now", before.threads, self.threads));
        }
        leaks
    }
}

/// `socket:[123]` is a socket, whichever.
fn kind(target: &str) -> String {
    let named = target.split_once(":[").map_or(target, |(kind, _)| kind);
    named.trim_end_matches(" (deleted)").to_owned()
}

fn number(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_no_numbers() {
        assert_eq!(kind("socket:[4711]"), "socket");
        assert_eq!(kind("pipe:[12]"), "pipe");
        assert_eq!(kind("anon_inode:[eventpoll]"), "anon_inode");
        assert_eq!(kind("/tmp/a/test.db-wal (deleted)"), "/tmp/a/test.db-wal");
    }

    #[test]
    fn one_socket_more_is_a_leak_and_some_files_more_are() {
        let file = tempfile();
        let before = Census::take(std::process::id()).expect("this is Linux");
        assert!(before.threads > 0 && before.resident_kib > 0 && !before.descriptors.is_empty());
        let mut now = before.clone();
        assert_eq!(now.leaks_since(&before), Vec::<String>::new());
        *now.descriptors.entry("socket".to_owned()).or_default() += 1;
        now.threads += THREADS_MORE + 1;
        assert_eq!(now.leaks_since(&before).len(), 2);
        let path = now.descriptors.keys().find(|kind| kind.starts_with('/')).cloned();
        let path = path.expect("a file is open");
        *now.descriptors.entry(path.clone()).or_default() += FILES_MORE;
        assert_eq!(now.leaks_since(&before).len(), 2);
        *now.descriptors.entry(path).or_default() += 1;
        assert_eq!(now.leaks_since(&before).len(), 3);
        assert_eq!(before.leaks_since(&now), Vec::<String>::new());
        drop(file);
    }

    /// Something that is open while the census is taken.
    fn tempfile() -> fs::File {
        fs::File::open("/proc/self/status").expect("this is Linux")
    }
}
