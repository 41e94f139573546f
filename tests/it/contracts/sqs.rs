//! SQS: visibility, batches, and the messages that it accepts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{
    Message as Received, MessageAttributeValue, MessageSystemAttributeName, QueueAttributeName,
    SendMessageBatchRequestEntry,
};
use inbox_aws::queue::{EventsQueue, SendOutcome};
use inbox_aws::{AwsError, AwsErrorKind};
use inbox_core::delivery::{Delivery, Provider, Verification};
use inbox_core::event::Event;
use inbox_core::message::{MessageMeta, QueueMessage, build_message, parse_dataref};
use inbox_core::providers::{Credential, ParseOutcome, ProviderSpec, parse};
use inbox_core::secret_keys::{KeyCodec, Keys};
use inbox_core::time::UnixSecs;
use inbox_core::url_token;
use local::connector::Fault;
use local::stack::DEAD_LETTER_QUEUE;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::Value;
use tests::{START, World, completion_body, extract_body, random_hex};

async fn queue() -> (World, Client, String) {
    let world = World::new().await;
    let (client, url) = (world.stack.inspector.sqs.clone(), world.stack.events_queue_url.clone());
    (world, client, url)
}

async fn send(sqs: &Client, url: &str, body: &str) {
    let value = MessageAttributeValue::builder().data_type("String").string_value("fynapse").build().unwrap();
    let send = sqs.send_message().queue_url(url).message_body(body).message_attributes("provider", value);
    send.send().await.unwrap();
}

async fn receive(sqs: &Client, url: &str, visibility_secs: i32) -> Vec<Received> {
    let receive = sqs
        .receive_message()
        .queue_url(url)
        .max_number_of_messages(10)
        .visibility_timeout(visibility_secs)
        .message_attribute_names("All")
        .message_system_attribute_names(MessageSystemAttributeName::All);
    receive.send().await.unwrap().messages.unwrap_or_default()
}

fn receive_count(message: &Received) -> &str {
    &message.attributes.as_ref().unwrap()[&MessageSystemAttributeName::ApproximateReceiveCount]
}

/// Sets a received message's visibility. In a receive, the emulator takes a visibility of 0 for the queue's default;
/// here it means 0.
async fn set_visibility(sqs: &Client, url: &str, received: &Received, visibility_secs: i32) {
    let change = sqs.change_message_visibility().queue_url(url).visibility_timeout(visibility_secs);
    change.receipt_handle(received.receipt_handle().unwrap()).send().await.unwrap();
}

fn entry(id: usize, body: &str) -> SendMessageBatchRequestEntry {
    SendMessageBatchRequestEntry::builder().id(id.to_string()).message_body(body).build().unwrap()
}

#[tokio::test]
async fn a_message_comes_back_as_it_was_sent_with_its_attributes() {
    let (_world, sqs, url) = queue().await;
    let body = "{\"n\":150.00,\t\"s\":\"é\u{10ffff}\"}\r\n";
    send(&sqs, &url, body).await;
    let received = receive(&sqs, &url, 60).await;
    assert_eq!(received[0].body(), Some(body));
    let attribute = &received[0].message_attributes.as_ref().unwrap()["provider"];
    assert_eq!((attribute.data_type(), attribute.string_value()), ("String", Some("fynapse")));
}

#[tokio::test]
async fn a_received_message_is_hidden_for_a_while_and_gone_once_it_is_deleted() {
    let (_world, sqs, url) = queue().await;
    send(&sqs, &url, "one").await;
    let first = receive(&sqs, &url, 60).await;
    assert_eq!(receive_count(&first[0]), "1");
    assert_eq!(receive(&sqs, &url, 60).await, []);
    set_visibility(&sqs, &url, &first[0], 1).await;
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let again = receive(&sqs, &url, 60).await;
    assert_eq!(receive_count(&again[0]), "2");
    set_visibility(&sqs, &url, &again[0], 1).await;
    let handle = again[0].receipt_handle().unwrap();
    sqs.delete_message().queue_url(&url).receipt_handle(handle).send().await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(receive(&sqs, &url, 60).await, []);
}

/// Number of visible, in-flight and delayed messages.
async fn counts(sqs: &Client, url: &str) -> [String; 3] {
    let names = [
        QueueAttributeName::ApproximateNumberOfMessages,
        QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
        QueueAttributeName::ApproximateNumberOfMessagesDelayed,
    ];
    let asked =
        sqs.get_queue_attributes().queue_url(url).set_attribute_names(Some(names.to_vec())).send().await;
    let counts = asked.unwrap().attributes.unwrap();
    names.map(|name| counts[&name].clone())
}

