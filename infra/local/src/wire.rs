//! The SDK's HTTP connector: it leads to the embedded engines, keeps a log of the calls, and is where faults
//! go in, as they do in life.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc, oneshot};
use winterbaume_core::MockResponse;

use inbox_core::event::EventKey;

use crate::engine::Engine;

/// One AWS call, as it leaves the SDK. A retry of the SDK is a call of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// How many calls this wire carried before.
    pub index: usize,
    /// The operation, for example `PutItem`.
    pub operation: String,
    /// The events that it is about, by id: of a batch, several.
    pub events: Vec<String>,
}

/// What goes wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// Refused for its rate; not applied.
    Throttled,
    /// Answered 500; not applied.
    ServerError,
    /// The connection broke before it was applied.
    ResetBefore,
    /// Applied, and the answer never came.
    TimeoutAfter,
    /// Refused for a missing permission; not applied.
    AccessDenied,
    /// Applied, and the answer is not readable.
    MalformedAnswer,
    /// SQS finds fault with the message itself; not applied.
    Refused,
    /// A batch is answered 200; its first entry was refused for what it is, the others were applied.
    FirstEntryRefused,
    /// A batch is answered 200; its first entry failed in SQS, the others were applied.
    FirstEntryFailed,
    /// A batch of reads is answered 200, and nothing of it was processed.
    Unprocessed,
    /// The process dies before the call.
    CrashBefore,
    /// The call is applied, and the process dies before its answer.
    CrashAfter,
}

impl Fault {
    /// What any call can meet.
    pub const OF_ANY_CALL: [Self; 8] = [
        Self::Throttled,
        Self::ServerError,
        Self::ResetBefore,
        Self::TimeoutAfter,
        Self::AccessDenied,
        Self::MalformedAnswer,
        Self::CrashBefore,
        Self::CrashAfter,
    ];

    /// Whether, after this fault, the caller cannot know if the call was applied.
    pub const fn leaves_outcome_unknown(self) -> bool {
        match self {
            Self::Throttled
            | Self::AccessDenied
            | Self::Refused
            | Self::FirstEntryRefused
            | Self::FirstEntryFailed
            | Self::Unprocessed => false,
            Self::ServerError
            | Self::ResetBefore
            | Self::TimeoutAfter
            | Self::MalformedAnswer
            | Self::CrashBefore
            | Self::CrashAfter => true,
        }
    }
}

/// What became of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is still on its way.
    Open,
    /// The engine answered with this HTTP status.
    Answered(u16),
    /// A fault went in.
    Faulted(Fault),
}

/// Decides which call fails, and how.
pub type Plan = dyn Fn(&Call) -> Option<Fault> + Send + Sync;

tokio::task_local! {
    /// Told when the process that makes the calls dies.
    static LIFE: Arc<Notify>;
}

/// Runs `work` as one process: a crash fault ends it then and there, with `None`.
pub async fn mortal<T>(work: impl Future<Output = T>) -> Option<T> {
    let death = Arc::new(Notify::new());
    LIFE.scope(death.clone(), async {
        tokio::select! {
            biased;
            () = death.notified() => None,
            done = work => Some(done),
        }
    })
    .await
}

/// A connector to an engine.
#[derive(Clone)]
pub struct Wire(Arc<Inner>);

struct Inner {
    engine: Engine,
    plan: Mutex<Arc<Plan>>,
    log: Mutex<Vec<(Call, Fate)>>,
    gate: Mutex<Option<Turnstile>>,
}

/// Which calls wait at the gate, and where they line up.
#[derive(Clone)]
struct Turnstile {
    waits: fn(&Call) -> bool,
    line: mpsc::UnboundedSender<Waiting>,
}

struct Waiting {
    call: Call,
    go: oneshot::Sender<()>,
    done: oneshot::Receiver<()>,
}

/// Lets the calls of one process pass one by one: to play two processes in any order.
pub struct Gate {
    line: mpsc::UnboundedReceiver<Waiting>,
    /// The call at the gate.
    next: Option<Waiting>,
}

impl Gate {
    /// Waits for the next call, lets it pass, and waits until the engine has answered it.
    pub async fn step(&mut self) -> Option<Call> {
        self.step_before(std::future::pending::<()>()).await
    }

