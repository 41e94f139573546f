use super::*;
use crate::fynapse_api::listed_delivery::DeliveryStatus;
use crate::id::Id;
use crate::time::UnixMillis;
use proptest::prelude::*;

const CREATED: UnixMillis = UnixMillis(1_767_323_045_000);

fn id(text: &str) -> Option<Id> {
    Id::new(text)
}

fn delivery(status: DeliveryStatus) -> ListedDelivery {
    ListedDelivery {
        status,
        delivery_id: id("d-1"),
        event_id: id("e-1"),
        idempotency_key: id("k-1"),
        event_type: Some("balance.extracted".to_owned()),
        created_at: Some(CREATED),
        dated_at: Some(CREATED),
        payload: None,
    }
}

fn deliveries(body: &str) -> Vec<ListedDelivery> {
    parse_page(body.as_bytes()).unwrap().deliveries
}

/// Fynapse's documented envelope of another list, a plain array with an object for the event, and the pages of a common framework.
#[test]
fn a_delivery_is_read_in_every_plausible_shape() {
    let envelope = r#"{"data":[{"id":"d-1","status":"DELIVERED","eventId":"e-1","idempotencyKey":"k-1","eventType":"balance.extracted",
        "createdAt":"2026-01-02T03:04:05Z","attempts":[{"id":"a-1","status":"DELIVERED","httpStatus":200}]}],
        "page":0,"limit":100,"totalSize":1,"totalPages":1}"#;
    let array = r#"[{"id":"d-1","status":"DELIVERED","idempotency_key":"k-1","created_at":1767323045,
        "event":{"event_id":"e-1","event_type":"balance.extracted"}}]"#;
    let pages = r#"{"content":[{"deliveryId":"d-1","status":"DELIVERED","request":{"headers":{"Idempotency-Key":"k-1"}},
        "event":{"id":"e-1","eventType":"balance.extracted"},"createdAt":1767323045000}],
        "pageable":{"pageNumber":0},"last":true,"number":0,"totalPages":1}"#;
    assert_eq!(deliveries(envelope), [delivery(DeliveryStatus::Delivered)]);
    assert_eq!(deliveries(pages), [delivery(DeliveryStatus::Delivered)]);
    // The object of the event has names of a webhook, but not its data.
    assert_eq!(deliveries(array), [delivery(DeliveryStatus::Delivered)]);
}

