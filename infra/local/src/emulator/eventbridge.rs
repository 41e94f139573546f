//! EventBridge emulator: event buses with AWS's documented limits. Every accepted event is handed on, as by a rule that
//! matches all events.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use inbox_aws::clock::Clock;
use inbox_core::time::UnixMillis;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use uuid::Uuid;
use winterbaume_core::MockResponse;

/// Most entries in one request: AWS's limit.
const ENTRIES_MAX: usize = 10;
/// The entries of a request must together be smaller than this: AWS's limit.
const REQUEST_LIMIT_BYTES: usize = 256 * 1024;
/// Bytes that `Time` counts in the size of an entry.
const TIME_BYTES: usize = 14;
/// Deepest nesting of objects and arrays in a detail.
const DETAIL_DEPTH_MAX: usize = 1_000;
/// The bus that every account has.
const DEFAULT_BUS: &str = "default";
const BUS_ARN_PREFIX: &str = "arn:aws:events:us-east-1:123456789012:event-bus/";

/// Names of the existing buses.
pub(super) struct EventBridge(Mutex<BTreeSet<String>>);

impl Default for EventBridge {
    fn default() -> Self {
        Self(Mutex::new([DEFAULT_BUS.to_owned()].into()))
    }
}

/// Result of a request.
pub(super) struct EventBridgeResponse {
    pub(super) response: MockResponse,
    /// Accepted events, as JSON in the form that a rule's target gets.
    pub(super) events: Vec<String>,
}

