//! `streamgate torture`: the real server under load, tormented, and every promise counted after.
//!
//! Runs this executable as a server, publishers and readers against it, and a seeded plan of
//! faults: kills, power cuts, frozen and failing disks. It knows the server from outside only.
//! Invariant: what the verdict says was counted, never estimated.

mod arena;
mod audit;
mod census;
mod child;
pub mod disk;
mod faults;
mod founder;
mod letters;
mod link;
mod oracle;
mod ordeal;
mod publisher;
mod reader;
pub mod shim;
mod verdict;
mod wire;

use crate::cli::{Output, complain, failure, malformed};
use crate::domain::error::{Error, Fault};
use actix_web::http::Method;
use arena::{Account, Arena, KINDS, Kind, Phase, Stream};
use child::Child;
use clap::Args;
use disk::Survival;
use faults::Plan;
use link::Link;
use ordeal::Ordeal;
use publisher::{PUBLISHERS, Publisher};
use reader::{READERS, Reader};
use shim::Control;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::task::{JoinError, JoinHandle};
use verdict::Verdict;

/// The company under which all is done.
const COMPANY: &str = "torture";
const USER: &str = "harness";

/// Torment a server of its own and count what became of every promise.
///
/// Starts this program as a server in a folder of its own, publishes and reads, and meanwhile kills it, cuts its
/// power, freezes it, fills its disk, and makes writes and syncs fail, something every 2 to 6 seconds. Then it counts:
/// no event acknowledged as durable may be lost, none may be there twice or elsewhere, no reader may miss one without
/// being told. Exit status 0 says that every promise held; otherwise the folder is kept, with the server's log.
///
/// The same seed makes the same sequence of faults, and every publisher and reader decides the same; what cannot be
/// the same is how all these interleave, since that is up to the machine. A run before a release takes hours:
/// streamgate torture --seed 1 --minutes 120. Needs Linux and a C compiler (cc), for a library that is preloaded into
/// the server and takes back at a power cut what was not synced.
#[derive(Args)]
pub struct Torture {
    /// What all decisions follow from.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// How long there is load and faults.
    #[arg(long, value_name = "M", default_value_t = 10, conflicts_with = "seconds")]
    minutes: u64,
    /// The same in seconds, for a short run.
    #[arg(long, value_name = "S")]
    seconds: Option<u64>,
    /// Where to do it: a folder that is empty or not there yet; if not given, one among the temporary files.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Keep the folder even if every promise held.
    #[arg(long)]
    keep: bool,
}

impl Torture {
    /// Runs it all; whether the promises held is in the output.
    pub(in crate::cli) async fn run(self) -> Result<Output, Error> {
        let seconds = self.seconds.unwrap_or(self.minutes.saturating_mul(60));
        let folder = self.folder()?;
        let told = format!("torture in {}, seed {}, {seconds} s", folder.display(), self.seed);
        complain(&[told], None);
        let verdict = torture(self.seed, seconds, &folder).await?;
        let mut output = Output::new(&verdict.json(), verdict.text());
        if verdict.holds() && !self.keep {
            std::fs::remove_dir_all(&folder).map_err(Fault::from)?;
        } else {
            complain(&[format!("everything is in {}", folder.display())], None);
        }
        output.is_good = verdict.holds();
        Ok(output)
    }

    /// Makes the folder; one with something in it may be somebody's.
    fn folder(&self) -> Result<PathBuf, Error> {
        let fresh = || std::env::temp_dir().join(format!("streamgate-torture-{:016x}", rand::random::<u64>()));
        let folder = self.dir.clone().unwrap_or_else(fresh);
        std::fs::create_dir_all(&folder).map_err(Fault::from)?;
        if std::fs::read_dir(&folder).map_err(Fault::from)?.next().is_some() {
            return Err(malformed(format!("{} is not empty", folder.display())));
        }
        Ok(folder.canonicalize().map_err(Fault::from)?)
    }
}

async fn torture(seed: u64, seconds: u64, folder: &Path) -> Result<Verdict, Error> {
    let library = shim::build(folder)?;
    let control = Control::open(folder).map_err(Fault::from)?;
    let mut child = Child::new(folder, library).map_err(Fault::from)?;
    let account = make_account(&child)?;
    child.start().map_err(Fault::from)?;
    let arena = Rc::new(make_arena(seed, account, child.port()).await?);
    let mut ordeal = Ordeal::new(&arena, child, control, folder.to_owned());
    // The first life has seen the streams being made; what is counted is counted in fresh ones.
    ordeal.end().await?;
    ordeal.rise().await?;
    let publishers = (0..PUBLISHERS).map(|number| actix_rt::spawn(Publisher::new(&arena, number).run()));
    let publishers: Vec<JoinHandle<()>> = publishers.collect();
    let readers = (0..READERS).map(|number| actix_rt::spawn(Reader::new(&arena, number).run()));
    let readers: Vec<JoinHandle<()>> = readers.collect();
    let founder = actix_rt::spawn(founder::found(Rc::clone(&arena)));
    torment(&mut ordeal, seed, seconds).await?;
    arena.enter(Phase::Settling);
    finish(publishers).await?;
    let made = founder.await.map_err(broken)?;
    *arena.heads.borrow_mut() = ordeal.scan().await;
    arena.enter(Phase::Draining);
    finish(readers).await?;
    judge(&arena, &mut ordeal, &made).await?;
    let mut oracle = arena.oracle.borrow_mut();
    oracle.settle();
    Ok(Verdict::new(seed, seconds, &oracle.tally, &arena.figures.borrow()))
}