#[tokio::test]
async fn a_message_is_counted_as_visible_as_soon_as_it_may_be_received_again() {
    let (_world, sqs, url) = queue().await;
    for body in ["one", "two", "three"] {
        send(&sqs, &url, body).await;
    }
    assert_eq!(counts(&sqs, &url).await, ["3", "0", "0"]);
    let received = receive(&sqs, &url, 1).await;
    assert_eq!(counts(&sqs, &url).await, ["0", "3", "0"]);
    set_visibility(&sqs, &url, &received[0], 60).await;
    set_visibility(&sqs, &url, &received[1], 0).await;
    assert_eq!(counts(&sqs, &url).await, ["1", "2", "0"]);
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(counts(&sqs, &url).await, ["2", "1", "0"], "the visibility time-out of one is over");
    let handle = received[2].receipt_handle().unwrap();
    sqs.delete_message().queue_url(&url).receipt_handle(handle).send().await.unwrap();
    assert_eq!(counts(&sqs, &url).await, ["1", "1", "0"]);
    let again = receive(&sqs, &url, 60).await;
    assert_eq!((again.len(), receive_count(&again[0])), (1, "2"), "to count is not to receive");
    assert_eq!(counts(&sqs, &url).await, ["0", "2", "0"]);
    sqs.send_message().queue_url(&url).message_body("later").delay_seconds(60).send().await.unwrap();
    assert_eq!(counts(&sqs, &url).await, ["0", "2", "1"]);
}

#[tokio::test]
async fn p2_after_five_receives_a_message_goes_to_the_dead_letter_queue() {
    let (world, sqs, url) = queue().await;
    send(&sqs, &url, "poison").await;
    for nth in 1..=5 {
        let received = receive(&sqs, &url, 60).await;
        assert_eq!(receive_count(&received[0]), nth.to_string());
        set_visibility(&sqs, &url, &received[0], 0).await;
    }
    assert_eq!(receive(&sqs, &url, 60).await, []);
    let dead = receive(&sqs, &world.stack.queue_url(DEAD_LETTER_QUEUE).await.unwrap(), 60).await;
    assert_eq!(dead.iter().map(|message| message.body().unwrap()).collect::<Vec<_>>(), ["poison"]);
    assert!(dead[0].message_attributes.as_ref().unwrap().contains_key("provider"));
}

#[tokio::test]
async fn p2_a_batch_is_answered_entry_by_entry_and_silence_is_no_success() {
    let (world, sqs, url) = queue().await;
    let entries = (0..3).map(|id| entry(id, "x")).collect();
    let answer = sqs.send_message_batch().queue_url(&url).set_entries(Some(entries)).send().await.unwrap();
    assert_eq!(answer.successful().iter().map(|sent| sent.id()).collect::<Vec<_>>(), ["0", "1", "2"]);
    assert_eq!(answer.failed(), []);

    // The emulator drops an empty message without reporting success or failure.
    let message = |body: &str| QueueMessage {
        body: body.to_owned(),
        provider: Provider::Fynapse,
        event_type: "balance.extracted".to_owned(),
    };
    let queue = EventsQueue::new(world.stack.unrestricted_clients().sqs, &url);
    let sent = queue.send_batch(&[&message("one"), &message(""), &message("three")]).await;
    let unknown = AwsError { action: "sqs:SendMessage", kind: AwsErrorKind::UnreadableResponse };
    assert_eq!(sent, [SendOutcome::Sent, SendOutcome::Failed(unknown), SendOutcome::Sent]);
}

/// Messages that SQS rejects and the emulator accepts. If this fails, the emulator has become stricter, which is
/// fine; keep the tests below, which show that our own code respects the limits.
#[tokio::test]
async fn the_embedded_sqs_takes_what_sqs_refuses() {
    let (_world, sqs, url) = queue().await;
    for character in ["\u{ffff}", "\u{fffe}", "\u{1}", "\0"] {
        sqs.send_message().queue_url(&url).message_body(character).send().await.unwrap();
    }
    let over_one_mib = "x".repeat(1_048_577);
    sqs.send_message().queue_url(&url).message_body(&over_one_mib).send().await.unwrap();
    let batch = |entries: Vec<SendMessageBatchRequestEntry>| {
        sqs.send_message_batch().queue_url(&url).set_entries(Some(entries)).send()
    };
    let half = "x".repeat(600_000);
    assert_eq!(batch(vec![entry(0, &half), entry(1, &half)]).await.unwrap().successful().len(), 2);
    assert_eq!(batch((0..11).map(|id| entry(id, "x")).collect()).await.unwrap().successful().len(), 11);
    assert_eq!(
        batch(vec![entry(0, "x"), entry(0, "x")]).await.unwrap().successful().len(),
        2,
        "one id twice"
    );
}

