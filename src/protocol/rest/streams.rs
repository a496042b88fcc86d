//! The verbs of streams: listed, made, shown, changed, deleted.

use crate::broker::Broker;
use crate::domain::error::Error;
use crate::domain::stream::Target;
use crate::protocol::operations::other;
use crate::protocol::reply::{Done, Success};
use crate::protocol::rest::many;
use crate::protocol::rest::verbs::{Outcome, answer, asker, asker_and_body, mget, names, query, stream_id};
use crate::protocol::streams::StreamsQuery;
use crate::protocol::{json, streams};
use actix_web::web::{self, Data, Payload, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};

/// All routes of streams.
pub fn routes(config: &mut ServiceConfig, at: impl Fn(&str) -> Vec<String>) {
    config
        .service(
            web::resource(at("stream"))
                .get(list)
                .post(add)
                .route(web::method(mget()).to(many::show_streams))
                .default_service(other("GET, POST, MGET")),
        )
        .service(
            web::resource(at("stream/{id}"))
                .get(show)
                .put(change)
                .delete(remove)
                .default_service(other("GET, PUT, DELETE")),
        );
}

async fn list(broker: Data<Broker>, request: HttpRequest) -> HttpResponse {
    answer(&broker, try_list(&broker, &request).await)
}

async fn try_list(broker: &Broker, request: &HttpRequest) -> Result<Success, Error> {
    let access = asker(broker, request)?;
    let query: StreamsQuery = query(request)?;
    let listing = query.listing(broker.limits())?;
    let (streams, total) = match query.path()? {
        Some(path) => (vec![broker.look_up(&access, &Target::Path(path))?], 1),
        None => broker.list_streams(&access, &listing).await,
    };
    Ok(Success {
        total: Some(total),
        ..(Done::Processed, streams::list(&streams)).into()
    })
}

async fn add(broker: Data<Broker>, request: HttpRequest, payload: Payload) -> HttpResponse {
    answer(&broker, try_add(&broker, &request, payload).await)
}

async fn try_add(broker: &Broker, request: &HttpRequest, payload: Payload) -> Outcome {
    asker(broker, request)?;
    let (access, body) = asker_and_body(broker, request, payload).await?;
    let new = streams::parse_new(json::text(&body)?, broker.limits(), names(request))?;
    let stream = broker.add_stream(&access, &new).await?;
    Ok((Done::Created, streams::one(&stream)))
}

async fn show(broker: Data<Broker>, request: HttpRequest) -> HttpResponse {
    answer(&broker, try_show(&broker, &request))
}

fn try_show(broker: &Broker, request: &HttpRequest) -> Outcome {
    let access = asker(broker, request)?;
    let stream = broker.look_up(&access, &Target::Id(stream_id(request)?))?;
    Ok((Done::Processed, streams::one(&stream)))
}

async fn change(broker: Data<Broker>, request: HttpRequest, payload: Payload) -> HttpResponse {
    answer(&broker, try_change(&broker, &request, payload).await)
}

async fn try_change(broker: &Broker, request: &HttpRequest, payload: Payload) -> Outcome {
    asker(broker, request)?;
    let id = stream_id(request)?;
    let (access, body) = asker_and_body(broker, request, payload).await?;
    let stream = broker.look_up(&access, &Target::Id(id))?;
    let change = streams::parse_change(json::text(&body)?, &stream, names(request))?;
    let stream = broker.change_stream(&access, id, &change).await?;
    Ok((Done::Processed, streams::one(&stream)))
}

async fn remove(broker: Data<Broker>, request: HttpRequest) -> HttpResponse {
    answer(&broker, try_remove(&broker, &request).await)
}

async fn try_remove(broker: &Broker, request: &HttpRequest) -> Outcome {
    let access = asker(broker, request)?;
    broker.remove_stream(&access, stream_id(request)?).await?;
    Ok((Done::Processed, "{}".to_owned()))
}
