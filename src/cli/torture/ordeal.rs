//! Doing to the server what the plan says, and bringing it back.
//!
//! Each fault that ends the server is followed by a start on the same port and files, and a scan of
//! what is stored. Invariant: when a fault is over the disk works and a server is there.

use crate::cli::failure;
use crate::cli::torture::arena::{Arena, KINDS, rng};
use crate::cli::torture::census::Census;
use crate::cli::torture::child::Child;
use crate::cli::torture::disk::{self, Survival};
use crate::cli::torture::faults::Fault;
use crate::cli::torture::link::Link;
use crate::cli::torture::oracle::{Acked, Given, Level, Mark, Stored, print};
use crate::cli::torture::publisher::PUBLISHERS;
use crate::cli::torture::shim::{Ailment, Control, Counts};
use crate::cli::torture::wire::{self, Answer};
use crate::domain::error::{Error, Fault as Failure};
use actix_web::http::Method;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Longest time for a start, an orderly end, and for publishing to go on.
const PATIENCE: Duration = Duration::from_secs(30);
/// How soon to look again.
const LOOK: Duration = Duration::from_millis(100);
/// Events of a scan between faults.
const SCAN: u64 = 2_000;
/// The publisher number of probes, after those of publishers.
const PROBE: u16 = PUBLISHERS as u16;
/// Probes go to the first kind of stream, last words to the one whose events are merely accepted.
const PROBED: usize = 0;
const WEAK: usize = 4;
/// What is published just before a kill, and just before the disk fails. The first may be synced all the same, so
/// that the disk knows that the others are not.
const LAST_WORDS: &[Level] = &[Level::Written, Level::Written, Level::Accepted, Level::Accepted];
const UNSYNCED_WORDS: &[Level] = &[Level::Written, Level::Written, Level::Written];
/// How long what was asked before may take to be answered.
const HUSH: Duration = Duration::from_millis(150);
/// Looks at a server that nobody talks to.
const LOOKS: usize = 10;

/// The hand that tortures.
pub struct Ordeal {
    arena: Rc<Arena>,
    child: Child,
    control: Control,
    folder: PathBuf,
    link: Link,
    cuts: usize,
    probes: u32,
    is_quiet_next: bool,
    /// What this life of the server held when it had just begun.
    baseline: Census,
    /// Sockets of a server to which nobody talks.
    idle_sockets: Option<u64>,
}

impl Ordeal {
    /// For a server that runs.
    pub fn new(arena: &Rc<Arena>, child: Child, control: Control, folder: PathBuf) -> Self {
        Self {
            arena: Rc::clone(arena),
            child,
            control,
            folder,
            link: Link::new(arena),
            cuts: 0,
            probes: 0,
            is_quiet_next: false,
            baseline: Census::default(),
            idle_sockets: None,
        }
    }

    /// The server.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Brings the server back if it ended by itself; else notes how large it is.
    pub async fn look(&mut self) -> Result<(), Error> {
        if !self.child.has_ended() {
            let resident_kib = self.census()?.resident_kib;
            self.arena
                .count(|figures| figures.resident_kib = figures.resident_kib.max(resident_kib));
            return Ok(());
        }
        self.arena.count(|figures| figures.died += 1);
        self.fall(None).await
    }

    /// Does one thing to the server.
    pub async fn suffer(&mut self, fault: Fault) -> Result<(), Error> {
        match fault {
            Fault::Kill => self.fall(None).await,
            Fault::PowerCut(survival) => self.fall(Some(survival)).await,
            Fault::Freeze(lasts) => {
                self.child.signal("STOP").map_err(Failure::from)?;
                tokio::time::sleep(lasts).await;
                self.child.signal("CONT").map_err(Failure::from)?;
                self.arena.count(|figures| figures.freezes += 1);
                Ok(())
            }
            Fault::Illness { ailment, lasts, cut } => self.ail(ailment, lasts, cut).await,
            Fault::Restart => {
                self.end().await?;
                self.arena.count(|figures| figures.restarts += 1);
                self.rise().await
            }
        }
    }

