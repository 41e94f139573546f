//! What a delivery at Fynapse means, compared with what is recorded here.
//!
//! | status | the event is here | it is not here | not known |
//! |---|---|---|---|
//! | `PENDING` | waits | waits | waits |
//! | `DELIVERED` | settled | absent, and **lost** if it is still absent minutes later | not comparable |
//! | `DEAD_LETTER`, `CANCELLED` | settled | missed | missed |

use std::collections::BTreeSet;
use std::time::Duration;

use strum::{EnumString, IntoStaticStr, VariantArray};

use super::listed_delivery::{DeliveryStatus, ListedDelivery};
use crate::id::Id;
use crate::limits::{DELIVERY_COMPARABLE_SECS, DELIVERY_SETTLE_SECS};
use crate::time::UnixMillis;

/// The events that are here, as far as they were searched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventsHere {
    /// Ids of recorded and quarantined events.
    pub event_ids: BTreeSet<Id>,
    /// Idempotency keys of recorded and quarantined events.
    pub idempotency_keys: BTreeSet<Id>,
    /// The time from which on all of them were searched.
    pub since: Option<UnixMillis>,
    /// True if the idempotency key of every recorded and quarantined event since then was read.
    pub has_all_keys: bool,
    /// True if every quarantined delivery since then was read.
    pub has_all_quarantined: bool,
    /// The last time at which a delivery was quarantined whose event id cannot be read. It may be any that is older.
    pub unreadable_until: Option<UnixMillis>,
    /// Keys of events that the auditor has recorded from the list itself.
    pub polled_keys: BTreeSet<Id>,
    /// What of the list can be compared.
    pub comparable: Comparable,
}

/// What of the list can be compared with the events that are here. Neither its ids nor their form are documented, so only what was found
/// here shows that they are those of the webhooks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Comparable {
    /// True if one of the list's event ids was found here lately.
    pub event_ids: bool,
    /// True if one of the list's idempotency keys was found here lately.
    pub idempotency_keys: bool,
    /// The time of the oldest delivery whose event was ever here. An older one may have gone to another receiver.
    pub since: Option<UnixMillis>,
}

impl EventsHere {
    /// Returns `true` if the idempotency key of a delivery is that of a webhook.
    pub fn has_key_of(&self, delivery: &ListedDelivery) -> bool {
        let is_of_webhook = |key| self.idempotency_keys.contains(key) && !self.polled_keys.contains(key);
        delivery.idempotency_key.as_ref().is_some_and(is_of_webhook)
    }

    /// Whether the event of a delivery is among them.
    pub fn presence_of(&self, delivery: &ListedDelivery) -> Presence {
        let has_id = delivery.event_id.as_ref().is_some_and(|id| self.event_ids.contains(id));
        let has_key = |key: &Option<Id>| key.as_ref().is_some_and(|key| self.idempotency_keys.contains(key));
        // The key may be the delivery's id (shared/providers/fynapse.md, "Idempotency-Key"). That it is not found there says nothing.
        if has_id || has_key(&delivery.idempotency_key) || has_key(&delivery.delivery_id) {
            return Presence::Here;
        }
        let is_since =
            |since: Option<UnixMillis>| since.zip(delivery.dated_at).is_some_and(|(since, at)| since <= at);
        let was_searched = is_since(self.since) && is_since(self.comparable.since);
        let is_readable =
            self.unreadable_until.is_none_or(|until| delivery.dated_at.is_some_and(|at| at > until));
        let is_id_enough = delivery.event_id.is_some()
            && self.comparable.event_ids
            && self.has_all_quarantined
            && is_readable;
        let is_key_enough =
            delivery.idempotency_key.is_some() && self.comparable.idempotency_keys && self.has_all_keys;
        if was_searched && (is_id_enough || is_key_enough) { Presence::Absent } else { Presence::Unknown }
    }
}

/// Whether the event of a delivery is recorded or quarantined here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It is, by its id or its idempotency key.
    Here,
    /// It is not.
    Absent,
    /// The delivery has no id to compare, or not everything could be searched.
    Unknown,
}

/// The reason why an event is missing here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum MissedReason {
    /// Fynapse gave the delivery up.
    DeadLetter,
    /// Fynapse never sent it, because the subscription was inactive.
    Cancelled,
    /// Fynapse was answered 2xx, and the event is not here.
    Lost,
}

impl MissedReason {
    /// Every reason.
    pub const ALL: &[Self] = Self::VARIANTS;

