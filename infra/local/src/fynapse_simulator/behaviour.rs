//! The simulator's options: what Fynapse's documents leave open about the list of deliveries, and failures.

use std::time::Duration;

/// How the list of deliveries looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimulatedList {
    /// Form of the answer.
    pub shape: ListShape,
    /// How its pages are asked for.
    pub paging: ListPaging,
    /// Deliveries in a page, unless the request names fewer.
    pub page_rows: usize,
    /// True if the oldest delivery comes first.
    pub is_oldest_first: bool,
    /// True if a delivery has the id of its event.
    pub has_event_ids: bool,
    /// True if a delivery has its idempotency key.
    pub has_idempotency_keys: bool,
    /// True if a delivery has the time of its creation.
    pub has_times: bool,
    /// True if a delivery has the webhook's body.
    pub has_payloads: bool,
    /// True if a page after the last one is declined; otherwise it is empty.
    pub declines_pages_beyond_end: bool,
    /// Time without a request after which a session ends (shared/providers/fynapse.md, "Management API").
    pub session_ends_after: Duration,
    /// Status and body that replace the genuine answer of the list.
    pub scripted: Option<(u16, String)>,
}

impl Default for SimulatedList {
    fn default() -> Self {
        Self {
            shape: ListShape::default(),
            paging: ListPaging::default(),
            page_rows: 100,
            is_oldest_first: false,
            has_event_ids: true,
            has_idempotency_keys: true,
            has_times: true,
            has_payloads: false,
            declines_pages_beyond_end: false,
            session_ends_after: Duration::from_secs(5 * 60),
            scripted: None,
        }
    }
}

/// Form of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListShape {
    /// The envelope that another list of Fynapse's is documented with, and flat deliveries in camel case.
    #[default]
    Envelope,
    /// An array of deliveries in snake case, with an object for the event.
    Array,
    /// The pages of a common framework, and the request of each delivery as an object.
    FrameworkPage,
}

/// How pages are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListPaging {
    /// By `page`, counted from 0.
    #[default]
    FromZero,
    /// By `page`, counted from 1; page 0 is declined.
    FromOne,
    /// By a cursor.
    Cursor,
    /// By the link to the next page.
    Link,
    /// Not at all: every answer is the whole list, and a parameter is declined.
    None,
}
