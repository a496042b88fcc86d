//! What is done about events and streams that a socket asks for, as over HTTP: by the same rights and the
//! same code below.

use crate::broker::Broker;
use crate::domain::error::{Code, Error, Refusal};
use crate::domain::scope::Verb;
use crate::domain::stream::{Stream, Target};
use crate::domain::token::Access;
use crate::protocol::conversation::Conversation;
use crate::protocol::session::wire::objects::{Deed, Wish};
use crate::protocol::streams;
use std::sync::Arc;

/// Bytes of what one answer may show, about: the Java client takes messages of a mebibyte.
const MAX_BYTES: usize = 1_048_576 - 4_096;
/// The body of an acknowledgement that tells nothing.
const NOTHING: &str = "{}";

/// Does it; returns the body of the acknowledgement. What is found is a list, if an empty one.
pub async fn perform(at: &Conversation, wish: Wish) -> Result<String, Error> {
    let body = deed(at.seat.broker(), &at.seat.access, wish).await?;
    if body.len() > MAX_BYTES {
        let text = format!("an answer has at most {MAX_BYTES} bytes on a socket");
        return Err(Refusal::new(Code::LimitFind, text).into());
    }
    Ok(body)
}

async fn deed(broker: &Broker, access: &Access, wish: Wish) -> Result<String, Error> {
    let meant = |verb, target: &Target| meant(broker, access, verb, target);
    match wish.deed {
        Deed::ShowEvent(target, event, only) => {
            let event = broker.event(access, meant(Verb::Read, &target)?.id, event).await?;
            let mut text = String::new();
            only.put(&mut text, &event);
            Ok(text)
        }
        Deed::FindEvents(target, mut search, only) => {
            search.max_bytes = MAX_BYTES;
            let (_, events) = broker.search(access, &target, search).await?;
            Ok(only.list(&events).await)
        }
        Deed::RemoveEvent(target, event) => {
            broker
                .remove_event(access, meant(Verb::Manage, &target)?.id, event)
                .await?;
            Ok(NOTHING.to_owned())
        }
        Deed::ShowStream(target) => Ok(streams::one(&*broker.look_up(access, &target)?)),
        Deed::FindStreams(listing) => {
            let (found, _) = broker.list_streams(access, &listing).await;
            Ok(streams::list(&found))
        }
        Deed::AddStream(new) => Ok(streams::one(&broker.add_stream(access, &new).await?)),
        Deed::ChangeStream(target, text) => {
            let stream = meant(Verb::Manage, &target)?;
            let change = streams::parse_change(&text, &stream, wish.names)?;
            Ok(streams::one(&broker.change_stream(access, stream.id, &change).await?))
        }
        Deed::RemoveStream(target) => {
            broker.remove_stream(access, meant(Verb::Manage, &target)?.id).await?;
            Ok(NOTHING.to_owned())
        }
    }
}

/// The stream that is meant. By path it is told from one that is not there only to those who may do that to it.
fn meant(broker: &Broker, access: &Access, verb: Verb, target: &Target) -> Result<Arc<Stream>, Refusal> {
    if let Target::Path(path) = target {
        access.check_path(verb, path)?;
    }
    broker.look_up(access, target)
}
