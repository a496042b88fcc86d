//! Many sockets, each of a session of its own, on one thread: opened as fast as the server lets them in,
//! then read and counted.
//!
//! Each thousand has an address of the loopback network, as one has only so many ports, and each crowd
//! has others, as ports are not free at once when their sockets are closed. Invariant: what is not as it
//! should be (a gap, a refusal, an end) is an error and not a figure.

use crate::bench::failure;
use crate::bench::http::Head;
use crate::bench::server::Server;
use crate::bench::socket::{Heard, Inbox, PONG, framed, upgrade};
use serde_json::{Value, json};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

/// Sockets that are opened at once.
const DOORS: usize = 32;
/// Sockets from one address. With many, the system looks long for a free port.
const ADDRESS_SOCKETS: usize = 1_000;
/// Longest wait for what has to come.
const PATIENCE: Duration = Duration::from_secs(60);
/// How soon to look again.
const LOOK: Duration = Duration::from_millis(1);
/// Room for the head of an answer.
const HEAD_BYTES: usize = 4_096;

/// Connected sockets that are read whenever one of the functions here runs.
pub struct Crowd {
    runtime: Runtime,
    members: JoinSet<std::io::Result<()>>,
    size: usize,
    /// Where its members come from: 127, this, and two bytes that count.
    network: u8,
    heard: Arc<AtomicU64>,
}

/// Where the members come in.
struct Door {
    address: SocketAddr,
    network: u8,
    session: Vec<u8>,
    line: TcpStream,
    buffer: Vec<u8>,
}

