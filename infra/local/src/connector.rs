//! The SDK's HTTP connector: it leads to the embedded engines, keeps a log of the calls, and is where faults
//! go in, as they do in life.

use std::fmt;
use std::sync::atomic::AtomicUsize;
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
use inbox_aws::iam::Role;
use inbox_core::bus::threshold_met_id;
use inbox_core::event::{EventKey, Id};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Notify;
use winterbaume_core::MockResponse;

use crate::emulator::{Emulator, service_and_operation};

mod delayed_requests;
mod fault;
mod required_permissions;
mod step_gate;

pub use fault::Fault;
pub use required_permissions::RequiredPermission;
pub use step_gate::StepGate;

use delayed_requests::DelayedRequest;
use fault::EmulatorRequest;
use step_gate::StepQueue;

/// One AWS call, as it leaves the SDK. A retry of the SDK is a call of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsCall {
    /// How many calls this wire carried before.
    pub index: usize,
    /// The operation, for example `PutItem`.
    pub operation: String,
    /// What it needs by IAM.
    pub permissions: Vec<RequiredPermission>,
    /// The events that it is about, by id: of a batch, several. One alert of an event has an id of its own, as it has on
    /// the bus.
    pub event_ids: Vec<String>,
}

impl AwsCall {
    /// Whether it changes nothing: then it is all one whether it comes late or never.
    pub fn is_read(&self) -> bool {
        const READS: [&str; 6] =
            ["BatchGetItem", "GetItem", "GetQueueAttributes", "GetSecretValue", "Query", "Scan"];
        READS.contains(&self.operation.as_str())
    }
}

/// What became of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallOutcome {
    /// It is still on its way.
    Pending,
    /// The engine answered with this HTTP status.
    Answered(u16),
    /// A fault went in.
    Faulted(Fault),
    /// Its caller heard that it timed out, and it is still on its way.
    Delayed,
    /// Its caller heard that it timed out, and it came to the engine later, which answered nobody with this HTTP status.
    AppliedLate(u16),
}

/// Decides which call fails, and how.
pub type FaultPlan = dyn Fn(&AwsCall) -> Option<Fault> + Send + Sync;

tokio::task_local! {
    /// Told when the process that makes the calls dies.
    static CRASH_SIGNAL: Arc<Notify>;
}

/// Runs `work` as one process: a crash fault ends it then and there, with `None`.
pub async fn until_crash<T>(work: impl Future<Output = T>) -> Option<T> {
    let crashed = Arc::new(Notify::new());
    CRASH_SIGNAL
        .scope(crashed.clone(), async {
            tokio::select! {
                biased;
                () = crashed.notified() => None,
                done = work => Some(done),
            }
        })
        .await
}

/// A connector to an engine. What a function's role does not permit is refused, as IAM does.
#[derive(Clone)]
pub struct AwsConnector {
    inner: Arc<Inner>,
    role: Option<&'static Role>,
}

struct Inner {
    emulator: Emulator,
    fault_plan: Mutex<Arc<FaultPlan>>,
    call_log: Mutex<Vec<(AwsCall, CallOutcome)>>,
    step_queue: Mutex<Option<StepQueue>>,
    delayed: Mutex<Vec<DelayedRequest>>,
    /// Delayed requests that are being applied.
    applying_count: AtomicUsize,
}

impl AwsConnector {
    /// A wire without faults.
    pub fn new(engine: Emulator) -> Self {
        let inner = Inner {
            emulator: engine,
            fault_plan: Mutex::new(Arc::new(|_: &AwsCall| None)),
            call_log: Mutex::default(),
            step_queue: Mutex::default(),
            delayed: Mutex::default(),
            applying_count: AtomicUsize::new(0),
        };
        Self { inner: Arc::new(inner), role: None }
    }

    /// This wire for the function of this name, which may do what its role permits, and without a role nothing.
    pub fn with_role_of(&self, function: &str) -> Self {
        const NOTHING: &Role = &Role { function: "", allowed: &[] };
        Self { inner: self.inner.clone(), role: Some(Role::of(function).unwrap_or(NOTHING)) }
    }

    /// From now on, this decides which calls fail.
    pub fn set_fault_plan(&self, plan: impl Fn(&AwsCall) -> Option<Fault> + Send + Sync + 'static) {
        *lock(&self.inner.fault_plan) = Arc::new(plan);
    }

    /// From now on, nothing fails.
    pub fn clear_fault_plan(&self) {
        self.set_fault_plan(|_| None);
    }

    /// The calls so far, and what became of them.
    pub fn call_log(&self) -> Vec<(AwsCall, CallOutcome)> {
        lock(&self.inner.call_log).clone()
    }

    /// Forgets the calls so far; the next one has index 0.
    pub fn clear_call_log(&self) {
        lock(&self.inner.call_log).clear();
    }

    /// From now on, calls that `waits` names pass one by one, when the gate is stepped.
    pub fn hold_calls(&self, is_held: fn(&AwsCall) -> bool) -> StepGate {
        let (gate, step_queue) = StepGate::new(is_held);
        *lock(&self.inner.step_queue) = Some(step_queue);
        gate
    }

