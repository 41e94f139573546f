//! Conformance of the model of an alert's item: two events that name the same authorizer claim it, publish it, and
//! are replayed, in random order.

use std::collections::BTreeSet;

use inbox_aws::stores::{AcquiredAlert, AlertClaim, ClaimedEvent, EventClaim, Stores, WriteOutcome};
use inbox_core::audit::{Operator, OperatorAction};
use inbox_core::effect::alert::{ThresholdCrossing, ThresholdSource};
use inbox_core::effect::{Publication, RequeueDetails, publisher_tag};
use inbox_core::event::EventKey;
use inbox_core::id::Id;
use tests::{World, alert_body, alert_event_id, number, text};

use super::{ALL_CLAIMS_EXPIRED, Comparison, Walk, assert_conformance};
use crate::write_protocol::alerts_model::alert_item::{ClaimOutcome, MAX_REPLAYS, ModelAlert, Publisher};

const WALKS: u64 = 16;
const STEPS: usize = 50;

/// Steps of a walk.
#[derive(Clone, Copy, Debug)]
enum AlertOperation {
    ClaimEvent,
    ClaimAlert,
    Mark,
    Requeue,
    Replay,
    AdvanceTime,
}

/// The model and the code, side by side.
struct AlertComparison {
    world: World,
    stores: Stores,
    keys: [EventKey; 2],
    crossing: ThresholdCrossing,
    alert: ModelAlert,
    replays: [u8; 2],
    /// Claims of events, and alerts acquired under them; some have ended.
    work_claims: Vec<(Publisher, ClaimedEvent)>,
    acquired: Vec<(Publisher, ClaimedEvent, AcquiredAlert)>,
    calls: u8,
    walk: Walk,
}

impl Comparison for AlertComparison {
    type Operation = AlertOperation;
    const OPERATIONS: &[(usize, AlertOperation)] = &[
        (3, AlertOperation::ClaimEvent),
        (3, AlertOperation::ClaimAlert),
        (1, AlertOperation::Mark),
        (1, AlertOperation::Requeue),
        (1, AlertOperation::Replay),
        (1, AlertOperation::AdvanceTime),
    ];

    async fn new(walk: Walk) -> Self {
        let world = World::new().await;
        let uuids = ["u-1", "u-2"];
        for uuid in uuids {
            assert_eq!(world.deliver_rightfoot(alert_body("b-1", uuid)).await.status, 200);
        }
        Self {
            stores: world.stores(),
            world,
            keys: uuids.map(|uuid| EventKey::from_event_id(&alert_event_id("b-1", uuid)).unwrap()),
            crossing: ThresholdCrossing {
                authorizer: Id::new("user-123").unwrap(),
                institution: None,
                balance: "150.00".parse().unwrap(),
                threshold: "100.00".parse().unwrap(),
                threshold_source: ThresholdSource::Webhook,
            },
            alert: ModelAlert::default(),
            replays: [0; 2],
            work_claims: Vec::new(),
            acquired: Vec::new(),
            calls: 0,
            walk,
        }
    }

    async fn apply(&mut self, operation: AlertOperation) {
        self.calls += 1;
        match operation {
            AlertOperation::ClaimEvent => Box::pin(self.claim_event()).await,
            AlertOperation::ClaimAlert => Box::pin(self.claim_alert()).await,
            AlertOperation::Mark => Box::pin(self.mark()).await,
            AlertOperation::Requeue => {
                if let Some((_, work)) = self.walk.pick(&self.work_claims) {
                    self.stores
                        .processing
                        .requeue(
                            &work,
                            self.world.now(),
                            &RequeueDetails::with_reason("not_ready"),
                            self.world.now(),
                        )
                        .await
                        .unwrap();
                }
            }
            AlertOperation::Replay => Box::pin(self.replay()).await,
            AlertOperation::AdvanceTime => {
                self.world.advance(ALL_CLAIMS_EXPIRED);
                self.alert.claim_expired = self.alert.claim != 0;
                // No worker lives that long, but its publication may still be marked late.
                self.work_claims.clear();
            }
        }
    }

    fn world(&self) -> &World {
        &self.world
    }

    fn walk(&mut self) -> &mut Walk {
        &mut self.walk
    }

