//! Random histories of two people, with erasures of one of them that may crash: in the end that one is nowhere, everything else is
//! there, and no alert was published twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use inbox_core::event::EventKey;
use local::connector::{Fault, until_crash};
use proptest::prelude::*;
use tests::rightfoot_world::RightfootWorld;
use tests::{HOUR, MINUTE, alert_event_id, completion_body, random_hex};

use super::{PERSON, SIBLING, assert_nowhere, erase, extract_naming, settle};
use crate::worker::forged_webhooks::alert_with;

#[derive(Clone, Copy, Debug)]
enum Step {
    /// An alert webhook of this batch with this uuid.
    Alert(usize, u8, Named, bool),
    Completion(usize),
    Extract(u8, Named, bool),
    Unknown(u8, Named, bool),
    Worker,
    Relay,
    Minutes(u32),
    /// An erasure that dies before or after this write, if it makes so many.
    Erasure(usize, bool),
}

/// Whom a payload names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    Person,
    Sibling,
    Both,
}

impl Named {
    const fn people(self) -> &'static [&'static str] {
        match self {
            Self::Person => &[PERSON],
            Self::Sibling => &[SIBLING],
            Self::Both => &[PERSON, SIBLING],
        }
    }
}

fn named() -> impl Strategy<Value = Named> {
    prop_oneof![Just(Named::Person), Just(Named::Sibling), Just(Named::Both)]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0usize..2, 0u8..4, named(), any::<bool>()).prop_map(|(batch, uuid, who, large)| Step::Alert(batch, uuid, who, large)),
        1 => (0usize..2).prop_map(Step::Completion),
        3 => (0u8..4, named(), any::<bool>()).prop_map(|(id, who, large)| Step::Extract(id, who, large)),
        2 => (0u8..3, named(), any::<bool>()).prop_map(|(id, who, large)| Step::Unknown(id, who, large)),
        3 => Just(Step::Worker),
        1 => Just(Step::Relay),
        2 => (1u32..40).prop_map(Step::Minutes),
        2 => (0usize..14, any::<bool>()).prop_map(|(write, applied)| Step::Erasure(write, applied)),
    ]
}

/// The events whose recorded payload names the other one alone, with that payload.
type Whole = BTreeMap<String, String>;

struct History {
    it: RightfootWorld,
    recorded: BTreeSet<String>,
    whole: Whole,
}

impl History {
    /// Remembers an event. The first payload counts, the others are duplicates.
    fn record(&mut self, event_id: String, named: Named, body: &str) {
        if self.recorded.insert(event_id.clone()) && named == Named::Sibling {
            self.whole.insert(event_id, body.to_owned());
        }
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Alert(batch, uuid, named, is_large) => {
                let (batch, uuid) = (["b-1", "b-2"][batch], format!("u-{uuid}"));
                let filler: Vec<_> =
                    (0..if is_large { 80 } else { 0 }).map(|n| format!("{SIBLING}{n:03}")).collect();
                let people = named.people().iter().copied().chain(filler.iter().map(String::as_str));
                let alerts: Vec<_> = people.map(|who| (who, "150.00", "100")).collect();
                let body = alert_with(batch, &uuid, &alerts);
                assert_eq!(self.it.world.deliver_rightfoot(&body).await.status, 200);
                self.record(alert_event_id(batch, &uuid), named, &body);
            }
            Step::Completion(batch) => {
                self.it.world.deliver_rightfoot(completion_body(["b-1", "b-2"][batch], "u")).await;
            }
            Step::Extract(id, named, is_large) => {
                let body = extract_naming(&format!("e-{id}"), named.people(), is_large);
                assert_eq!(self.it.world.deliver_fynapse(&body).await.status, 200);
                self.record(format!("fynapse/event/e-{id}"), named, &body);
            }
            Step::Unknown(id, named, is_large) => {
                let filler = if is_large { random_hex(9_000, 3) } else { String::new() };
                let who = named.people();
                let body = format!(r#"{{"type":"UNKNOWN","who":{who:?},"nth":{id},"filler":"{filler}"}}"#);
                assert_eq!(self.it.world.deliver_rightfoot(&body).await.status, 200);
            }
            Step::Worker => drop(self.it.world.run_worker().await),
            Step::Relay => drop(self.it.world.run_relay().await.unwrap().unwrap()),
            Step::Minutes(minutes) => self.it.world.advance(MINUTE * minutes),
            Step::Erasure(at, is_applied) => self.erase_and_die(at, is_applied).await,
        }
    }

    async fn erase_and_die(&self, at: usize, is_applied: bool) {
        let process = self.it.world.another_process();
        let writes = AtomicUsize::new(0);
        process.stack.connector.set_fault_plan(move |call| {
            let is_hit = !call.is_read() && writes.fetch_add(1, Ordering::SeqCst) == at;
            is_hit.then_some(if is_applied { Fault::CrashAfter } else { Fault::CrashBefore })
        });
        drop(until_crash(process.erase_person(PERSON)).await);
    }
}

async fn check(steps: Vec<Step>) {
    let it = RightfootWorld::with_batch("b-1", &[(PERSON, "150.00"), (SIBLING, "200")]).await;
    let balances =
        [(PERSON, "150.00"), (SIBLING, "200")].map(|(who, balance)| (who.to_owned(), balance.to_owned()));
    it.rightfoot.add_completed_batch("b-2", &balances);
    let mut history = History { it, recorded: BTreeSet::new(), whole: BTreeMap::new() };
    for step in steps {
        Box::pin(history.take(step)).await;
    }
    let world = &history.it.world;
    // Alerts about nobody in the batch are unconfirmed after two reads.
    for _ in 0..3 {
        settle(world).await;
    }
    let mut left = erase(world).await;
    for _ in 0..3 {
        world.advance(HOUR * 2 + Duration::from_secs(1));
        left = erase(world).await;
    }
    assert_eq!(left, []);
    assert_nowhere(world, PERSON).await;
    for (event_id, body) in &history.whole {
        let key = EventKey::from_event_id(event_id).unwrap();
        let events = &world.stack.stores.events;
        let record = events.event(&key).await.unwrap().unwrap();
        assert_eq!(events.event_payload(&record).await.unwrap(), body.as_bytes(), "{event_id}");
    }
    let published = world.drain_bus_ids().await;
    let alerts: Vec<_> = published.iter().filter(|id| id.contains("threshold-met")).collect();
    let once: BTreeSet<_> = alerts.iter().collect();
    assert_eq!(once.len(), alerts.len(), "P5: {alerts:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]

    #[test]
    fn p5_an_erased_id_is_nowhere_after_any_history(steps in proptest::collection::vec(step(), 5..25)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { tokio::time::timeout(Duration::from_secs(60), Box::pin(check(steps))).await.unwrap() });
    }
}
