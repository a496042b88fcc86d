//! How a connection comes in: TLS if the settings say so, then the lane if there is one, then the `App`.
//!
//! Invariant: nobody is read from before their handshake is done.

use crate::protocol::lane::Lane;
use crate::protocol::socket::Socket;
use crate::protocol::tls::porch::Porch;
use actix_http::Protocol;
use actix_http::error::DispatchError;
use bytes::BytesMut;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::TcpStream;

/// What every connection goes through before the `App` has it: TLS, then the lane for what is asked
/// most. A connection that ends there is no error, but has nothing for the `App` either. Who takes none
/// of an answer for as long as `patience` is cut off.
pub(super) async fn enter(
    stream: TcpStream,
    porch: Option<Rc<Porch>>,
    lane: Option<Rc<Lane>>,
    patience: Duration,
) -> Result<(Socket, Protocol, Option<SocketAddr>), DispatchError> {
    // Small answers are not to wait for others; a socket that does not take this works all the same.
    let _ = stream.set_nodelay(true);
    let socket = match porch {
        Some(porch) => porch.enter(stream).await?,
        None => Socket::Plain(stream),
    };
    let peer = socket.peer();
    let (socket, read) = match lane {
        Some(lane) => lane.serve(socket, peer).await?,
        None => (socket, BytesMut::new()),
    };
    Ok((Socket::begun(socket, read, patience), Protocol::Http1, peer))
}