    async fn compare(&self, operation: AlertOperation) {
        let item = self.world.item("rightfoot#batch#b-1", "effect#alert#user-123").await.unwrap_or_default();
        let now = self.world.now().0;
        let event = self.keys.iter().position(|key| key.event_id() == text(&item, "claim_event"));
        let tags = item.get("published_by").and_then(|tags| tags.as_ss().ok()).cloned().unwrap_or_default();
        let code = (
            event.map(|event| (event, number(&item, "claim_until").unwrap() < now)),
            item.contains_key("published_at"),
            tags.into_iter().collect::<BTreeSet<_>>(),
        );
        let all = (0..2)
            .flat_map(|event| (0..=MAX_REPLAYS).map(move |replay| Publisher { event, replay, claim: 0 }));
        let expected = all
            .filter(|by| self.alert.tags & by.tag() != 0)
            .map(|by| publisher_tag(&self.keys[usize::from(by.event)].event_id(), u64::from(by.replay)));
        let claim = (self.alert.claim != 0)
            .then_some((usize::from(self.alert.claim_event), self.alert.claim_expired));
        let model = (claim, self.alert.published, expected.collect());
        assert_eq!(code, model, "after {operation:?}: the code, and the model");
    }
}

impl AlertComparison {
    async fn claim_event(&mut self) {
        let event = u8::try_from(self.walk.below(2)).unwrap();
        let key = &self.keys[usize::from(event)];
        let by = Publisher { event, replay: self.replays[usize::from(event)], claim: self.calls };
        if let EventClaim::Acquired(work) =
            self.stores.processing.claim_event(key, self.world.now()).await.unwrap()
        {
            assert_eq!(work.event_meta().replay, u64::from(by.replay));
            self.work_claims.push((by, *work));
        }
    }

    async fn claim_alert(&mut self) {
        let Some((by, work)) = self.walk.pick(&self.work_claims) else { return };
        let over = if self.alert.claim_expired { self.alert.claim } else { 0 };
        let model = self.alert.claim(by, over, true, None);
        let code = self.stores.processing.claim_alert(&work, &self.crossing, self.world.now()).await.unwrap();
        match (code, model) {
            (AlertClaim::Acquired(acquired), ClaimOutcome::Acquired) => {
                self.acquired.push((by, work, acquired))
            }
            (AlertClaim::Published { .. }, ClaimOutcome::Published)
            | (AlertClaim::HeldByOther, ClaimOutcome::HeldByOther) => {}
            (code, model) => panic!("{code:?}, and by the model {model:?}"),
        }
        self.walk.note(format!("replay {}", by.replay), format!("{model:?}"));
    }

    async fn mark(&mut self) {
        let Some((by, work, acquired)) = self.walk.pick(&self.acquired) else { return };
        self.stores.processing.mark_alert_published(&work, &acquired, self.world.now()).await.unwrap();
        let has_claim = self.alert.mark(by, None);
        if !has_claim {
            self.alert.add_publisher(by, None);
        }
        self.walk.note("marked with the claim", has_claim);
    }

    /// Completes an event, and an operator replays it.
    async fn replay(&mut self) {
        let Some((by, work)) = self.walk.pick(&self.work_claims) else { return };
        if by.replay == MAX_REPLAYS
            || self
                .stores
                .processing
                .mark_done(&work, &Publication::default(), self.world.now())
                .await
                .unwrap()
                == WriteOutcome::Conflict
        {
            return;
        }
        let operator = Operator { name: "ada".to_owned(), reason: format!("reason {}", self.calls) };
        let trace = operator.audit_entry(OperatorAction::Replay, self.world.now());
        self.stores.operator.replay_done(&self.keys[usize::from(by.event)], &trace).await.unwrap();
        self.replays[usize::from(by.event)] += 1;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_models_claims_of_an_alert_come_to_the_same_on_the_real_adapters() {
    let of_replays = (0..=MAX_REPLAYS).flat_map(|replay| {
        ["Acquired", "Published", "HeldByOther"].map(|claim| format!("replay {replay}: {claim}"))
    });
    let marked = ["marked with the claim: true", "marked with the claim: false"].map(str::to_owned);
    let expected: Vec<_> = of_replays.chain(marked).collect();
    let expected: Vec<_> = expected.iter().map(String::as_str).collect();
    assert_conformance::<AlertComparison>(WALKS, STEPS, &expected).await;
}
