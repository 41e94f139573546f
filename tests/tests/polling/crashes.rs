//! What one crash must not hide.

use local::wire::Fault;
use tests::is_found_alert;
use tests::rightfoot::{MINUTE, RightfootWorld};
use tests::worker::pairs;

use super::{HOUR, tracked, whom};

/// A batch that is known to be a run, of two people. So far Rightfoot shows the balance of one.
async fn half_known_run() -> RightfootWorld {
    let it = RightfootWorld::known("r-1", &[("a", "150.00")]).await;
    it.watch("s-1", "a").await;
    it.world.track_run("r-1", 2).await;
    it
}

/// Whom the alerts on the queue are about that the poller has found; takes them off.
async fn found(it: &RightfootWorld) -> Vec<Vec<String>> {
    let mut all: Vec<_> = it.world.drain().await.iter().filter(|one| is_found_alert(one)).map(whom).collect();
    all.sort();
    all
}

/// The poller dies as soon as it has recorded something.
async fn dies_after_its_record(it: &RightfootWorld) {
    it.world.system.wire.plan(|call| (call.operation == "PutItem").then_some(Fault::CrashAfter));
    assert!(it.world.poll().await.is_none(), "it has died");
    it.world.system.wire.heal();
}

#[tokio::test]
async fn p5_whose_alert_is_seen_only_after_a_crash_past_the_deadline_is_alerted_too() {
    let it = half_known_run().await;
    it.pass(HOUR * 24 + MINUTE).await;
    dies_after_its_record(&it).await;
    it.rightfoot.correct("r-1", &pairs(&[("a", "150.00"), ("b", "200.00")]));
    it.live_by(MINUTE * 5, MINUTE * 60).await;
    assert_eq!(found(&it).await, [["a"], ["b"]]);
    assert!(tracked(&it, "r-1").await.contains_key("done_at"));
}
