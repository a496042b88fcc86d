//! What a server claims before it starts: its address, and the database file for itself.
//!
//! Invariant: who has the lock is the only server on that file, until the log's writer has ended.

use crate::database;
use crate::domain::error::Fault;
use std::fs::{File, TryLockError};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4_096;

/// Listens where a setting says; connections wait from now on.
pub(super) fn listen(setting: &str, address: SocketAddr) -> Result<TcpListener, Fault> {
    use socket2::{Domain, Protocol, Socket, Type};
    let open = || -> std::io::Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    open().map_err(|error| {
        let text = format!("cannot listen on {address}: {error}; set {setting} to another address");
        Fault::Io(std::io::Error::new(error.kind(), text))
    })
}

/// One server a database file: the order of events is given by one writer.
pub(super) fn lock(database_url: &str) -> Result<File, Fault> {
    let mut path = database::file(database_url)?.into_os_string();
    path.push(".lock");
    let path = PathBuf::from(path);
    // What is in it stays: it tells how far the log has come.
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let text = format!(
                "another server uses this database ({} is locked); stop it, or set STREAMGATE_DATABASE_URL",
                path.display()
            );
            Err(Fault::Io(std::io::Error::other(text)))
        }
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}
