//! Receives a webhook delivery, for every webhook function: verify, parse, record, enqueue, mark as sent,
//! reply.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpResponse;
use lambda_http::http::{HeaderValue, header::CONTENT_TYPE};
use tokio::time::Instant;

use inbox_core::delivery::{Delivery, Provider, RejectReason, Verification, Verified, VerifiedBy};
use inbox_core::duplicates::RecordOutcome;
use inbox_core::event::Event;
use inbox_core::limits::{DELIVERY_DEADLINE_MS, RECORD_BUDGET_MS};
use inbox_core::providers::{ParseOutcome, ProviderSpec, parse};
use inbox_core::quarantine::QuarantineReason;
use inbox_core::reply::{DeliveryOutcome, Reply, reply_for};

use crate::AwsError;
use crate::api_gateway::ApiGatewayRequest;
use crate::clock::Clock;
use crate::event_recorder::{EventRecorder, with_deadline};
use crate::queue::EventsQueue;
use crate::stores::{EventStore, Quarantine, Table};
use crate::telemetry::metrics;

/// Receives the deliveries of a webhook function.
#[derive(Clone, Debug)]
pub struct WebhookReceiver {
    recorder: EventRecorder,
    quarantine: Quarantine,
}

/// Fields of the delivery's log line, besides its outcome.
#[derive(Default)]
struct DeliveryLog {
    /// API Gateway's request id, which is also in its access log.
    request_id: Option<String>,
    bytes: usize,
    event_id: Option<String>,
    event_type: Option<String>,
    /// The failed AWS call, if any: the outcome is unknown, the event is left to the relay, the record is not
    /// marked as sent, or a duplicate is not counted.
    error: Option<AwsError>,
    /// The difference between a duplicate and the recorded delivery.
    duplicate_reason: Option<&'static str>,
}

impl WebhookReceiver {
    /// Creates a receiver that records into `table` and enqueues on `queue`.
    pub fn new(table: Table, queue: EventsQueue, clock: Clock) -> Self {
        let recorder = EventRecorder::new(EventStore::new(table.clone()), queue, clock);
        Self { recorder, quarantine: Quarantine::new(table) }
    }

