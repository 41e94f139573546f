//! EventBridge: the entries that our emulator accepts and rejects, as AWS documents it, and the events that it
//! delivers.

use aws_sdk_eventbridge::error::ProvideErrorMetadata;
use aws_sdk_eventbridge::operation::put_events::PutEventsOutput;
use aws_sdk_eventbridge::primitives::DateTime;
use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use aws_sdk_eventbridge::types::builders::PutEventsRequestEntryBuilder;
use local::connector::{CallOutcome, Fault};
use local::inspect;
use local::stack::{BUS_QUEUE, EVENT_BUS};
use serde_json::{Value, json};
use tests::World;

/// A valid entry.
fn entry(detail: impl Into<String>) -> PutEventsRequestEntryBuilder {
    PutEventsRequestEntry::builder()
        .event_bus_name(EVENT_BUS)
        .source("balance-inbox")
        .detail_type("BalanceExtracted")
        .detail(detail)
}

async fn put(
    world: &World,
    entries: impl IntoIterator<Item = PutEventsRequestEntryBuilder>,
) -> Result<PutEventsOutput, Option<String>> {
    let entries = entries.into_iter().map(PutEventsRequestEntryBuilder::build).collect();
    let put = world.stack.unrestricted_clients().eventbridge().put_events().set_entries(Some(entries));
    put.send().await.map_err(|error| error.code().map(str::to_owned))
}

/// Error codes by entry; `None` for an entry that was accepted.
async fn error_codes(
    world: &World,
    entries: impl IntoIterator<Item = PutEventsRequestEntryBuilder>,
) -> Vec<Option<String>> {
    let answer = put(world, entries).await.unwrap();
    let failed = answer.entries().iter().filter(|entry| entry.error_code().is_some()).count();
    assert_eq!(usize::try_from(answer.failed_entry_count()).unwrap(), failed);
    let id_or_code = |entry: &aws_sdk_eventbridge::types::PutEventsResultEntry| {
        assert_ne!(entry.event_id().is_some(), entry.error_code().is_some());
        entry.error_code().map(str::to_owned)
    };
    answer.entries().iter().map(id_or_code).collect()
}

/// Error code of a single entry.
async fn error_code(world: &World, entry: PutEventsRequestEntryBuilder) -> Option<String> {
    error_codes(world, [entry]).await.remove(0)
}

/// Receives all messages from the queue to which the bus delivers.
async fn drain_bus(world: &World) -> Vec<String> {
    inspect::receive_all(&world.stack, BUS_QUEUE).await.unwrap()
}

async fn details(world: &World) -> Vec<Value> {
    let read = |body: &String| serde_json::from_str::<Value>(body).unwrap()["detail"].clone();
    drain_bus(world).await.iter().map(read).collect()
}

#[tokio::test]
async fn every_event_that_is_taken_comes_out_as_it_was_sent_to_the_digit() {
    let world = World::new().await;
    let detail = "{ \"amount\": 150.00,\t\"max\":9223372036854775807,\"s\":\"\\u00e9é\\\"[1e\",\"e\":1e400, \"a\":1,\"a\":2}";
    let sent =
        entry(detail).time(DateTime::from_millis(1_767_323_045_999)).resources("arn:one").resources("two");
    let answer = put(&world, [sent, entry("{}")]).await.unwrap();
    let ids: Vec<_> = answer.entries().iter().map(|entry| entry.event_id().unwrap().to_owned()).collect();
    assert!(ids.iter().all(|id| id.len() == 36) && ids[0] != ids[1]);
    let bodies = drain_bus(&world).await;
    let expected = format!(
        r#"{{"version":"0","id":"{}","detail-type":"BalanceExtracted","source":"balance-inbox","account":"123456789012","time":"2026-01-02T03:04:05Z","region":"us-east-1","resources":["arn:one","two"],"detail":{detail}}}"#,
        ids[0]
    );
    assert_eq!(bodies[0], expected);
    let second: Value = serde_json::from_str(&bodies[1]).unwrap();
    assert_eq!((&second["id"], &second["resources"]), (&json!(ids[1]), &json!([])));
    assert_eq!(second["time"].as_str().unwrap().len(), "2026-01-02T03:04:05Z".len());
    assert_eq!(bodies.len(), 2);
}

