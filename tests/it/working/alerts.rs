//! One authorizer in one batch gives one alert effect (P5), by whichever event it is told.

use std::time::Duration;

use inbox_core::event::EventKey;
use inbox_core::audit::{OperatorAction, AuditEntry};
use tests::{World, alerted, completed, extract, number, text};

use tests::rightfoot::RightfootWorld;
use tests::worker::pairs;

use super::forgeries::alert_of;

#[tokio::test]
async fn p5_two_events_that_tell_of_the_same_authorizer_have_one_effect() {
    let it = RightfootWorld::known_run("b-1", &[("a", "150.00"), ("b", "200"), ("c", "5")]).await;
    let world = &it.world;
    world.rightfoot(alert_of("b-1", "u-1", &[("a", "150.00", "100"), ("b", "200", "100")])).await;
    world.rightfoot(alert_of("b-1", "u-2", &[("b", "200", "100"), ("a", "150.00", "100")])).await;
    world.work().await;
    // Of two workers at the same alert one is put back.
    world.pass(Duration::from_secs(61));
    world.relay().await.unwrap().unwrap();
    world.work().await;
    let met = |authorizer: &str| format!("rightfoot/batch/b-1/threshold-met/{authorizer}");
    assert_eq!(world.told().await, [met("a"), met("b")]);
    for event in ["u-1", "u-2"] {
        assert!(number(&world.record(&alerted("b-1", event)).await, "done_at").is_some(), "{event}");
    }
}

#[tokio::test]
async fn what_is_confirmed_does_not_wait_for_what_is_not() {
    let it = RightfootWorld::known_run("b-1", &[("a", "150.00"), ("b", "5")]).await;
    let world = &it.world;
    let told = alert_of("b-1", "u-1", &[("a", "150.00", "100"), ("b", "200", "100")]);
    world.rightfoot(told).await;
    world.work().await;
    assert_eq!(world.told().await, ["rightfoot/batch/b-1/threshold-met/a"]);
    let kept: Vec<_> = world.quarantined().await.into_iter().map(|(reason, _)| reason).collect();
    assert_eq!(kept, ["unconfirmed"]);
    let record = world.record(&alerted("b-1", "u-1")).await;
    assert!(number(&record, "quarantined_at").is_some() && number(&record, "done_at").is_none());
}

#[tokio::test]
async fn p7_an_alert_that_was_not_confirmed_is_looked_at_again_when_an_operator_asks() {
    let it = RightfootWorld::known_run("b-1", &[("a", "150.00"), ("b", "5")]).await;
    let world = &it.world;
    world.rightfoot(alert_of("b-1", "u-1", &[("a", "150.00", "100"), ("b", "200", "100")])).await;
    world.work().await;
    assert_eq!(world.told().await, ["rightfoot/batch/b-1/threshold-met/a"]);

    // Rightfoot has corrected the balance meanwhile.
    it.rightfoot.replace_completed_batch("b-1", &pairs(&[("a", "150.00"), ("b", "200")]));
    let key = EventKey::from_event_id(&alerted("b-1", "u-1")).unwrap();
    world.system.inbox.replay_quarantined(&key, &by(world, OperatorAction::Requeue)).await.unwrap();
    world.relay().await.unwrap().unwrap();
    world.work().await;
    assert_eq!(world.told().await, ["rightfoot/batch/b-1/threshold-met/b"], "and a is not told again");
    assert!(number(&world.record(&alerted("b-1", "u-1")).await, "done_at").is_some());
}

#[tokio::test]
async fn p10_a_replayed_event_has_its_effects_again_and_they_carry_the_number() {
    let it = RightfootWorld::known_run("b-1", &[("a", "150.00")]).await;
    let world = &it.world;
    world.fynapse(extract("e-1")).await;
    world.rightfoot(tests::completion("b-1", "u-0")).await;
    world.rightfoot(alert_of("b-1", "u-1", &[("a", "150.00", "100")])).await;
    world.work().await;
    let first = world.on_bus().await;
    assert_eq!(first.len(), 3);
    assert!(first.iter().all(|event| event.detail.get("replay").is_none()));

    for id in ["fynapse/event/e-1".to_owned(), completed("b-1"), alerted("b-1", "u-1")] {
        let key = EventKey::from_event_id(&id).unwrap();
        world.system.inbox.replay_done(&key, &by(world, OperatorAction::Replay)).await.unwrap();
    }
    world.relay().await.unwrap().unwrap();
    world.work().await;
    let again = world.on_bus().await;
    let ids =
        |events: &[tests::worker::OnBus]| events.iter().map(|it| it.id().to_owned()).collect::<Vec<_>>();
    assert_eq!(ids(&again), ids(&first));
    assert!(again.iter().all(|event| event.detail["replay"] == 1));
    let effect = world.item("rightfoot#batch#b-1", "effect#alert#a").await.unwrap();
    assert_eq!((number(&effect, "replay"), text(&effect, "claim_by")), (Some(1), ""));
    assert_eq!(world.work().await.received, 0);
}

#[tokio::test]
async fn without_verification_alerts_are_told_as_they_come_and_say_so() {
    let world = World::with(|options| options.verify_alerts = false).await;
    world.rightfoot(alert_of("b-1", "u-1", &[("a", "150.00", "100")])).await;
    world.work().await;
    let told = world.on_bus().await;
    assert_eq!((told.len(), told[0].detail["confirmed"].as_bool()), (1, Some(false)));
    assert_eq!(told[0].detail["balance"], "150.00");
    assert_eq!(
        (&told[0].detail["threshold_source"], &told[0].detail["subject"]),
        (&"webhook".into(), &"demo".into())
    );
    world.rightfoot(alert_of("b-1", "u-2", &[("b", "150.00", "null")])).await;
    world.work().await;
    assert_eq!(world.quarantined().await.len(), 1, "it does not say all");
}

fn by(world: &World, did: OperatorAction) -> AuditEntry {
    AuditEntry { at: world.now(), by: "maria".to_owned(), action: did, why: "a test".to_owned() }
}
