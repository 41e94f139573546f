//! The way of a delivery, the same for both webhook functions: prove → read → record → send → mark → answer.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpResponse;
use lambda_http::http::{HeaderValue, header::CONTENT_TYPE};
use tokio::time::Instant;

use inbox_core::delivery::{Delivery, Provider, RejectReason, Verification, Verified, VerifiedBy};
use inbox_core::event::Event;
use inbox_core::inbox::{QuarantineReason, RecordOutcome};
use inbox_core::limits::{BODY_MAX_BYTES, DELIVERY_DEADLINE_MS, RECORD_BUDGET_MS, RIGHTFOOT_BODY_MAX_BYTES};
use inbox_core::providers::{ParseOutcome, parse};
use inbox_core::reply::{DeliveryOutcome, Reply, reply_for};

use crate::AwsError;
use crate::api_gateway::ApiGatewayRequest;
use crate::clock::Clock;
use crate::inbox::Inbox;
use crate::ingest::{Ingestor, with_deadline};
use crate::queue::EventsQueue;
use crate::telemetry::count_with_reason;

/// What a webhook function needs to take in deliveries.
#[derive(Clone, Debug)]
pub struct Receiver {
    ingestor: Ingestor,
}

/// What the log line says besides the outcome.
#[derive(Default)]
struct DeliveryLog {
    /// The gateway's own id: it leads to the line in the access log.
    request_id: Option<String>,
    bytes: usize,
    event_id: Option<String>,
    event_type: Option<String>,
    /// The AWS call that failed, if one did: the event was not decided, or left to the relay, or not marked.
    fault: Option<AwsError>,
    /// In what a duplicate differs from the first delivery.
    differs: Option<&'static str>,
}

impl Receiver {
    /// Takes deliveries into this inbox, and puts their events on this queue.
    pub fn new(inbox: Inbox, queue: EventsQueue, clock: Clock) -> Self {
        Self { ingestor: Ingestor::new(inbox, queue, clock) }
    }

    /// Takes in one delivery and says what to answer. What is not of the gateway's form is `None`, and proves nothing.
    /// `prove` decides who called; it answers `None` if that cannot be decided, because no secret was ever loaded.
    pub async fn receive(
        &self,
        provider: Provider,
        request: Option<ApiGatewayRequest>,
        verify: impl AsyncFnOnce(Delivery) -> Option<Verification>,
    ) -> ApiGatewayV2httpResponse {
        let started = Instant::now();
        let deadline = started + Duration::from_millis(DELIVERY_DEADLINE_MS);
        let request_id = request.as_ref().and_then(ApiGatewayRequest::request_id).map(str::to_owned);
        let mut log = DeliveryLog { request_id, ..DeliveryLog::default() };
        let malformed = Err(DeliveryOutcome::Rejected(RejectReason::Malformed));
        let outcome = match request
            .map_or(malformed, |request| self.parse_delivery(request, body_max_bytes(provider)))
        {
            Ok(delivery) => {
                log.bytes = delivery.body.len();
                // On the heap: with the SDK's calls inside it is too large to be moved about on small stacks.
                Box::pin(self.verify_and_accept(delivery, verify, deadline, &mut log)).await
            }
            Err(outcome) => outcome,
        };
        count_outcome(provider, &outcome);
        log.emit(provider, &outcome, started.elapsed());
        http_response(reply_for(provider, &outcome))
    }

    /// The delivery in a request, its size capped first. A body that is not the base64 it claims to be proves
    /// nothing.
    fn parse_delivery(
        &self,
        mut request: ApiGatewayRequest,
        max_bytes: usize,
    ) -> Result<Delivery, DeliveryOutcome> {
        let headers = request.take_headers();
        let body = request.body.unwrap_or_default();
        let body = if request.is_base64_encoded {
            if body.len() / 4 * 3 > max_bytes {
                return Err(DeliveryOutcome::Unavailable);
            }
            STANDARD.decode(body).map_err(|_| DeliveryOutcome::Rejected(RejectReason::Malformed))?
        } else {
            body.into_bytes()
        };
        if body.len() > max_bytes {
            return Err(DeliveryOutcome::Unavailable);
        }
        Ok(Delivery { body, headers, received_at: self.ingestor.clock().now() })
    }

    async fn verify_and_accept(
        &self,
        delivery: Delivery,
        verify: impl AsyncFnOnce(Delivery) -> Option<Verification>,
        deadline: Instant,
        log: &mut DeliveryLog,
    ) -> DeliveryOutcome {
        match verify(delivery).await {
            None => DeliveryOutcome::Unavailable,
            Some(Verification::Rejected(_, refusal)) => DeliveryOutcome::Rejected(refusal),
            Some(Verification::Stale(stale)) => {
                record_signature_age(stale.for_quarantine());
                self.quarantine(
                    stale.for_quarantine(),
                    QuarantineReason::Stale,
                    DeliveryOutcome::Stale,
                    deadline,
                    log,
                )
                .await
            }
            Some(Verification::Verified(proven)) => self.accept(proven, deadline, log).await,
        }
    }

    async fn accept(&self, proven: Verified, deadline: Instant, log: &mut DeliveryLog) -> DeliveryOutcome {
        record_signature_age(&proven);
        match parse(proven) {
            ParseOutcome::Event(event) => {
                log.event_id = Some(event.key().event_id());
                log.event_type = Some(event.event_type().to_owned());
                self.record_and_enqueue(event, deadline, log).await
            }
            ParseOutcome::UnknownType(proven) => {
                let reason = QuarantineReason::UnknownType;
                self.quarantine(&proven, reason, DeliveryOutcome::Quarantined(reason), deadline, log).await
            }
            ParseOutcome::UnusableId(proven) => {
                let reason = QuarantineReason::UnusableId;
                self.quarantine(&proven, reason, DeliveryOutcome::Quarantined(reason), deadline, log).await
            }
            ParseOutcome::Unreadable(proven, why) => {
                self.quarantine(
                    &proven,
                    QuarantineReason::Unreadable,
                    DeliveryOutcome::Unreadable(why),
                    deadline,
                    log,
                )
                .await
            }
        }
    }

