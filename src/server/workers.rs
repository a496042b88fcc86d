//! What each worker does with the connections of each listener: the lane, the `App`, the doorkeeper.
//!
//! A listener has workers' halves of its own, so it shares the product and no socket with another.

use crate::broker::Broker;
use crate::config::Config;
use crate::domain::error::Fault;
use crate::domain::origin::Origins;
use crate::domain::path::CompanyName;
use crate::domain::person::PublicUrl;
use crate::domain::visitor::Proxies;
use crate::hub::worker::{Manners, Worker};
use crate::protocol::deflate::Compression;
use crate::protocol::gzip;
use crate::protocol::lane::Lane;
use crate::protocol::pump;
use crate::protocol::session::transports::Station;
use crate::protocol::socket::Socket;
use crate::protocol::tls::porch::Porch;
use crate::protocol::traffic::{Told, Visit};
use crate::protocol::upgrade::{Door, Doorkeeper};
use crate::server::entrance;
use actix_cors::Cors;
use actix_http::{HttpService, KeepAlive};
use actix_server::{GracefulShutdownSignal, ServerBuilder};
use actix_service::{ServiceFactoryExt, fn_service, map_config};
use actix_web::App;
use actix_web::body::MessageBody;
use actix_web::dev::{AppConfig, ServiceRequest, ServiceResponse};
use actix_web::http::header;
use actix_web::middleware::{Next, from_fn};
use actix_web::web::{Data, ServiceConfig};
use std::convert::Infallible;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// How long an HTTP connection may idle between requests, as long as back ends are used to; with
/// much less, their next request would often meet the end of its connection.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// What all workers are equipped with.
#[derive(Clone)]
pub(super) struct Equipment {
    broker: Arc<Broker>,
    origins: Arc<Origins>,
    proxies: Arc<Proxies>,
    url: Arc<PublicUrl>,
    lobby: Option<CompanyName>,
    tls: Option<Arc<rustls::ServerConfig>>,
    manners: Manners,
    poll: Duration,
    hold_off: Duration,
    compression: Compression,
    stopping: GracefulShutdownSignal,
}

/// What a listener is for.
#[derive(Clone, Copy)]
pub(super) struct Purpose {
    /// Its name among the server's listeners.
    pub name: &'static str,
    /// Its HTTP routes.
    pub routes: fn(&mut ServiceConfig),
    /// Its sockets.
    pub door: fn(&str) -> Option<Door<'_>>,
    /// Whether it takes what the lane is for.
    pub has_lane: bool,
}

impl Equipment {
    /// As the settings have it.
    pub(super) fn new(
        config: &Config,
        url: PublicUrl,
        broker: &Arc<Broker>,
        tls: Option<Arc<rustls::ServerConfig>>,
        stopping: GracefulShutdownSignal,
    ) -> Self {
        Self {
            broker: Arc::clone(broker),
            origins: Arc::new(config.allowed_origins.clone()),
            proxies: Arc::new(config.trusted_proxies.clone()),
            url: Arc::new(url),
            lobby: config.notices_company.clone(),
            tls,
            manners: Manners {
                outbox_limit: config.limits.max_outbox_bytes,
                ping: config.ping_interval,
                dead: config.dead_after,
            },
            poll: config.poll_time,
            hold_off: config.hold_off,
            compression: config.compression,
            stopping,
        }
    }

    /// A worker's half of the hub, and the doorkeeper that lets sockets in there.
    fn doorkeeper(&self, purpose: Purpose) -> Rc<Doorkeeper> {
        let desk = Rc::new(Worker::enrol(Arc::clone(self.broker.hub()), self.manners));
        actix_rt::spawn(run_pump(Rc::clone(&desk), Arc::clone(&self.broker), self.hold_off));
        Rc::new(Doorkeeper {
            broker: Arc::clone(&self.broker),
            origins: Arc::clone(&self.origins),
            proxies: Arc::clone(&self.proxies),
            lobby: self.lobby.clone(),
            compression: self.compression,
            desk,
            door: purpose.door,
        })
    }

