//! The inbox in a browser: what arrived, what became of it, and replay.
//!
//! ```text
//!  browser ──▶ guard (Host, Sec-Fetch-Site, Origin, cookie) ──▶ router ──▶ pages ──▶ inbox-aws's stores, SQS
//!                                                                            └────▶ Host (checks, metrics, test deliveries)
//! ```
//!
//! `inboxctl console` and `local` serve it. Pages are rendered here, from the templates in `templates/`; the script in
//! `assets/` only keeps them current. A page reads indexes and single items, never the whole table.
//!
//! | part | modules |
//! |---|---|
//! | who may ask, and for how long | `guard`, `session`, `bounded_server` |
//! | the frame of pages, their words and links | `layout`, `assets`, `time_text`, `prose`, `links`, `event_text`, `tracked_text`, `poll_problem_text`, `quarantine_text` |
//! | pages that show | `overview` (`overview_flow`, `charts`, `last_hour`), `event_list`, `event_page` (`event_outputs`), `tracked_list`, `tracked_page`, `authorizer_page`, `quarantine_page`, `audit_page`, `search` |
//! | acts | `event_replay`, `event_bulk_replay`, `quarantine_replay`, `dead_letters_page`, `send_page`; `results` keeps what they did |

mod app;
mod assets;
mod audit_page;
mod authorizer_page;
mod balances;
mod bounded_server;
mod charts;
mod dead_letters_page;
mod event_bulk_replay;
mod event_list;
mod event_outputs;
mod event_page;
mod event_replay;
pub mod event_text;
mod guard;
mod host;
mod last_hour;
mod layout;
mod links;
mod list_params;
mod missed_page;
mod operator_form;
mod overview;
mod overview_flow;
mod payload;
pub mod poll_problem_text;
mod prose;
mod quarantine_page;
mod quarantine_replay;
mod quarantine_text;
mod result_page;
mod results;
mod router;
mod search;
mod send_page;
mod server;
mod session;
mod snapshot;
pub mod time_text;
mod tracked_list;
mod tracked_page;
pub mod tracked_text;

pub use app::{Inbox, StackFacts};
pub use bounded_server::{ServerLimits, serve_bounded};
pub use host::{Answer, Defect, Finding, FindingStatus, Host, SentDelivery, TestDelivery};
pub use last_hour::{LAST_HOUR_MINUTES, LastHour, MetricSeries, MetricSource, OverviewMetric};
pub use server::Console;
