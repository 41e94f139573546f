//! Random sequences of polls, crashes, webhooks and time: the table is consistent at every step, and in the end every
//! event is recorded.

use std::collections::BTreeMap;
use std::time::Duration;

use local::connector::Fault;
use local::invariants::{self, Observed};
use local::rightfoot_simulator::WebhookLoss;
use proptest::prelude::*;
use tests::rightfoot_world::{RightfootWorld, daily_schedule_request};
use tests::{HOUR, Item, MINUTE, SUBJECT, completion_body, number, text};

use super::{set_balances, submit_batch};

#[derive(Clone, Copy, Debug)]
enum RandomEvent {
    Minutes(u32),
    Poll,
    /// The poller dies at this AWS call after its queries of the index, before (false) or after (true) it is applied.
    PollDies(usize, bool),
    Relay,
    /// The completion webhook of this batch.
    Webhook(usize),
}

fn event_strategy() -> impl Strategy<Value = RandomEvent> {
    prop_oneof![
        3 => (1u32..30).prop_map(RandomEvent::Minutes),
        3 => Just(RandomEvent::Poll),
        2 => (0usize..12, any::<bool>()).prop_map(|(call, applied)| RandomEvent::PollDies(call, applied)),
        1 => Just(RandomEvent::Relay),
        1 => (0usize..3).prop_map(RandomEvent::Webhook),
    ]
}

async fn apply(it: &RightfootWorld, happens: RandomEvent) {
    match happens {
        RandomEvent::Minutes(minutes) => it.advance(MINUTE * minutes).await,
        RandomEvent::Poll => drop(it.run_poller().await.unwrap()),
        RandomEvent::PollDies(at, applied) => {
            let process = it.world.another_process();
            let fault = if applied { Fault::CrashAfter } else { Fault::CrashBefore };
            // The first sixteen calls query the index, one shard each.
            process.stack.connector.set_fault_plan(move |call| (call.index == 16 + at).then_some(fault));
            drop(process.run_poller().await);
        }
        RandomEvent::Relay => drop(it.world.run_relay().await.unwrap().unwrap()),
        RandomEvent::Webhook(number) => {
            if let Some(batch) = it.rightfoot.batches().get(number) {
                let subject = ["payroll-1", "payroll-2", SUBJECT][number];
                let token = it.world.stack.mint_url_token(&subject.parse().unwrap()).unwrap();
                let response =
                    it.world.deliver_rightfoot_to(&token, completion_body(&batch.batch_id, "u-1")).await;
                assert_eq!(response.status, 200);
            }
        }
    }
}

/// Items by (pk, sk).
type ItemsByKey = BTreeMap<(String, String), Item>;

async fn items_by_key(it: &RightfootWorld) -> ItemsByKey {
    let place = |item: &Item| (text(item, "pk").to_owned(), text(item, "sk").to_owned());
    it.world.items().await.into_iter().map(|item| (place(&item), item)).collect()
}

fn assert_consistent(before: &ItemsByKey, now: &ItemsByKey) {
    for ((pk, sk), item) in now {
        let has = |name: &str| item.contains_key(name);
        assert_eq!(has("due"), has("due_at"), "{item:?}");
        // A subject stays bound for ever.
        let is_kept = has("expires_at") || sk == "bound";
        assert_ne!(has("due"), is_kept, "due, or at its end and kept for a while: {item:?}");
        if sk == "tracked" && pk.starts_with("rightfoot#batch#") {
            assert_eq!(has("due"), !(has("done_at") || has("overdue_at")), "P9: {item:?}");
            let is_completed = now.contains_key(&(pk.clone(), "completed".to_owned()));
            assert!(is_completed || !has("done_at"), "P5: first the record: {item:?}");
        }
        if let Some(old) = before.get(&(pk.clone(), sk.clone())) {
            assert!(number(old, "rev") <= number(item, "rev"), "{old:?} {item:?}");
            assert_eq!(old.get("payload_hash"), item.get("payload_hash"), "P4: {item:?}");
        }
    }
    assert!(before.keys().all(|place| now.contains_key(place)), "nothing is taken away");
}

/// Two batches and a schedule. Webhooks are sent only as steps of the sequence.
async fn set_up() -> RightfootWorld {
    let it = RightfootWorld::with_behaviour(|rightfoot| {
        rightfoot.webhook_loss = WebhookLoss::All;
        rightfoot.schedule_day = HOUR;
        set_balances(rightfoot, &[("a", "150.00")]);
    })
    .await;
    submit_batch(&it, "payroll-1", &["a", "b"]).await;
    submit_batch(&it, "payroll-2", &["a"]).await;
    let mut request = daily_schedule_request(SUBJECT, &["a"]);
    request["expires_in_days"] = 1.into();
    it.request(request).await;
    it
}

async fn run_sequence(all: Vec<RandomEvent>) {
    let it = set_up().await;
    let mut before = items_by_key(&it).await;
    for one in &all {
        apply(&it, *one).await;
        let now = items_by_key(&it).await;
        assert_consistent(&before, &now);
        before = now;
    }
    // One run after an hour, and its alerts; everything else was long before.
    let end = tests::START.plus(HOUR * 2).max(it.world.now()).plus(MINUTE * 20);
    it.run_in_steps(MINUTE * 20, end.since(it.world.now()) + HOUR).await;
    let now = items_by_key(&it).await;
    assert_consistent(&before, &now);
    let mut expected = Vec::new();
    for batch in it.rightfoot.batches() {
        expected.push(super::completion_event_id(&batch.batch_id));
        expected.extend(batch.schedule_id.map(|_| tests::polled_alerts_event_id(&batch.batch_id, &["a"])));
    }
    expected.sort();
    let mut run = Observed::read(&it.world.stack).await.unwrap();
    run.rightfoot = it.rightfoot.snapshot();
    run.thresholds.insert("a".to_owned(), "100".to_owned());
    invariants::assert_hold(&run, &[invariants::ALERTS, invariants::TRACKING]);
    let mut messages: Vec<_> = run.messages.into_iter().map(|message| message.id).collect();
    messages.sort();
    let crashes = all.iter().filter(|one| matches!(one, RandomEvent::PollDies(..))).count();
    // A crash may hit several events between send and mark, and repeats each of them at most once.
    for id in &expected {
        let copies = messages.iter().filter(|message| *message == id).count();
        assert!(copies <= 1 + crashes, "P3: {copies} of {id}");
    }
    messages.dedup();
    assert_eq!((expected.len(), messages), (4, expected), "P2, P5");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]
    #[test]
    fn p2_p5_p9_items_stay_consistent_in_every_random_sequence(all in proptest::collection::vec(event_strategy(), 1..25)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { tokio::time::timeout(Duration::from_secs(60), run_sequence(all)).await.unwrap() });
    }
}
