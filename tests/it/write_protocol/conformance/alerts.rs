//! The model of one alert's item is held to the code: two events that tell the same authorizer claim it, publish it, and are
//! replayed, in random order.

use std::collections::BTreeSet;

use inbox_aws::inbox::{AcquiredAlert, AlertClaim, Inbox, ClaimedEvent, EventClaim, WriteOutcome};
use inbox_core::effect::alert::{ThresholdCrossing, ThresholdSource};
use inbox_core::effect::publisher_tag;
use inbox_core::event::{EventKey, Id};
use inbox_core::audit::{OperatorAction, Operator};
use tests::{World, alert, alerted, number, text};

use super::{Dice, LONG, Walk, walk};
use crate::write_protocol::alerts::alert::{Alert, Claimed, Publisher, REPLAYS};

const WALKS: u64 = 16;
const STEPS: usize = 50;

/// Steps of a walk.
#[derive(Clone, Copy, Debug)]
enum Play {
    ClaimEvent,
    ClaimAlert,
    Mark,
    PutBack,
    Replay,
    Pass,
}

/// Each as often as it shall be played.
const PLAYS: [Play; 10] = [
    Play::ClaimEvent,
    Play::ClaimEvent,
    Play::ClaimEvent,
    Play::ClaimAlert,
    Play::ClaimAlert,
    Play::ClaimAlert,
    Play::Mark,
    Play::PutBack,
    Play::Replay,
    Play::Pass,
];

/// The model and the code, side by side.
struct Both {
    world: World,
    inbox: Inbox,
    keys: [EventKey; 2],
    met: ThresholdCrossing,
    alert: Alert,
    replays: [u8; 2],
    /// Claims of events, and what was acquired under them; some of them are over.
    works: Vec<(Publisher, ClaimedEvent)>,
    acquired: Vec<(Publisher, ClaimedEvent, AcquiredAlert)>,
    calls: u8,
    seen: BTreeSet<String>,
    dice: Dice,
}

impl Walk for Both {
    type Play = Play;
    type Seen = String;
    const PLAYS: &[Play] = &PLAYS;

    async fn new(seed: u64) -> Self {
        let world = World::new().await;
        let uuids = ["u-1", "u-2"];
        for uuid in uuids {
            assert_eq!(world.rightfoot(alert("b-1", uuid)).await.status, 200);
        }
        Self {
            inbox: world.inbox(),
            world,
            keys: uuids.map(|uuid| EventKey::from_event_id(&alerted("b-1", uuid)).unwrap()),
            met: ThresholdCrossing {
                authorizer: Id::new("user-123").unwrap(),
                institution: None,
                balance: "150.00".parse().unwrap(),
                threshold: "100.00".parse().unwrap(),
                threshold_source: ThresholdSource::Webhook,
            },
            alert: Alert::default(),
            replays: [0; 2],
            works: Vec::new(),
            acquired: Vec::new(),
            calls: 0,
            seen: BTreeSet::new(),
            dice: Dice(seed),
        }
    }

    async fn play(&mut self, play: Play) {
        self.calls += 1;
        match play {
            Play::ClaimEvent => Box::pin(self.claim_event()).await,
            Play::ClaimAlert => Box::pin(self.claim_alert()).await,
            Play::Mark => Box::pin(self.mark()).await,
            Play::PutBack => {
                if let Some((_, work)) = self.dice.one_of(&self.works) {
                    self.inbox.requeue(&work, self.world.now(), "not_ready", None).await.unwrap();
                }
            }
            Play::Replay => Box::pin(self.replay()).await,
            Play::Pass => {
                self.world.pass(LONG);
                self.alert.claim_over = self.alert.claim != 0;
                // No worker lives so long; what it has published may still be marked late.
                self.works.clear();
            }
        }
        self.compare(play).await;
    }

    fn dice(&mut self) -> &mut Dice {
        &mut self.dice
    }

    fn seen(self) -> BTreeSet<String> {
        self.seen
    }
}