impl Crowd {
    /// Nobody; lets this program open as many files as it may.
    pub fn new() -> std::io::Result<Self> {
        rlimit::increase_nofile_limit(u64::MAX)?;
        Ok(Self {
            runtime: Builder::new_current_thread().enable_all().build()?,
            members: JoinSet::new(),
            size: 0,
            network: rand::random_range(1..255),
            heard: Arc::default(),
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.size
    }

    /// One member more for each list of streams, which it has subscribed to when this returns.
    pub fn admit(&mut self, server: &Server, wishes: &[&[String]]) -> std::io::Result<()> {
        let Self {
            runtime,
            members,
            size,
            network,
            heard,
        } = self;
        let first = *size;
        let each = wishes.len().div_ceil(DOORS).max(1);
        runtime.block_on(async {
            let mut doors = JoinSet::new();
            for (number, part) in wishes.chunks(each).enumerate() {
                let frames: Vec<_> = part
                    .iter()
                    .map(|streams| (subscriptions(streams), streams.len()))
                    .collect();
                let door = Door::open(server, *network).await?;
                doors.spawn(door.admit(first + number * each, frames));
            }
            while let Some(came) = doors.join_next().await {
                for (stream, inbox) in came?? {
                    members.spawn(read(stream, inbox, Arc::clone(heard)));
                    *size += 1;
                }
            }
            Ok(())
        })
    }

    /// Reads until so many events came in all.
    pub fn read_until(&mut self, events: u64) -> std::io::Result<()> {
        let mut newest = (Instant::now(), self.heard());
        while self.heard() < events {
            self.read_for(LOOK)?;
            if self.heard() > newest.1 {
                newest = (Instant::now(), self.heard());
            } else if newest.0.elapsed() > PATIENCE {
                return Err(failure(format!("{} events came of {events}", self.heard())));
            }
        }
        Ok(())
    }

    /// Reads for so long.
    pub fn read_for(&mut self, time: Duration) -> std::io::Result<()> {
        let members = &mut self.members;
        self.runtime.block_on(async {
            match tokio::time::timeout(time, members.join_next()).await {
                Ok(Some(ended)) => ended?,
                Ok(None) => {
                    tokio::time::sleep(time).await;
                    Ok(())
                }
                Err(_) => Ok(()),
            }
        })
    }

    /// Events that came to all of them so far.
    pub fn heard(&self) -> u64 {
        self.heard.load(Ordering::SeqCst)
    }
}

impl Door {
    async fn open(server: &Server, network: u8) -> std::io::Result<Self> {
        let line = TcpStream::connect(server.address).await?;
        line.set_nodelay(true)?;
        Ok(Self {
            address: server.address,
            network,
            session: server.request("POST", "/session", ""),
            line,
            buffer: Vec::new(),
        })
    }

    /// Lets members in one after another, the first with this number.
    async fn admit(mut self, first: usize, wishes: Vec<(Vec<u8>, usize)>) -> std::io::Result<Vec<(TcpStream, Inbox)>> {
        let mut members = Vec::with_capacity(wishes.len());
        for (number, (frames, count)) in wishes.into_iter().enumerate() {
            let session = self.session().await?;
            let mut stream = self.connect(first + number, &session).await?;
            stream.write_all(&frames).await?;
            let mut inbox = Inbox::of(HEAD_BYTES);
            expect_replies(&mut stream, &mut inbox, count).await?;
            members.push((stream, inbox));
        }
        Ok(members)
    }

    async fn session(&mut self) -> std::io::Result<String> {
        self.line.write_all(&self.session).await?;
        self.buffer.clear();
        let head = loop {
            read_more(&mut self.line, &mut self.buffer).await?;
            match Head::parse(&self.buffer)? {
                Some(head) if self.buffer.len() >= head.end => break head,
                _ => {}
            }
        };
        let answer: Value = serde_json::from_slice(&self.buffer[head.body..head.end])?;
        let id = answer["body"]["id"].as_str();
        id.map(str::to_owned)
            .ok_or_else(|| failure(format!("no session: {answer}")))
    }

    async fn connect(&self, number: usize, session: &str) -> std::io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        if self.address.ip().is_loopback() {
            let count = u16::try_from(1 + number / ADDRESS_SOCKETS).map_err(|_| failure("too many sockets"))?;
            let [high, low] = count.to_be_bytes();
            socket.bind((Ipv4Addr::new(127, self.network, high, low), 0).into())?;
        }
        let mut stream = socket.connect(self.address).await?;
        stream.set_nodelay(true)?;
        stream.write_all(upgrade(self.address, session).as_bytes()).await?;
        let mut head = Vec::new();
        // Behind its head the server says nothing before it is asked.
        while !head.ends_with(b"\r\n\r\n") {
            read_more(&mut stream, &mut head).await?;
        }
        match head.starts_with(b"HTTP/1.1 101") {
            true => Ok(stream),
            false => Err(failure(String::from_utf8_lossy(&head))),
        }
    }
}

async fn read_more(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> std::io::Result<()> {
    buffer.reserve(HEAD_BYTES);
    match tokio::time::timeout(PATIENCE, stream.read_buf(buffer)).await?? {
        0 => Err(failure("the server ended the connection")),
        _ => Ok(()),
    }
}

/// One frame for each stream.
fn subscriptions(streams: &[String]) -> Vec<u8> {
    let subscribe = |stream: &String| json!({"msgId": 1, "object": "event", "type": "subscribe", "streamId": stream});
    streams
        .iter()
        .flat_map(|stream| framed(&subscribe(stream).to_string()))
        .collect()
}

async fn expect_replies(stream: &mut TcpStream, inbox: &mut Inbox, count: usize) -> std::io::Result<()> {
    let mut replies = 0;
    while replies < count {
        let read = tokio::time::timeout(PATIENCE, stream.read(inbox.room())).await??;
        inbox.filled(read)?;
        while let Some(heard) = inbox.next()? {
            match heard {
                Heard::Reply => replies += 1,
                other => return Err(failure(format!("not an answer: {other:?}"))),
            }
        }
    }
    Ok(())
}

/// Reads until the socket ends, which it should not.
async fn read(stream: TcpStream, mut inbox: Inbox, heard: Arc<AtomicU64>) -> std::io::Result<()> {
    loop {
        stream.readable().await?;
        match stream.try_read(inbox.room()) {
            Ok(count) => inbox.filled(count)?,
            Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        }
        while let Some(frame) = inbox.next()? {
            match frame {
                Heard::Event { .. } => _ = heard.fetch_add(1, Ordering::SeqCst),
                Heard::Ping => _ = stream.try_write(PONG)?,
                Heard::Gap { from, to } => return Err(failure(format!("events {from} to {to} do not come"))),
                Heard::Reply => {}
            }
        }
    }
}
