//! HTTP connector of the AWS SDK: sends calls to the emulator, logs them, checks permissions and injects faults.
//!
//! Faults are injected below the SDK, so its retries and time-outs act as they do against AWS.

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
use tokio::sync::Notify;
use tokio::task::JoinSet;
use winterbaume_core::MockResponse;

use crate::emulator::{Emulator, service_and_operation};

mod delayed_requests;
mod event_ids;
mod fault;
mod required_permissions;
mod step_gate;

pub use fault::Fault;
pub use required_permissions::RequiredPermission;
pub use step_gate::StepGate;

use delayed_requests::DelayedRequest;
use fault::EmulatorRequest;
use step_gate::StepQueue;

/// One AWS call, as it leaves the SDK. Each retry of the SDK is a separate call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsCall {
    /// Position in the call log, from 0.
    pub index: usize,
    /// AWS operation, for example `PutItem`.
    pub operation: String,
    /// Function that makes the call; `None` for a client without a role.
    pub function: Option<&'static str>,
    /// IAM permissions that the call needs.
    pub permissions: Vec<RequiredPermission>,
    /// Ids of the events that the call concerns; several for a batch call. An alert has the id that it has on the bus,
    /// not the id of the event that announced it.
    pub event_ids: Vec<String>,
}

impl AwsCall {
    /// Returns `true` if the call changes nothing, so that delaying it equals losing it.
    pub fn is_read(&self) -> bool {
        const READS: [&str; 6] =
            ["BatchGetItem", "GetItem", "GetQueueAttributes", "GetSecretValue", "Query", "Scan"];
        READS.contains(&self.operation.as_str())
    }
}

/// Outcome of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallOutcome {
    /// No response yet.
    Pending,
    /// The emulator responded with this HTTP status.
    Answered(u16),
    /// A fault was injected.
    Faulted(Fault),
    /// The caller got a time-out; the request has not been applied yet.
    Delayed,
    /// The caller got a time-out; the request was applied later, with this HTTP status, which the caller never saw.
    AppliedLate(u16),
}

/// Function from a call to the fault to inject; `None` lets the call pass.
pub type FaultPlan = dyn Fn(&AwsCall) -> Option<Fault> + Send + Sync;

tokio::task_local! {
    /// The simulated process that makes the calls.
    static PROCESS: Arc<SimulatedProcess>;
}

/// A process that a crash fault can end.
#[derive(Default)]
struct SimulatedProcess {
    /// Notified when it crashes.
    crashed: Notify,
    /// The calls with a crash fault. What has left the process is applied, even if another call crashes it meanwhile.
    crashing_calls: Mutex<JoinSet<()>>,
}

/// Runs `work` as one simulated process. A crash fault in any of its calls drops it at that call; the result is then
/// `None`.
pub async fn until_crash<T>(work: impl Future<Output = T>) -> Option<T> {
    let process = Arc::<SimulatedProcess>::default();
    let result = PROCESS
        .scope(process.clone(), async {
            tokio::select! {
                // Checks for the crash first, so that `work` is not polled again after it.
                biased;
                () = process.crashed.notified() => None,
                done = work => Some(done),
            }
        })
        .await;
    let crashing_calls = std::mem::take(&mut *lock(&process.crashing_calls));
    crashing_calls.join_all().await;
    result
}