    /// kill -9, perhaps without what was not synced; then a new start.
    async fn fall(&mut self, cut: Option<Survival>) -> Result<(), Error> {
        // Half of the crashes come in the midst of it all, half at a quiet moment.
        self.is_quiet_next = !self.is_quiet_next;
        self.say(LAST_WORDS, self.is_quiet_next).await;
        let struck = self.strike(cut);
        self.arena.hush(false);
        struck?;
        self.rise().await
    }

    /// Events that nobody has synced a moment before: what is lost of them was shown all the same,
    /// and what comes after them in the files is worth nothing without them.
    ///
    /// At a quiet moment nothing else is synced in between, and quiet it stays.
    async fn say(&mut self, words: &[Level], is_quiet: bool) {
        if is_quiet {
            self.arena.hush(true);
            tokio::time::sleep(HUSH).await;
        }
        for level in words {
            self.publish(WEAK, *level).await;
        }
    }

    /// kill -9, perhaps without what was not synced.
    pub fn strike(&mut self, cut: Option<Survival>) -> Result<(), Error> {
        self.child.kill().map_err(Failure::from)?;
        self.arena.count(|figures| figures.kills += 1);
        match cut {
            Some(survival) => self.cut_off(survival)?,
            None => disk::mend(&self.folder).map_err(Failure::from)?,
        }
        self.arena.next_generation();
        self.control.heal().map_err(Failure::from)?;
        Ok(())
    }

    /// The power goes; no server runs any more.
    pub fn cut_off(&mut self, survival: Survival) -> Result<(), Error> {
        let mut rng = rng(self.arena.seed, "power cut", self.cuts);
        self.cuts += 1;
        let cut = disk::cut_power(&self.folder, survival, &mut rng).map_err(Failure::from)?;
        self.arena.oracle.borrow_mut().power_cut(self.arena.generation());
        self.arena.count(|figures| {
            figures.power_cuts += 1;
            figures.unsaved += cut.unsaved;
            figures.kept += cut.kept;
        });
        Ok(())
    }

    /// Starts the server, waits until it is ready, and scans what it has.
    pub async fn rise(&mut self) -> Result<(), Error> {
        self.child.start().map_err(Failure::from)?;
        let deadline = Instant::now() + PATIENCE;
        while !self.link.is_ready().await {
            if self.child.has_ended() || Instant::now() > deadline {
                let log = self.folder.join("server.log");
                return Err(failure(format!(
                    "the server does not start again; see {}",
                    log.display()
                )));
            }
            tokio::time::sleep(LOOK).await;
        }
        self.warm_up().await?;
        self.scan().await;
        Ok(())
    }

    /// Asks several things at once, so that all readers of the database are there, and counts what the server holds then. Only at the first
    /// start nobody else is there, so that its sockets can be counted too.
    async fn warm_up(&mut self) -> Result<(), Error> {
        let list = format!("/v5.0/{}/stream?limit=1000", self.arena.account.company);
        let ask = || self.link.get(&list);
        tokio::join!(ask(), ask(), ask(), ask());
        self.link.hang_up();
        let sockets = match self.idle_sockets {
            Some(sockets) => sockets,
            None => self.fewest_sockets().await?,
        };
        self.idle_sockets = Some(sockets);
        self.baseline = self.census()?;
        self.baseline.descriptors.insert("socket".to_owned(), sockets);
        Ok(())
    }

    /// The server closes what we have closed, soon.
    async fn fewest_sockets(&self) -> Result<u64, Error> {
        let mut fewest = u64::MAX;
        for _ in 0..LOOKS {
            tokio::time::sleep(LOOK).await;
            fewest = fewest.min(self.census()?.sockets());
        }
        Ok(fewest)
    }

    fn census(&self) -> Result<Census, Error> {
        let pid = self.child.pid().ok_or_else(|| failure("no server runs"))?;
        Ok(Census::take(pid).map_err(Failure::from)?)
    }

