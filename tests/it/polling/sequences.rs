//! Whatever happens in whatever order: what stands in the table is consistent at every moment, and in the end all
//! is known.

use std::collections::BTreeMap;
use std::time::Duration;

use local::rightfoot_simulator::WebhookLoss;
use local::connector::Fault;
use proptest::prelude::*;
use tests::rightfoot::{MINUTE, RightfootWorld, daily};
use tests::{Item, SUBJECT, completion, number, text};

use super::{HOUR, balances, submitted};

#[derive(Clone, Copy, Debug)]
enum Happens {
    Minutes(u32),
    Poll,
    /// The poller dies at this AWS call after its look-ups, before or after it is applied.
    PollDies(usize, bool),
    Relay,
    /// The webhook of this batch's completion.
    Webhook(usize),
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        3 => (1u32..30).prop_map(Happens::Minutes),
        3 => Just(Happens::Poll),
        2 => (0usize..12, any::<bool>()).prop_map(|(call, applied)| Happens::PollDies(call, applied)),
        1 => Just(Happens::Relay),
        1 => (0usize..3).prop_map(Happens::Webhook),
    ]
}

async fn happen(it: &RightfootWorld, happens: Happens) {
    match happens {
        Happens::Minutes(minutes) => it.pass(MINUTE * minutes).await,
        Happens::Poll => drop(it.poll().await.unwrap()),
        Happens::PollDies(at, applied) => {
            let process = it.world.another();
            let fault = if applied { Fault::CrashAfter } else { Fault::CrashBefore };
            process.system.connector.set_fault_plan(move |call| (call.index == 16 + at).then_some(fault));
            drop(process.poll().await);
        }
        Happens::Relay => drop(it.world.relay().await.unwrap().unwrap()),
        Happens::Webhook(number) => {
            if let Some(batch) = it.rightfoot.batches().get(number) {
                let subject = ["payroll-1", "payroll-2", SUBJECT][number];
                let token = it.world.system.mint_url_token(&subject.parse().unwrap()).unwrap();
                let heard = it.world.rightfoot_to(&token, completion(&batch.batch_id, "u-1")).await;
                assert_eq!(heard.status, 200);
            }
        }
    }
}

/// Every item by its place.
type Table = BTreeMap<(String, String), Item>;

async fn table(it: &RightfootWorld) -> Table {
    let place = |item: &Item| (text(item, "pk").to_owned(), text(item, "sk").to_owned());
    it.world.items().await.into_iter().map(|item| (place(&item), item)).collect()
}

fn assert_consistent(before: &Table, now: &Table) {
    for ((pk, sk), item) in now {
        let has = |name: &str| item.contains_key(name);
        assert_eq!(has("due"), has("due_at"), "{item:?}");
        // A subject is bound for ever.
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

/// Two batches and a schedule of which no webhook is sent but those that happen.
async fn begin() -> RightfootWorld {
    let it = RightfootWorld::with(|rightfoot| {
        rightfoot.webhook_loss = WebhookLoss::All;
        rightfoot.schedule_day = HOUR;
        balances(rightfoot, &[("a", "150.00")]);
    })
    .await;
    submitted(&it, "payroll-1", &["a", "b"]).await;
    submitted(&it, "payroll-2", &["a"]).await;
    let mut request = daily(SUBJECT, &["a"]);
    request["expires_in_days"] = 1.into();
    it.ask(request).await;
    it
}

async fn play(all: Vec<Happens>) {
    let it = begin().await;
    let mut before = table(&it).await;
    for one in &all {
        happen(&it, *one).await;
        let now = table(&it).await;
        assert_consistent(&before, &now);
        before = now;
    }
    // One run after an hour, and its alerts; all else was long before.
    let end = tests::START.plus(HOUR * 2).max(it.world.now()).plus(MINUTE * 20);
    it.live_by(MINUTE * 20, end.since(it.world.now()) + MINUTE * 60).await;
    let now = table(&it).await;
    assert_consistent(&before, &now);
    let mut expected = Vec::new();
    for batch in it.rightfoot.batches() {
        expected.push(super::completed(&batch.batch_id));
        expected.extend(batch.schedule_id.map(|_| tests::found_alerts(&batch.batch_id, &["a"])));
    }
    expected.sort();
    let mut messages = it.world.drain_ids().await;
    let crashes = all.iter().filter(|one| matches!(one, Happens::PollDies(..))).count();
    assert!(messages.len() <= expected.len() + crashes, "P3: {messages:?}");
    messages.dedup();
    assert_eq!((expected.len(), messages), (4, expected), "P2, P5");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]
    #[test]
    fn p2_p5_p9_the_story_is_consistent_whatever_happens(all in proptest::collection::vec(happens(), 1..25)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { tokio::time::timeout(Duration::from_secs(60), play(all)).await.unwrap() });
    }
}
