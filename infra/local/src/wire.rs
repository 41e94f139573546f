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
use inbox_aws::calls::Role;
use inbox_core::bus::threshold_met_id;
use inbox_core::event::{EventKey, Id};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Notify;
use winterbaume_core::MockResponse;

use crate::engine::{Engine, target};

mod delayed;
mod fault;
mod gate;
mod role;

pub use fault::Fault;
pub use gate::Gate;
pub use role::Need;

use delayed::Delayed;
use fault::Carried;
use gate::Turnstile;

/// One AWS call, as it leaves the SDK. A retry of the SDK is a call of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// How many calls this wire carried before.
    pub index: usize,
    /// The operation, for example `PutItem`.
    pub operation: String,
    /// What it needs by IAM.
    pub needs: Vec<Need>,
    /// The events that it is about, by id: of a batch, several. One alert of an event has an id of its own, as it has on
    /// the bus.
    pub events: Vec<String>,
}

impl Call {
    /// Whether it changes nothing: then it is all one whether it comes late or never.
    pub fn is_read(&self) -> bool {
        const READS: [&str; 6] =
            ["BatchGetItem", "GetItem", "GetQueueAttributes", "GetSecretValue", "Query", "Scan"];
        READS.contains(&self.operation.as_str())
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
    /// Its caller heard that it timed out, and it is still on its way.
    Delayed,
    /// Its caller heard that it timed out, and it came to the engine later, which answered nobody with this HTTP status.
    Late(u16),
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

/// A connector to an engine. What a function's role does not permit is refused, as IAM does.
#[derive(Clone)]
pub struct Wire {
    inner: Arc<Inner>,
    role: Option<&'static Role>,
}

struct Inner {
    engine: Engine,
    plan: Mutex<Arc<Plan>>,
    log: Mutex<Vec<(Call, Fate)>>,
    gate: Mutex<Option<Turnstile>>,
    delayed: Mutex<Vec<Delayed>>,
    /// Delayed requests that are being applied.
    arriving: AtomicUsize,
}

impl Wire {
    /// A wire without faults.
    pub fn new(engine: Engine) -> Self {
        let inner = Inner {
            engine,
            plan: Mutex::new(Arc::new(|_: &Call| None)),
            log: Mutex::default(),
            gate: Mutex::default(),
            delayed: Mutex::default(),
            arriving: AtomicUsize::new(0),
        };
        Self { inner: Arc::new(inner), role: None }
    }

    /// This wire for the function of this name, which may do what its role permits, and without a role nothing.
    pub fn acting_as(&self, function: &str) -> Self {
        const NOTHING: &Role = &Role { function: "", may: &[] };
        Self { inner: self.inner.clone(), role: Some(Role::of(function).unwrap_or(NOTHING)) }
    }

    /// From now on, this decides which calls fail.
    pub fn plan(&self, plan: impl Fn(&Call) -> Option<Fault> + Send + Sync + 'static) {
        *locked(&self.inner.plan) = Arc::new(plan);
    }

    /// From now on, nothing fails.
    pub fn heal(&self) {
        self.plan(|_| None);
    }

    /// The calls so far, and what became of them.
    pub fn log(&self) -> Vec<(Call, Fate)> {
        locked(&self.inner.log).clone()
    }

    /// Forgets the calls so far; the next one has index 0.
    pub fn clear_log(&self) {
        locked(&self.inner.log).clear();
    }

    /// From now on, calls that `waits` names pass one by one, when the gate is stepped.
    pub fn gate(&self, waits: fn(&Call) -> bool) -> Gate {
        let (gate, turnstile) = Gate::new(waits);
        *locked(&self.inner.gate) = Some(turnstile);
        gate
    }

    /// The engine at the other end.
    pub fn engine(&self) -> &Engine {
        &self.inner.engine
    }

    /// This wire as an HTTP client for the SDK.
    pub fn http_client(&self) -> SharedHttpClient {
        SharedHttpClient::new(self.clone())
    }

    fn open(&self, operation: String, body: &[u8]) -> Call {
        let request = serde_json::from_slice(body).unwrap_or_default();
        let (needs, events) = (role::needs(&operation, &request), events_of(&request));
        let mut log = locked(&self.inner.log);
        let call = Call { index: log.len(), operation, needs, events };
        log.push((call.clone(), Fate::Open));
        call
    }

    fn close(&self, call: &Call, fate: Fate) {
        let mut log = locked(&self.inner.log);
        if let Some(entry) = log.get_mut(call.index).filter(|entry| entry.0 == *call) {
            entry.1 = fate;
        }
    }

    async fn carry(self, headers: HeaderMap, body: Bytes) -> Result<HttpResponse, ConnectorError> {
        let call = self.open(target(&headers).1.to_owned(), &body);
        let turnstile = locked(&self.inner.gate).clone();
        let _done = match &turnstile {
            Some(turnstile) => turnstile.line_up(&call).await,
            None => None,
        };
        let plan = locked(&self.inner.plan).clone();
        let sent = body.clone();
        let denied = self.role.is_some_and(|role| !call.needs.iter().all(|need| need.is_met_by(role)));
        let fault = plan(&call).or(denied.then_some(Fault::AccessDenied));
        let delayed = fault.filter(|fault| fault.delays()).map(|fault| Delayed {
            call: call.clone(),
            fault,
            headers: headers.clone(),
            body: body.clone(),
        });
        let carried = Carried { engine: &self.inner.engine, operation: &call.operation, headers, body };
        let heard = match fault {
            None => {
                let answer = carried.answer().await;
                self.close(&call, Fate::Answered(answer.status));
                response(answer)
            }
            Some(fault) => {
                self.close(&call, delayed.as_ref().map_or(Fate::Faulted(fault), |_| Fate::Delayed));
                carried.meet(fault).await
            }
        };
        self.apply_attempts_before(&call, &sent).await;
        locked(&self.inner.delayed).extend(delayed);
        heard
    }
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

/// The alert that an item stands for.
fn alert_of(pk: &str, sk: &str) -> Option<String> {
    let (batch_id, authorizer) = (pk.strip_prefix("rightfoot#batch#")?, sk.strip_prefix("effect#alert#")?);
    Some(threshold_met_id(&Id::new(batch_id)?, &Id::new(authorizer)?))
}

/// What a message, or the detail of an event on the bus, says of itself.
#[derive(Deserialize)]
struct Told {
    id: Option<String>,
    event_id: Option<String>,
}

/// The events that a request is about, each once: by the key of a record, or as a message or a detail tells.
fn events_of(request: &Value) -> Vec<String> {
    let key = |holder: &Value| {
        let (pk, sk) = (holder.pointer("/pk/S")?.as_str()?, holder.pointer("/sk/S")?.as_str()?);
        EventKey::from_table_key(pk, sk).map(|key| key.event_id()).or_else(|| alert_of(pk, sk))
    };
    let told = |holder: &Value, name: &str| serde_json::from_str::<Told>(holder.get(name)?.as_str()?).ok();
    let message = |holder: &Value| told(holder, "MessageBody")?.id;
    let detail = |holder: &Value| told(holder, "Detail")?.event_id;
    let holders = [request.get("Item"), request.get("Key"), Some(request)].into_iter().flatten();
    let entries = request.get("Entries").and_then(Value::as_array).into_iter().flatten();
    let told = holders.clone().chain(entries).filter_map(|holder| message(holder).or_else(|| detail(holder)));
    let mut events = Vec::new();
    for event in holders.filter_map(key).chain(told) {
        if !events.contains(&event) {
            events.push(event);
        }
    }
    events
}
