//! Lines that the deployed binaries write for an invocation, with its metrics, and what they cost.

use std::collections::BTreeMap;
use std::time::SystemTime;

use inbox_core::providers::fynapse::signature;
use inbox_core::secret_keys::{KeyCodec, Keys};
use inbox_core::time::UnixSecs;
use local::stack::{BALANCES_TABLE, EVENT_BUS, FYNAPSE_SECRET, RIGHTFOOT_API_KEY_SECRET};
use serde_json::{Value, json};
use tests::lambda_process::{AwsEndpoint, RuntimeResult};
use tests::{FYNAPSE_SIGNING_SECRET, World, extract_body, gateway_event};

use crate::tidy::{read_file, template};

/// As API Gateway makes them.
pub(crate) const REQUEST_ID: &str = "JKJaXmPLvHcESHA=";
/// Values that differ from run to run, with usual ones.
const USUAL_VALUES: [(&str, &str); 5] = [
    ("Timestamp", "1767323045000"),
    ("duration_ms", "20"),
    ("took_ms", "20"),
    ("signature_age", "5.0"),
    ("processing_age", "0.0"),
];

/// An event's id, of the usual length.
pub(crate) fn event_uuid(n: usize) -> String {
    format!("a3efc743-ac6c-463b-aa19-{n:012}")
}

/// Lines with the usual values in place of those that differ.
pub(crate) fn usual_lines(output: &str) -> Vec<String> {
    let usual = |line: &str| {
        USUAL_VALUES.iter().fold(line.to_owned(), |line, (name, value)| with_value(&line, name, value))
    };
    output.lines().map(usual).collect()
}

/// The line with another value of a member; if it is an array, of each element.
fn with_value(line: &str, name: &str, value: &str) -> String {
    let marker = format!("\"{name}\":");
    let Some((before, after)) = line.split_once(&marker) else { return line.to_owned() };
    let (value, rest) = match after.strip_prefix('[') {
        Some(inside) => {
            let (values, rest) = inside.split_once(']').unwrap();
            (format!("[{}]", vec![value; values.split(',').count()].join(",")), rest)
        }
        None => (value.to_owned(), &after[after.find([',', '}']).unwrap()..]),
    };
    format!("{before}{marker}{value}{rest}")
}

/// Every value by metric and dimensions, as CloudWatch reads it from the lines.
fn metrics(lines: &[String]) -> BTreeMap<String, Vec<Value>> {
    let mut metrics = BTreeMap::<_, Vec<_>>::new();
    for line in lines {
        let line: Value = serde_json::from_str(line).unwrap();
        for directive in line["_aws"]["CloudWatchMetrics"].as_array().into_iter().flatten() {
            for set in directive["Dimensions"].as_array().unwrap() {
                let names = set.as_array().unwrap().iter().map(|name| name.as_str().unwrap());
                let dimensions: Vec<_> = names.map(|name| format!("{name}={}", line[name])).collect();
                for metric in directive["Metrics"].as_array().unwrap() {
                    let name = metric["Name"].as_str().unwrap();
                    let values = line[name].as_array().cloned().unwrap_or_else(|| vec![line[name].clone()]);
                    assert!(values.iter().all(Value::is_number), "{name}: {line}");
                    metrics.entry(format!("{name} {}", dimensions.join(" "))).or_default().extend(values);
                }
            }
        }
    }
    metrics
}

/// A delivery to the webhook function.
#[derive(Clone, Copy)]
pub(crate) struct Delivery {
    event: usize,
    secret: &'static str,
    signed_secs_ago: u64,
    status: u16,
}

impl Delivery {
    /// The same, signed with another secret: a forgery.
    pub(crate) fn signed_with(self, secret: &'static str) -> Self {
        Self { secret, status: 403, ..self }
    }

    /// Its invocation, signed by the machine's clock.
    pub(crate) fn invocation(self) -> Value {
        let body = extract_body(&event_uuid(self.event));
        let signed_at = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() - self.signed_secs_ago;
        let keys = Keys::parse(self.secret, KeyCodec::Utf8).unwrap();
        let signature = signature::sign(UnixSecs(i64::try_from(signed_at).unwrap()), body.as_bytes(), &keys);
        let headers = json!({"content-type": "application/json", "webhook-signature": signature});
        let mut invocation = gateway_event("/webhooks/fynapse", headers, body.as_bytes(), None);
        invocation["requestContext"]["requestId"] = REQUEST_ID.into();
        invocation
    }
}