    /// The same, unless this ends before there is a call.
    pub async fn step_before(&mut self, end: impl Future) -> Option<Call> {
        self.wait_before(end).await;
        let waiting = self.next.take()?;
        let _ = waiting.go.send(());
        let _ = waiting.done.await;
        Some(waiting.call)
    }

    /// Waits until there is a call that waits, or this ends.
    pub async fn wait_before(&mut self, end: impl Future) {
        if self.next.is_none() {
            tokio::select! {
                biased;
                waiting = self.line.recv() => self.next = waiting,
                _ = end => {}
            }
        }
    }
}

impl Wire {
    /// A wire without faults.
    pub fn new(engine: Engine) -> Self {
        Self(Arc::new(Inner {
            engine,
            plan: Mutex::new(Arc::new(|_: &Call| None)),
            log: Mutex::default(),
            gate: Mutex::default(),
        }))
    }

    /// From now on, this decides which calls fail.
    pub fn plan(&self, plan: impl Fn(&Call) -> Option<Fault> + Send + Sync + 'static) {
        *locked(&self.0.plan) = Arc::new(plan);
    }

    /// From now on, nothing fails.
    pub fn heal(&self) {
        self.plan(|_| None);
    }

    /// The calls so far, and what became of them.
    pub fn log(&self) -> Vec<(Call, Fate)> {
        locked(&self.0.log).clone()
    }

    /// Forgets the calls so far; the next one has index 0.
    pub fn clear_log(&self) {
        locked(&self.0.log).clear();
    }

    /// From now on, calls that `waits` names pass one by one, when the gate is stepped.
    pub fn gate(&self, waits: fn(&Call) -> bool) -> Gate {
        let (line, waiting) = mpsc::unbounded_channel();
        *locked(&self.0.gate) = Some(Turnstile { waits, line });
        Gate { line: waiting, next: None }
    }

    /// Lines up at the gate, if there is one for this call. What comes back tells the gate, when it is dropped,
    /// that the call is done.
    async fn line_up(&self, call: &Call) -> Option<oneshot::Sender<()>> {
        let turnstile = locked(&self.0.gate).clone()?;
        if !(turnstile.waits)(call) {
            return None;
        }
        let (go, may_go) = oneshot::channel();
        let (is_done, done) = oneshot::channel();
        turnstile.line.send(Waiting { call: call.clone(), go, done }).ok()?;
        let _ = may_go.await;
        Some(is_done)
    }

    /// The engine at the other end.
    pub fn engine(&self) -> &Engine {
        &self.0.engine
    }

    /// This wire as an HTTP client for the SDK.
    pub fn http_client(&self) -> SharedHttpClient {
        SharedHttpClient::new(self.clone())
    }

    fn open(&self, operation: String, events: Vec<String>) -> Call {
        let mut log = locked(&self.0.log);
        let call = Call { index: log.len(), operation, events };
        log.push((call.clone(), Fate::Open));
        call
    }

    fn close(&self, call: &Call, fate: Fate) {
        let mut log = locked(&self.0.log);
        if let Some(entry) = log.get_mut(call.index).filter(|entry| entry.0 == *call) {
            entry.1 = fate;
        }
    }

    /// Carries a batch less its first entry, which the answer says failed.
    async fn without_first_entry(
        &self,
        headers: HeaderMap,
        body: Bytes,
        sender_fault: bool,
    ) -> Result<HttpResponse, ConnectorError> {
        let mut request: Value = serde_json::from_slice(&body).unwrap_or_default();
        let mut entries =
            request.get_mut("Entries").and_then(Value::as_array_mut).map(std::mem::take).unwrap_or_default();
        let first = if entries.is_empty() { Value::Null } else { entries.remove(0) };
        let mut answer = json!({"Successful": [], "Failed": []});
        if !entries.is_empty() {
            if let Some(fields) = request.as_object_mut() {
                fields.insert("Entries".to_owned(), Value::Array(entries));
            }
            let carried = self.0.engine.answer(headers, Bytes::from(request.to_string())).await;
            answer = serde_json::from_slice(&carried.body).unwrap_or(answer);
        }
        let code = if sender_fault { "InvalidMessageContents" } else { "InternalError" };
        if let Some(fields) = answer.as_object_mut() {
            let failed = json!([{"Id": first.get("Id"), "SenderFault": sender_fault, "Code": code}]);
            fields.insert("Failed".to_owned(), failed);
        }
        response(MockResponse::json(200, answer.to_string()))
    }

