//! The client against a server that answers as the documents show, or worse.

mod privacy;
mod reading;
mod retrying;
mod stub;
mod submitting;

use std::time::Duration;

use inbox_core::event::Id;
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

/// Patient enough for a busy machine, with pauses of no length to speak of.
fn config(base_url: &str) -> ClientConfig {
    let mut config = ClientConfig::new(base_url).unwrap();
    config.backoff_base = Duration::from_millis(1);
    config
}

fn client(stub: &StubServer) -> RightfootClient {
    RightfootClient::new(config(stub.base_url())).unwrap()
}
