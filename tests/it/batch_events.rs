//! Lists of the events of some batches: of one, of a schedule's runs, and of the batches that have checked an authorizer.

use std::time::Duration;

use inbox_aws::stores::{BatchSelector, EventFilter, ListCursor, PageStart, SelectedBatches};
use inbox_core::audit::OperatorAction;
use inbox_core::id::Id;
use inbox_core::lifecycle::EventState;
use tests::operator::test_operator;
use tests::rightfoot_world::RightfootWorld;
use tests::{World, alert_body, completion_body, extract_body, number};

use crate::lists::{count_calls, list};
use crate::poller::call_counts::write_items;

fn id(text: &str) -> Id {
    Id::new(text).unwrap()
}

/// The batches of a selector with these conditions.
async fn select(
    world: &World,
    batch: Option<&str>,
    schedule: Option<&str>,
    authorizer: Option<&str>,
) -> Option<SelectedBatches> {
    let balances = world.balances();
    let selector = BatchSelector {
        batch_id: batch.and_then(Id::new),
        schedule_id: schedule.and_then(Id::new),
        authorizer: authorizer.and_then(Id::new).map(|id| (id, &balances)),
    };
    world.stores().operator.select_batches(&selector).await.unwrap()
}

fn batches(ids: &[&str]) -> SelectedBatches {
    SelectedBatches { ids: ids.iter().map(|it| id(it)).collect(), is_truncated: false }
}

fn of(ids: &[&str]) -> EventFilter {
    EventFilter { batches: Some(batches(ids)), ..EventFilter::default() }
}

/// Events of three batches, a minute apart, and one that is of none: `b-1` (alert, completion), `b-2` (completion),
/// `b-3` (completion, alert).
async fn world_with_three_batches() -> World {
    let world = World::new().await;
    for body in [
        alert_body("b-1", "u-1"),
        completion_body("b-1", "u-2"),
        completion_body("b-2", "u-3"),
        completion_body("b-3", "u-4"),
        alert_body("b-3", "u-5"),
    ] {
        world.deliver_rightfoot(body).await;
        world.advance(Duration::from_secs(60));
    }
    world.deliver_fynapse(extract_body("e-1")).await;
    world
}

const ALERT_1: &str = "rightfoot/batch/b-1/alert/u-1";
const COMPLETED_1: &str = "rightfoot/batch/b-1/completed";
const COMPLETED_3: &str = "rightfoot/batch/b-3/completed";
const ALERT_3: &str = "rightfoot/batch/b-3/alert/u-5";

#[tokio::test]
async fn events_of_batches_are_listed_by_time_with_one_query_for_each_batch() {
    let world = world_with_three_batches().await;
    world.stack.connector.clear_call_log();
    let (ids, page) = list(&world, &of(&["b-1", "b-3"]), &PageStart::Newest, 10).await;
    assert_eq!(ids, [ALERT_3, COMPLETED_3, COMPLETED_1, ALERT_1]);
    assert_eq!((count_calls(&world, "Query"), world.stack.connector.call_log().len()), (2, 2));
    assert_eq!((page.examined, page.is_truncated, page.older, page.newer), (4, false, None, None));
    assert_eq!(list(&world, &of(&[]), &PageStart::Newest, 10).await.0, [""; 0]);
    assert_eq!(list(&world, &of(&["b"]), &PageStart::Newest, 10).await.0, [""; 0], "not by a prefix");
}

#[tokio::test]
async fn events_of_batches_are_paged_both_ways_and_from_the_oldest() {
    let world = world_with_three_batches().await;
    let filter = of(&["b-1", "b-2", "b-3"]);
    let (first, page) = list(&world, &filter, &PageStart::Newest, 2).await;
    assert_eq!((first.clone(), &page.newer), (vec![ALERT_3.to_owned(), COMPLETED_3.to_owned()], &None));
    let (second, page) = list(&world, &filter, &PageStart::OlderThan(page.older.unwrap()), 2).await;
    assert_eq!(second, ["rightfoot/batch/b-2/completed", COMPLETED_1]);
    let back = PageStart::NewerThan(page.newer.unwrap());
    let (third, last) = list(&world, &filter, &PageStart::OlderThan(page.older.unwrap()), 2).await;
    assert_eq!((third, last.older), (vec![ALERT_1.to_owned()], None));
    let (front, page) = list(&world, &filter, &back, 2).await;
    assert_eq!((front, page.newer), (first, None));
    let (oldest, page) = list(&world, &filter, &PageStart::Oldest, 2).await;
    assert_eq!((oldest, &page.older), (vec![COMPLETED_1.to_owned(), ALERT_1.to_owned()], &None));
    let (next, _) = list(&world, &filter, &PageStart::NewerThan(page.newer.unwrap()), 2).await;
    assert_eq!(next, [COMPLETED_3, "rightfoot/batch/b-2/completed"]);
}