#[test]
fn every_documented_status_is_read_and_another_one_is_counted() {
    for status in DeliveryStatus::ALL {
        let body = format!(
            r#"[{{"id":"d-1","status":"{}","eventId":"e-1","idempotencyKey":"k-1","eventType":"balance.extracted","createdAt":"2026-01-02T03:04:05"}}]"#,
            status.as_str()
        );
        assert_eq!(deliveries(&body), [delivery(*status)]);
    }
    let names = ["PENDING", "DELIVERED", "DEAD_LETTER", "CANCELLED"];
    assert_eq!(DeliveryStatus::ALL.iter().map(|it| it.as_str()).collect::<Vec<_>>(), names);
    let page = parse_page(br#"[{"id":1,"status":"PENDING"},{"id":2,"status":"PAUSED"}]"#).unwrap();
    assert_eq!((page.deliveries.len(), page.unknown_statuses), (1, vec![Id::new("2").unwrap()]));
    assert_eq!(page.deliveries[0].delivery_id, id("1"), "an id may be a number");
    let page = parse_page(br#"[{"id":2,"status":"PAUSED"}]"#).unwrap();
    assert_eq!((page.deliveries.len(), page.unknown_statuses.len()), (0, 1), "a page like any other");
    let page = parse_page(br#"{"content":[{"deliveryId":"d-1","status":"PAUSED"}],"last":true}"#).unwrap();
    assert_eq!(page.unknown_statuses, [Id::new("d-1").unwrap()]);
}

#[test]
fn a_status_is_read_however_it_is_written() {
    for status in ["DEAD_LETTER", "dead_letter", "DeadLetter", "dead-letter", "DEADLETTER"] {
        let read = deliveries(&format!(r#"[{{"id":"d-1","status":"{status}"}}]"#));
        assert_eq!(read[0].status, DeliveryStatus::DeadLetter, "{status}");
    }
}

#[test]
fn a_list_may_stand_in_an_object_with_what_describes_it() {
    let page = parse_page(br#"{"data":{"items":[{"id":"d-1","status":"PENDING"}],"totalPages":7}}"#).unwrap();
    assert_eq!((page.deliveries.len(), page.hints.total_pages), (1, Some(7)));
    let subscription = r#"{"id":"s-1","status":"ACTIVE","deliveries":[{"id":"d-1","status":"PENDING"}]}"#;
    let page = parse_page(subscription.as_bytes()).unwrap();
    assert_eq!((page.deliveries.len(), page.unknown_statuses.len()), (1, 0));
}

#[test]
fn a_flat_delivery_with_the_names_of_a_webhook_is_read_like_others() {
    let body = r#"{"event_id":"e-1","event_type":"t","data":{}}"#;
    let read = deliveries(&format!(
        r#"[{{"id":"d-1","status":"DEAD_LETTER","event_id":"e-1","event_type":"t","request":{{"headers":{{"Idempotency-Key":"k-1"}},"body":{body}}}}}]"#
    ));
    assert_eq!((&read[0].idempotency_key, read[0].payload.as_deref()), (&id("k-1"), Some(body.as_bytes())));
}

#[test]
fn p4_a_payload_is_taken_as_it_stands_in_the_answer() {
    let body = r#"{ "event_id":"e-1", "event_type":"balance.extracted","data":{"amount":150.00,"event_id":"other"} }"#;
    let as_object = format!(r#"[{{"id":"d-1","status":"DEAD_LETTER","payload":{body}}}]"#);
    let text = serde_json::to_string(body).unwrap();
    let as_text = format!(r#"[{{"id":"d-1","status":"DEAD_LETTER","request":{{"body":{text}}}}}]"#);
    for answer in [as_object, as_text] {
        let read = deliveries(&answer);
        assert_eq!(read[0].payload.as_deref(), Some(body.as_bytes()), "{answer}");
    }
    // As a text, its `event_id` is not a field of the answer.
    let read = deliveries(&format!(r#"[{{"id":"d-1","status":"DEAD_LETTER","payload":{body}}}]"#));
    assert_eq!(read[0].event_id, id("e-1"));
    for other in [
        format!(r#"[{{"id":"d-1","eventId":"e-2","status":"DEAD_LETTER","payload":{body}}}]"#),
        r#"[{"id":"d-1","status":"DEAD_LETTER","payload":{"event_id":"e-1"}}]"#.to_owned(),
        r#"[{"id":"d-1","status":"DEAD_LETTER","payload":{"event_id":"e-1","event_type":"t"}}]"#.to_owned(),
        r#"[{"id":"d-1","status":"DEAD_LETTER","payload":{"event_id":"e-1","event_type":"t","data":null}}]"#
            .to_owned(),
        r#"[{"id":"d-1","status":"DEAD_LETTER","payload":{"event_id":7,"event_type":"t"}}]"#.to_owned(),
        r#"[{"id":"d-1","status":"DEAD_LETTER","payload":"e-1"}]"#.to_owned(),
    ] {
        assert_eq!(deliveries(&other)[0].payload, None, "{other}");
    }
}

#[test]
fn business_data_gives_a_delivery_no_id() {
    let read = deliveries(
        r#"[{"id":"d-1","status":"DELIVERED","payload":{"event_id":"e-1","event_type":"t","data":{"idempotencyKey":"no","createdAt":"2020-01-01T00:00:00Z"}}}]"#,
    );
    assert_eq!((&read[0].idempotency_key, read[0].created_at), (&None, None));
}

#[test]
fn a_time_is_read_in_every_unit_and_none_of_an_attempt_is_taken() {
    let dated =
        |fields: &str| deliveries(&format!(r#"[{{"id":"d-1","status":"DELIVERED",{fields}}}]"#))[0].dated_at;
    for at in ["1767323045", "1767323045.000", "1767323045000", "1767323045000000", "1767323045000000000"] {
        assert_eq!(dated(&format!(r#""createdAt":{at}"#)), Some(CREATED), "{at}");
    }
    assert_eq!(dated(r#""event":{"eventTimestamp":"2026-01-02T03:04:05Z"}"#), Some(CREATED));
    for none in [
        r#""deliveredAt":1767323045"#,
        r#""lastAttemptAt":1767323045"#,
        r#""lastAttempt":{"createdAt":1767323045}"#,
        r#""subscription":{"createdAt":"2026-01-02T03:04:05Z"}"#,
        r#""createdAt":-1"#,
        r#""createdAt":0"#,
        r#""createdAt":1.767323045E9"#,
        r#""createdAt":"1970-01-01T00:00:00Z""#,
    ] {
        assert_eq!(dated(none), None, "{none}");
    }
}

#[test]
fn an_empty_list_is_a_page_without_deliveries() {
    for empty in [
        "[]",
        r#"{"data":[],"page":0,"totalPages":0}"#,
        r#"{"content":[],"sort":[],"last":true}"#,
        r#"{"data":{"items":[]}}"#,
        r#"{"_links":{"self":{"href":"/d"}},"page":{"size":20,"totalElements":0,"totalPages":0,"number":0}}"#,
    ] {
        assert_eq!(deliveries(empty), [], "{empty}");
    }
}

#[test]
fn p8_an_answer_that_makes_no_sense_is_described_by_its_names_and_types() {
    let shape = |body: &str| match parse_page(body.as_bytes()) {
        Err(UnusableAnswer::NoDeliveries { shape }) => shape,
        other => panic!("{other:?}"),
    };
    let body = r#"{"rows":[{"state":"SENT","n":1,"ok":true,"none":null},{"state":"x"}],"jane.doe@example.com":{"4711":"secret"}}"#;
    assert_eq!(shape(body), "{?:{?:text},rows:[{n:number,none:null,ok:boolean,state:text}]}");
    assert_eq!(shape("{}"), "{}");
    assert_eq!(shape("3"), "number");
    assert_eq!(shape(r#"[{"status":"PAUSED"}]"#), "[{status:text}]");
    for not_json in ["", "<html>", "{", "\u{feff}"] {
        assert_eq!(parse_page(not_json.as_bytes()), Err(UnusableAnswer::NotJson), "{not_json}");
    }
    let message = parse_page(b"{}").unwrap_err().to_string();
    assert_eq!(
        message,
        "the answer has no delivery that can be read; searched for status (PENDING, DELIVERED, DEAD_LETTER or CANCELLED), id, \
         eventId or event_id, idempotencyKey, createdAt; the answer is {}"
    );
}

#[test]
fn a_shape_is_short_whatever_the_answer() {
    let fields: Vec<_> = (0..500)
        .map(|at| {
            format!(r#""{}{}":0"#, "a".repeat(at / 26 + 1), char::from(b'a' + u8::try_from(at % 26).unwrap()))
        })
        .collect();
    let Err(UnusableAnswer::NoDeliveries { shape }) =
        parse_page(format!("{{{}}}", fields.join(",")).as_bytes())
    else {
        panic!()
    };
    assert!(shape.len() < 3_000 && shape.ends_with("…}"), "{shape}");
    let deep = format!("{}{}", r#"{"a":"#.repeat(60), "1".to_owned() + &"}".repeat(60));
    let Err(UnusableAnswer::NoDeliveries { shape }) = parse_page(deep.as_bytes()) else { panic!() };
    assert_eq!(shape, "{a:{a:{a:{a:{a:{a:{a:…}}}}}}}");
}

proptest! {
    #[test]
    fn reading_never_panics(body in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = parse_page(&body);
    }

    #[test]
    fn a_delivery_is_found_under_any_names_of_its_list(list in "[a-z]{1,9}", wrapper in "[a-z]{1,9}", key in "[!-~&&[^\"\\\\]]{1,40}") {
        let item = format!(r#"{{"id":"d","status":"CANCELLED","idempotencyKey":"{key}"}}"#);
        for body in [format!(r#"{{"{list}":[{item}]}}"#), format!(r#"{{"{wrapper}":{{"{list}":[{item}]}}}}"#), format!("[[{item}]]")] {
            let read = parse_page(body.as_bytes()).unwrap().deliveries;
            prop_assert_eq!(read.len(), 1);
            prop_assert_eq!(read[0].idempotency_key.clone(), Id::new(key.as_str()));
            prop_assert_eq!(read[0].status, DeliveryStatus::Cancelled);
        }
    }
}
