//! The AWS side of Balance Inbox: carries out what `inbox-core` decides.
//!
//! ```text
//!  delivery ──▶ webhook_receiver ──▶ ingest ──▶ inbox (+ payload) ──▶ queue ──▶ mark as sent
//!                  │
//!               secrets          message ──▶ inbox (claim) ──▶ balances, bus ──▶ inbox (done)
//! ```

pub mod api_gateway;
pub mod balances;
pub mod bus;
pub mod ca_bundle;
pub mod clients;
pub mod clock;
mod conditional;
pub mod config;
pub mod dead_letters;
mod error;
pub mod escape;
pub mod iam;
pub mod inbox;
pub mod ingest;
mod item;
mod payload;
pub mod quarantine_replay;
pub mod queue;
pub mod secrets;
pub mod telemetry;
pub mod webhook_function;
pub mod webhook_receiver;

pub use error::{AwsError, AwsErrorKind};
