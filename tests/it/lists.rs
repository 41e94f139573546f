//! Lists by time, from the index `listed`: their order, their pages, their filters, and the calls that they cost.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use inbox_aws::stores::{
    BatchFilter, EventFilter, ListCursor, ListPage, PageStart, QuarantineFilter, ScheduleFilter,
    SubmissionFilter, TimeRange,
};
use inbox_core::audit::OperatorAction;
use inbox_core::delivery::Provider;
use inbox_core::lifecycle::EventState;
use inbox_core::list_kind::ListKind;
use inbox_core::quarantine::{QuarantineId, Resolution};
use tests::operator::test_operator;
use tests::{World, alert_body, completion_body, extract_body, number};

use crate::poller::call_counts::write_items;

/// Writes the records of this many events, a second apart, with the attributes that the webhook function writes.
async fn write_events(world: &World, count: usize) {
    world.deliver_fynapse(extract_body("e-00000")).await;
    let first = world.item("fynapse#event#e-00000", "event").await.unwrap();
    let listed_at = number(&first, "listed_at").unwrap();
    let event = |n: usize| {
        let (pk, at) = (format!("fynapse#event#e-{n:05}"), listed_at + 1_000 * i64::try_from(n).unwrap());
        let mut item = first.clone();
        item.insert("listed".to_owned(), AttributeValue::S(ListKind::Event.shard(&pk)));
        item.insert("pk".to_owned(), AttributeValue::S(pk));
        item.insert("listed_at".to_owned(), AttributeValue::N(at.to_string()));
        item
    };
    write_items(world, (1..count).map(event)).await;
}

/// Counts the calls of an operation since the log was cleared.
pub(crate) fn count_calls(world: &World, operation: &str) -> usize {
    world.stack.connector.call_log().iter().filter(|(call, _)| call.operation == operation).count()
}

pub(crate) async fn list(
    world: &World,
    filter: &EventFilter,
    start: &PageStart,
    limit: usize,
) -> (Vec<String>, ListPage<()>) {
    let page = world.stores().operator.list_events(filter, start, limit, world.now()).await.unwrap();
    let ids = page.items.iter().map(|event| event.key.event_id()).collect();
    let ListPage { older, newer, examined, examined_to, is_truncated, .. } = page;
    (ids, ListPage { items: Vec::new(), older, newer, examined, examined_to, is_truncated })
}

fn older(cursor: Option<ListCursor>) -> PageStart {
    PageStart::OlderThan(cursor.unwrap())
}

fn newer(cursor: Option<ListCursor>) -> PageStart {
    PageStart::NewerThan(cursor.unwrap())
}

fn ids(numbers: impl Iterator<Item = usize>) -> Vec<String> {
    numbers.map(|n| format!("fynapse/event/e-{n:05}")).collect()
}

#[tokio::test]
async fn the_newest_of_ten_thousand_events_cost_one_query_per_shard_and_one_read_of_what_is_shown() {
    let world = World::new().await;
    write_events(&world, 10_000).await;
    let connector = &world.stack.connector;
    connector.clear_call_log();
    let (newest, page) = list(&world, &EventFilter::default(), &PageStart::Newest, 50).await;
    assert_eq!((count_calls(&world, "Query"), count_calls(&world, "BatchGetItem")), (16, 1));
    assert_eq!(connector.call_log().len(), 17);
    assert_eq!(newest, ids((9_950..10_000).rev()));
    assert!(page.newer.is_none());
    // The second page costs the same.
    connector.clear_call_log();
    let (second, page) = list(&world, &EventFilter::default(), &older(page.older), 50).await;
    assert_eq!(connector.call_log().len(), 17);
    assert_eq!(second, ids((9_900..9_950).rev()));
    let (back, page) = list(&world, &EventFilter::default(), &newer(page.newer), 50).await;
    assert_eq!((back, page.newer), (newest, None));
    // A filter by what no event has compares at most 500 of them, and says where it stopped.
    let filter = EventFilter { event_type: Some("none".to_owned()), ..EventFilter::default() };
    connector.clear_call_log();
    let (none, page) = list(&world, &filter, &PageStart::Newest, 50).await;
    assert_eq!((none.len(), connector.call_log().len()), (0, 16));
    assert!(page.examined > 250 && page.examined <= 500 && page.older.is_some(), "{page:?}");
    // A filter by state reads the records, too.
    let filter = EventFilter { states: [EventState::Done].into(), ..EventFilter::default() };
    connector.clear_call_log();
    let (none, page) = list(&world, &filter, &PageStart::Newest, 50).await;
    assert_eq!(none.len(), 0);
    assert!(page.examined <= 500 && connector.call_log().len() <= 16 + 5);
}

#[tokio::test]
async fn events_of_the_same_millisecond_are_on_one_page_each() {
    let world = World::new().await;
    // More of them than a shard's first page holds.
    for n in 0..120 {
        world.deliver_fynapse(extract_body(&format!("e-{n:05}"))).await;
    }
    let (mut seen, mut start) = (Vec::new(), PageStart::Newest);
    loop {
        let (page, next) = list(&world, &EventFilter::default(), &start, 7).await;
        assert!(!page.is_empty() && page.len() <= 7);
        seen.extend(page);
        let Some(cursor) = next.older else { break };
        start = PageStart::OlderThan(cursor);
    }
    let count = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!((count, seen), (120, ids(0..120)));
}