    async fn carry(self, headers: HeaderMap, body: Bytes) -> Result<HttpResponse, ConnectorError> {
        let target = headers.get("x-amz-target").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
        let call = self.open(operation, events_of(&body));
        let _done = self.line_up(&call).await;
        let plan = locked(&self.0.plan).clone();
        let Some(fault) = plan(&call) else {
            let answer = self.0.engine.answer(headers, body).await;
            self.close(&call, Fate::Answered(answer.status));
            return response(answer);
        };
        self.close(&call, Fate::Faulted(fault));
        let refusal = |status, code: &str| {
            response(MockResponse::json(status, format!(r#"{{"__type":"{code}","message":"injected"}}"#)))
        };
        match fault {
            Fault::Throttled => refusal(400, "ThrottlingException"),
            Fault::ServerError => refusal(500, "InternalServerError"),
            Fault::AccessDenied => refusal(400, "AccessDeniedException"),
            Fault::ResetBefore => Err(ConnectorError::io("connection reset (injected)".into())),
            Fault::TimeoutAfter => {
                self.0.engine.answer(headers, body).await;
                Err(ConnectorError::timeout("no answer (injected)".into()))
            }
            Fault::MalformedAnswer => {
                self.0.engine.answer(headers, body).await;
                response(MockResponse::json(200, "<html>"))
            }
            Fault::Refused => refusal(400, "InvalidMessageContents"),
            Fault::FirstEntryRefused => self.without_first_entry(headers, body, true).await,
            Fault::FirstEntryFailed => self.without_first_entry(headers, body, false).await,
            Fault::Unprocessed => response(unprocessed(&body)),
            Fault::CrashBefore => die().await,
            Fault::CrashAfter => {
                self.0.engine.answer(headers, body).await;
                die().await
            }
        }
    }
}

/// `BatchGetItem`'s answer when it got to nothing.
fn unprocessed(request: &Bytes) -> MockResponse {
    let request: Value = serde_json::from_slice(request).unwrap_or_default();
    let answer = json!({"Responses": {}, "UnprocessedKeys": request.get("RequestItems")});
    MockResponse::json(200, answer.to_string())
}

async fn die() -> ! {
    // Outside of `mortal` nobody listens, and the call hangs until its time-out.
    let _ = LIFE.try_with(|death| death.notify_one());
    std::future::pending().await
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wire")
    }
}

impl HttpConnector for Wire {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let mut headers = HeaderMap::new();
        for (name, value) in request.headers() {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_str(value)) {
                headers.insert(name, value);
            }
        }
        let body = request.body().bytes().map(Bytes::copy_from_slice).unwrap_or_default();
        HttpConnectorFuture::new(self.clone().carry(headers, body))
    }
}

impl HttpClient for Wire {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

/// A test that panicked with the lock in its hand leaves what it holds whole.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn response(answer: MockResponse) -> Result<HttpResponse, ConnectorError> {
    let status =
        StatusCode::try_from(answer.status).map_err(|error| ConnectorError::other(error.into(), None))?;
    let mut response = HttpResponse::new(status, SdkBody::from(answer.body));
    for (name, value) in &answer.headers {
        if let Ok(value) = value.to_str() {
            response.headers_mut().insert(name.as_str().to_owned(), value.to_owned());
        }
    }
    Ok(response)
}

/// The events that a request is about: by the key of a record, or by the id inside a message.
fn events_of(body: &[u8]) -> Vec<String> {
    let Ok(request) = serde_json::from_slice::<Value>(body) else { return Vec::new() };
    let key = |holder: &Value| {
        let (pk, sk) = (holder.pointer("/pk/S")?.as_str()?, holder.pointer("/sk/S")?.as_str()?);
        EventKey::from_table_key(pk, sk).map(|key| key.event_id())
    };
    let message = |holder: &Value| {
        let event: Value = serde_json::from_str(holder.get("MessageBody")?.as_str()?).ok()?;
        event.get("id")?.as_str().map(str::to_owned)
    };
    let holders = [request.get("Item"), request.get("Key"), Some(&request)].into_iter().flatten();
    let entries = request.get("Entries").and_then(Value::as_array).into_iter().flatten();
    holders.clone().filter_map(key).chain(holders.chain(entries).filter_map(message)).collect()
}