/// Connector to an emulator. With a role, calls that the role does not allow are denied, as by IAM.
///
/// Clones share the fault plan, the call log and the delayed requests.
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
    /// A connector without faults and without a role: every call is allowed.
    pub fn new(emulator: Emulator) -> Self {
        let inner = Inner {
            emulator,
            fault_plan: Mutex::new(Arc::new(|_: &AwsCall| None)),
            call_log: Mutex::default(),
            step_queue: Mutex::default(),
            delayed: Mutex::default(),
            applying_count: AtomicUsize::new(0),
        };
        Self { inner: Arc::new(inner), role: None }
    }

    /// The same connector restricted to a function's role. A function without a role is denied every call.
    pub fn with_role_of(&self, function: &str) -> Self {
        Self { inner: self.inner.clone(), role: Some(Role::of(function).unwrap_or(&Role::OF_NOBODY)) }
    }

    /// Sets the faults of the calls from now on.
    pub fn set_fault_plan(&self, plan: impl Fn(&AwsCall) -> Option<Fault> + Send + Sync + 'static) {
        *lock(&self.inner.fault_plan) = Arc::new(plan);
    }

    /// Stops injecting faults.
    pub fn clear_fault_plan(&self) {
        self.set_fault_plan(|_| None);
    }

    /// Calls so far, with their outcomes.
    pub fn call_log(&self) -> Vec<(AwsCall, CallOutcome)> {
        lock(&self.inner.call_log).clone()
    }

    /// Clears the call log; the next call has index 0.
    pub fn clear_call_log(&self) {
        lock(&self.inner.call_log).clear();
    }

    /// Holds the calls for which `is_held` is true from now on. The returned gate releases them one by one.
    pub fn hold_calls(&self, is_held: fn(&AwsCall) -> bool) -> StepGate {
        let (gate, step_queue) = StepGate::new(is_held);
        *lock(&self.inner.step_queue) = Some(step_queue);
        gate
    }

    /// The emulator that applies the calls.
    pub fn emulator(&self) -> &Emulator {
        &self.inner.emulator
    }

    /// HTTP client for the SDK's configuration.
    pub fn http_client(&self) -> SharedHttpClient {
        SharedHttpClient::new(self.clone())
    }

    fn log_call(&self, operation: String, body: &[u8]) -> AwsCall {
        let request = serde_json::from_slice(body).unwrap_or_default();
        let (permissions, event_ids) = (
            required_permissions::required_permissions(&operation, &request),
            event_ids::parse_event_ids(&request),
        );
        let function = self.role.map(|role| role.function);
        let mut log = lock(&self.inner.call_log);
        let call = AwsCall { index: log.len(), operation, function, permissions, event_ids };
        log.push((call.clone(), CallOutcome::Pending));
        call
    }

    fn log_outcome(&self, call: &AwsCall, outcome: CallOutcome) {
        let mut log = lock(&self.inner.call_log);
        // The log may have been cleared since, and another call may have this index.
        if let Some(entry) = log.get_mut(call.index).filter(|entry| entry.0 == *call) {
            entry.1 = outcome;
        }
    }

    async fn send(self, headers: HeaderMap, body: Bytes) -> Result<HttpResponse, ConnectorError> {
        let call = self.log_call(service_and_operation(&headers).1.to_owned(), &body);
        // Cloned, so that the lock is not held while the call waits for its turn.
        let step_queue = lock(&self.inner.step_queue).clone();
        // Dropped when this call ends or is cancelled; the gate waits for that before its next step.
        let _done = match &step_queue {
            Some(step_queue) => step_queue.wait_turn(&call).await,
            None => None,
        };
        // Read after the wait, so that a plan that was set meanwhile applies.
        let plan = lock(&self.inner.fault_plan).clone();
        let request_body = body.clone();
        let denied = self
            .role
            .is_some_and(|role| !call.permissions.iter().all(|permission| permission.is_granted_by(role)));
        let fault = plan(&call).or(denied.then_some(Fault::AccessDenied));
        let delayed = fault.filter(|fault| fault.is_delay()).map(|fault| DelayedRequest {
            call: call.clone(),
            fault,
            headers: headers.clone(),
            body: body.clone(),
        });
        if let Some(fault) = fault.filter(|fault| fault.is_crash()) {
            return self.crash(call, fault, headers, body).await;
        }
        let request =
            EmulatorRequest { emulator: &self.inner.emulator, operation: &call.operation, headers, body };
        let result = match fault {
            None => {
                let answer = request.send().await;
                self.log_outcome(&call, CallOutcome::Answered(answer.status));
                sdk_response(answer)
            }
            Some(fault) => {
                let result = request.send_with_fault(fault).await;
                self.log_outcome(
                    &call,
                    delayed.as_ref().map_or(CallOutcome::Faulted(fault), |_| CallOutcome::Delayed),
                );
                result
            }
        };
        // Before this attempt's own delayed request is stored, so that it waits for the next attempt.
        self.apply_earlier_attempts(&call, &request_body).await;
        lock(&self.inner.delayed).extend(delayed);
        result
    }

    /// Crashes the process at this call, after it is applied, if it is to be, and logged.
    async fn crash<T>(self, call: AwsCall, fault: Fault, headers: HeaderMap, body: Bytes) -> T {
        // Outside of `until_crash` there is no process to end, and the call hangs until its time-out.
        let process = PROCESS.try_with(Arc::clone).unwrap_or_default();
        let crashing = process.clone();
        lock(&process.crashing_calls).spawn(async move {
            let operation = &call.operation;
            let request = EmulatorRequest { emulator: &self.inner.emulator, operation, headers, body };
            // Nobody gets the response.
            drop(request.send_with_fault(fault).await);
            self.log_outcome(&call, CallOutcome::Faulted(fault));
            crashing.crashed.notify_one();
        });
        std::future::pending().await
    }
}

impl fmt::Debug for AwsConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AwsConnector")
    }
}

impl HttpConnector for AwsConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        // Method and URI are dropped: the header `x-amz-target` names the service and the operation.
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No update leaves the value half-written, so a panic elsewhere does not invalidate it.
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