    /// What sessions need over plain HTTP, where the doorkeeper lets their sockets in.
    fn station(&self, doorkeeper: &Doorkeeper) -> Rc<Station> {
        Rc::new(Station {
            broker: Arc::clone(&self.broker),
            origins: Arc::clone(&self.origins),
            desk: Rc::clone(&doorkeeper.desk),
            poll: self.poll,
            ping: self.manners.ping,
        })
    }

    fn lane(&self) -> Rc<Lane> {
        Rc::new(Lane {
            broker: Arc::clone(&self.broker),
            proxies: Arc::clone(&self.proxies),
            url: Arc::clone(&self.url),
            stopping: self.stopping.clone(),
            keep_alive: KEEP_ALIVE,
        })
    }

    fn porch(&self) -> Option<Rc<Porch>> {
        let porch = |tls| Rc::new(Porch::new(tls, Arc::clone(&self.broker), self.stopping.clone()));
        self.tls.clone().map(porch)
    }
}

/// Has all workers serve a listener, too. HTTP is a plain `App`; a socket's upgrade leaves it for the
/// doorkeeper.
pub(super) fn listen(
    builder: ServerBuilder,
    listener: TcpListener,
    equipment: Equipment,
    purpose: Purpose,
) -> Result<ServerBuilder, Fault> {
    let factory = move || {
        let doorkeeper = equipment.doorkeeper(purpose);
        let station = equipment.station(&doorkeeper);
        let upgrade = fn_service(move |(request, framed)| {
            let doorkeeper = Rc::clone(&doorkeeper);
            async move {
                doorkeeper.admit(request, framed).await;
                Ok::<(), Infallible>(())
            }
        });
        let app = App::new()
            .app_data(Data::from(Arc::clone(&equipment.broker)))
            .app_data(Data::from(Arc::clone(&equipment.proxies)))
            .app_data(Data::from(Arc::clone(&equipment.url)))
            .app_data(station)
            .wrap(from_fn(gzip::answers))
            .wrap(cors(Arc::clone(&equipment.origins)))
            .wrap(from_fn(log_request))
            .configure(purpose.routes);
        let stopping = equipment.stopping.clone();
        let http = HttpService::build()
            .keep_alive(KeepAlive::Timeout(KEEP_ALIVE))
            .graceful_shutdown_signal(move || {
                let stopping = stopping.clone();
                async move { stopping.notified().await }
            })
            .on_connect_ext(|socket: &Socket, extensions| {
                if let Some(tether) = socket.tether() {
                    extensions.insert(Rc::clone(tether));
                }
            })
            .upgrade(upgrade)
            .finish(map_config(app, |()| AppConfig::default()));
        let lane = purpose.has_lane.then(|| equipment.lane());
        let porch = equipment.porch();
        let patience = equipment.manners.dead;
        fn_service(move |stream| entrance::enter(stream, porch.clone(), lane.clone(), patience)).and_then(http)
    };
    Ok(builder.listen(purpose.name, listener, factory)?)
}

/// Without its pump a worker would accept connections and be deaf, so a bug there ends the process.
async fn run_pump(desk: Rc<pump::Desk>, broker: Arc<Broker>, hold_off: Duration) {
    let pump = actix_rt::spawn(pump::run(desk, broker, hold_off));
    if let Err(error) = pump.await
        && error.is_panic()
    {
        tracing::error!("a worker's pump panicked; the process ends");
        std::process::abort();
    }
}

fn cors(origins: Arc<Origins>) -> Cors {
    Cors::default()
        .allowed_origin_fn(move |origin, head| {
            let host = head.headers().get(header::HOST).and_then(|host| host.to_str().ok());
            origin.to_str().is_ok_and(|origin| origins.allow(origin, host))
        })
        .allowed_methods(["GET", "POST", "PUT", "DELETE", "MGET"])
        .allow_any_header()
        .expose_headers([header::RETRY_AFTER])
        .max_age(600)
}

async fn log_request(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let visit = Visit::begin().await;
    let response = next.call(request).await?;
    let request = response.request();
    let route = request.match_pattern();
    if let Some(broker) = request.app_data::<Data<Broker>>() {
        let told = Told {
            peer: request.peer_addr(),
            method: request.method(),
            route: route.as_deref(),
            status: response.status().as_u16(),
        };
        visit.end(broker, &told);
    }
    Ok(response)
}