impl Both {
    async fn claim_event(&mut self) {
        let event = u8::try_from(self.dice.roll(2)).unwrap();
        let key = &self.keys[usize::from(event)];
        let by = Publisher { event, replay: self.replays[usize::from(event)], claim: self.calls };
        if let EventClaim::Acquired(work) = self.inbox.claim_event(key, self.world.now()).await.unwrap() {
            assert_eq!(work.event_meta().replay, u64::from(by.replay));
            self.works.push((by, *work));
        }
    }

    async fn claim_alert(&mut self) {
        let Some((by, work)) = self.dice.one_of(&self.works) else { return };
        let over = if self.alert.claim_over { self.alert.claim } else { 0 };
        let model = self.alert.claim(by, over, true, None);
        let code = self.inbox.claim_alert(&work, &self.met, self.world.now()).await.unwrap();
        match (code, model) {
            (AlertClaim::Acquired(acquired), Claimed::Ours) => self.acquired.push((by, work, acquired)),
            (AlertClaim::Published { .. }, Claimed::Published)
            | (AlertClaim::HeldByOther, Claimed::Taken) => {}
            (code, model) => panic!("{code:?}, and by the model {model:?}"),
        }
        self.seen.insert(format!("{model:?} in replay {}", by.replay));
    }

    async fn mark(&mut self) {
        let Some((by, work, acquired)) = self.dice.one_of(&self.acquired) else { return };
        self.inbox.mark_alert_published(&work, &acquired, self.world.now()).await.unwrap();
        let has_claim = self.alert.mark(by, None);
        if !has_claim {
            self.alert.remember(by, None);
        }
        self.seen.insert(format!("marked with the claim: {has_claim}"));
    }

    /// An event is done, and an operator replays it.
    async fn replay(&mut self) {
        let Some((by, work)) = self.dice.one_of(&self.works) else { return };
        if by.replay == REPLAYS
            || self.inbox.mark_done(&work, self.world.now()).await.unwrap() == WriteOutcome::Conflict
        {
            return;
        }
        let operator = Operator { by: "ada".to_owned(), why: format!("reason {}", self.calls) };
        let trace = operator.audit_entry(OperatorAction::Replay, self.world.now());
        self.inbox.replay_done(&self.keys[usize::from(by.event)], &trace).await.unwrap();
        self.replays[usize::from(by.event)] += 1;
    }

    async fn compare(&self, play: Play) {
        let item = self.world.item("rightfoot#batch#b-1", "effect#alert#user-123").await.unwrap_or_default();
        let now = self.world.now().0;
        let event = self.keys.iter().position(|key| key.event_id() == text(&item, "claim_event"));
        let tags = item.get("published_by").and_then(|tags| tags.as_ss().ok()).cloned().unwrap_or_default();
        let code = (
            event.map(|event| (event, number(&item, "claim_until").unwrap() < now)),
            item.contains_key("published_at"),
            tags.into_iter().collect::<BTreeSet<_>>(),
        );
        let all =
            (0..2).flat_map(|event| (0..=REPLAYS).map(move |replay| Publisher { event, replay, claim: 0 }));
        let expected = all
            .filter(|by| self.alert.tags & by.tag() != 0)
            .map(|by| publisher_tag(&self.keys[usize::from(by.event)].event_id(), u64::from(by.replay)));
        let claim =
            (self.alert.claim != 0).then_some((usize::from(self.alert.claim_event), self.alert.claim_over));
        let model = (claim, self.alert.published, expected.collect());
        assert_eq!(code, model, "after {play:?}: the code, and the model");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_models_claims_of_an_alert_come_to_the_same_on_the_real_adapters() {
    let seen = walk::<Both>(WALKS, STEPS).await;
    for replay in 0..=REPLAYS {
        for claimed in ["Ours", "Published", "Taken"] {
            assert!(
                seen.contains(&format!("{claimed} in replay {replay}")),
                "{claimed} {replay} of {seen:?}"
            );
        }
    }
    assert!(seen.contains("marked with the claim: true") && seen.contains("marked with the claim: false"));
}
