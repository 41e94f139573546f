//! What the clients of both providers' APIs share: the base URL, connections, time-outs, the pauses between attempts, and reading a
//! response within its limits.
//!
//! What a status means, and which request may be repeated, differs between the providers, so their clients decide it.
//!
//! Nothing is logged here, and neither an error nor a `Debug` shows an address, a header or a body (P8).

mod config;
mod content_encoding;
mod error;
mod http_client;
mod response;
mod retry;

pub use config::{ClientConfig, InvalidApiUrl};
pub use error::{ClientBuildError, HttpError, UnavailableReason};
pub use http_client::HttpClient;
pub use response::{ApiResponse, RESPONSE_MAX_BYTES};