    /// The engine at the other end.
    pub fn emulator(&self) -> &Emulator {
        &self.inner.emulator
    }

    /// This wire as an HTTP client for the SDK.
    pub fn http_client(&self) -> SharedHttpClient {
        SharedHttpClient::new(self.clone())
    }

    fn log_call(&self, operation: String, body: &[u8]) -> AwsCall {
        let request = serde_json::from_slice(body).unwrap_or_default();
        let (permissions, event_ids) =
            (required_permissions::required_permissions(&operation, &request), parse_event_ids(&request));
        let mut log = lock(&self.inner.call_log);
        let call = AwsCall { index: log.len(), operation, permissions, event_ids };
        log.push((call.clone(), CallOutcome::Pending));
        call
    }

    fn log_outcome(&self, call: &AwsCall, outcome: CallOutcome) {
        let mut log = lock(&self.inner.call_log);
        if let Some(entry) = log.get_mut(call.index).filter(|entry| entry.0 == *call) {
            entry.1 = outcome;
        }
    }

    async fn send(self, headers: HeaderMap, body: Bytes) -> Result<HttpResponse, ConnectorError> {
        let call = self.log_call(service_and_operation(&headers).1.to_owned(), &body);
        let step_queue = lock(&self.inner.step_queue).clone();
        let _done = match &step_queue {
            Some(step_queue) => step_queue.wait_turn(&call).await,
            None => None,
        };
        let plan = lock(&self.inner.fault_plan).clone();
        let request_body = body.clone();
        let denied =
            self.role.is_some_and(|role| !call.permissions.iter().all(|need| need.is_granted_by(role)));
        let fault = plan(&call).or(denied.then_some(Fault::AccessDenied));
        let delayed = fault.filter(|fault| fault.is_delay()).map(|fault| DelayedRequest {
            call: call.clone(),
            fault,
            headers: headers.clone(),
            body: body.clone(),
        });
        let request =
            EmulatorRequest { emulator: &self.inner.emulator, operation: &call.operation, headers, body };
        let result = match fault {
            None => {
                let answer = request.send().await;
                self.log_outcome(&call, CallOutcome::Answered(answer.status));
                sdk_response(answer)
            }
            Some(fault) => {
                self.log_outcome(
                    &call,
                    delayed.as_ref().map_or(CallOutcome::Faulted(fault), |_| CallOutcome::Delayed),
                );
                request.send_with_fault(fault).await
            }
        };
        self.apply_earlier_attempts(&call, &request_body).await;
        lock(&self.inner.delayed).extend(delayed);
        result
    }
}

async fn crash() -> ! {
    // Outside of `mortal` nobody listens, and the call hangs until its time-out.
    let _ = CRASH_SIGNAL.try_with(|crashed| crashed.notify_one());
    std::future::pending().await
}

impl fmt::Debug for AwsConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wire")
    }
}

impl HttpConnector for AwsConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let mut headers = HeaderMap::new();
        for (name, value) in request.headers() {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_str(value)) {
                headers.insert(name, value);
            }
        }
        let body = request.body().bytes().map(Bytes::copy_from_slice).unwrap_or_default();
        HttpConnectorFuture::new(self.clone().send(headers, body))
    }
}

impl HttpClient for AwsConnector {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

/// A test that panicked with the lock in its hand leaves what it holds whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn sdk_response(answer: MockResponse) -> Result<HttpResponse, ConnectorError> {
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

/// The alert that an item stands for.
fn alert_id(pk: &str, sk: &str) -> Option<String> {
    let (batch_id, authorizer) = (pk.strip_prefix("rightfoot#batch#")?, sk.strip_prefix("effect#alert#")?);
    Some(threshold_met_id(&Id::new(batch_id)?, &Id::new(authorizer)?))
}

/// What a message, or the detail of an event on the bus, says of itself.
#[derive(Deserialize)]
struct MessageIds {
    id: Option<String>,
    event_id: Option<String>,
}

/// The events that a request is about, each once: by the key of a record, or as a message or a detail tells.
fn parse_event_ids(request: &Value) -> Vec<String> {
    let key_id = |holder: &Value| {
        let (pk, sk) = (holder.pointer("/pk/S")?.as_str()?, holder.pointer("/sk/S")?.as_str()?);
        EventKey::from_table_key(pk, sk).map(|key| key.event_id()).or_else(|| alert_id(pk, sk))
    };
    let parse_ids =
        |holder: &Value, name: &str| serde_json::from_str::<MessageIds>(holder.get(name)?.as_str()?).ok();
    let message_id = |holder: &Value| parse_ids(holder, "MessageBody")?.id;
    let detail_id = |holder: &Value| parse_ids(holder, "Detail")?.event_id;
    let holders = [request.get("Item"), request.get("Key"), Some(request)].into_iter().flatten();
    let entries = request.get("Entries").and_then(Value::as_array).into_iter().flatten();
    let body_ids =
        holders.clone().chain(entries).filter_map(|holder| message_id(holder).or_else(|| detail_id(holder)));
    let mut events = Vec::new();
    for event in holders.filter_map(key_id).chain(body_ids) {
        if !events.contains(&event) {
            events.push(event);
        }
    }
    events
}
