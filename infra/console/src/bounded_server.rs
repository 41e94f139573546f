//! HTTP/1.1 for clients that are slow, or that hold connections on purpose: everything that waits for them has a limit.
//!
//! `axum::serve` has none of these limits.

use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use axum::extract::ConnectInfo;
use axum::serve::Listener;
use axum::{Extension, Router};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Limits of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerLimits {
    /// Connections that are open at once. Others wait until one ends.
    pub connections_max: usize,
    /// Time until the headers of a request have come. An idle connection is closed after it, too.
    pub header_timeout: Duration,
    /// Age after which a connection takes no more requests.
    pub connection_max_age: Duration,
    /// Time in which the last request of such a connection is answered, and the answer is read.
    pub last_request_timeout: Duration,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            connections_max: 256,
            header_timeout: Duration::from_secs(30),
            connection_max_age: Duration::from_secs(5 * 60),
            last_request_timeout: Duration::from_secs(5 * 60),
        }
    }
}

/// Serves routes until the future is dropped. They find the client's address as `ConnectInfo<SocketAddr>`.
pub async fn serve_bounded(mut listener: TcpListener, routes: Router, limits: ServerLimits) {
    // Dropped with the future, and its connections with it.
    let mut connections = JoinSet::new();
    loop {
        // Its accept waits a moment after an error, such as that no more files can be opened.
        let (stream, client) = Listener::accept(&mut listener).await;
        let routes = routes.clone().layer(Extension(ConnectInfo::<SocketAddr>(client)));
        connections.spawn(serve_connection(stream, routes, limits));
        while connections.try_join_next().is_some() {}
        while connections.len() >= limits.connections_max {
            connections.join_next().await;
        }
    }
}

async fn serve_connection(stream: TcpStream, routes: Router, limits: ServerLimits) {
    // Without a fixed version, it would first wait without limit for the bytes that say which one it is.
    let mut builder = auto::Builder::new(TokioExecutor::new()).http1_only();
    builder.http1().timer(TokioTimer::new()).header_read_timeout(limits.header_timeout);
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    let mut connection = pin!(connection);
    if timeout(limits.connection_max_age, connection.as_mut()).await.is_err() {
        connection.as_mut().graceful_shutdown();
        // Whoever does not read the answer by then loses the connection.
        let _ = timeout(limits.last_request_timeout, connection).await;
    }
}
