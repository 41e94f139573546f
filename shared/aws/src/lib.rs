//! The AWS side of Balance Inbox: carries out what `inbox-core` decides.
//!
//! ```text
//!  delivery ──▶ webhook_receiver ──▶ event_recorder ──▶ inbox (+ payload) ──▶ queue ──▶ mark as sent
//!                  │
//!               secrets          message ──▶ inbox (claim) ──▶ balances, bus ──▶ inbox (done)
//! ```
//!
//! A delivery is a provider's HTTP request. An event is what it announces. The event's record is an item of the
//! table `inbox`, its payload is the body as received, and its message is what goes on the queue.

pub mod api_gateway;
mod backoff;
pub mod balances;
pub mod boot;
pub mod bus;
pub mod ca_bundle;
pub mod clients;
pub mod clock;
pub mod config;
pub mod dead_letters;
mod error;
pub mod escape;
pub mod event_recorder;
pub mod iam;
pub mod items;
pub mod quarantine_replay;
pub mod queue;
pub mod resources;
pub mod secrets;
pub mod stores;
mod table;
pub mod telemetry;
pub mod webhook_function;
pub mod webhook_receiver;

pub use error::{AwsError, AwsErrorKind};
