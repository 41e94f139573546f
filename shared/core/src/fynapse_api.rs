//! Reading of the answers of Fynapse's API, above all of its list of deliveries, whose fields, pages and filters are not documented
//! (shared/providers/fynapse.md, "Deliveries").
//!
//! ```text
//!  answer ─▶ delivery_page: every object with a documented status ─▶ listed_delivery: its ids, its time, its payload
//!                    └────▶ paging: what the answer says about the next page
//!  delivery + what is recorded here ─▶ finding: settled, missed, lost, or not comparable
//! ```
//!
//! Nothing here relies on one shape. What cannot be read is left out, and a delivery that cannot be compared is never taken for lost.

pub mod credentials;
pub mod delivery_page;
pub mod finding;
mod json_tree;
pub mod listed_delivery;
pub mod management;
pub mod page_hints;
pub mod paging;
mod polled_event;

pub use polled_event::polled_event;