#[tokio::test]
async fn an_entry_that_is_refused_fails_alone_and_answers_are_in_order() {
    let world = World::new().await;
    let entries =
        [entry(r#"{"n":1}"#), entry("[]"), entry(r#"{"n":2}"#), entry("{}").event_bus_name("no-bus")];
    let [malformed, invalid] = ["MalformedDetail", "InvalidArgument"].map(|code| Some(code.to_owned()));
    assert_eq!(error_codes(&world, entries).await, [None, malformed.clone(), None, invalid.clone()]);
    assert_eq!(details(&world).await, [json!({"n": 1}), json!({"n": 2})]);

    let bare = || PutEventsRequestEntry::builder().event_bus_name(EVENT_BUS);
    for missing in [
        bare().detail_type("t").detail("{}"),
        bare().source("s").detail("{}"),
        bare().source("s").detail_type("t"),
        entry(""),
        entry("{}").source(""),
        entry("{}").detail_type(""),
    ] {
        assert_eq!(error_code(&world, missing).await, invalid);
    }
    for detail in ["1", "null", "\"{}\"", "{", "{}{}", "{\"a\":01}", "no JSON"] {
        assert_eq!(error_code(&world, entry(detail)).await, malformed, "{detail}");
    }
    assert_eq!(details(&world).await, Vec::<Value>::new());
}

#[tokio::test]
async fn an_integer_has_64_bits_and_a_detail_a_thousand_levels() {
    let world = World::new().await;
    let nested = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1));
    let malformed = Some("MalformedDetail".to_owned());
    for (detail, expected) in [
        (r#"{"n":[9223372036854775807,-9223372036854775808]}"#.to_owned(), None),
        (r#"{"n":[1,9223372036854775808]}"#.to_owned(), malformed.clone()),
        (r#"{"n":-9223372036854775809}"#.to_owned(), malformed.clone()),
        (r#"{"n":9223372036854775808.5,"m":99999999999999999999e2}"#.to_owned(), None),
        (r#"{"n":"9223372036854775808","[9223372036854775808]":"\\\"9223372036854775808"}"#.to_owned(), None),
        (nested(1_000), None),
        (nested(1_001), malformed),
        (format!("{{\"a\":\"{}\"}}", "[".repeat(2_000)), None),
    ] {
        assert_eq!(error_code(&world, entry(detail.as_str())).await, expected, "{detail:.60}");
    }
}

#[tokio::test]
async fn a_request_has_one_to_ten_entries_of_less_than_256_kib_together() {
    let world = World::new().await;
    let too_much = Err(Some("ValidationException".to_owned()));
    let response = async |entries: Vec<PutEventsRequestEntryBuilder>| put(&world, entries).await.map(|_| ());
    assert_eq!(response(Vec::new()).await, too_much);
    assert_eq!(response(vec![entry("{}"); 11]).await, too_much);
    assert_eq!(response(vec![entry("{}"); 10]).await, Ok(()));
    assert_eq!(drain_bus(&world).await.len(), 10);

    // Source and detail type take 29 bytes, the time 14, and `é` two.
    let sized = |bytes: usize| entry(format!("{{\"a\":\"é{}\"}}", "x".repeat(bytes - 29 - 10)));
    assert_eq!(response(vec![sized(262_143)]).await, Ok(()));
    assert_eq!(response(vec![sized(262_144)]).await, too_much);
    assert_eq!(response(vec![sized(262_129).time(DateTime::from_secs(0))]).await, Ok(()));
    assert_eq!(response(vec![sized(262_130).time(DateTime::from_secs(0))]).await, too_much);
    assert_eq!(response(vec![sized(262_140).resources("abc")]).await, Ok(()));
    assert_eq!(response(vec![sized(262_140).resources("abcd")]).await, too_much);
    assert_eq!(drain_bus(&world).await.len(), 3);
    assert_eq!(response(vec![sized(131_072), sized(131_072)]).await, too_much, "together");
    assert_eq!(drain_bus(&world).await.len(), 0, "all or nothing");
}

#[tokio::test]
async fn a_bus_can_be_described_and_named_by_its_arn() {
    let world = World::new().await;
    let client = world.stack.inspector.eventbridge();
    let bus = client.describe_event_bus().name(EVENT_BUS).send().await.unwrap();
    let arn = "arn:aws:events:us-east-1:123456789012:event-bus/balance-inbox";
    assert_eq!((bus.name(), bus.arn()), (Some(EVENT_BUS), Some(arn)));
    assert_eq!(client.describe_event_bus().send().await.unwrap().name(), Some("default"));
    let all = client.list_event_buses().send().await.unwrap();
    assert_eq!(
        all.event_buses().iter().map(|bus| bus.name().unwrap()).collect::<Vec<_>>(),
        [EVENT_BUS, "default"]
    );
    let none = client.describe_event_bus().name("no-bus").send().await.unwrap_err();
    assert_eq!(none.code(), Some("ResourceNotFoundException"));
    let again = client.create_event_bus().name(EVENT_BUS).send().await.unwrap_err();
    assert_eq!(again.code(), Some("ResourceAlreadyExistsException"));
    assert_eq!(error_code(&world, entry("{}").event_bus_name(arn)).await, None);
}

#[tokio::test]
async fn without_its_queue_the_bus_is_one_without_rules() {
    let world = World::new().await;
    let url = world.stack.queue_url(BUS_QUEUE).await.unwrap();
    world.stack.inspector.sqs.delete_queue().queue_url(url).send().await.unwrap();
    assert_eq!(error_code(&world, entry("{}")).await, None);
    assert!(world.stack.queue_url(BUS_QUEUE).await.is_err(), "and none was made");
}

#[tokio::test]
async fn p10_a_batch_whose_first_entry_failed_is_answered_entry_by_entry() {
    let world = World::new().await;
    let batch = || (0..3).map(|n| entry(format!(r#"{{"event_id":"e-{n}","n":[9007199254740993]}}"#)));
    for (fault, expected) in
        [(Fault::FirstEntryFailed, "InternalFailure"), (Fault::FirstEntryInvalid, "MalformedDetail")]
    {
        world.inject_fault("PutEvents", fault);
        let put_events = world.stack.unrestricted_clients().eventbridge().put_events();
        let entries = batch().map(PutEventsRequestEntryBuilder::build).collect();
        let answer = put_events.set_entries(Some(entries)).send().await.unwrap();
        let codes: Vec<_> = answer.entries().iter().map(|entry| entry.error_code()).collect();
        assert_eq!((answer.failed_entry_count(), codes), (1, vec![Some(expected), None, None]));
        let left: Vec<_> = details(&world).await.iter().map(|detail| detail["event_id"].clone()).collect();
        assert_eq!(left, ["e-1", "e-2"]);
        assert_eq!(error_codes_of_one(&world).await, [Some(expected.to_owned())]);
    }
}

async fn error_codes_of_one(world: &World) -> Vec<Option<String>> {
    error_codes(world, [entry("{}")]).await
}

#[tokio::test]
async fn a_call_tells_the_events_that_it_is_about_each_once() {
    let world = World::new().await;
    let of = |event_id: &str| entry(json!({"id": "effect", "event_id": event_id}).to_string());
    error_codes(&world, [of("e-1"), of("e-2"), of("e-1"), entry("{}")]).await;
    let (call, outcome) = world.stack.connector.call_log().remove(0);
    assert_eq!((call.operation.as_str(), outcome), ("PutEvents", CallOutcome::Answered(200)));
    assert_eq!(call.event_ids, ["e-1", "e-2"]);
}
