//! What the system says of the server's memory, and of what it holds for a socket.

use crate::bench::{failure, wait_until};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How often memory is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Bytes of a page of memory.
const PAGE_BYTES: u64 = 4_096;

/// Resident bytes of a running program.
pub fn resident(pid: u32) -> std::io::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.map(|kib| kib * 1_024)
        .ok_or_else(|| failure("the system does not say how much memory is resident"))
}

/// Looks again and again until told to stop, and remembers the most it saw.
#[derive(Debug, Default)]
pub struct Watch {
    highest: AtomicU64,
    is_over: AtomicBool,
}

impl Watch {
    /// Watches; ends after [`Watch::stop`].
    pub fn run(&self, pid: u32) -> std::io::Result<()> {
        while !self.is_over.load(Ordering::SeqCst) {
            self.highest.fetch_max(resident(pid)?, Ordering::SeqCst);
            wait_until(Instant::now() + LOOK);
        }
        Ok(())
    }

    /// Ends it.
    pub fn stop(&self) {
        self.is_over.store(true, Ordering::SeqCst);
    }

    /// The most bytes that were seen since the last time this was asked.
    pub fn take_highest(&self) -> u64 {
        self.highest.swap(0, Ordering::SeqCst)
    }
}

/// Bytes that the system holds on the server's side of a connection, not yet taken by the client's
/// side; they are not part of the server's resident memory. Nothing if there is no such connection.
pub fn send_queue(server: SocketAddr, client: SocketAddr) -> Option<u64> {
    let table = std::fs::read_to_string("/proc/net/tcp").ok()?;
    let port = |address: &str| u16::from_str_radix(address.split_once(':')?.1, 16).ok();
    table.lines().skip(1).find_map(|line| {
        let mut columns = line.split_whitespace().skip(1);
        let (local, remote) = (port(columns.next()?)?, port(columns.next()?)?);
        let (sent, _) = columns.nth(1)?.split_once(':')?;
        let is_it = local == server.port() && remote == client.port();
        is_it.then(|| u64::from_str_radix(sent, 16).ok())?
    })
}

/// What the system holds for every socket, as far as it is told apart.
const SOCKET_CACHES: [&str; 5] = ["TCP", "sock_inode_cache", "filp", "dentry", "eventpoll_epi"];

/// Bytes of the system's tables for all sockets of this machine, by table. Nothing if only root may know.
pub fn socket_tables() -> Option<Vec<(&'static str, u64)>> {
    let table = std::fs::read_to_string("/proc/slabinfo").ok()?;
    let bytes = |name: &str| {
        let mut rows = table.lines().map(|line| line.split_whitespace());
        let mut row = rows.find_map(|mut words| (words.next() == Some(name)).then_some(words))?;
        let objects: u64 = row.next()?.parse().ok()?;
        Some(objects * row.nth(1)?.parse::<u64>().ok()?)
    };
    Some(
        SOCKET_CACHES
            .iter()
            .map(|name| (*name, bytes(name).unwrap_or(0)))
            .collect(),
    )
}

/// Bytes that wait in all TCP sockets of this machine.
pub fn socket_buffers() -> Option<u64> {
    let table = std::fs::read_to_string("/proc/net/sockstat").ok()?;
    let line = table.lines().find_map(|line| line.strip_prefix("TCP:"))?;
    let mut words = line.split_whitespace().skip_while(|word| *word != "mem").skip(1);
    words.next()?.parse::<u64>().ok().map(|pages| pages * PAGE_BYTES)
}