#[tokio::test]
async fn the_other_filters_apply_to_the_events_of_batches_as_to_all_events() {
    let world = world_with_three_batches().await;
    world.mark_done(COMPLETED_1).await;
    let start = world.now();
    let all = || of(&["b-1", "b-2", "b-3"]);
    let completion = Some("BALANCE_BATCH_COMPLETED".to_owned());
    let ago = |minutes: u64| Some(start.minus(Duration::from_secs(60 * minutes)));
    let mut filters = vec![
        EventFilter { provider: Some(inbox_core::delivery::Provider::Fynapse), ..all() },
        EventFilter { event_type: completion.clone(), ..all() },
        EventFilter { subject: Some("other".parse().unwrap()), ..all() },
        EventFilter { subject: Some("demo".parse().unwrap()), ..all() },
        EventFilter { idempotency_key: Some("key-1".to_owned()), ..all() },
        EventFilter { origin: Some(inbox_core::origin::Origin::Poll), ..all() },
        EventFilter { states: [EventState::Done].into(), ..all() },
    ];
    let mut within = all();
    // Times of receipt: 5, 4, 3, 2 and 1 minutes ago.
    (within.received.since, within.received.until) = (ago(4), ago(2));
    filters.push(within);
    let expected = [0, 3, 0, 5, 0, 0, 1, 2];
    for (mut filter, count) in filters.into_iter().zip(expected) {
        let (ids, _) = list(&world, &filter, &PageStart::Newest, 10).await;
        assert_eq!(ids.len(), count, "{filter:?}: {ids:?}");
        // All Rightfoot events are of these batches, so the index finds the same.
        filter.batches = None;
        let (mut same, _) = list(&world, &filter, &PageStart::Newest, 10).await;
        same.retain(|id| id.starts_with("rightfoot/"));
        assert_eq!(ids, same, "{filter:?}");
    }
}

#[tokio::test]
async fn batches_are_selected_by_id_by_schedule_and_by_authorizer_and_by_all_of_them() {
    let rightfoot = RightfootWorld::with_run("r-1", &[("user-123", "150.00"), ("b", "1.00")]).await;
    let world = &rightfoot.world;
    world.advance(Duration::from_secs(1));
    world.track_run("r-2", 1).await;
    world.advance(Duration::from_secs(1));
    for (batch, authorizer) in [("r-2", "user-123"), ("b-9", "user-123"), ("r-2", "b")] {
        world.store_balances(batch, None, &[(authorizer, Some("1"))]).await;
        world.advance(Duration::from_secs(1));
    }
    // A second check in the same batch is not a second batch.
    world.store_balances("r-2", None, &[("user-123", Some("2"))]).await;
    assert_eq!(select(world, None, None, None).await, None);
    assert_eq!(select(world, Some("x"), None, None).await, Some(batches(&["x"])));
    assert_eq!(select(world, None, Some("s-1"), None).await, Some(batches(&["r-2", "r-1"])), "newest first");
    assert_eq!(select(world, None, Some("s-2"), None).await, Some(batches(&[])));
    assert_eq!(select(world, None, None, Some("user-123")).await, Some(batches(&["r-2", "b-9"])));
    assert_eq!(select(world, None, None, Some("user-12")).await, Some(batches(&[])));
    assert_eq!(select(world, None, Some("s-1"), Some("user-123")).await, Some(batches(&["r-2"])));
    assert_eq!(select(world, Some("r-1"), Some("s-1"), None).await, Some(batches(&["r-1"])));
    assert_eq!(select(world, Some("r-1"), None, Some("user-123")).await, Some(batches(&[])));
}

#[tokio::test]
async fn the_newest_hundred_batches_of_an_authorizer_are_found_by_one_query_and_the_rest_is_said_to_be_left_out()
 {
    let world = World::new().await;
    for n in 0..100 {
        world.store_balances(&format!("b-{n:03}"), None, &[("user-1", Some("1"))]).await;
        world.advance(Duration::from_secs(1));
    }
    let all = select(&world, None, None, Some("user-1")).await.unwrap();
    assert_eq!((all.ids.len(), all.is_truncated), (100, false));
    world.store_balances("b-100", None, &[("user-1", Some("1"))]).await;
    world.stack.connector.clear_call_log();
    let newest = select(&world, None, None, Some("user-1")).await.unwrap();
    assert_eq!((newest.ids.len(), newest.is_truncated, &newest.ids[0]), (100, true, &id("b-100")));
    assert_eq!(world.stack.connector.call_log().len(), 1);
    // A batch among them is the whole answer; of another one it is not known.
    let named = async |batch| select(&world, Some(batch), None, Some("user-1")).await.unwrap();
    assert_eq!(named("b-100").await, batches(&["b-100"]));
    assert_eq!(named("b-000").await, SelectedBatches { ids: vec![], is_truncated: true });
    // The list says so, too.
    world.stack.connector.clear_call_log();
    let filter = EventFilter { batches: Some(newest), ..EventFilter::default() };
    let (_, page) = list(&world, &filter, &PageStart::Newest, 10).await;
    assert!(page.is_truncated);
    assert_eq!(world.stack.connector.call_log().len(), 100);
}

