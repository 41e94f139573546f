//! A network between a process and the emulators: a connection costs its handshakes and a call its round trip, as in
//! AWS.

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
use tests::bind_listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Sleep, sleep};

/// Delay of a new connection before its first byte is read: about the TCP and TLS handshakes within a region.
pub(crate) const CONNECT_DELAY: Duration = Duration::from_millis(40);
/// Delay of each call.
pub(crate) const CALL_DELAY: Duration = Duration::from_millis(5);

/// Calls with their statuses, in order.
#[derive(Clone, Default)]
pub(crate) struct CallLog(Arc<Mutex<Vec<String>>>);

impl CallLog {
    /// Takes the calls logged since the last time, sorted.
    pub(crate) fn take_sorted(&self) -> Vec<String> {
        let mut calls = std::mem::take(&mut *self.0.lock().unwrap());
        calls.sort();
        calls
    }

    fn record(&self, call: String) {
        self.0.lock().unwrap().push(call);
    }
}

/// Serves routes behind the delays, and returns their URL. The URL is known first, because routes may refer to it.
pub(crate) async fn serve(calls: &CallLog, routes: impl FnOnce(&str) -> Router) -> String {
    let (listener, url) = bind_listener().await;
    let calls = calls.clone();
    let routes =
        routes(&url).layer(from_fn(move |request, next| delay_and_record(calls.clone(), request, next)));
    tokio::spawn(async move { axum::serve(DelayedListener(listener), routes).await });
    url
}

async fn delay_and_record(calls: CallLog, request: Request, next: Next) -> Response {
    let name = match service_and_operation(request.headers()) {
        (_, "") => format!("{} {}", request.method(), request.uri().path()),
        (_, operation) => operation.to_owned(),
    };
    sleep(CALL_DELAY).await;
    let response = next.run(request).await;
    calls.record(format!("{name} {}", response.status().as_u16()));
    response
}

struct DelayedListener(TcpListener);

impl Listener for DelayedListener {
    type Io = DelayedConnection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (DelayedConnection, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.0).await;
        stream.set_nodelay(true).unwrap();
        (DelayedConnection { stream, handshake: Some(Box::pin(sleep(CONNECT_DELAY))) }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// A connection that delivers no byte until its handshakes are over.
struct DelayedConnection {
    stream: TcpStream,
    handshake: Option<Pin<Box<Sleep>>>,
}

impl AsyncRead for DelayedConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(connected) = &mut self.handshake {
            ready!(connected.as_mut().poll(cx));
            self.handshake = None;
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for DelayedConnection {
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
