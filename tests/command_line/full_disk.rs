//! A disk that is full: who publishes is told, everybody else goes on, and it passes by itself.
//!
//! The disk is a small one in memory; mounting it needs root, and fails without.

use crate::publisher::{Ledger, Publisher, remember};
use crate::server::Server;
use crate::shell::{DEADLINE, Shell};
use serde_json::{Value, json};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

/// A disk of a few megabytes in a test's folder.
struct Disk {
    place: PathBuf,
}

impl Disk {
    fn mount(shell: &Shell) -> Self {
        let place = shell.folder().join("disk");
        std::fs::create_dir(&place).expect("a folder");
        let done = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=6m", "streamgate-test"])
            .arg(&place)
            .status();
        assert!(done.is_ok_and(|status| status.success()), "mounting a disk needs root");
        Self { place }
    }

    /// Takes what is free.
    fn fill(&self) {
        let ballast = OpenOptions::new().append(true).create(true).open(self.ballast());
        let mut ballast = ballast.expect("a file");
        for size in [65_536, 4_096, 1] {
            while ballast.write(&vec![0; size]).is_ok_and(|count| count == size) {}
        }
    }

    fn free(&self) {
        std::fs::remove_file(self.ballast()).expect("it is there");
    }

    fn ballast(&self) -> PathBuf {
        self.place.join("ballast")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.place).status();
    }
}

fn event(number: usize) -> Value {
    json!({"path": "/demo/kept", "elems": {"n": number, "fill": "x".repeat(2_000)}})
}

/// Publishes and fills until nothing more goes, not even after the server tried to make room.
fn publish_until_full(server: &Server, publisher: &Publisher, disk: &Disk, answered: &mut Ledger) {
    let tried = |server: &Server| server.program.err().matches("the disk still fails").count();
    let (before, start) = (tried(server), Instant::now());
    for number in 0.. {
        assert!(start.elapsed() < DEADLINE, "it is never full");
        disk.fill();
        let answer = publisher
            .publish(&event(number), "durable")
            .expect("a server that lives");
        match answer.status {
            201 => remember(&answer, answered),
            _ if tried(server) > before => return,
            _ => assert_eq!(answer.body["head"]["code"], "log.full", "{answer:?}"),
        }
    }
}

fn until_published(publisher: &Publisher, answered: &mut Ledger) {
    let start = Instant::now();
    loop {
        assert!(start.elapsed() < DEADLINE, "publishing did not recover");
        let answer = publisher.publish(&event(0), "durable").expect("a server that lives");
        if answer.status == 201 {
            return remember(&answer, answered);
        }
    }
}

#[test]
fn a_full_disk_holds_up_publishers_only_and_passes_by_itself() {
    let shell = Shell::new();
    let disk = Disk::mount(&shell);
    let url = format!("sqlite:{}/streamgate.db", disk.place.display());
    let settings = [
        ("STREAMGATE_DATABASE_URL", url.as_str()),
        ("STREAMGATE_LOG", "info,streamgate=debug,streamgate::access=warn"),
    ];
    let (server, demo) = Server::first_start(&shell, &settings);
    let publisher = Publisher::new(&server, &demo);
    let kept = publisher.add_stream("/demo/kept", 100_000);
    publisher.add_stream("/demo/nothing", 0);
    let mut answered = Ledger::new();
    for number in 0..20 {
        let answer = publisher
            .publish(&event(number), "durable")
            .expect("a server that lives");
        remember(&answer, &mut answered);
    }
    let (epoch, _) = publisher.place(&kept);

    publish_until_full(&server, &publisher, &disk, &mut answered);
    // Several at once: nobody is left without an answer.
    std::thread::scope(|scope| {
        for ack in ["durable", "written", "accepted", "durable", "accepted"] {
            let (server, demo) = (&server, &demo);
            scope.spawn(move || {
                let answer = Publisher::new(server, demo).publish(&event(0), ack);
                let answer = answer.expect("a server that lives");
                assert_eq!((answer.status, &answer.body["head"]["code"]), (503, &json!("log.full")));
                assert!(answer.retry_after.is_some(), "{answer:?}");
            });
        }
    });
    let (status, ready) = server.get("/health/ready");
    assert!(status == 503 && ready.contains("\"log.full\""), "{status} {ready}");
    assert_eq!(server.get("/health/live").0, 200);
    publisher.check_all_is_there(&kept, &answered);
    publisher.published("/demo/nothing", json!({}), "accepted");

    disk.free();
    until_published(&publisher, &mut answered);
    assert_eq!(server.get("/health/ready").0, 200);
    publisher.check_all_is_there(&kept, &answered);

    publish_until_full(&server, &publisher, &disk, &mut answered);
    server.stop("KILL");
    disk.free();
    let server = Server::start(&shell, &settings, &[]);
    let publisher = Publisher::new(&server, &demo);
    assert_eq!(publisher.place(&kept).0, epoch);
    publisher.check_all_is_there(&kept, &answered);
    until_published(&publisher, &mut answered);
    server.stop("TERM");
}