/// One fault after the other, as planned.
async fn torment(ordeal: &mut Ordeal, seed: u64, seconds: u64) -> Result<(), Error> {
    let until = Instant::now() + Duration::from_secs(seconds);
    for (pause, fault) in Plan::new(seed) {
        let left = until.saturating_duration_since(Instant::now());
        tokio::time::sleep(pause.min(left)).await;
        ordeal.look().await?;
        if pause >= left {
            break;
        }
        complain(&[format!("{:>6} s left: {fault:?}", left.as_secs())], None);
        ordeal.suffer(fault).await?;
    }
    Ok(())
}

/// All are gone: everything is read once more, what the server still holds is counted, and whether
/// it survives an orderly end, and the power going right after that.
async fn judge(arena: &Rc<Arena>, ordeal: &mut Ordeal, made: &[String]) -> Result<(), Error> {
    let heads = arena.heads.borrow().clone();
    audit::audit(arena, &heads).await;
    ordeal.look().await?;
    let leaks = ordeal.leaks().await?;
    ordeal.end().await?;
    ordeal.cut_off(Survival::Nothing)?;
    ordeal.rise().await?;
    let heads = ordeal.scan().await;
    audit::audit(arena, &heads).await;
    founder::count_lost(arena, made).await;
    ordeal.end().await?;
    let unsound = verify(ordeal.child());
    let counts = ordeal.counts()?;
    arena.count(|figures| {
        figures.leaks = leaks;
        figures.unsound = unsound;
        (figures.disk_changes, figures.disk_syncs) = (counts.noted, counts.synced);
    });
    Ok(())
}

/// What is wrong with the file, as far as this program can tell.
fn verify(child: &Child) -> Option<String> {
    if !child.knows("verify") {
        return None;
    }
    let file = child.database();
    child
        .ask(&["verify", &file.to_string_lossy()])
        .err()
        .map(|error| error.to_string())
}

async fn finish(actors: Vec<JoinHandle<()>>) -> Result<(), Error> {
    for actor in actors {
        actor.await.map_err(broken)?;
    }
    Ok(())
}

fn broken(error: JoinError) -> Error {
    failure(format!("an actor of the torture broke: {error}"))
}

fn make_account(child: &Child) -> Result<Account, Error> {
    child.ask(&["company", "add", COMPANY])?;
    let user = child.ask(&["user", "add", COMPANY, USER])?;
    Ok(Account {
        company: COMPANY.to_owned(),
        user: USER.to_owned(),
        token: user["token"].as_str().unwrap_or_default().to_owned(),
    })
}

/// Makes the streams, once the server is there.
async fn make_arena(seed: u64, account: Account, port: u16) -> Result<Arena, Error> {
    let arena = Rc::new(Arena::new(seed, account, port));
    let link = Link::new(&arena);
    let deadline = Instant::now() + Duration::from_secs(30);
    while !link.is_ready().await {
        if Instant::now() > deadline {
            return Err(failure("the server does not start"));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let mut streams = Vec::new();
    for kind in KINDS {
        streams.push(make_stream(&link, kind).await?);
    }
    drop(link);
    let arena = Rc::into_inner(arena).expect("the link is gone");
    Ok(arena.with_streams(streams))
}

async fn make_stream(link: &Link, kind: &'static Kind) -> Result<Stream, Error> {
    let path = format!("/{COMPANY}/{}", kind.name);
    let body = wire::stream_body(&path, kind.capacity, Some(kind.level));
    let reply = link
        .ask(Method::POST, &format!("/v5.0/{COMPANY}/stream"), None, body)
        .await;
    let reply = reply.ok_or_else(|| failure(format!("the stream {path} cannot be made: no answer")))?;
    let id = wire::parse_id(reply.status, &reply.body).ok_or_else(|| {
        let said = String::from_utf8_lossy(&reply.body);
        failure(format!("the stream {path} cannot be made: {said}"))
    })?;
    Ok(Stream { id, kind })
}
