//! Webhooks end to end: from the delivery to the record and the queue.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use inbox_core::delivery::Provider;
use inbox_core::event::EventKey;
use local::connector::Fault;
use tests::{
    Item, World, alert_body, completion_body, extract_body, gateway_event, number, random_hex, text,
};

const RECEIVED: &str = r#"{"status":"received"}"#;
const DUPLICATE: &str = r#"{"status":"duplicate"}"#;
const QUARANTINED: &str = r#"{"status":"quarantined"}"#;
const FORBIDDEN: &str = r#"{"error":"Forbidden"}"#;

#[tokio::test]
async fn p1_p2_a_new_event_is_recorded_sent_and_marked_before_the_answer() {
    let world = World::new().await;
    let response = world.deliver_fynapse(extract_body("e-1")).await;
    assert_eq!((response.status, response.body.as_str()), (200, RECEIVED));
    assert_eq!(response.headers, ["content-type"], "P6: no Retry-After");

    let record = world.item("fynapse#event#e-1", "event").await.unwrap();
    assert_eq!(record["payload"].as_b().unwrap().as_ref(), extract_body("e-1").as_bytes());
    assert_eq!(number(&record, "sent_at"), Some(world.now().0));
    assert_eq!(number(&record, "expires_at"), Some(world.now().0 / 1000 + 30 * 86_400));
    assert!(!record.contains_key("due") && !record.contains_key("due_at"));

    let messages = world.drain_queue().await;
    assert_eq!(messages.len(), 1);
    assert_eq!(
        messages[0].body,
        format!(
            r#"{{"specversion":"1.0","id":"fynapse/event/e-1","source":"/fynapse/webhook","type":"com.fynapse.balance.extracted","time":"2026-01-02T03:04:05.000Z","datacontenttype":"application/json","origin":"webhook","data":{}}}"#,
            extract_body("e-1")
        )
    );
}

