//! One delivery of the list.

use std::borrow::Cow;
use std::fmt;

use serde_json::value::RawValue;
use strum::{IntoStaticStr, VariantArray};

use super::json_tree::{Fields, fields, find_in_objects, plain_name, text, whole_number};
use crate::delivery::Provider;
use crate::event::EventKey;
use crate::id::Id;
use crate::limits::ID_MAX_BYTES;
use crate::time::UnixMillis;

/// The state of a delivery (shared/providers/fynapse.md, "Delivery states").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum DeliveryStatus {
    /// Waits for an attempt.
    Pending,
    /// Was answered 2xx.
    Delivered,
    /// Was given up: nothing is sent any more.
    DeadLetter,
    /// Was never sent, because the subscription was inactive.
    Cancelled,
}

impl DeliveryStatus {
    /// Every status.
    pub const ALL: &[Self] = Self::VARIANTS;

    /// The name that Fynapse uses.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The status of this name, without case and separators.
    fn from_name(name: &str) -> Option<Self> {
        let wanted = plain_name(name);
        Self::ALL.iter().copied().find(|status| plain_name(status.as_str()) == wanted)
    }
}

/// A delivery, as far as it could be read.
#[derive(Clone, PartialEq, Eq)]
pub struct ListedDelivery {
    /// Its state.
    pub status: DeliveryStatus,
    /// Its own id.
    pub delivery_id: Option<Id>,
    /// The id of its event: the `event_id` of the webhook.
    pub event_id: Option<Id>,
    /// Its idempotency key: the `Idempotency-Key` of the webhook.
    pub idempotency_key: Option<Id>,
    /// The type of its event.
    pub event_type: Option<String>,
    /// The time of its creation.
    pub created_at: Option<UnixMillis>,
    /// The time of its creation, or else that of its event. Nothing of it arrived before that.
    pub dated_at: Option<UnixMillis>,
    /// The webhook's body, if the answer holds it: its bytes as they stand in the answer.
    pub payload: Option<Vec<u8>>,
}

impl ListedDelivery {
    /// Reads an object; `None` if it has no documented `status`.
    pub(super) fn from_fields(object: &Fields<'_>) -> Option<Self> {
        let status = DeliveryStatus::from_name(&object.get("status").and_then(|value| text(value))?)?;
        let event_id = id_named(object, "eventid").or_else(|| id_of_event(object));
        let payload = payload(object)
            // Another event's payload must not be recorded for this delivery.
            .filter(|(its_id, _)| event_id.as_ref().is_none_or(|event_id| event_id == its_id));
        let event_id = event_id.or_else(|| payload.as_ref().map(|(its_id, _)| its_id.clone()));
        let time_named = |names: &[&str]| {
            find_in_objects(object, &OF_OTHER_THINGS, is_webhook, |name, value| {
                if names.contains(&name) { time(value) } else { None }
            })
        };
        let created_at = time_named(&CREATION_TIMES);
        Some(Self {
            status,
            delivery_id: own_id(object),
            event_id,
            idempotency_key: id_named(object, "idempotencykey"),
            event_type: find_in_objects(object, &[], is_webhook, |name, value| {
                text(value).filter(|text| name == "eventtype" && is_short(text)).map(Cow::into_owned)
            }),
            created_at,
            dated_at: created_at.or_else(|| time_named(&EVENT_TIMES)),
            payload: payload.map(|(_, body)| body),
        })
    }

    /// The key of its event, if its id could be read.
    pub fn event_key(&self) -> Option<EventKey> {
        EventKey::signed(Provider::Fynapse, self.event_id.clone()?)
    }

    /// What identifies the delivery here: its own id, or else another one that it has. `None` if none can be read.
    pub fn reference(&self) -> Option<&Id> {
        self.delivery_id.as_ref().or(self.event_id.as_ref()).or(self.idempotency_key.as_ref())
    }
}

/// A payload is business data, so it is not shown (P8).
impl fmt::Debug for ListedDelivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListedDelivery")
            .field("status", &self.status)
            .field("delivery_id", &self.delivery_id)
            .field("event_id", &self.event_id)
            .field("idempotency_key", &self.idempotency_key)
            .field("created_at", &self.created_at)
            .field("payload_bytes", &self.payload.as_ref().map(Vec::len))
            .finish_non_exhaustive()
    }
}