    /// The reason why the event of a delivery with this status can be missing; `None` while Fynapse still sends it.
    pub const fn of(status: DeliveryStatus) -> Option<Self> {
        match status {
            DeliveryStatus::Pending => None,
            DeliveryStatus::Delivered => Some(Self::Lost),
            DeliveryStatus::DeadLetter => Some(Self::DeadLetter),
            DeliveryStatus::Cancelled => Some(Self::Cancelled),
        }
    }

    /// The name used in the table, in logs and in metrics.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// What happened, and what an operator can do.
    pub const fn advice(self) -> &'static str {
        match self {
            Self::DeadLetter => {
                "Fynapse gave the delivery up and does not send it again. Run the extract again at Fynapse: its events have other ids. \
                 Then resolve this."
            }
            Self::Cancelled => {
                "The subscription was inactive when the delivery was due, so it was never sent. Activate the subscription, and run the \
                 extract again at Fynapse: its events have other ids. Then resolve this."
            }
            Self::Lost => {
                "Fynapse was answered 2xx, and the event is neither recorded nor quarantined here. This must never happen: find out who \
                 answered, or who deleted the record, and report it. Run the extract again at Fynapse. Then resolve this."
            }
        }
    }

    /// The reason with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        name.parse().ok()
    }
}

/// The meaning of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Fynapse will still send it.
    Waits,
    /// Its event is here.
    Settled,
    /// Its event is missing here.
    Missed(MissedReason),
    /// It was delivered, and its event is not here yet: the next run looks again.
    Absent,
    /// It was delivered, and cannot be compared.
    NotComparable,
}

/// Judges a delivery. `absent_since` is the time at which an earlier run did not find its event, if one did not.
pub fn judge(
    delivery: &ListedDelivery,
    presence: Presence,
    absent_since: Option<UnixMillis>,
    now: UnixMillis,
) -> Finding {
    let Some(reason) = MissedReason::of(delivery.status) else { return Finding::Waits };
    match (presence, reason) {
        (Presence::Here, _) => Finding::Settled,
        (_, MissedReason::DeadLetter | MissedReason::Cancelled) => Finding::Missed(reason),
        (Presence::Unknown, MissedReason::Lost) => Finding::NotComparable,
        (Presence::Absent, MissedReason::Lost) => judge_absent(delivery, absent_since, now),
    }
}

/// Judges a delivery that Fynapse has made, and whose event is not here. A retry may have succeeded a moment ago, whenever the delivery
/// was created; so one look is not enough.
fn judge_absent(delivery: &ListedDelivery, absent_since: Option<UnixMillis>, now: UnixMillis) -> Finding {
    if !is_comparable(delivery, now) {
        // Its record may have expired.
        return Finding::NotComparable;
    }
    match absent_since {
        Some(since) if now.since(since) >= Duration::from_secs(DELIVERY_SETTLE_SECS) => {
            Finding::Missed(MissedReason::Lost)
        }
        Some(_) | None => Finding::Absent,
    }
}

