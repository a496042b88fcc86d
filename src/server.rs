//! The whole program as a value: start it, ask where it listens, run it until told to stop.
//!
//! Puts the floors together and knows all of them. Invariant: nothing that was spawned here
//! outlives [`Server::run_until`].

mod certificate;
mod claims;
mod entrance;
mod first_start;
mod place;
mod workers;

pub use first_start::Demo;
pub use place::Place;

use crate::broker::Broker;
use crate::catalogue::Catalogue;
use crate::config::Config;
use crate::database::{Database, now_ms};
use crate::domain::error::{Error, Fault};
use crate::hub::Hub;
use crate::log::{self, Log};
use crate::metrics::Metrics;
use crate::protocol::{self, notices};
use crate::server::certificate::Certificate;
use crate::server::workers::{Equipment, Purpose};
use crate::sessions::{Sessions, Terms};
use actix_server::ServerHandle;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// How often the catalogue is asked what changed.
const FOLLOW: Duration = Duration::from_millis(250);
/// How often lapsed sessions are forgotten.
const SWEEP: Duration = Duration::from_secs(1);
/// How often the catalogue is rid of what ended long ago.
const SWEEP_CATALOGUE: Duration = Duration::from_secs(600);
/// How often it is written down when tokens were used.
const WRITE_USED: Duration = Duration::from_secs(10);
/// How often the disk is looked at; what happened in two such times counts as recent.
const MEASURE: Duration = Duration::from_secs(30);
/// The least time for the last write.
const LAST_WRITE: Duration = Duration::from_millis(500);
/// The longest that the log's last writing may take.
const LAST_LOG: Duration = Duration::from_secs(10);
/// How often a stopping server looks whether all have gone.
const GOODBYE_LOOK: Duration = Duration::from_millis(10);

/// Everything there is.
const MAIN: Purpose = Purpose {
    name: "http",
    routes: protocol::routes,
    door: protocol::door,
    has_lane: true,
};

/// The users server's clients, who expect a port of their own.
const NOTICES: Purpose = Purpose {
    name: "notices",
    routes: notices::verbs::greet_all,
    door: notices::verbs::any_door,
    has_lane: false,
};

/// Where connections come in.
struct Listeners {
    main: TcpListener,
    notices: Option<TcpListener>,
}

/// A running server.
pub struct Server {
    address: SocketAddr,
    notices: Option<SocketAddr>,
    place: Place,
    broker: Arc<Broker>,
    demo: Option<Demo>,
    http: actix_server::Server,
    chores: Vec<JoinHandle<()>>,
    writing: log::Tasks,
    shutdown_timeout: Duration,
}