/// Returns `true` for a character that SQS accepts in a message: `#x9 | #xA | #xD | #x20–#xD7FF | #xE000–#xFFFD |
/// #x10000–#x10FFFF`.
fn is_legal(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

/// The event in a delivered body, if there is one.
fn event(provider: Provider, body: &[u8]) -> Option<Event> {
    let keys = Keys::parse("key", KeyCodec::Utf8).unwrap();
    let delivery = |headers| Delivery { body: body.to_vec(), headers, received_at: START };
    let verification = match ProviderSpec::of(provider).credential {
        Credential::Signature(scheme) => {
            let signature = (scheme.sign)(UnixSecs(START.0 / 1_000), body, &keys);
            let headers = [(scheme.header.to_owned(), signature)].into();
            (scheme.verify)(delivery(headers), &keys, 300)
        }
        Credential::UrlToken => {
            let token = url_token::mint(&"demo".parse().unwrap(), &keys).unwrap();
            url_token::verify(delivery([].into()), &token, &keys, &BTreeSet::new())
        }
    };
    let Verification::Verified(delivery) = verification else { panic!("{verification:?}") };
    match parse(delivery) {
        ParseOutcome::Event(event) => Some(event),
        ParseOutcome::UnknownType(_) | ParseOutcome::UnusableId(_) | ParseOutcome::Unreadable(..) => None,
    }
}

fn message_of(event: &Event) -> QueueMessage {
    build_message(MessageMeta::of(event), Some(event.verified().body()))
}

/// Checks that SQS accepts the event's message, and that it leads to exactly the delivered bytes.
fn assert_message_valid(event: &Event) {
    let message = message_of(event);
    let illegal = message.body.chars().find(|it| !is_legal(*it));
    assert_eq!(illegal, None, "{}", message.body);
    assert!(!message.event_type.is_empty());
    assert!(message.event_type.bytes().all(|byte| byte.is_ascii_graphic()), "{}", message.event_type);
    assert!(message.size_bytes() <= 210_000, "{} bytes", message.size_bytes());
    let cloud_event: Value = serde_json::from_str(&message.body).unwrap();
    match cloud_event.get("dataref") {
        Some(dataref) => assert_eq!(parse_dataref(dataref.as_str().unwrap()).as_ref(), Some(event.key())),
        None => {
            let payload = std::str::from_utf8(event.verified().body()).unwrap();
            assert!(message.body.ends_with(&format!(",\"data\":{payload}}}")));
        }
    }
}

/// JSON strings of any characters, mostly of those that SQS rejects: escaped only where JSON demands it, or
/// everywhere.
fn json_string() -> impl Strategy<Value = String> {
    let odd = ['\0', '\u{1}', '\t', '\n', '\u{1f}', '\u{7f}', '\u{85}', '\u{d7ff}', '\u{e000}', '\u{fffd}'];
    let sly = ['\u{fffe}', '\u{ffff}', '\u{1fffe}', '\u{10ffff}', '"', '\\', '/'];
    let character = prop_oneof![any::<char>(), select(odd.to_vec()), select(sly.to_vec())];
    let text = prop::collection::vec(character, 1..30).prop_map(String::from_iter);
    (text, any::<bool>()).prop_map(|(text, escaped)| {
        let escape = |unit: u16| format!("\\u{unit:04x}");
        let all_escaped = || format!("\"{}\"", text.encode_utf16().map(escape).collect::<String>());
        if escaped { all_escaped() } else { serde_json::to_string(&text).unwrap() }
    })
}

proptest! {
    #[test]
    fn p2_no_event_makes_a_message_that_sqs_refuses(
        id in json_string(), kind in json_string(), data in json_string(), space in "[ \\t\\r\\n]{0,3}",
    ) {
        let body = format!("{space}{{\"event_id\":{id},{space}\"event_type\":{kind},\"data\":{data}}}{space}");
        assert_message_valid(&event(Provider::Fynapse, body.as_bytes()).unwrap());
        let body = format!(
            "{{{space}\"event_uuid\":{id},\"batch_id\":{kind},\"type\":\"BALANCE_THRESHOLD_ALERT\",\"alerts\":[{data}]}}"
        );
        assert_message_valid(&event(Provider::Rightfoot, body.as_bytes()).unwrap());
    }

    #[test]
    fn p2_control_characters_as_they_are_make_no_event(control in 0_u8..0x20, place in 0_usize..4) {
        let mut parts = ["e-1", "balance.extracted", "name", "value"].map(str::to_owned);
        parts[place].insert(1, char::from(control));
        let [id, kind, name, value] = parts;
        let body = format!("{{\"event_id\":\"{id}\",\"event_type\":\"{kind}\",\"data\":{{\"{name}\":[\"{value}\"]}}}}");
        prop_assert!(event(Provider::Fynapse, body.as_bytes()).is_none());
        let alert = r#""type":"BALANCE_THRESHOLD_ALERT""#;
        let body = format!(
            "{{\"event_uuid\":\"{id}\",\"batch_id\":\"{kind}\",{alert},\"alerts\":[{{\"{name}\":\"{value}\"}}]}}"
        );
        prop_assert!(event(Provider::Rightfoot, body.as_bytes()).is_none());
    }
}

#[test]
fn p2_no_payload_is_too_large_for_its_message() {
    let longest = format!(r#"{{"event_id":"{}","event_type":"{}""#, "é".repeat(256), "\u{1}".repeat(512));
    let longest = longest.replace('\u{1}', "\\u0001");
    for bytes in [0, 150_000, 199_000, 200_000, 204_799, 204_800, 1_048_576, 6_000_000] {
        let body = format!("{longest},\"data\":\"{}\"}}", "x".repeat(bytes));
        assert_message_valid(&event(Provider::Fynapse, body.as_bytes()).unwrap());
    }
}

#[tokio::test]
async fn p2_a_backlog_is_sent_in_batches_that_sqs_takes() {
    let world = World::new().await;
    world.inject_fault("SendMessage", Fault::AccessDenied);
    for number in 0..40 {
        let event_id = format!("large-{number:02}");
        let large = extract_body(&event_id)
            .replace("150.00", &format!("\"{}\"", random_hex(150_000 + 1_000 * number, 7)));
        assert_eq!(world.deliver_fynapse(&large).await.status, 200);
    }
    for number in 0..25 {
        assert_eq!(world.deliver_fynapse(extract_body(&format!("small-{number:02}"))).await.status, 200);
    }
    world.stack.connector.clear_fault_plan();
    world.stack.connector.clear_call_log();
    // Past `RELAY_AGE_MS`: the record is due for the relay.
    world.advance(Duration::from_secs(31));
    let report = world.run_relay().await.unwrap().unwrap();
    assert_eq!((&report["sent"], &report["remaining"]), (&65.into(), &0.into()), "{report}");

    let bytes: BTreeMap<_, _> = world
        .drain_queue()
        .await
        .into_iter()
        // SQS counts the body, and names, types and values of the two attributes.
        .map(|message| {
            (message.id, message.body.len() + "providerStringfynapsetypeStringbalance.extracted".len())
        })
        .collect();
    assert_eq!(bytes.len(), 65);
    assert!(bytes.values().all(|bytes| *bytes < 200 * 1024), "carried, not referred to");
    let calls = world.stack.connector.call_log();
    let batches: Vec<_> = calls
        .iter()
        .filter(|(call, _)| call.operation == "SendMessageBatch")
        .map(|(call, _)| &call.event_ids)
        .collect();
    assert_eq!(batches.iter().map(|batch| batch.len()).sum::<usize>(), 65, "each once");
    for batch in &batches {
        let together: usize = batch.iter().map(|id| bytes[id]).sum();
        assert!(
            (1..=10).contains(&batch.len()) && together <= 900 * 1024,
            "{} with {together} bytes",
            batch.len()
        );
    }
    let full = |batch: &&&Vec<String>| batch.iter().map(|id| bytes[id]).sum::<usize>() > 700 * 1024;
    assert!(batches.iter().filter(full).count() >= 3, "and batches are filled: {}", batches.len());
}

/// The SDK does not retry a `TransactionConflict`, and no emulator returns one, so the code must avoid them.
#[tokio::test]
async fn p3_the_functions_make_no_other_calls_than_these() {
    let world = World::new().await;
    let large = extract_body("large").replace("150.00", &format!("\"{}\"", random_hex(500_000, 1)));
    for body in [extract_body("e-1"), extract_body("e-1"), large, "{".to_owned()] {
        assert_eq!(world.deliver_fynapse(body).await.status, 200);
    }
    for body in [completion_body("b-1", "u-1"), completion_body("b-1", "u-2"), r#"{"type":"NEW"}"#.to_owned()]
    {
        assert_eq!(world.deliver_rightfoot(body).await.status, 200);
    }
    world.inject_fault("SendMessage", Fault::AccessDenied);
    let middling = extract_body("e-2").replace("150.00", &format!("\"{}\"", random_hex(50_000, 1)));
    assert_eq!(world.deliver_fynapse(middling).await.status, 200);
    world.stack.connector.clear_fault_plan();
    world.drain_outbox().await;
    let calls: BTreeSet<_> =
        world.stack.connector.call_log().into_iter().map(|(call, _)| call.operation).collect();
    let expected = [
        "BatchGetItem",
        "GetItem",
        "GetSecretValue",
        "PutItem",
        "Query",
        "SendMessage",
        "SendMessageBatch",
        "UpdateItem",
    ];
    assert_eq!(calls.iter().map(String::as_str).collect::<Vec<_>>(), expected);
}
