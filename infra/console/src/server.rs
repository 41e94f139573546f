//! The console as an HTTP server on this machine.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;

use std::time::Duration;

use tokio::net::TcpListener;

use crate::app::{App, Inbox, StackFacts};
use crate::bounded_server::{ServerLimits, serve_bounded};
use crate::host::Host;
use crate::router::router;
use crate::session::TOKEN_PARAMETER;

/// Time until the body of a request has come.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// A console that listens, and serves once [`Console::serve`] is called.
pub struct Console {
    listener: TcpListener,
    app: App,
    url: String,
    limits: ServerLimits,
    body_timeout: Duration,
}

/// Shows no token.
impl std::fmt::Debug for Console {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Console({:?})", self.listener.local_addr())
    }
}

impl Console {
    /// Listens on this port of 127.0.0.1; 0 is any free one. There is no way to listen on another address: only for
    /// this one do browsers say where a request comes from.
    ///
    /// # Errors
    ///
    /// The port is taken.
    pub async fn bind(port: u16, inbox: Inbox, facts: StackFacts, host: Arc<dyn Host>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let port = listener.local_addr()?.port();
        let app = App::new(inbox, facts, host, port);
        let (name, token) = (app.session.host_name(), app.session.token());
        let url = format!("http://{name}:{port}/?{TOKEN_PARAMETER}={token}");
        Ok(Self { listener, app, url, limits: ServerLimits::default(), body_timeout: BODY_TIMEOUT })
    }

    /// Address with the token that signs in. Whoever has it can act as the operator.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Replaces the limits for slow clients.
    #[must_use]
    pub fn with_limits(self, limits: ServerLimits, body_timeout: Duration) -> Self {
        Self { limits, body_timeout, ..self }
    }

    /// Serves until the future is dropped.
    pub async fn serve(self) {
        serve_bounded(self.listener, router(self.app, self.body_timeout), self.limits).await;
    }
}
