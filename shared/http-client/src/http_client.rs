//! Connections to an API, with the time limits of its configuration.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use inbox_aws::clock::Clock;
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, HeaderValue};
use reqwest::{Certificate, Client, RequestBuilder, Url, redirect};

use crate::retry::{retry_after, retry_pause};
use crate::{ApiResponse, ClientBuildError, ClientConfig, HttpError, content_encoding};

/// Maximum idle time of a connection: a process that was frozen meanwhile finds it dead.
const POOL_IDLE_MAX: Duration = Duration::from_secs(20);

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");

/// Sends requests to an API, each once. Clones share their connections.
#[derive(Clone)]
pub struct HttpClient(Arc<Connections>);

struct Connections {
    /// For requests that change nothing.
    read_client: Client,
    /// For requests that must not be sent twice: never on a connection that may have died meanwhile.
    write_client: Client,
    config: ClientConfig,
}

impl HttpClient {
    /// Creates the client. Nothing is connected yet.
    pub fn new(config: ClientConfig) -> Result<Self, ClientBuildError> {
        let pem = config.ca_bundle.as_ref().map_or("", |bundle| bundle.pem());
        let trusted = Certificate::from_pem_bundle(pem.as_bytes()).map_err(|_| ClientBuildError)?;
        let client = || {
            let client = Client::builder();
            // Plain HTTP to a simulated API checks no certificate: skip loading the system's.
            let client = match config.is_https() {
                true => client.tls_certs_merge(trusted.clone()),
                false => client.tls_certs_only([]),
            };
            client
                .user_agent(concat!("balance-inbox/", env!("CARGO_PKG_VERSION")))
                // Requests carry credentials, which must not be sent in the clear.
                .https_only(config.is_https())
                .no_proxy()
                .redirect(redirect::Policy::none())
                // The provider's client decides about retries, because it knows what may be repeated.
                .retry(reqwest::retry::never())
                .connect_timeout(config.connect_timeout)
        };
        let read_client = client().timeout(config.request_timeout).pool_idle_timeout(POOL_IDLE_MAX).build();
        let write_client = client().timeout(config.post_timeout).pool_max_idle_per_host(0).build();
        Ok(Self(Arc::new(Connections {
            read_client: read_client.map_err(|_| ClientBuildError)?,
            write_client: write_client.map_err(|_| ClientBuildError)?,
            config,
        })))
    }

    /// The configuration.
    pub fn config(&self) -> &ClientConfig {
        &self.0.config
    }

    /// A `GET`.
    pub fn get(&self, url: Url) -> RequestBuilder {
        self.0.read_client.get(url)
    }

    /// A `POST` of a form that changes nothing, like that for a token.
    pub fn post_form(&self, url: Url, body: String) -> RequestBuilder {
        self.0.read_client.post(url).header(CONTENT_TYPE, FORM).body(body)
    }

    /// A `POST` of JSON.
    pub fn post_json(&self, url: Url, body: Bytes) -> RequestBuilder {
        self.0.write_client.post(url).header(CONTENT_TYPE, JSON).body(body)
    }

    /// Sends a request once. The body of the response is not read yet.
    pub async fn send(&self, request: RequestBuilder) -> Result<ApiResponse, HttpError> {
        let response =
            request.header(ACCEPT, JSON).header(ACCEPT_ENCODING, content_encoding::ACCEPTED).send().await?;
        let retry_after = retry_after(response.headers(), Clock::system().now());
        Ok(ApiResponse::new(response, retry_after))
    }

    /// The pause before the next attempt of a request that may be repeated, after so many attempts and with this `Retry-After` of the
    /// last one. `None` if there shall be none: the caller's next run tries again.
    pub fn retry_pause(&self, attempts: u32, retry_after: Option<Duration>) -> Option<Duration> {
        retry_pause(&self.0.config, attempts, retry_after)
    }
}

/// Does not show the URL.
impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HttpClient")
    }
}