    /// Once everybody has gone: what the server holds more than when it had just begun.
    pub async fn leaks(&mut self) -> Result<Vec<String>, Error> {
        self.link.hang_up();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let leaks = self.census()?.leaks_since(&self.baseline);
            if leaks.is_empty() || Instant::now() > deadline {
                return Ok(leaks);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// What the disk did in all.
    pub fn counts(&self) -> Result<Counts, Error> {
        Ok(self.control.counts().map_err(Failure::from)?)
    }

    /// Asks the server to end, which has to end well.
    pub async fn end(&mut self) -> Result<(), Error> {
        let ended = self.child.terminate(PATIENCE).await.map_err(Failure::from)?;
        if !ended.is_some_and(|status| status.success()) {
            self.arena.count(|figures| figures.bad_exits += 1);
            self.child.kill().map_err(Failure::from)?;
        }
        disk::mend(&self.folder).map_err(Failure::from)?;
        self.arena.next_generation();
        Ok(())
    }

    /// The disk fails for a while. Then the power goes, or publishing has to go on by itself.
    async fn ail(&mut self, ailment: Ailment, lasts: Duration, cut: Option<Survival>) -> Result<(), Error> {
        let before = self.control.counts().map_err(Failure::from)?;
        self.say(UNSYNCED_WORDS, true).await;
        let ailing = self.control.ail(ailment).map_err(Failure::from);
        self.arena.hush(false);
        ailing?;
        let (until, mut is_red) = (Instant::now() + lasts, false);
        while Instant::now() < until {
            tokio::time::sleep(LOOK).await;
            is_red |= !self.link.is_ready().await;
        }
        let after = self.control.counts().map_err(Failure::from)?;
        self.arena.count(|figures| {
            figures.illnesses += 1;
            figures.bites += after.bites() - before.bites();
            figures.red += u64::from(is_red);
        });
        if cut.is_some() {
            return self.fall(cut).await;
        }
        if self.child.has_ended() {
            return self.look().await;
        }
        self.control.heal().map_err(Failure::from)?;
        if self.recovers().await {
            return Ok(());
        }
        self.arena.count(|figures| figures.unrecovered += 1);
        self.fall(None).await
    }

    async fn recovers(&mut self) -> bool {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if self.link.is_ready().await && self.publish(PROBED, Level::Durable).await {
                return true;
            }
            tokio::time::sleep(LOOK).await;
        }
        false
    }

    /// Publishes one event of its own; whether that was done.
    async fn publish(&mut self, stream: usize, level: Level) -> bool {
        let mark = Mark {
            publisher: PROBE,
            number: self.probes,
        };
        self.probes += 1;
        let content = wire::elems(mark, "");
        self.arena.oracle.borrow_mut().sends(mark, print(&content));
        let (company, id) = (&self.arena.account.company, &self.arena.streams[stream].id);
        let address = wire::publish_address(company, id, Some(level));
        let generation = self.arena.generation();
        let reply = self
            .link
            .ask(Method::POST, &address, None, wire::publish_body(&[content], false))
            .await;
        let answer = reply.map(|reply| wire::parse_published(reply.status, &reply.body));
        let Some(Answer::Done(published)) = answer else {
            return false;
        };
        let mut oracle = self.arena.oracle.borrow_mut();
        for published in published {
            let ack = Acked {
                mark,
                offset: published.offset,
                level: published.level,
                since: generation,
                generation,
            };
            oracle.acked(stream, ack, Some(level));
        }
        true
    }

    /// Looks at the newest stored events of every stream; returns the newest offset of each.
    pub async fn scan(&mut self) -> Vec<u64> {
        let mut heads = vec![0; KINDS.len()];
        for (number, stream) in self.arena.streams.iter().enumerate() {
            let generation = self.arena.generation();
            let bookmark = self.arena.oracle.borrow().bookmark(number);
            let found = (self.newest(&stream.id, SCAN).await, self.newest(&stream.id, 1).await);
            let (Some(events), Some(newest)) = found else {
                self.arena.count(|figures| figures.unscanned += 1);
                continue;
            };
            heads[number] = newest.last().map_or(0, |given| given.offset);
            let stored = Stored {
                events: &events,
                limit: SCAN,
                head_after: heads[number],
            };
            let mut oracle = self.arena.oracle.borrow_mut();
            oracle.scanned(number, generation, bookmark, &stored);
        }
        heads
    }

    async fn newest(&self, stream: &str, limit: u64) -> Option<Vec<Given>> {
        let address = wire::scan_address(&self.arena.account.company, stream, limit);
        let reply = self.link.get(&address).await?;
        wire::parse_found(reply.status, &reply.body)
    }
}
