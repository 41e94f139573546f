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
pub mod calls;
pub mod clients;
pub mod clock;
mod condition;
pub mod config;
pub mod dead;
pub mod escape;
mod fault;
pub mod gateway;
pub mod inbox;
mod item;
mod payload;
pub mod queue;
pub mod receive;
pub mod recorder;
pub mod replay;
pub mod secrets;
pub mod telemetry;

pub use fault::{Cause, Fault};