    /// Records an event, and puts it on the queue if it is new.
    async fn record_and_enqueue(
        &self,
        event: Event,
        deadline: Instant,
        log: &mut DeliveryLog,
    ) -> DeliveryOutcome {
        let record_by = deadline.min(Instant::now() + Duration::from_millis(RECORD_BUDGET_MS));
        match with_deadline(record_by, "dynamodb:GetItem", self.ingestor.has_subject_mismatch(&event)).await {
            Ok(false) => {}
            Ok(true) => {
                let reason = QuarantineReason::SubjectMismatch;
                return self
                    .quarantine(
                        event.verified(),
                        reason,
                        DeliveryOutcome::Quarantined(reason),
                        record_by,
                        log,
                    )
                    .await;
            }
            Err(error) => return log.unavailable(error),
        }
        match self.ingestor.record(&event, record_by).await {
            Ok(RecordOutcome::New) => {
                log.fault = self.ingestor.enqueue(&event, deadline).await;
                DeliveryOutcome::Recorded
            }
            Ok(RecordOutcome::Duplicate {
                idempotency_key_differs: other_key,
                payload_differs,
                is_late_webhook: late_webhook,
            }) => {
                let provider = event.key().provider().as_str();
                log.differs = match (payload_differs, other_key, late_webhook) {
                    (true, _, _) => Some("payload_differs"),
                    (false, true, _) => Some("other_key"),
                    (false, false, true) => Some("late_webhook"),
                    (false, false, false) => None,
                };
                metrics::counter!("late_webhook", "provider" => provider).increment(late_webhook.into());
                metrics::counter!("other_key", "provider" => provider).increment(other_key.into());
                metrics::counter!("payload_differs", "provider" => provider)
                    .increment(payload_differs.into());
                DeliveryOutcome::Duplicate
            }
            Err(error) => log.unavailable(error),
        }
    }

    /// Puts a delivery into quarantine. Once it stands there the outcome is `kept`.
    async fn quarantine(
        &self,
        proven: &Verified,
        reason: QuarantineReason,
        outcome: DeliveryOutcome,
        deadline: Instant,
        log: &mut DeliveryLog,
    ) -> DeliveryOutcome {
        match with_deadline(
            deadline,
            "dynamodb:UpdateItem",
            self.ingestor.inbox().quarantine_delivery(proven, reason),
        )
        .await
        {
            Ok(()) => {
                count_with_reason("quarantined", Some(proven.provider()), reason.as_str());
                outcome
            }
            Err(error) => log.unavailable(error),
        }
    }
}

impl DeliveryLog {
    /// The one line of a delivery: a warning if an AWS call failed.
    fn emit(&self, provider: Provider, outcome: &DeliveryOutcome, took: Duration) {
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    target: "delivery",
                    provider = provider.as_str(),
                    outcome = outcome.as_str(),
                    reason = outcome.reason().or(self.differs),
                    event_id = self.event_id,
                    event_type = self.event_type,
                    fault = self.fault.as_ref().map(tracing::field::display),
                    bytes = self.bytes,
                    duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
                    request_id = self.request_id,
                )
            };
        }
        if self.fault.is_some() { line!(warn) } else { line!(info) }
    }

    fn unavailable(&mut self, error: AwsError) -> DeliveryOutcome {
        self.fault = Some(error);
        DeliveryOutcome::Unavailable
    }
}

/// Largest body of a provider's deliveries. Rightfoot's URLs may leak, and what is recorded by one is read again and again.
const fn body_max_bytes(provider: Provider) -> usize {
    match provider {
        Provider::Rightfoot => RIGHTFOOT_BODY_MAX_BYTES,
        Provider::Fynapse => BODY_MAX_BYTES,
    }
}

/// Whether the sender re-stamps `t` on each attempt is not documented: the ages tell.
fn record_signature_age(proven: &Verified) {
    if let VerifiedBy::Signature { signed_at } = proven.verified_by() {
        let age_secs = u32::try_from(proven.received_at().secs().distance(*signed_at)).unwrap_or(u32::MAX);
        metrics::histogram!("signature_age", "provider" => proven.provider().as_str()).record(age_secs);
    }
}

fn count_outcome(provider: Provider, outcome: &DeliveryOutcome) {
    metrics::counter!("received", "provider" => provider.as_str()).increment(1);
    match outcome {
        DeliveryOutcome::Rejected(refusal) => count_with_reason("refused", Some(provider), refusal.as_str()),
        DeliveryOutcome::Recorded
        | DeliveryOutcome::Duplicate
        | DeliveryOutcome::Stale
        | DeliveryOutcome::Unavailable => {
            metrics::counter!(outcome.as_str(), "provider" => provider.as_str()).increment(1);
        }
        // Counted with its reason where it is written.
        DeliveryOutcome::Quarantined(_) | DeliveryOutcome::Unreadable(_) => {}
    }
}

fn http_response(reply: Reply) -> ApiGatewayV2httpResponse {
    let mut response = ApiGatewayV2httpResponse::default();
    response.status_code = reply.status.into();
    response.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.body = Some(reply.body.into());
    response
}
