//! What stands between a process and the engines: as in AWS, a connection costs its handshakes and a call its way.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::serve::Listener;
use local::emulator::service_and_operation;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Sleep, sleep};

/// What a new connection costs before its first byte is read: about what TCP and TLS take within a region.
pub(crate) const CONNECTING: Duration = Duration::from_millis(40);
/// What each call costs.
pub(crate) const CALLING: Duration = Duration::from_millis(5);

/// Which calls were made, in order, each with its status.
#[derive(Clone, Default)]
pub(crate) struct Calls(Arc<Mutex<Vec<String>>>);

impl Calls {
    /// The calls since it was asked last, sorted.
    pub(crate) fn take_sorted(&self) -> Vec<String> {
        let mut calls = std::mem::take(&mut *self.0.lock().unwrap());
        calls.sort();
        calls
    }

    fn note(&self, call: String) {
        self.0.lock().unwrap().push(call);
    }
}

/// Serves routes at an address of their own, behind the delays. The address is made first: routes may name it.
pub(crate) async fn serve(calls: &Calls, routes: impl FnOnce(&str) -> Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let calls = calls.clone();
    let routes = routes(&url).layer(from_fn(move |request, next| delayed(calls.clone(), request, next)));
    tokio::spawn(async move { axum::serve(Distant(listener), routes).await });
    url
}

async fn delayed(calls: Calls, request: Request, next: Next) -> Response {
    let name = match service_and_operation(request.headers()) {
        (_, "") => format!("{} {}", request.method(), request.uri().path()),
        (_, operation) => operation.to_owned(),
    };
    sleep(CALLING).await;
    let response = next.run(request).await;
    calls.note(format!("{name} {}", response.status().as_u16()));
    response
}

struct Distant(TcpListener);

impl Listener for Distant {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.0).await;
        stream.set_nodelay(true).unwrap();
        (Connection { stream, connected: Some(Box::pin(sleep(CONNECTING))) }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// A connection that is deaf until its handshakes are over.
struct Connection {
    stream: TcpStream,
    connected: Option<Pin<Box<Sleep>>>,
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(connected) = &mut self.connected {
            ready!(connected.as_mut().poll(cx));
            self.connected = None;
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
