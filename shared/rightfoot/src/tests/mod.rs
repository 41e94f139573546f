//! Tests of the client against a server that responds as documented, or worse.

mod privacy;
mod reading;
mod retrying;
mod stub;
mod submitting;

use std::time::Duration;

use inbox_core::id::Id;
use inbox_core::time::UnixMillis;

use crate::{ApiKey, ClientConfig, RightfootClient};
use stub::StubServer;

const KEY: &str = "rf_live_canary";

fn key() -> ApiKey {
    ApiKey::new(KEY).unwrap()
}

fn id(text: &str) -> Id {
    Id::new(text).unwrap()
}

fn at(text: &str) -> UnixMillis {
    UnixMillis::from_rfc3339(text).unwrap()
}

/// Time-outs long enough for a busy machine, and almost no pauses.
fn config(base_url: &str) -> ClientConfig {
    let mut config = ClientConfig::new(base_url, None).unwrap();
    config.backoff_base = Duration::from_millis(1);
    config
}

fn client(stub: &StubServer) -> RightfootClient {
    RightfootClient::new(config(stub.base_url())).unwrap()
}