/// Error code and message.
type EventBridgeError = (&'static str, String);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PutEventsRequest {
    entries: Vec<PutEventsEntry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PutEventsEntry {
    time: Option<f64>,
    source: Option<String>,
    resources: Option<Vec<String>>,
    detail_type: Option<String>,
    detail: Option<String>,
    event_bus_name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct EventBusRequest {
    name: Option<String>,
}

/// An event in the form that a rule's target gets.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct TargetEvent<'a> {
    version: &'static str,
    id: &'a str,
    detail_type: &'a str,
    source: &'a str,
    account: &'static str,
    time: String,
    region: &'static str,
    resources: &'a [String],
    detail: &'a RawValue,
}

impl EventBridge {
    /// Handles a request.
    pub(super) fn handle(&self, operation: &str, body: &[u8]) -> EventBridgeResponse {
        let mut events = Vec::new();
        let answer = match operation {
            "PutEvents" => parse(body).and_then(|request| self.put_events(request, &mut events)),
            "CreateEventBus" => parse(body).and_then(|request| self.create_bus(request)),
            "DescribeEventBus" => parse(body).and_then(|request| self.describe_bus(request)),
            "ListEventBuses" => {
                let buses: Vec<_> = self.bus_names().iter().map(|name| bus_json(name)).collect();
                Ok(json!({"EventBuses": buses}))
            }
            _ => Err(("UnknownOperationException", format!("{operation} is not emulated"))),
        };
        let response = match answer {
            Ok(answer) => MockResponse::json(200, answer.to_string()),
            Err((code, message)) => {
                MockResponse::json(400, json!({"__type": code, "message": message}).to_string())
            }
        };
        EventBridgeResponse { response, events }
    }

    fn create_bus(&self, request: EventBusRequest) -> Result<Value, EventBridgeError> {
        let name = request.name.unwrap_or_default();
        if !self.bus_names().insert(name.clone()) {
            return Err(("ResourceAlreadyExistsException", format!("Event bus {name} already exists.")));
        }
        Ok(json!({"EventBusArn": format!("{BUS_ARN_PREFIX}{name}")}))
    }

    fn describe_bus(&self, request: EventBusRequest) -> Result<Value, EventBridgeError> {
        let name = request.name.as_deref().map_or(DEFAULT_BUS, bus_name);
        if !self.bus_names().contains(name) {
            return Err(("ResourceNotFoundException", format!("Event bus {name} does not exist.")));
        }
        Ok(bus_json(name))
    }

    fn put_events(
        &self,
        request: PutEventsRequest,
        events: &mut Vec<String>,
    ) -> Result<Value, EventBridgeError> {
        let entries = request.entries;
        if entries.is_empty() || entries.len() > ENTRIES_MAX {
            return Err(("ValidationException", format!("Entries must have 1 to {ENTRIES_MAX} elements")));
        }
        if entries.iter().map(PutEventsEntry::size_bytes).sum::<usize>() >= REQUEST_LIMIT_BYTES {
            let message = "Total size of the entries in the request is over the limit.".to_owned();
            return Err(("ValidationException", message));
        }
        // AWS answers 200 even if entries fail, so a caller learns of them only by this count.
        let mut failed = 0;
        let answer = |entry: &PutEventsEntry| {
            let id = Uuid::new_v4().to_string();
            match self.target_event(entry, &id) {
                Ok(event) => {
                    events.push(event);
                    json!({"EventId": id})
                }
                Err((code, message)) => {
                    failed += 1;
                    json!({"ErrorCode": code, "ErrorMessage": message})
                }
            }
        };
        let answers: Vec<_> = entries.iter().map(answer).collect();
        Ok(json!({"FailedEntryCount": failed, "Entries": answers}))
    }

    fn target_event(&self, entry: &PutEventsEntry, id: &str) -> Result<String, EventBridgeError> {
        let source = required(&entry.source, "Source")?;
        let detail_type = required(&entry.detail_type, "DetailType")?;
        let detail = validate_detail(required(&entry.detail, "Detail")?)?;
        let bus = entry.event_bus_name.as_deref().map_or(DEFAULT_BUS, bus_name);
        // AWS accepts an event for an unknown bus and drops it. An error here reveals the wrong name.
        if !self.bus_names().contains(bus) {
            return Err(("InvalidArgument", format!("Event bus {bus} does not exist.")));
        }
        let envelope = TargetEvent {
            version: "0",
            id,
            detail_type,
            source,
            account: "123456789012",
            time: entry.time(),
            region: "us-east-1",
            resources: entry.resources.as_deref().unwrap_or_default(),
            detail,
        };
        serde_json::to_string(&envelope).map_err(|error| ("InternalFailure", error.to_string()))
    }

    fn bus_names(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PutEventsEntry {
    /// Size by AWS's rule: UTF-8 bytes of the strings, and [`TIME_BYTES`] for a time.
    fn size_bytes(&self) -> usize {
        let texts = [&self.source, &self.detail_type, &self.detail].into_iter().flatten();
        let texts = texts.chain(self.resources.iter().flatten()).map(String::len).sum::<usize>();
        texts + self.time.map_or(0, |_| TIME_BYTES)
    }

    /// RFC 3339 time in whole seconds, as AWS writes it. Without a given time, the current one.
    fn time(&self) -> String {
        let given = self.time.and_then(|secs| Duration::try_from_secs_f64(secs).ok());
        let time = given.map_or_else(|| Clock::system().now(), |since| UnixMillis(0).plus(since)).rfc3339();
        format!("{}Z", time.split('.').next().unwrap_or_default())
    }
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, EventBridgeError> {
    serde_json::from_slice(body).map_err(|error| ("SerializationException", error.to_string()))
}

fn bus_json(name: &str) -> Value {
    json!({"Name": name, "Arn": format!("{BUS_ARN_PREFIX}{name}")})
}

/// Name of a bus that is given by name or ARN.
fn bus_name(name: &str) -> &str {
    name.strip_prefix(BUS_ARN_PREFIX).unwrap_or(name)
}

fn required<'a>(value: &'a Option<String>, name: &str) -> Result<&'a str, EventBridgeError> {
    let value = value.as_deref().filter(|value| !value.is_empty());
    let message = || format!("Parameter {name} is not valid. Reason: {name} is a required argument.");
    value.ok_or_else(|| ("InvalidArgument", message()))
}

/// Accepts a detail that is a JSON object, nested at most [`DETAIL_DEPTH_MAX`] deep, with no integer beyond 64 bits.
fn validate_detail(detail: &str) -> Result<&RawValue, EventBridgeError> {
    let malformed = || ("MalformedDetail", "Detail is malformed.".to_owned());
    let raw: &RawValue = serde_json::from_str(detail).map_err(|_| malformed())?;
    // Checked in the text: a parsed number no longer shows whether it was an integer beyond 64 bits.
    let outside_strings = strip_strings(raw.get());
    let is_integer = |token: &&str| token.bytes().all(|byte| byte == b'-' || byte.is_ascii_digit());
    let mut tokens = outside_strings.split(|character: char| "[]{},: \t\r\n\"".contains(character));
    let has_oversized_integer =
        tokens.any(|token| !token.is_empty() && is_integer(&token) && token.parse::<i64>().is_err());
    if !outside_strings.starts_with('{')
        || depth(&outside_strings) > DETAIL_DEPTH_MAX
        || has_oversized_integer
    {
        return Err(malformed());
    }
    Ok(raw)
}

/// Removes the strings from a JSON text; one quotation mark is left of each.
fn strip_strings(json: &str) -> String {
    let mut outside_strings = String::new();
    let mut characters = json.chars();
    while let Some(character) = characters.next() {
        outside_strings.push(character);
        if character == '"' {
            while let Some(inside) = characters.next() {
                match inside {
                    '"' => break,
                    // An escaped quotation mark does not end the string.
                    '\\' => drop(characters.next()),
                    _ => {}
                }
            }
        }
    }
    outside_strings
}

/// Deepest nesting of objects and arrays in a JSON text without strings.
fn depth(json: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    for character in json.chars() {
        match character {
            '{' | '[' => depth += 1,
            '}' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}