/// Returns `true` if a record of the delivery's event cannot have expired.
pub fn is_comparable(delivery: &ListedDelivery, now: UnixMillis) -> bool {
    let comparable = Duration::from_secs(DELIVERY_COMPARABLE_SECS);
    delivery.dated_at.is_some_and(|at| now.since(at) < comparable)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_767_323_045_000);

    fn delivery(status: DeliveryStatus, age_secs: Option<u64>) -> ListedDelivery {
        let at = age_secs.map(|secs| NOW.minus(Duration::from_secs(secs)));
        ListedDelivery {
            status,
            delivery_id: Id::new("d-1"),
            event_id: Id::new("e-1"),
            idempotency_key: None,
            event_type: None,
            created_at: at,
            dated_at: at,
            payload: None,
        }
    }

    #[test]
    fn an_event_is_here_by_its_id_or_its_key_and_absent_only_if_that_is_certain() {
        let ids = |ids: &[&str]| ids.iter().map(|id| Id::new(*id).unwrap()).collect::<BTreeSet<_>>();
        let mut listed = delivery(DeliveryStatus::Delivered, Some(60));
        listed.idempotency_key = Id::new("k-1");
        let complete = EventsHere {
            since: Some(NOW.minus(Duration::from_secs(60))),
            has_all_keys: true,
            has_all_quarantined: true,
            comparable: Comparable { event_ids: true, idempotency_keys: true, since: Some(UnixMillis(0)) },
            ..EventsHere::default()
        };
        assert_eq!(complete.presence_of(&listed), Presence::Absent);
        let with_id = EventsHere { event_ids: ids(&["e-1"]), ..EventsHere::default() };
        let with_key = EventsHere { idempotency_keys: ids(&["k-1"]), ..EventsHere::default() };
        let with_delivery_id = EventsHere { idempotency_keys: ids(&["d-1"]), ..EventsHere::default() };
        for here in [with_id, with_key, with_delivery_id] {
            assert_eq!(here.presence_of(&listed), Presence::Here, "{here:?}");
        }
        let by_id = EventsHere { has_all_keys: false, ..complete.clone() };
        let unlike = |event_ids, idempotency_keys| EventsHere {
            comparable: Comparable { event_ids, idempotency_keys, ..complete.comparable },
            ..complete.clone()
        };
        let by_key = unlike(false, true);
        let no_older_event = Comparable { since: Some(NOW), ..complete.comparable };
        let no_event = Comparable { since: None, ..complete.comparable };
        let older = EventsHere { unreadable_until: Some(UnixMillis(0)), ..by_id.clone() };
        for here in [&by_id, &by_key, &older] {
            assert_eq!(here.presence_of(&listed), Presence::Absent, "{here:?}");
        }
        let (mut without_key, mut without_id) = (listed.clone(), listed.clone());
        without_key.idempotency_key = None;
        without_id.event_id = None;
        for (here, delivery) in [
            (EventsHere { has_all_quarantined: false, has_all_keys: false, ..complete.clone() }, &listed),
            (EventsHere { unreadable_until: listed.dated_at, ..by_id.clone() }, &listed),
            (EventsHere { since: Some(NOW), ..complete.clone() }, &listed),
            (EventsHere { since: None, ..complete.clone() }, &listed),
            (EventsHere { has_all_keys: false, ..by_key.clone() }, &listed),
            (unlike(false, false), &listed),
            (EventsHere { comparable: no_older_event, ..complete.clone() }, &listed),
            (EventsHere { comparable: no_event, ..complete.clone() }, &listed),
            (by_key, &without_key),
            (by_id, &without_id),
            (complete.clone(), &ListedDelivery { dated_at: None, ..listed.clone() }),
            (complete, &ListedDelivery { idempotency_key: None, event_id: None, ..listed.clone() }),
        ] {
            assert_eq!(here.presence_of(delivery), Presence::Unknown, "{here:?} {delivery:?}");
        }
    }

    #[test]
    fn only_a_delivered_event_that_is_certainly_not_here_is_lost() {
        use DeliveryStatus::{Cancelled, DeadLetter, Delivered, Pending};
        let missed = |reason| Finding::Missed(reason);
        for (status, presence, expected) in [
            (Pending, Presence::Here, Finding::Waits),
            (Pending, Presence::Absent, Finding::Waits),
            (Pending, Presence::Unknown, Finding::Waits),
            (Delivered, Presence::Here, Finding::Settled),
            (Delivered, Presence::Absent, missed(MissedReason::Lost)),
            (Delivered, Presence::Unknown, Finding::NotComparable),
            (DeadLetter, Presence::Here, Finding::Settled),
            (DeadLetter, Presence::Absent, missed(MissedReason::DeadLetter)),
            (DeadLetter, Presence::Unknown, missed(MissedReason::DeadLetter)),
            (Cancelled, Presence::Here, Finding::Settled),
            (Cancelled, Presence::Absent, missed(MissedReason::Cancelled)),
            (Cancelled, Presence::Unknown, missed(MissedReason::Cancelled)),
        ] {
            assert_eq!(
                judge(
                    &delivery(status, Some(3_600)),
                    presence,
                    Some(NOW.minus(Duration::from_secs(300))),
                    NOW
                ),
                expected,
                "{status:?} {presence:?}"
            );
        }
    }

    #[test]
    fn an_event_is_lost_if_it_is_still_absent_minutes_after_the_first_look_and_until_records_expire() {
        let judged = |age_secs, absent_secs: Option<u64>| {
            let absent_since = absent_secs.map(|secs| NOW.minus(Duration::from_secs(secs)));
            judge(&delivery(DeliveryStatus::Delivered, age_secs), Presence::Absent, absent_since, NOW)
        };
        for absent_secs in [None, Some(0), Some(299)] {
            assert_eq!(judged(Some(3 * 3_600), absent_secs), Finding::Absent, "{absent_secs:?}");
        }
        let lost = Finding::Missed(MissedReason::Lost);
        for age_secs in [300, 29 * 86_400 - 1] {
            assert_eq!(judged(Some(age_secs), Some(300)), lost, "{age_secs}");
        }
        for age_secs in [Some(29 * 86_400), None] {
            assert_eq!(judged(age_secs, Some(300)), Finding::NotComparable, "{age_secs:?}");
        }
    }
}