impl Server {
    /// Opens the database, listens, and serves.
    pub async fn start(config: &Config) -> Result<Self, Error> {
        let notices = config.notices_listen;
        let notices = notices.map(|address| claims::listen("STREAMGATE_NOTICES_LISTEN", address));
        let listeners = Listeners {
            main: claims::listen("STREAMGATE_LISTEN", config.listen)?,
            notices: notices.transpose()?,
        };
        let address = listeners.main.local_addr().map_err(Fault::from)?;
        let notices = listeners.notices.as_ref().map(TcpListener::local_addr);
        let notices = notices.transpose().map_err(Fault::from)?;
        let lock = claims::lock(&config.database_url)?;
        let metrics = Arc::new(Metrics::default());
        let certificate = Certificate::open(config, &metrics)?;
        let (database, writer) = match config.check_database {
            true => Database::open_checked(&config.database_url).await?,
            false => Database::open(&config.database_url).await?,
        };
        let catalogue = Catalogue::open(&database, writer, Arc::clone(&metrics)).await?;
        let demo = first_start::first_start(&catalogue, &config.public_url(address)).await?;
        catalogue.refresh().await?;
        let terms = Terms {
            ttl: config.session_ttl,
            ttl_max: config.session_ttl_max,
            most: config.limits.max_sessions,
            most_each: config.limits.max_token_sessions,
            most_kept: config.limits.max_kept_subscriptions,
            most_kept_each: config.limits.max_subscriptions,
        };
        let mac = catalogue.key_for("streamgate session id 1");
        let sessions = Sessions::new(mac, terms, now_ms(), Arc::clone(&metrics));
        let hub = Arc::new(Hub::new(config.limits.max_mailbox_events, Arc::clone(&metrics)));
        let setup = log::Setup {
            database: &database,
            lock,
            streams: &catalogue.streams(),
            limits: &config.limits,
            key_window: config.key_window,
        };
        let (log, writing) = Log::start(setup, Arc::clone(&hub), Arc::clone(&metrics)).await?;
        let limits = config.limits.clone();
        let broker = Arc::new(Broker::new(catalogue, sessions, log, hub, limits, metrics));
        broker.follow_changes().await?;
        broker.note_space(database.space()?);
        let place = Place::of(config, address, certificate.as_deref());
        let terms = certificate
            .as_ref()
            .map(|certificate| certificate.terms())
            .transpose()?;
        let http = serve_http(listeners, &broker, config, terms)?;
        let mut chores = start_chores(&broker, &database);
        chores.extend(certificate.map(Certificate::follow).transpose()?);
        Ok(Self {
            address,
            notices,
            place,
            http,
            chores,
            broker,
            demo,
            writing,
            shutdown_timeout: config.shutdown_timeout,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens for the users server's clients as well.
    pub fn notices_address(&self) -> Option<SocketAddr> {
        self.notices
    }

    /// Where it is reached.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// What the first start made.
    pub fn demo(&self) -> Option<&Demo> {
        self.demo.as_ref()
    }

    /// Serves until `stop` resolves, then says goodbye to everybody within the configured time.
    pub async fn run_until(self, stop: impl Future<Output = ()>) -> Result<(), Fault> {
        let handle = self.http.handle();
        let mut http = std::pin::pin!(self.http);
        let ended = tokio::select! {
            ended = &mut http => Some(ended),
            () = stop => None,
        };
        let deadline = Instant::now() + self.shutdown_timeout;
        if ended.is_none() {
            let goodbye = say_goodbye(&self.broker, &handle, deadline);
            tokio::join!(goodbye, async { http.await.ok() });
        }
        for chore in self.chores {
            chore.abort();
            // Either it was aborted or it had ended; both are what is wanted.
            let _ = chore.await;
        }
        let left = deadline.saturating_duration_since(Instant::now()).max(LAST_WRITE);
        match tokio::time::timeout(left, self.broker.write_used_tokens()).await {
            Ok(Ok(())) => {}
            Ok(Err(fault)) => tracing::error!("when tokens were last used was not written down: {fault}"),
            Err(_) => tracing::warn!("when tokens were last used could not be written down in time"),
        }
        self.broker.stop_log();
        if tokio::time::timeout(LAST_LOG, self.writing.end()).await.is_err() {
            tracing::error!("what was accepted could not all be written in time");
        }
        Ok(ended.unwrap_or(Ok(()))?)
    }
}

/// Stops accepting, lets sockets go, then ends the HTTP side; by the deadline all of it is over.
async fn say_goodbye(broker: &Broker, handle: &ServerHandle, deadline: Instant) {
    tracing::info!(connections = broker.connection_count(), "stopping");
    handle.pause().await;
    broker.stop();
    while broker.connection_count() > 0 && Instant::now() < deadline {
        tokio::time::sleep(GOODBYE_LOOK).await;
    }
    let left = deadline.saturating_duration_since(Instant::now());
    if tokio::time::timeout(left, handle.stop(true)).await.is_err() {
        handle.stop(false).await;
    }
    tracing::info!(cut_off = broker.connection_count(), "stopped");
}

/// Serves what the settings ask for, all of it by the same workers.
fn serve_http(
    listeners: Listeners,
    broker: &Arc<Broker>,
    config: &Config,
    tls: Option<Arc<rustls::ServerConfig>>,
) -> Result<actix_server::Server, Fault> {
    let mut builder = actix_server::Server::build().disable_signals();
    if config.workers > 0 {
        builder = builder.workers(config.workers.into());
    }
    builder = builder.shutdown_timeout(config.shutdown_timeout.as_secs().max(1));
    let url = config.public_url(listeners.main.local_addr()?);
    let equipment = Equipment::new(config, url, broker, tls, builder.graceful_shutdown_signal());
    let builder = workers::listen(builder, listeners.main, equipment.clone(), MAIN)?;
    let builder = match listeners.notices {
        Some(listener) => workers::listen(builder, listener, equipment, NOTICES)?,
        None => builder,
    };
    Ok(builder.run())
}

fn start_chores(broker: &Arc<Broker>, database: &Database) -> Vec<JoinHandle<()>> {
    let follow = Arc::clone(broker);
    let sweep = Arc::clone(broker);
    let write = Arc::clone(broker);
    let measure = (Arc::clone(broker), database.clone());
    let tidy = Arc::clone(broker);
    vec![
        tokio::spawn(repeat(FOLLOW, move || {
            let broker = Arc::clone(&follow);
            async move { broker.follow_changes().await }
        })),
        tokio::spawn(repeat(SWEEP, move || {
            sweep.sweep_sessions();
            sweep.sweep_rates();
            std::future::ready(Ok(()))
        })),
        tokio::spawn(repeat(WRITE_USED, move || {
            let broker = Arc::clone(&write);
            async move { broker.write_used_tokens().await }
        })),
        tokio::spawn(repeat(MEASURE, move || {
            let (broker, database) = measure.clone();
            async move {
                // A disk that hangs holds up this chore and nobody else.
                let space = tokio::task::spawn_blocking(move || database.space()).await;
                broker.note_space(space.map_err(std::io::Error::other)??);
                broker.metrics().delivery_seconds.turn();
                Ok(())
            }
        })),
        tokio::spawn(repeat(SWEEP_CATALOGUE, move || {
            let broker = Arc::clone(&tidy);
            async move { broker.sweep_catalogue().await }
        })),
    ]
}

/// Does something again and again; a failure is logged when it begins and when it is over.
async fn repeat<F: Future<Output = Result<(), Fault>>>(every: Duration, mut chore: impl FnMut() -> F) {
    let mut tick = tokio::time::interval(every);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        tick.tick().await;
        match chore().await {
            Ok(()) if failing => tracing::info!("the database answers again"),
            Err(fault) if !failing => tracing::error!("{fault}"),
            _ => continue,
        }
        failing = !failing;
    }
}