/// Names of the time of creation, without case and separators.
const CREATION_TIMES: [&str; 5] = ["createdat", "createdon", "created", "creationtime", "creationdate"];
/// Names of the time of the event. The time of an attempt would be later than the record of an earlier attempt.
const EVENT_TIMES: [&str; 2] = ["eventtimestamp", "occurredat"];

/// Names of objects below a delivery whose times are not its own. A time too late makes an event look lost, one too early keeps it from
/// being looked for.
const OF_OTHER_THINGS: [&str; 6] =
    ["subscription", "attempt", "lastattempt", "latestattempt", "endpoint", "secret"];

fn is_short(text: &str) -> bool {
    (1..=ID_MAX_BYTES).contains(&text.len())
}

/// An id, which may be a text or a number.
fn id(value: &RawValue) -> Option<Id> {
    match text(value) {
        Some(text) => Id::new(text),
        None => whole_number(value).and_then(|number| Id::new(number.to_string())),
    }
}

/// The id of a delivery itself.
pub(super) fn own_id(object: &Fields<'_>) -> Option<Id> {
    object.get("id").and_then(|value| id(value)).or_else(|| id_named(object, "deliveryid"))
}

/// The id of this name, in the delivery or an object below it.
fn id_named(object: &Fields<'_>, wanted: &str) -> Option<Id> {
    find_in_objects(object, &[], is_webhook, |name, value| if name == wanted { id(value) } else { None })
}

/// The `id` of the object `event`.
fn id_of_event(object: &Fields<'_>) -> Option<Id> {
    object.get("event").and_then(|event| id(fields(event)?.get("id")?))
}

/// Returns `true` for the envelope of a webhook. What is below it is business data, whose names mean something else.
fn is_webhook(object: &Fields<'_>) -> bool {
    object.contains_key("event_id") && object.contains_key("event_type")
}

/// The webhook's body below a delivery, as an object or as a text that holds one, with its `event_id`.
fn payload(object: &Fields<'_>) -> Option<(Id, Vec<u8>)> {
    find_in_objects(object, &[], is_webhook, |_, value| {
        let body = match value.get().as_bytes().first() {
            Some(b'{') => Cow::Borrowed(value.get()),
            Some(b'"') => text(value).filter(|text| text.trim_start().starts_with('{'))?,
            _ => return None,
        };
        let envelope: Fields<'_> = serde_json::from_str(&body).ok()?;
        text(envelope.get("event_type")?).filter(|text| is_short(text))?;
        // Without it, the object is a summary of the event.
        envelope.get("data").filter(|data| data.get() != "null")?;
        let event_id = text(envelope.get("event_id")?).and_then(Id::new)?;
        Some((event_id, body.as_bytes().to_vec()))
    })
}

/// A time as text, or as seconds, milli-, micro- or nanoseconds since 1970. A fraction is ignored, and so is a time before Fynapse.
fn time(value: &RawValue) -> Option<UnixMillis> {
    /// 2015-01-01: a time before it, such as 0 or one in another form, is none.
    const EARLIEST: UnixMillis = UnixMillis(1_420_070_400_000);
    /// A number below this is one of seconds: that many seconds are the year 5138, that many milliseconds 1973.
    const MILLIS_MIN: u64 = 100_000_000_000;
    /// From this on, a number is one of a smaller unit than milliseconds.
    const MICROS_MIN: u64 = 1_000 * MILLIS_MIN;
    if let Some(text) = text(value) {
        return UnixMillis::from_iso8601(&text).filter(|at| *at >= EARLIEST);
    }
    let whole: String = value.get().chars().take_while(char::is_ascii_digit).collect();
    let number: u64 = whole.parse().ok()?;
    let mut millis = if number < MILLIS_MIN { number.saturating_mul(1_000) } else { number };
    while millis >= MICROS_MIN {
        millis /= 1_000;
    }
    i64::try_from(millis).ok().map(UnixMillis).filter(|at| *at >= EARLIEST)
}