    /// Receives one delivery and returns the HTTP response.
    ///
    /// `request` is `None` if the invocation was not an HTTP API request; it is rejected as malformed. `verify`
    /// checks the sender; it returns `None` if no secret was ever loaded, and the reply is then "unavailable",
    /// so that the provider sends the delivery again.
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
        let outcome = match request.map_or(malformed, |request| {
            self.parse_delivery(request, ProviderSpec::of(provider).body_max_bytes)
        }) {
            Ok(delivery) => {
                log.bytes = delivery.body.len();
                // On the heap: with the SDK's futures inside, this one is too large to move on small stacks.
                Box::pin(self.verify_and_accept(delivery, verify, deadline, &mut log)).await
            }
            Err(outcome) => outcome,
        };
        count_outcome(provider, &outcome);
        let reply = reply_for(provider, &outcome);
        log.emit(provider, &outcome, reply.status, started.elapsed());
        http_response(reply)
    }

    /// Extracts the delivery from a request. The size is checked before base64 is decoded; a body that is not
    /// valid base64 is rejected.
    fn parse_delivery(
        &self,
        mut request: ApiGatewayRequest,
        max_bytes: usize,
    ) -> Result<Delivery, DeliveryOutcome> {
        let headers = request.take_headers();
        let body = request.body.unwrap_or_default();
        let body = if request.is_base64_encoded {
            // Base64 is a third larger than the bytes: reject before they are decoded into memory.
            if body.len() / 4 * 3 > max_bytes {
                return Err(DeliveryOutcome::Unavailable);
            }
            STANDARD.decode(body).map_err(|_| DeliveryOutcome::Rejected(RejectReason::Malformed))?
        } else {
            body.into_bytes()
        };
        // Not 413, which ends a Fynapse delivery for good (P6).
        if body.len() > max_bytes {
            return Err(DeliveryOutcome::Unavailable);
        }
        Ok(Delivery { body, headers, received_at: self.recorder.clock().now() })
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
            Some(Verification::Rejected(_, reason)) => DeliveryOutcome::Rejected(reason),
            // Kept, because a retry may come with the same old time (shared/providers/fynapse.md,
            // "Signature").
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
            Some(Verification::Verified(verified)) => self.accept(verified, deadline, log).await,
        }
    }

    async fn accept(&self, verified: Verified, deadline: Instant, log: &mut DeliveryLog) -> DeliveryOutcome {
        record_signature_age(&verified);
        match parse(verified) {
            ParseOutcome::Event(event) => {
                log.event_id = Some(event.key().event_id());
                log.event_type = Some(event.event_type().to_owned());
                self.record_and_enqueue(event, deadline, log).await
            }
            ParseOutcome::UnknownType(verified) => {
                let reason = QuarantineReason::UnknownType;
                self.quarantine(&verified, reason, DeliveryOutcome::Quarantined(reason), deadline, log).await
            }
            ParseOutcome::UnusableId(verified) => {
                let reason = QuarantineReason::UnusableId;
                self.quarantine(&verified, reason, DeliveryOutcome::Quarantined(reason), deadline, log).await
            }
            ParseOutcome::Unreadable(verified, why) => {
                self.quarantine(
                    &verified,
                    QuarantineReason::Unreadable,
                    DeliveryOutcome::Unreadable(why),
                    deadline,
                    log,
                )
                .await
            }
        }
    }

    /// Records an event and enqueues it if it is new.
    async fn record_and_enqueue(
        &self,
        event: Event,
        deadline: Instant,
        log: &mut DeliveryLog,
    ) -> DeliveryOutcome {
        // The rest of the deadline is for sending and marking.
        let record_by = deadline.min(Instant::now() + Duration::from_millis(RECORD_BUDGET_MS));
        // A URL may only report on batches of its own subject.
        match with_deadline(record_by, "dynamodb:GetItem", self.recorder.has_subject_mismatch(&event)).await {
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
            // Undecided, so the provider must deliver again.
            Err(error) => return log.unavailable(error),
        }
        match self.recorder.record(&event, record_by).await {
            Ok(RecordOutcome::New) => {
                log.error = self.recorder.enqueue(&event, deadline).await;
                DeliveryOutcome::Recorded
            }
            // A duplicate is not enqueued: its record is due or was sent already.
            Ok(RecordOutcome::Duplicate {
                idempotency_key_differs: other_key,
                payload_differs,
                is_late_webhook: late_webhook,
            }) => {
                let provider = event.key().provider();
                log.duplicate_reason = match (payload_differs, other_key, late_webhook) {
                    (true, _, _) => Some("payload_differs"),
                    (false, true, _) => Some("other_key"),
                    (false, false, true) => Some("late_webhook"),
                    (false, false, false) => None,
                };
                metrics::LATE_WEBHOOK.add(provider, late_webhook.into());
                metrics::OTHER_KEY.add(provider, other_key.into());
                metrics::PAYLOAD_DIFFERS.add(provider, payload_differs.into());
                log.error = self.recorder.count_duplicate(&event, payload_differs, deadline).await;
                DeliveryOutcome::Duplicate
            }
            // Not a 2xx, because the record may be missing (P1). If it was written, the next delivery is a
            // duplicate.
            Err(error) => log.unavailable(error),
        }
    }

    /// Quarantines a delivery. Returns `outcome` once it is stored, and "unavailable" if that failed.
    async fn quarantine(
        &self,
        verified: &Verified,
        reason: QuarantineReason,
        outcome: DeliveryOutcome,
        deadline: Instant,
        log: &mut DeliveryLog,
    ) -> DeliveryOutcome {
        match with_deadline(
            deadline,
            "dynamodb:UpdateItem",
            self.quarantine.quarantine_delivery(verified, reason),
        )
        .await
        {
            Ok(()) => {
                metrics::QUARANTINED.add(verified.provider(), reason.as_str(), 1);
                outcome
            }
            Err(error) => log.unavailable(error),
        }
    }
}

impl DeliveryLog {
    /// Writes the one log line of a delivery: a warning if an AWS call failed.
    fn emit(&self, provider: Provider, outcome: &DeliveryOutcome, status: u16, took: Duration) {
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    target: "delivery",
                    provider = provider.as_str(),
                    outcome = outcome.as_str(),
                    status,
                    reason = outcome.reason().or(self.duplicate_reason),
                    event_id = self.event_id,
                    event_type = self.event_type,
                    error = self.error.as_ref().map(tracing::field::display),
                    bytes = self.bytes,
                    duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
                    request_id = self.request_id,
                )
            };
        }
        if self.error.is_some() { line!(warn) } else { line!(info) }
    }

    fn unavailable(&mut self, error: AwsError) -> DeliveryOutcome {
        self.error = Some(error);
        DeliveryOutcome::Unavailable
    }
}

/// Records the signature's age, in seconds, unless it is zero: most are, and each would make a line 58 bytes longer.
fn record_signature_age(verified: &Verified) {
    // It is not documented if the sender sets a new `t` on each attempt. The ages show it.
    if let VerifiedBy::Signature { signed_at } = verified.verified_by() {
        let age_secs = verified.received_at().secs().distance(*signed_at);
        if age_secs > 0 {
            metrics::SIGNATURE_AGE.record(verified.provider(), age_secs);
        }
    }
}

fn count_outcome(provider: Provider, outcome: &DeliveryOutcome) {
    metrics::RECEIVED.add(provider, 1);
    match outcome {
        DeliveryOutcome::Rejected(reason) => metrics::REJECTED.add(provider, reason.as_str(), 1),
        DeliveryOutcome::Recorded => metrics::RECORDED.add(provider, 1),
        DeliveryOutcome::Duplicate => metrics::DUPLICATE.add(provider, 1),
        DeliveryOutcome::Stale => metrics::STALE_BUT_AUTHENTIC.add(provider, 1),
        DeliveryOutcome::Unavailable => metrics::UNAVAILABLE.add(provider, 1),
        // Already counted, with its reason, in `quarantine`.
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