#[tokio::test]
async fn p2_a_payload_that_consumers_could_not_parse_goes_by_reference() {
    let world = World::new().await;
    let nested = |event_id: &str, levels: usize| {
        let data = format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        extract_body(event_id).replace(r#"{"amount":150.00}"#, &data)
    };
    // `DATA_DEPTH_MAX` is 900 levels, and the payload itself adds one.
    world.deliver_fynapse(nested("shallow", 899)).await;
    world.deliver_fynapse(nested("deep", 900)).await;
    world.deliver_fynapse(nested("very-deep", 1_200)).await;
    world.deliver_fynapse(format!("\u{feff}{}", extract_body("marked"))).await;
    let messages = world.drain_queue().await;
    let by_reference = |id: &str| {
        messages.iter().any(|message| message.body.ends_with(&format!(r#","dataref":"inbox:///{id}"}}"#)))
    };
    for event in ["deep", "very-deep", "marked"] {
        assert!(by_reference(&format!("fynapse/event/{event}")), "{event}");
    }
    assert!(!by_reference("fynapse/event/shallow"));
    assert!(messages.iter().any(|message| message.body.contains(&nested("shallow", 899))));
    let record = world.item("fynapse#event#marked", "event").await.unwrap();
    assert_eq!(
        record["payload"].as_b().unwrap().as_ref(),
        format!("\u{feff}{}", extract_body("marked")).as_bytes()
    );
}

#[tokio::test]
async fn p3_a_record_whose_answer_was_lost_is_recognised_as_our_own_and_sent_at_once() {
    let world = World::new().await;
    world.deliver_fynapse(extract_body("warm")).await;
    world.drain_queue().await;
    world.stack.connector.clear_call_log();
    world.lose_response(|call| call.index == 0);
    assert_eq!(
        world.deliver_fynapse(extract_body("e-1")).await.body,
        RECEIVED,
        "the SDK's second attempt was refused"
    );
    assert_eq!(world.drain_event_ids().await, ["fynapse/event/e-1"], "without the relay");
    assert!(world.due_items().await.is_empty());
}

#[tokio::test]
async fn p5_a_batch_is_complete_once_whatever_uuid_the_webhook_carries() {
    let world = World::new().await;
    assert_eq!(world.deliver_rightfoot(completion_body("b-1", "u-1")).await.body, RECEIVED);
    assert_eq!(world.deliver_rightfoot(completion_body("b-1", "u-2")).await.body, DUPLICATE);
    assert_eq!(world.deliver_rightfoot(alert_body("b-1", "u-3")).await.body, RECEIVED);
    assert_eq!(
        world.deliver_rightfoot(alert_body("b-1", "u-4")).await.body,
        RECEIVED,
        "a run's alerts might come split"
    );
    assert_eq!(world.deliver_rightfoot(alert_body("b-1", "u-4")).await.body, DUPLICATE);
    world.drain_outbox().await;
    assert_eq!(
        world.drain_event_ids().await,
        ["rightfoot/batch/b-1/alert/u-3", "rightfoot/batch/b-1/alert/u-4", "rightfoot/batch/b-1/completed"]
    );
}

#[tokio::test]
async fn p3_fifty_simultaneous_deliveries_give_one_record_and_one_message() {
    let world = World::new().await;
    let body = extract_body("e-1");
    let responses = futures::future::join_all((0..50).map(|_| world.deliver_fynapse(&body))).await;
    assert!(responses.iter().all(|response| response.status == 200));
    assert_eq!(responses.iter().filter(|response| response.body == RECEIVED).count(), 1);
    assert_eq!(responses.iter().filter(|response| response.body == DUPLICATE).count(), 49);
    world.drain_outbox().await;
    assert_eq!(world.drain_event_ids().await, ["fynapse/event/e-1"]);
    assert_eq!(world.items().await.len(), 1);
}

#[tokio::test]
async fn p4_a_redelivery_under_another_key_or_with_other_bytes_changes_nothing() {
    let world = World::new().await;
    let first = extract_body("e-1");
    world.deliver_fynapse(&first).await;
    let other = first.replace("150.00", "999.00");
    let response = world.deliver_fynapse_with(&other, &world.sign(&other), Some("key-2")).await;
    assert_eq!(response.body, DUPLICATE);
    let record = world.item("fynapse#event#e-1", "event").await.unwrap();
    assert_eq!(record["payload"].as_b().unwrap().as_ref(), first.as_bytes());
    assert_eq!(text(&record, "idempotency_key"), "key-1");
}

#[tokio::test]
async fn duplicates_are_counted_and_change_nothing_else() {
    let world = World::new().await;
    let (first, other) = (extract_body("e-1"), extract_body("e-1").replace("150.00", "999.00"));
    world.inject_fault("SendMessage", Fault::AccessDenied);
    world.deliver_fynapse(&first).await;
    world.stack.connector.clear_fault_plan();
    let before = world.item("fynapse#event#e-1", "event").await.unwrap();
    assert!(before.contains_key("due") && !before.contains_key("duplicates"));
    let mut last_at = world.now().0;
    for body in [&first, &other, &first] {
        world.advance(Duration::from_secs(1));
        last_at = world.now().0;
        assert_eq!(world.deliver_fynapse(body).await.body, DUPLICATE);
    }
    let mut after = world.item("fynapse#event#e-1", "event").await.unwrap();
    let counts = ["duplicates", "differing_duplicates", "last_duplicate_at"];
    assert_eq!(counts.map(|name| number(&after, name)), [Some(3), Some(1), Some(last_at)]);
    for name in counts {
        after.remove(name);
    }
    assert_eq!(after, before, "neither its revision, nor that it is due, nor its last writer");
}

#[tokio::test]
async fn a_duplicate_that_cannot_be_counted_is_answered_all_the_same() {
    for fault in [Fault::AccessDenied, Fault::Throttled, Fault::ServerError, Fault::TimeoutAfter] {
        let world = World::new().await;
        world.deliver_fynapse(extract_body("e-1")).await;
        world.inject_fault("UpdateItem", fault);
        let started = std::time::Instant::now();
        let response = world.deliver_fynapse(extract_body("e-1")).await;
        assert_eq!((response.status, response.body.as_str()), (200, DUPLICATE), "{fault:?}");
        // `DUPLICATE_COUNT_BUDGET_MS` is 1,000, and the put comes before.
        assert!(started.elapsed() < Duration::from_secs(3), "{fault:?}: {:?}", started.elapsed());
    }
}

#[tokio::test]
async fn a_duplicate_of_a_record_that_has_expired_creates_no_item() {
    let world = World::new().await;
    let key = EventKey::from_event_id("fynapse/event/e-1").unwrap();
    for payload_differs in [false, true] {
        world.stores().events.count_duplicate(&key, payload_differs, world.now()).await.unwrap();
    }
    assert!(world.items().await.is_empty());
}

#[tokio::test]
async fn two_events_under_one_key_are_two_events_and_no_key_is_fine() {
    let world = World::new().await;
    for id in ["e-1", "e-2"] {
        assert_eq!(world.deliver_fynapse(extract_body(id)).await.body, RECEIVED);
    }
    let third = extract_body("e-3");
    assert_eq!(world.deliver_fynapse_with(&third, &world.sign(&third), None).await.body, RECEIVED);
    assert_eq!(
        world.drain_event_ids().await,
        ["fynapse/event/e-1", "fynapse/event/e-2", "fynapse/event/e-3"]
    );
}

#[tokio::test]
async fn p4_a_large_payload_is_stored_in_parts_and_travels_by_reference() {
    let world = World::new().await;
    let body = extract_body("e-1").replace("150.00", &format!("\"{}\"", random_hex(1_500_000, 7)));
    assert_eq!(world.deliver_fynapse(&body).await.body, RECEIVED);
    let record = world.item("fynapse#event#e-1", "event").await.unwrap();
    assert_eq!(record["parts"].as_l().unwrap().len(), 3, "hexadecimal noise deflates to about half");
    let messages = world.drain_queue().await;
    assert!(messages[0].body.contains(r#""dataref":"inbox:///fynapse/event/e-1""#));
    let resolved =
        world.stack.stores.events.resolve_dataref("inbox:///fynapse/event/e-1").await.unwrap().unwrap();
    assert!(resolved == body.as_bytes());
    assert_eq!(world.stack.stores.events.resolve_dataref("inbox:///fynapse/event/none").await.unwrap(), None);
    let orphans_go: Vec<_> =
        world.items().await.iter().filter_map(|item| number(item, "expires_at")).collect();
    assert_eq!(orphans_go.len(), 4, "the record and its three parts expire");
}

#[tokio::test]
async fn p4_a_middling_payload_is_stored_in_parts_and_travels_inside_its_message() {
    let world = World::new().await;
    let body = extract_body("e-1").replace("150.00", &format!("150.00,\"x\":\"{}\"", "y".repeat(100_000)));
    world.inject_fault("SendMessage", Fault::AccessDenied);
    assert_eq!(world.deliver_fynapse(&body).await.body, RECEIVED);
    world.stack.connector.clear_fault_plan();
    world.drain_outbox().await;
    assert!(world.drain_queue().await[0].body.ends_with(&format!("\"data\":{body}}}")));
}

#[tokio::test]
async fn p7_what_is_verified_and_not_usable_is_quarantined() {
    let world = World::new().await;
    let not_json = world.deliver_fynapse("{").await;
    assert_eq!((not_json.status, not_json.body.as_str()), (200, QUARANTINED));
    let not_json = world.deliver_rightfoot("{").await;
    assert_eq!((not_json.status, not_json.body.as_str()), (400, r#"{"error":"Invalid JSON payload"}"#));
    let missing = world.deliver_rightfoot(r#"{"type":"BALANCE_BATCH_COMPLETED"}"#).await;
    assert_eq!(
        (missing.status, missing.body.as_str()),
        (400, r#"{"error":"Missing required fields","fields":["event_uuid","batch_id"]}"#)
    );
    assert_eq!(world.deliver_rightfoot(r#"{"type":"NEW_ONE"}"#).await.body, QUARANTINED);
    assert_eq!(world.deliver_rightfoot(r#"{"type":"NEW_ONE"}"#).await.body, QUARANTINED);
    // One byte more than `ID_MAX_BYTES`.
    assert_eq!(world.deliver_fynapse(extract_body(&"i".repeat(513))).await.body, QUARANTINED);

    let mut reasons: Vec<_> = world.quarantined().await.into_iter().map(|(reason, _)| reason).collect();
    reasons.sort();
    assert_eq!(reasons, ["unknown_type", "unreadable", "unreadable", "unreadable", "unusable_id"]);
    let items = world.items().await;
    let unknown = items.iter().find(|item| text(item, "reason") == "unknown_type").unwrap();
    assert_eq!(unknown["payload"].as_b().unwrap().as_ref(), br#"{"type":"NEW_ONE"}"#);
    assert_eq!((number(unknown, "deliveries"), text(unknown, "subject")), (Some(2), "demo"));
    assert_eq!(number(unknown, "expires_at"), Some(world.now().0 / 1000 + 90 * 86_400));
    world.drain_outbox().await;
    assert!(world.drain_queue().await.is_empty());
}

#[tokio::test]
async fn p7_an_authentic_but_stale_delivery_is_rejected_and_quarantined() {
    let world = World::new().await;
    let body = extract_body("e-1");
    let signature = world.sign(&body);
    // Past the signature's tolerance of 300 s.
    world.advance(Duration::from_secs(301));
    let response = world.deliver_fynapse_with(&body, &signature, Some("key-1")).await;
    assert_eq!((response.status, response.body.as_str()), (403, FORBIDDEN));
    assert_eq!(world.quarantined().await[0].0, "stale");
    let wrong = signature.replace("v1=", "v1=0").replace("v1=0", "v1=").replace('a', "b");
    assert_eq!(world.deliver_fynapse_with(&extract_body("e-2"), &wrong, None).await.status, 403);
    assert_eq!(world.quarantined().await.len(), 1, "stale and wrong is wrong, and not kept");
}

#[tokio::test]
async fn p7_a_batch_of_another_subject_is_quarantined_and_an_untracked_one_is_a_hint() {
    let world = World::new().await;
    let tracked = |batch: &str, subject: &str| -> Item {
        [
            ("pk", format!("rightfoot#batch#{batch}")),
            ("sk", "tracked".to_owned()),
            ("subject", subject.to_owned()),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), AttributeValue::S(value)))
        .collect()
    };
    world.put_item(tracked("ours", "demo")).await;
    world.put_item(tracked("theirs", "other")).await;
    assert_eq!(world.deliver_rightfoot(completion_body("ours", "u")).await.body, RECEIVED);
    assert_eq!(world.deliver_rightfoot(completion_body("unknown", "u")).await.body, RECEIVED);
    assert_eq!(world.deliver_rightfoot(completion_body("theirs", "u")).await.body, QUARANTINED);
    assert_eq!(world.quarantined().await[0].0, "subject_mismatch");
    assert_eq!(
        world.drain_event_ids().await,
        ["rightfoot/batch/ours/completed", "rightfoot/batch/unknown/completed"]
    );
}

#[tokio::test]
async fn p4_nothing_unverified_is_written_or_sent() {
    let world = World::with_options(|options| {
        options.allow_lists =
            Provider::ALL.iter().map(|it| (*it, "203.0.113.0/24".parse().unwrap())).collect();
    })
    .await;
    let body = extract_body("e-1");
    for signature in ["", "t=1,v1=00", &world.sign("another body"), "t=1767323045"] {
        assert_eq!(world.deliver_fynapse_with(&body, signature, None).await.body, FORBIDDEN, "{signature}");
    }
    for token in ["", "demo", "demo.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "..", "demo."] {
        assert_eq!(
            world.deliver_rightfoot_to(token, completion_body("b", "u")).await.body,
            FORBIDDEN,
            "{token}"
        );
    }
    let token = world.stack.mint_url_token(&"demo".parse().unwrap()).unwrap();
    let path = format!("/webhooks/rightfoot/{token}");
    let mut from_elsewhere =
        gateway_event(&path, serde_json::json!({"x-forwarded-for": "203.0.113.9"}), b"{}", Some(&token));
    from_elsewhere["requestContext"]["http"]["sourceIp"] = "198.51.100.1".into();
    assert_eq!(world.invoke_webhook(from_elsewhere).await.body, FORBIDDEN);
    assert!(world.items().await.is_empty());
    assert!(world.drain_queue().await.is_empty());
}

#[tokio::test]
async fn a_base64_body_is_decoded_before_verification_and_a_bad_one_is_rejected() {
    use base64::Engine;
    let world = World::new().await;
    let body = extract_body("e-1");
    let mut event = gateway_event(
        "/webhooks/fynapse",
        serde_json::json!({"webhook-signature": world.sign(&body)}),
        body.as_bytes(),
        None,
    );
    event["isBase64Encoded"] = true.into();
    let bad = world.invoke_webhook(event.clone()).await;
    assert_eq!((bad.status, bad.body.as_str()), (403, FORBIDDEN));
    event["body"] = base64::engine::general_purpose::STANDARD.encode(&body).into();
    assert_eq!(world.invoke_webhook(event).await.body, RECEIVED);
}

#[tokio::test]
async fn p6_a_body_over_the_cap_is_asked_for_again_and_not_refused_for_good() {
    let world = World::new().await;
    // One byte more than `BODY_MAX_BYTES`.
    let response = world.deliver_fynapse(vec![b' '; 6 * 1024 * 1024 + 1]).await;
    assert_eq!((response.status, response.body.as_str()), (503, r#"{"error":"Unavailable"}"#));
}

#[tokio::test]
async fn an_event_costs_three_aws_calls_and_a_duplicate_two_and_rightfoot_one_more() {
    let world = World::new().await;
    world.deliver_fynapse(extract_body("warm")).await;
    world.deliver_rightfoot(completion_body("warm", "u")).await;
    let calls = async |deliver: &mut dyn FnMut() -> std::pin::Pin<Box<dyn Future<Output = ()>>>| {
        world.stack.connector.clear_call_log();
        deliver().await;
        world.stack.connector.call_log().into_iter().map(|(call, _)| call.operation).collect::<Vec<_>>()
    };
    let fynapse = |world: World| -> std::pin::Pin<Box<dyn Future<Output = ()>>> {
        Box::pin(async move { drop(world.deliver_fynapse(extract_body("e-1")).await) })
    };
    let rightfoot = |world: World| -> std::pin::Pin<Box<dyn Future<Output = ()>>> {
        Box::pin(async move { drop(world.deliver_rightfoot(completion_body("b-1", "u")).await) })
    };
    assert_eq!(calls(&mut || fynapse(world.clone())).await, ["PutItem", "SendMessage", "UpdateItem"]);
    assert_eq!(calls(&mut || fynapse(world.clone())).await, ["PutItem", "UpdateItem"]);
    assert_eq!(
        calls(&mut || rightfoot(world.clone())).await,
        ["GetItem", "PutItem", "SendMessage", "UpdateItem"]
    );
    assert_eq!(calls(&mut || rightfoot(world.clone())).await, ["GetItem", "PutItem", "UpdateItem"]);
}
