//! The AWS side of Balance Inbox: it carries out what `inbox-core` decides.
//!
//! ```text
//!  delivery ──▶ receive ──▶ recorder ──▶ inbox (+ payload) ──▶ queue ──▶ mark
//!                 │
//!              secrets          message ──▶ inbox (claim) ──▶ balances, bus ──▶ inbox (done)
//! ```

pub mod balances;
pub mod bus;
pub mod ca_bundle;
pub mod iam;
pub mod clients;
pub mod clock;
mod conditional;
pub mod config;
pub mod dead_letters;
pub mod escape;
mod error;
pub mod api_gateway;
pub mod inbox;
mod item;
mod payload;
pub mod queue;
pub mod webhook_receiver;
pub mod ingest;
pub mod quarantine_replay;
pub mod secrets;
pub mod telemetry;

pub use error::{AwsErrorKind, AwsError};
