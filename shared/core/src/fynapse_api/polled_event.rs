//! The event of a delivery whose payload the list of deliveries holds.

use super::listed_delivery::ListedDelivery;
use crate::delivery::{Provider, Verified};
use crate::event::Event;
use crate::providers::fynapse::IDEMPOTENCY_HEADER;
use crate::providers::{ParseOutcome, parse};
use crate::time::UnixMillis;

/// Makes the event of a delivery out of its payload; `None` if the answer does not hold it, or it is not an event.
pub fn polled_event(delivery: &ListedDelivery, now: UnixMillis) -> Option<Event> {
    let body = delivery.payload.clone()?;
    let key = delivery.idempotency_key.iter();
    let headers = key.map(|key| (IDEMPOTENCY_HEADER.to_owned(), key.as_str().to_owned())).collect();
    match parse(Verified::from_api_response(Provider::Fynapse, body, headers, now)) {
        ParseOutcome::Event(event) => Some(event),
        ParseOutcome::UnknownType(_) | ParseOutcome::UnusableId(_) | ParseOutcome::Unreadable(..) => None,
    }
}
