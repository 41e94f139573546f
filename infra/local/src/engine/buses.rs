//! A stand-in for EventBridge's buses: as strict as AWS documents, and every event that it takes is handed on, as a
//! rule that matches all events would do it.

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

/// Entries in one request.
const ENTRIES_MAX: usize = 10;
/// All entries of a request are together smaller than this.
const ENTRIES_LIMIT_BYTES: usize = 256 * 1024;
/// What a time counts for in an entry's size.
const TIME_BYTES: usize = 14;
/// Objects and arrays in one another.
const DEPTH_MAX: usize = 1_000;
/// The bus that every account has.
const DEFAULT: &str = "default";
const ARN: &str = "arn:aws:events:us-east-1:123456789012:event-bus/";

/// The buses there are.
pub(super) struct Buses(Mutex<BTreeSet<String>>);

impl Default for Buses {
    fn default() -> Self {
        Self(Mutex::new([DEFAULT.to_owned()].into()))
    }
}

/// What a request came to.
pub(super) struct Answered {
    pub(super) response: MockResponse,
    /// What a rule's target gets of each event that was taken, as JSON.
    pub(super) events: Vec<String>,
}

/// An error's name, and what it says.
type Refusal = (&'static str, String);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PutEvents {
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    time: Option<f64>,
    source: Option<String>,
    resources: Option<Vec<String>>,
    detail_type: Option<String>,
    detail: Option<String>,
    event_bus_name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Named {
    name: Option<String>,
}

/// An event as a rule's target gets it.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Envelope<'a> {
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

impl Buses {
    /// Answers a request.
    pub(super) fn answer(&self, operation: &str, body: &[u8]) -> Answered {
        let mut events = Vec::new();
        let answer = match operation {
            "PutEvents" => read(body).and_then(|request| self.put(request, &mut events)),
            "CreateEventBus" => read(body).and_then(|named| self.create(named)),
            "DescribeEventBus" => read(body).and_then(|named| self.describe(named)),
            "ListEventBuses" => {
                let buses: Vec<_> = self.names().iter().map(|name| described(name)).collect();
                Ok(json!({"EventBuses": buses}))
            }
            _ => Err(("UnknownOperationException", format!("here is no {operation}"))),
        };
        let response = match answer {
            Ok(answer) => MockResponse::json(200, answer.to_string()),
            Err((code, message)) => {
                MockResponse::json(400, json!({"__type": code, "message": message}).to_string())
            }
        };
        Answered { response, events }
    }

    fn create(&self, named: Named) -> Result<Value, Refusal> {
        let name = named.name.unwrap_or_default();
        if !self.names().insert(name.clone()) {
            return Err(("ResourceAlreadyExistsException", format!("Event bus {name} already exists.")));
        }
        Ok(json!({"EventBusArn": format!("{ARN}{name}")}))
    }

    fn describe(&self, named: Named) -> Result<Value, Refusal> {
        let name = named.name.as_deref().map_or(DEFAULT, bus_name);
        if !self.names().contains(name) {
            return Err(("ResourceNotFoundException", format!("Event bus {name} does not exist.")));
        }
        Ok(described(name))
    }

    fn put(&self, request: PutEvents, events: &mut Vec<String>) -> Result<Value, Refusal> {
        let entries = request.entries;
        if entries.is_empty() || entries.len() > ENTRIES_MAX {
            return Err(("ValidationException", format!("Entries: 1 to {ENTRIES_MAX} of them")));
        }
        if entries.iter().map(Entry::bytes).sum::<usize>() >= ENTRIES_LIMIT_BYTES {
            let message = "Total size of the entries in the request is over the limit.".to_owned();
            return Err(("ValidationException", message));
        }
        let mut failed = 0;
        let answer = |entry: &Entry| {
            let id = Uuid::new_v4().to_string();
            match self.envelope(entry, &id) {
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

    fn envelope(&self, entry: &Entry, id: &str) -> Result<String, Refusal> {
        let source = required(&entry.source, "Source")?;
        let detail_type = required(&entry.detail_type, "DetailType")?;
        let detail = within_bounds(required(&entry.detail, "Detail")?)?;
        let bus = entry.event_bus_name.as_deref().map_or(DEFAULT, bus_name);
        // AWS takes it, and nobody ever hears of it. Here a wrong name shows.
        if !self.names().contains(bus) {
            return Err(("InvalidArgument", format!("Event bus {bus} does not exist.")));
        }
        let envelope = Envelope {
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

    fn names(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// As AWS counts.
    fn bytes(&self) -> usize {
        let texts = [&self.source, &self.detail_type, &self.detail].into_iter().flatten();
        let texts = texts.chain(self.resources.iter().flatten()).map(String::len).sum::<usize>();
        texts + self.time.map_or(0, |_| TIME_BYTES)
    }

    /// To the second, as AWS tells it.
    fn time(&self) -> String {
        let told = self.time.and_then(|secs| Duration::try_from_secs_f64(secs).ok());
        let time = told.map_or_else(|| Clock::system().now(), |since| UnixMillis(0).plus(since)).rfc3339();
        format!("{}Z", time.split('.').next().unwrap_or_default())
    }
}

fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| ("SerializationException", error.to_string()))
}

fn described(name: &str) -> Value {
    json!({"Name": name, "Arn": format!("{ARN}{name}")})
}

/// A bus may be named by its ARN.
fn bus_name(name: &str) -> &str {
    name.strip_prefix(ARN).unwrap_or(name)
}

fn required<'a>(value: &'a Option<String>, name: &str) -> Result<&'a str, Refusal> {
    let value = value.as_deref().filter(|value| !value.is_empty());
    let message = || format!("Parameter {name} is not valid. Reason: {name} is a required argument.");
    value.ok_or_else(|| ("InvalidArgument", message()))
}

/// A detail that EventBridge takes: a JSON object, not too deep, with no integer beyond 64 bits.
fn within_bounds(detail: &str) -> Result<&RawValue, Refusal> {
    let malformed = || ("MalformedDetail", "Detail is malformed.".to_owned());
    let raw: &RawValue = serde_json::from_str(detail).map_err(|_| malformed())?;
    let outside = without_strings(raw.get());
    let is_integer = |word: &&str| word.bytes().all(|byte| byte == b'-' || byte.is_ascii_digit());
    let mut words = outside.split(|character: char| "[]{},: \t\r\n\"".contains(character));
    let has_giants = words.any(|word| !word.is_empty() && is_integer(&word) && word.parse::<i64>().is_err());
    if !outside.starts_with('{') || depth(&outside) > DEPTH_MAX || has_giants {
        return Err(malformed());
    }
    Ok(raw)
}

/// What stands outside of the strings of a JSON text: of each string, one quotation mark is left.
fn without_strings(json: &str) -> String {
    let mut outside = String::new();
    let mut characters = json.chars();
    while let Some(character) = characters.next() {
        outside.push(character);
        if character == '"' {
            while let Some(inside) = characters.next() {
                match inside {
                    '"' => break,
                    '\\' => drop(characters.next()),
                    _ => {}
                }
            }
        }
    }
    outside
}

fn depth(outside: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    for character in outside.chars() {
        match character {
            '{' | '[' => depth += 1,
            '}' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}
