//! Fynapse's event envelope (shared/providers/fynapse.md, "Envelope"). Any `event_type` is an event; `data` has no fixed schema.

use serde::Deserialize;

use super::{Kind, Reading, Text, diagnose, object, present};
use crate::delivery::Proven;
use crate::event::{Event, EventKey, Id};
use crate::limits::ID_MAX_BYTES;

const REQUIRED: [(&str, Kind); 2] = [("event_id", Kind::Text), ("event_type", Kind::Text)];

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    event_id: Option<Text<'a>>,
    #[serde(borrow)]
    event_type: Option<Text<'a>>,
}

pub(super) fn read(proven: Proven) -> Reading {
    let envelope: Option<Envelope<'_>> = object(proven.body());
    let fields = envelope.as_ref().and_then(|it| Some((present(&it.event_id)?, present(&it.event_type)?)));
    let Some((event_id, event_type)) = fields else {
        let why = diagnose(proven.body(), &REQUIRED);
        return Reading::Unreadable(proven, why);
    };
    let event_type = event_type.to_owned();
    match Id::new(event_id).filter(|_| event_type.len() <= ID_MAX_BYTES) {
        Some(event_id) => Reading::Event(Event::new(EventKey::Fynapse { event_id }, event_type, proven)),
        None => Reading::UnusableId(proven),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Unreadable;
    use super::super::tests::{proven, unreadable};
    use super::*;
    use crate::delivery::Provider::Fynapse;

    fn read_text(body: &str) -> Reading {
        super::super::read(proven(Fynapse, body.as_bytes()))
    }

    #[test]
    fn any_event_type_is_an_event() {
        for event_type in ["balance.extracted", "something.else"] {
            let body = format!(
                r#"{{"event_id":"a3ef","event_type":"{event_type}","metadata":{{}},"event_timestamp":17,"data":[150.00]}}"#
            );
            let Reading::Event(event) = read_text(&body) else { panic!("{body}") };
            assert_eq!(event.key().event_id(), "fynapse/event/a3ef");
            assert_eq!(event.event_type(), event_type);
        }
    }

    #[test]
    fn p7_missing_fields_are_named() {
        assert_eq!(
            unreadable(Fynapse, r#"{"event_id":7,"data":{}}"#),
            Unreadable::MissingFields(vec!["event_id", "event_type"])
        );
        assert_eq!(
            unreadable(Fynapse, r#"{"event_id":"","event_type":"balance.extracted"}"#),
            Unreadable::MissingFields(vec!["event_id"])
        );
    }

    #[test]
    fn p7_over_long_ids_and_types_are_told_apart() {
        let body = |id: usize, event_type: usize| {
            format!(r#"{{"event_id":"{}","event_type":"{}"}}"#, "i".repeat(id), "t".repeat(event_type))
        };
        assert!(matches!(read_text(&body(512, 512)), Reading::Event(_)));
        assert!(matches!(read_text(&body(513, 1)), Reading::UnusableId(_)));
        assert!(matches!(read_text(&body(1, 513)), Reading::UnusableId(_)));
    }
}