#[tokio::test]
async fn events_are_filtered_by_what_the_index_and_the_records_hold() {
    let world = World::new().await;
    world.deliver_rightfoot(completion_body("b-1", "u-1")).await;
    world.mark_done("rightfoot/batch/b-1/completed").await;
    world.advance(Duration::from_secs(60));
    let second = world.now();
    world.deliver_rightfoot(alert_body("b-1", "u-2")).await;
    world.advance(Duration::from_secs(60));
    let third = world.now();
    world.deliver_fynapse(extract_body("e-1")).await;
    let (completed, alert, extracted) =
        ("rightfoot/batch/b-1/completed", "rightfoot/batch/b-1/alert/u-2", "fynapse/event/e-1");
    let all = EventFilter::default;
    for (filter, expected) in [
        (all(), vec![extracted, alert, completed]),
        (EventFilter { provider: Some(Provider::Rightfoot), ..all() }, vec![alert, completed]),
        (EventFilter { event_type: Some("balance.extracted".to_owned()), ..all() }, vec![extracted]),
        (EventFilter { states: [EventState::Done].into(), ..all() }, vec![completed]),
        (
            EventFilter { states: [EventState::Sent, EventState::Done].into(), ..all() },
            vec![extracted, alert, completed],
        ),
        (EventFilter { subject: Some("demo".parse().unwrap()), ..all() }, vec![alert, completed]),
        (EventFilter { subject: Some("other".parse().unwrap()), ..all() }, vec![]),
        (EventFilter { idempotency_key: Some("no such key".to_owned()), ..all() }, vec![]),
        (
            EventFilter { received: TimeRange { since: Some(second), until: None }, ..all() },
            vec![extracted, alert],
        ),
        (
            EventFilter { received: TimeRange { since: None, until: Some(third) }, ..all() },
            vec![alert, completed],
        ),
        (
            EventFilter { received: TimeRange { since: Some(second), until: Some(third) }, ..all() },
            vec![alert],
        ),
        (EventFilter { received: TimeRange { since: Some(third), until: Some(second) }, ..all() }, vec![]),
    ] {
        assert_eq!(list(&world, &filter, &PageStart::Newest, 10).await.0, expected, "{filter:?}");
    }
}

#[tokio::test]
async fn a_state_change_does_not_move_an_event_in_its_list() {
    let world = World::new().await;
    world.deliver_fynapse(extract_body("e-00000")).await;
    let place = || async { world.stores().operator.newest_places(ListKind::Event).await.unwrap() };
    let first = place().await;
    world.advance(Duration::from_secs(60));
    world.run_worker().await;
    assert_eq!(place().await, first);
    assert_eq!(first.len(), 1);
}

#[tokio::test]
async fn open_and_closed_items_of_the_quarantine_are_listed_apart_and_together() {
    let world = World::new().await;
    for n in 0..3 {
        world.deliver_fynapse(format!("{{{n}")).await;
        world.advance(Duration::from_secs(1));
    }
    let listed = |is_open| {
        let filter = QuarantineFilter { is_open, ..QuarantineFilter::default() };
        let stores = world.stores();
        async move {
            let page = stores.operator.list_quarantined_items(&filter, &PageStart::Newest, 10).await.unwrap();
            page.items.into_iter().map(|it| it.id.to_string()).collect::<Vec<_>>()
        }
    };
    let all = listed(None).await;
    assert_eq!((all.len(), listed(Some(true)).await, listed(Some(false)).await.len()), (3, all.clone(), 0));
    let operator = world.stores().operator;
    let id = QuarantineId::from_name(&all[1]).unwrap();
    let seen = operator.quarantined_item(&id).await.unwrap().unwrap();
    let entry = test_operator().audit_entry(OperatorAction::Discard, world.now());
    operator.close_quarantined(&seen, Resolution::Discarded, &entry).await.unwrap();
    assert_eq!(listed(None).await, all);
    assert_eq!(listed(Some(true)).await, [all[0].clone(), all[2].clone()]);
    assert_eq!(listed(Some(false)).await, [all[1].clone()]);
    // The same bytes again open the item again, at its old place.
    world.deliver_fynapse("{1").await;
    assert_eq!(listed(Some(true)).await, all);
}

#[tokio::test]
async fn without_items_every_list_is_empty_and_has_no_other_page() {
    let world = World::new().await;
    let operator = world.stores().operator;
    let start = PageStart::Newest;
    let batches = operator.list_batches(&BatchFilter::default(), &start, 10).await.unwrap();
    let schedules = operator.list_schedules(&ScheduleFilter::default(), &start, 10).await.unwrap();
    let submissions = operator.list_submissions(&SubmissionFilter::default(), &start, 10).await.unwrap();
    assert_eq!((batches.items.len(), schedules.items.len(), submissions.items.len()), (0, 0, 0));
    assert_eq!((batches.older, schedules.older, submissions.newer), (None, None, None));
}