/// Writes this many alerts of a batch, a second apart, with the attributes that the webhook function writes.
async fn write_alerts(world: &World, batch_id: &str, count: usize) {
    world.deliver_rightfoot(alert_body(batch_id, "u-00000")).await;
    let first = world.item(&format!("rightfoot#batch#{batch_id}"), "alert#u-00000").await.unwrap();
    let received_at = number(&first, "received_at").unwrap();
    let alert = |n: usize| {
        let mut item = first.clone();
        let at = (received_at + 1_000 * i64::try_from(n).unwrap()).to_string();
        item.insert("sk".to_owned(), aws_sdk_dynamodb::types::AttributeValue::S(format!("alert#u-{n:05}")));
        item.insert("received_at".to_owned(), aws_sdk_dynamodb::types::AttributeValue::N(at));
        item
    };
    write_items(world, (1..count).map(alert)).await;
}

#[tokio::test]
async fn at_most_500_events_of_batches_are_compared_and_the_list_says_that_there_are_more() {
    let world = World::new().await;
    write_alerts(&world, "b-1", 500).await;
    let (_, page) = list(&world, &of(&["b-1"]), &PageStart::Newest, 50).await;
    assert_eq!((page.examined, page.is_truncated), (500, false));
    world.deliver_rightfoot(completion_body("b-2", "u")).await;
    let (ids, page) = list(&world, &of(&["b-1", "b-2"]), &PageStart::Newest, 50).await;
    assert_eq!((ids.len(), page.examined, page.is_truncated), (50, 500, true));
    assert_eq!(ids[0], "rightfoot/batch/b-1/alert/u-00499", "the batches that come first");
    let (_, page) = list(&world, &of(&["b-2", "b-1"]), &PageStart::Newest, 50).await;
    assert!(page.is_truncated);
    // A bulk replay knows that it would not have all.
    for (batches, is_incomplete) in [(["b-1", "b-2"], true), (["b-2", "b-3"], false)] {
        let filter = of(&batches);
        let planned =
            world.stores().operator.plan_bulk_replay("0123456789ab", &filter, 10, world.now()).await;
        assert_eq!(planned.unwrap().is_incomplete, is_incomplete, "{batches:?}");
    }
}

#[tokio::test]
async fn a_bulk_replay_of_batches_replays_their_done_events_only() {
    let world = world_with_three_batches().await;
    for event in [ALERT_1, COMPLETED_1, COMPLETED_3, ALERT_3] {
        world.mark_done(event).await;
    }
    let operator = world.stores().operator;
    let plan =
        operator.plan_bulk_replay("0123456789ab", &of(&["b-1", "b-2"]), 10, world.now()).await.unwrap();
    let planned: Vec<_> = plan.events.iter().map(|key| key.event_id()).collect();
    assert_eq!(
        (planned, plan.skipped.get("sent")),
        (vec![ALERT_1.to_owned(), COMPLETED_1.to_owned()], Some(&1))
    );
    for key in &plan.events {
        let by = test_operator().audit_entry(OperatorAction::Replay, world.now());
        operator.replay_in_bulk(key, &plan.bulk, &by).await.unwrap();
    }
    for (event, replay) in [(ALERT_1, Some(1)), (COMPLETED_1, Some(1)), (COMPLETED_3, None), (ALERT_3, None)]
    {
        assert_eq!(number(&world.event_record(event).await, "replay"), replay, "{event}");
    }
}

#[tokio::test]
async fn a_made_up_cursor_is_a_place_like_any_other() {
    let world = world_with_three_batches().await;
    let cursor =
        ListCursor { at: inbox_core::time::UnixMillis(i64::MAX), pk: String::new(), sk: String::new() };
    let (ids, _) = list(&world, &of(&["b-1"]), &PageStart::OlderThan(cursor.clone()), 10).await;
    assert_eq!(ids, [COMPLETED_1, ALERT_1]);
    let (none, page) = list(&world, &of(&["b-1"]), &PageStart::NewerThan(cursor), 10).await;
    assert_eq!((none.len(), page.newer), (0, None));
}