pub(crate) const GENUINE: Delivery =
    Delivery { event: 1, secret: FYNAPSE_SIGNING_SECRET, signed_secs_ago: 5, status: 200 };

/// Lines of `fynapse-webhook` for these deliveries.
async fn lines_of_webhook(log_level: &str, deliveries: &[Delivery]) -> Vec<String> {
    let world = World::new().await;
    let aws = AwsEndpoint::serve(&world).await;
    let env = [
        ("FYNAPSE_SIGNING_SECRET_ID", FYNAPSE_SECRET),
        ("METRICS_NAMESPACE", "BalanceInbox/balance-inbox"),
        ("LOG_LEVEL", log_level),
    ];
    let mut function = aws.start("fynapse-webhook", &env).await;
    for delivery in deliveries {
        let RuntimeResult::Response(response) = function.invoke(delivery.invocation()).await else {
            panic!("no response")
        };
        assert_eq!(response["statusCode"], delivery.status);
    }
    usual_lines(&function.stop().await)
}

/// Lines for a new event, the same again, and one that is signed with another secret.
async fn lines_of_deliveries(log_level: &str) -> Vec<String> {
    lines_of_webhook(log_level, &[GENUINE, GENUINE, GENUINE.signed_with("another")]).await
}

/// Lines of `event-worker` for a batch of `messages` new events.
async fn lines_of_batch(messages: usize) -> Vec<String> {
    let world = World::new().await;
    for n in 1..=messages {
        assert!(world.deliver_fynapse(extract_body(&event_uuid(n))).await.is_success());
    }
    let messages = world.drain_queue().await;
    let records = messages.iter().map(|message| json!({"messageId": message.id, "body": message.body}));
    let records: Vec<_> = records.collect();
    let aws = AwsEndpoint::serve(&world).await;
    let env = [
        ("BALANCES_TABLE", BALANCES_TABLE),
        ("EVENT_BUS_NAME", EVENT_BUS),
        ("RIGHTFOOT_API_KEY_SECRET_ID", RIGHTFOOT_API_KEY_SECRET),
        ("METRICS_NAMESPACE", "BalanceInbox/balance-inbox"),
    ];
    let mut function = aws.start("event-worker", &env).await;
    let RuntimeResult::Response(response) = function.invoke(json!({"Records": records})).await else {
        panic!("no response")
    };
    assert_eq!(response["batchItemFailures"], json!([]));
    usual_lines(&function.stop().await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_is_one_line_with_its_fields_and_its_metrics() {
    let lines = lines_of_deliveries("info").await;
    let id = event_uuid(1);
    let bytes = extract_body(&id).len();
    let fields = |outcome: &str, status: u16, event: &str| {
        format!(
            r#"{{"level":"INFO","provider":"fynapse","outcome":"{outcome}","status":{status},{event}"bytes":{bytes},"duration_ms":20,"request_id":"{REQUEST_ID}","#
        )
    };
    let event = format!(r#""event_id":"fynapse/event/{id}","event_type":"balance.extracted","#);
    let metadata = |directives: &[&str]| {
        let directives: Vec<_> = directives
            .iter()
            .map(|rest| format!(r#"{{"Namespace":"BalanceInbox/balance-inbox",{rest}}}"#))
            .collect();
        format!(r#""_aws":{{"Timestamp":1767323045000,"CloudWatchMetrics":[{}]}},"#, directives.join(","))
    };
    let age = r#"{"Name":"signature_age","Unit":"Seconds"}"#;
    let recorded = format!(
        r#""Dimensions":[["provider"]],"Metrics":[{{"Name":"received"}},{{"Name":"recorded"}},{age}]"#
    );
    let duplicate = format!(
        r#""Dimensions":[["provider"]],"Metrics":[{{"Name":"duplicate"}},{{"Name":"received"}},{age}]"#
    );
    let expected = [
        fields("recorded", 200, &event)
            + &metadata(&[&recorded])
            + r#""received":1,"recorded":1,"signature_age":[5.0]}"#,
        fields("duplicate", 200, &event)
            + &metadata(&[&duplicate])
            + r#""duplicate":1,"received":1,"signature_age":[5.0]}"#,
        fields("rejected", 403, r#""reason":"mismatch","#)
            + &metadata(&[
                r#""Dimensions":[[],["provider","reason"]],"Metrics":[{"Name":"rejected"}]"#,
                r#""Dimensions":[["provider"]],"Metrics":[{"Name":"received"}]"#,
            ])
            + r#""rejected":1,"received":1}"#,
    ];
    assert_eq!(lines, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_come_at_every_log_level() {
    let all = metrics(&lines_of_deliveries("info").await);
    let names: Vec<_> = all.keys().map(String::as_str).collect();
    let expected = [
        "duplicate provider=\"fynapse\"",
        "received provider=\"fynapse\"",
        "recorded provider=\"fynapse\"",
        "rejected ",
        "rejected provider=\"fynapse\" reason=\"mismatch\"",
        "signature_age provider=\"fynapse\"",
    ];
    assert_eq!(names, expected);
    assert_eq!(all["received provider=\"fynapse\""], [1, 1, 1]);
    let at_error = lines_of_deliveries("error").await;
    assert!(at_error.iter().all(|line| !line.contains("outcome")), "{at_error:?}");
    assert_eq!((at_error.len(), metrics(&at_error)), (3, all));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_is_a_line_for_each_message_and_the_last_has_the_metrics() {
    let lines = lines_of_batch(10).await;
    assert_eq!(lines.len(), 10, "{lines:?}");
    for line in &lines {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!((&line["outcome"], &line["took_ms"]), (&json!("done"), &json!(20)));
    }
    let expected = BTreeMap::from([
        ("processed provider=\"fynapse\"".to_owned(), vec![json!(10)]),
        ("processing_age provider=\"fynapse\"".to_owned(), vec![json!(0.0); 10]),
        ("published type=\"BalanceExtracted\"".to_owned(), vec![json!(10)]),
    ]);
    assert_eq!((metrics(&lines[..9]).len(), metrics(&lines[9..])), (0, expected));
}

/// A line of the access log, of a delivery on this route.
pub(crate) fn access_line(route: &str, status: &str) -> String {
    let stage = &template()["Resources"]["HttpApiStage"]["Properties"];
    let format = stage["AccessLogSettings"]["Format"].as_str().unwrap();
    let values = [
        ("$context.requestId", REQUEST_ID),
        ("$context.routeKey", route),
        ("$context.status", status),
        ("$context.responseLatency", "25"),
        ("$context.integrationStatus", "200"),
    ];
    let line = values.iter().fold(format.to_owned(), |line, (name, value)| line.replace(name, value));
    assert!(!line.contains('$'), "{line}");
    line
}

/// Bytes of the lines for a new event and a duplicate, as most are: delivered in the second in which they are signed.
async fn bytes_of_deliveries() -> (usize, usize) {
    // One that the next second overtakes tells the signature's age.
    let deliveries = (1..=4).flat_map(|event| [Delivery { event, signed_secs_ago: 0, ..GENUINE }; 2]);
    let lines = lines_of_webhook("info", &deliveries.collect::<Vec<_>>()).await;
    let usual = |outcome: &str| {
        let outcome = format!("\"outcome\":\"{outcome}\"");
        let mut usual =
            lines.iter().filter(|line| line.contains(&outcome) && !line.contains("signature_age"));
        usual.next().expect("each delivery took a second").len()
    };
    (usual("recorded"), usual("duplicate"))
}

/// At 0.50 dollars per GB of 2^30 bytes. CloudWatch counts the bytes of each message, without its time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documents_say_how_many_bytes_an_event_logs_and_what_they_cost() {
    let gateway = access_line("POST /webhooks/fynapse", "200").len();
    let (recorded, duplicate) = bytes_of_deliveries().await;
    let bytes = |lines: Vec<String>| lines.iter().map(String::len).sum::<usize>();
    let bursts = gateway + recorded + bytes(lines_of_batch(10).await) / 10;
    let spread = gateway + recorded + bytes(lines_of_batch(1).await);
    let duplicate = gateway + duplicate;
    let dollars = |bytes: usize| format!("{:.2}", bytes as f64 * 1e6 / f64::from(1 << 30) * 0.50);
    let text = read_file("infra/OPERATIONS.md").replace('\n', " ");
    for expected in [
        format!("| {bursts} B ({spread} B) an event"),
        format!("× 0.50 per GB | {} | {} |", dollars(bursts), dollars(spread)),
        format!("{duplicate} B of logs"),
    ] {
        assert!(text.contains(&expected), "infra/OPERATIONS.md does not say: {expected}");
    }
}
