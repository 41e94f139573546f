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
use local::fynapse_simulator::FynapseSimulator;
use local::lambda_api::aws_endpoint;
use local::stack::{
    BALANCES_TABLE, EVENT_BUS, FYNAPSE_API_CREDENTIALS_SECRET, FYNAPSE_CLIENT_ID, FYNAPSE_CLIENT_SECRET,
    FYNAPSE_SECRET, FYNAPSE_SUBSCRIPTION_ID, INBOX_TABLE, RIGHTFOOT_API_KEY_SECRET, RIGHTFOOT_URL_KEY_SECRET,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Sleep, sleep};

use crate::bind_listener;
use crate::rightfoot_world::RightfootWorld;

/// Delay of a new connection before its first byte is read: about the TCP and TLS handshakes within a region.
pub const CONNECT_DELAY: Duration = Duration::from_millis(40);
/// Delay of each call of AWS.
pub const CALL_DELAY: Duration = Duration::from_millis(5);

const SQS_ENDPOINT: &str = "AWS_ENDPOINT_URL_SQS";

/// A world whose emulators and simulated Rightfoot a process reaches over the simulated network.
pub struct SimulatedNetwork {
    /// The emulators and Rightfoot.
    pub rightfoot_world: RightfootWorld,
    /// The simulated Fynapse.
    pub fynapse: FynapseSimulator,
    /// The calls that the process has made.
    pub calls: CallLog,
    env: Vec<(&'static str, String)>,
}

impl SimulatedNetwork {
    /// Serves a new world. A call of AWS takes [`CALL_DELAY`], one of Rightfoot `rightfoot_delay`.
    pub async fn new(rightfoot_delay: Duration) -> Self {
        Self::with_layer(rightfoot_delay, |emulators| emulators).await
    }

    /// Serves a new world like [`SimulatedNetwork::new`], with a layer before the emulators.
    pub async fn with_layer(rightfoot_delay: Duration, layer: impl Fn(Router) -> Router) -> Self {
        let rightfoot_world = RightfootWorld::new().await;
        let calls = CallLog::default();
        let mut env = vec![
            ("INBOX_TABLE", INBOX_TABLE.to_owned()),
            ("BALANCES_TABLE", BALANCES_TABLE.to_owned()),
            ("EVENT_BUS_NAME", EVENT_BUS.to_owned()),
            ("FYNAPSE_SIGNING_SECRET_ID", FYNAPSE_SECRET.to_owned()),
            ("RIGHTFOOT_URL_KEY_SECRET_ID", RIGHTFOOT_URL_KEY_SECRET.to_owned()),
            ("RIGHTFOOT_API_KEY_SECRET_ID", RIGHTFOOT_API_KEY_SECRET.to_owned()),
            ("WEBHOOK_BASE_URL", "https://inbox.example".to_owned()),
            ("FYNAPSE_API_CREDENTIALS_SECRET_ID", FYNAPSE_API_CREDENTIALS_SECRET.to_owned()),
            ("FYNAPSE_SUBSCRIPTION_ID", FYNAPSE_SUBSCRIPTION_ID.to_owned()),
        ];
        // Each service has a host of its own, as in AWS.
        for variable in [
            "AWS_ENDPOINT_URL_DYNAMODB",
            SQS_ENDPOINT,
            "AWS_ENDPOINT_URL_SECRETS_MANAGER",
            "AWS_ENDPOINT_URL_EVENTBRIDGE",
        ] {
            let emulators = |url: &str| layer(aws_endpoint(&rightfoot_world.world.stack, url.to_owned()));
            let url = serve(&calls, CALL_DELAY, emulators).await;
            if variable == SQS_ENDPOINT {
                env.push(("EVENTS_QUEUE_URL", format!("{url}/123456789012/events")));
            }
            env.push((variable, url));
        }
        let rightfoot = serve(&calls, rightfoot_delay, |_| rightfoot_world.rightfoot.routes()).await;
        env.push(("RIGHTFOOT_API_URL", rightfoot));
        let fynapse = FynapseSimulator::new(
            rightfoot_world.world.stack.clock.clone(),
            FYNAPSE_SUBSCRIPTION_ID,
            FYNAPSE_CLIENT_ID,
            FYNAPSE_CLIENT_SECRET,
        );
        env.push(("FYNAPSE_API_URL", serve(&calls, CALL_DELAY, |_| fynapse.routes()).await));
        Self { rightfoot_world, fynapse, calls, env }
    }

    /// Environment variables with which a function uses this world.
    pub fn env(&self) -> Vec<(&str, &str)> {
        self.env.iter().map(|(name, value)| (*name, value.as_str())).collect()
    }
}

/// Calls with their statuses, in order.
#[derive(Clone, Default)]
pub struct CallLog(Arc<Mutex<Vec<String>>>);

impl CallLog {
    /// Takes the calls logged since the last time, sorted.
    pub fn take_sorted(&self) -> Vec<String> {
        let mut calls = std::mem::take(&mut *self.0.lock().unwrap());
        calls.sort();
        calls
    }

    fn record(&self, call: String) {
        self.0.lock().unwrap().push(call);
    }
}

/// Serves routes behind the delays, and returns their URL. The URL is known first, because routes may refer to it.
async fn serve(calls: &CallLog, call_delay: Duration, routes: impl FnOnce(&str) -> Router) -> String {
    let (listener, url) = bind_listener().await;
    let calls = calls.clone();
    let routes = routes(&url)
        .layer(from_fn(move |request, next| delay_and_record(calls.clone(), call_delay, request, next)));
    tokio::spawn(async move { axum::serve(DelayedListener(listener), routes).await });
    url
}

async fn delay_and_record(calls: CallLog, delay: Duration, request: Request, next: Next) -> Response {
    let name = match service_and_operation(request.headers()) {
        (_, "") => format!("{} {}", request.method(), request.uri().path()),
        (_, operation) => operation.to_owned(),
    };
    sleep(delay).await;
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
