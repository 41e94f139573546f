//! Lists in every shape and style of paging, and lists that lack something.

use inbox_core::fynapse_api::listed_delivery::DeliveryStatus;
use local::fynapse_simulator::{ListPaging, ListShape, SimulatedList};
use serde_json::{Value, json};
use tests::fynapse_world::FynapseWorld;
use tests::{HOUR, MINUTE, number};

use super::{counts, missed};

const SHAPES: [ListShape; 3] = [ListShape::Envelope, ListShape::Array, ListShape::FrameworkPage];
const PAGINGS: [ListPaging; 5] =
    [ListPaging::FromZero, ListPaging::FromOne, ListPaging::Cursor, ListPaging::Link, ListPaging::None];

/// A world with 12 recorded events, one that was given up, and one that is not here, over several pages of the list.
async fn world_with(change: impl FnOnce(&mut SimulatedList)) -> FynapseWorld {
    let it = FynapseWorld::new().await;
    for number in 0..12 {
        it.deliver(&format!("e-{number}")).await;
        it.world.advance(MINUTE);
    }
    it.add_ended("e-given-up", DeliveryStatus::DeadLetter);
    it.add_ended("e-lost", DeliveryStatus::Delivered);
    it.world.advance(HOUR);
    it.fynapse.configure(|list| {
        list.page_rows = 5;
        change(list);
    });
    it
}

/// The counts of the second of two runs, with what either has found, and without the number of pages.
async fn found(it: &FynapseWorld) -> Value {
    let first = it.run_auditor().await;
    it.world.advance(MINUTE * 15);
    let mut second = it.run_auditor().await;
    for count in ["missed", "lost", "recovered"] {
        second[count] = json!(first[count].as_u64().unwrap() + second[count].as_u64().unwrap());
    }
    let mut counts = counts(&second);
    counts.as_object_mut().unwrap().remove("pages");
    counts
}

/// The number of lost events that each of so many runs finds.
async fn lost_in_runs(it: &FynapseWorld, runs: usize) -> Vec<u64> {
    let mut lost = Vec::new();
    for _ in 0..runs {
        lost.push(it.run_auditor().await["lost"].as_u64().unwrap());
        it.world.advance(MINUTE * 15);
    }
    lost
}

fn everything() -> Value {
    json!({"listed": {"DEAD_LETTER": 1, "DELIVERED": 13}, "missed": 1, "lost": 1, "is_complete": true})
}

fn both_missed() -> Vec<(String, String)> {
    missed(&[("delivery-e-given-up", "dead_letter"), ("delivery-e-lost", "lost")])
}

#[tokio::test]
async fn the_list_is_read_in_every_shape_and_style_of_paging() {
    for shape in SHAPES {
        for paging in PAGINGS {
            // Nothing can stand beside an array, so it has neither a cursor nor a link.
            if shape == ListShape::Array && matches!(paging, ListPaging::Cursor | ListPaging::Link) {
                continue;
            }
            for is_oldest_first in [false, true] {
                let it = world_with(|list| {
                    (list.shape, list.paging, list.is_oldest_first) = (shape, paging, is_oldest_first);
                })
                .await;
                assert_eq!(found(&it).await, everything(), "{shape:?} {paging:?} {is_oldest_first}");
                assert_eq!(it.missed().await, both_missed(), "{shape:?} {paging:?} {is_oldest_first}");
            }
        }
    }
}

#[tokio::test]
async fn the_idempotency_key_is_compared_if_there_is_no_event_id() {
    for shape in SHAPES {
        let it = world_with(|list| (list.shape, list.has_event_ids) = (shape, false)).await;
        assert_eq!(found(&it).await, everything(), "{shape:?}");
        assert_eq!(it.missed().await, both_missed(), "{shape:?}");
    }
}

#[tokio::test]
async fn the_event_id_is_enough() {
    let it = world_with(|list| list.has_idempotency_keys = false).await;
    assert_eq!(found(&it).await, everything());
}

#[tokio::test]
async fn a_delivery_that_cannot_be_compared_is_never_lost() {
    let not_comparable = |count: u64| json!({"listed": {"DEAD_LETTER": 1, "DELIVERED": 13}, "missed": 1, "not_comparable": count, "is_complete": true});
    let given_up = missed(&[("delivery-e-given-up", "dead_letter")]);
    let without_ids =
        world_with(|list| (list.has_event_ids, list.has_idempotency_keys) = (false, false)).await;
    assert_eq!(found(&without_ids).await, not_comparable(13));
    assert_eq!(without_ids.missed().await, given_up);
    // Without times, an old record may have expired.
    let without_times = world_with(|list| list.has_times = false).await;
    assert_eq!(found(&without_times).await, not_comparable(1));
    assert_eq!(without_times.missed().await, given_up);
}

/// The list begins with what was lost, so nothing on its first page shows that its ids are comparable.
#[tokio::test]
async fn what_was_lost_is_found_at_the_head_of_the_list() {
    let it = world_with(|list| (list.page_rows, list.has_idempotency_keys) = (2, false)).await;
    it.add_ended("e-newest", DeliveryStatus::Delivered);
    it.world.advance(MINUTE * 15);
    assert_eq!(it.run_auditor().await["lost"], 0, "the first look");
    assert_eq!(found(&it).await["lost"], 2);
}

/// Nothing shows that the list's ids are comparable before its last page.
#[tokio::test]
async fn what_was_lost_is_found_before_the_first_event_that_is_here() {
    let it = FynapseWorld::new().await;
    it.fynapse.configure(|list| (list.page_rows, list.has_idempotency_keys) = (1, false));
    it.deliver("e-1").await;
    for event_id in ["e-2", "e-3"] {
        it.world.advance(MINUTE);
        it.add_ended(event_id, DeliveryStatus::Delivered);
    }
    // Older than what a second check reads otherwise.
    it.world.advance(HOUR * 24 * 5);
    let mut lost = Vec::new();
    for _ in 0..4 {
        let run = it.run_auditor().await;
        assert_eq!(run["is_complete"], true);
        lost.push(run["lost"].as_u64().unwrap());
        it.world.advance(MINUTE * 15);
    }
    assert_eq!(lost, [0, 0, 2, 0]);
}

/// Another receiver has got them, or the keys of the list are not those of the webhooks.
#[tokio::test]
async fn what_was_delivered_before_the_first_event_here_is_not_lost() {
    for is_oldest_first in [false, true] {
        for has_event_ids in [false, true] {
            let it = FynapseWorld::new().await;
            it.fynapse.configure(|list| {
                (list.is_oldest_first, list.has_event_ids) = (is_oldest_first, has_event_ids);
            });
            it.add_ended("e-1", DeliveryStatus::Delivered);
            it.world.advance(MINUTE);
            for step in ["nothing is here", "an event is here"] {
                for _ in 0..3 {
                    let run = it.run_auditor().await;
                    let counts = (&run["lost"], &run["not_comparable"]);
                    assert_eq!(counts, (&json!(0), &json!(1)), "{step} {is_oldest_first} {has_event_ids}");
                    it.world.advance(MINUTE * 15);
                }
                it.deliver("e-2").await;
            }
        }
    }
}

/// More than are remembered from one look to the next, and older than what a second check reads otherwise.
#[tokio::test]
async fn however_many_are_lost_all_are_found() {
    let it = FynapseWorld::new().await;
    it.deliver("e-0").await;
    for number in 0..250 {
        it.add_ended(&format!("e-lost-{number}"), DeliveryStatus::Delivered);
    }
    it.world.advance(HOUR * 24 * 6);
    it.fynapse.configure(|list| list.page_rows = 300);
    let lost: u64 = lost_in_runs(&it, 8).await.iter().sum();
    assert_eq!((lost, it.missed().await.len()), (250, 250));
    let state = it.world.item("fynapse#subscription#local-subscription", "check").await.unwrap();
    assert_eq!(number(&state, "check_started_at"), None, "the last check need not be repeated");
}

/// What the first run of a check notes holds to its end.
#[tokio::test]
async fn however_many_are_lost_all_are_found_in_a_check_of_several_runs() {
    let it = FynapseWorld::new().await;
    it.deliver("e-0").await;
    for number in 0..130 {
        it.world.advance(MINUTE);
        it.add_ended(&format!("e-lost-{number}"), DeliveryStatus::Delivered);
    }
    it.world.advance(HOUR * 24 * 6);
    it.fynapse.configure(|list| list.page_rows = 1);
    let lost: u64 = lost_in_runs(&it, 12).await.iter().sum();
    assert_eq!((lost, it.missed().await.len()), (130, 130));
}

/// The key of the other delivery shows that the list has keys in another form.
#[tokio::test]
async fn a_key_is_compared_only_if_one_was_found_here() {
    let it = FynapseWorld::new().await;
    it.deliver("e-1").await;
    let at = it.world.now().rfc3339();
    let row = |fields: &str| format!(r#"{{{fields},"status":"DELIVERED","createdAt":"{at}"}}"#);
    let known = row(r#""id":"d-1","eventId":"e-1","idempotencyKey":"other-form-1""#);
    let unknown = row(r#""id":"d-2","idempotencyKey":"other-form-2""#);
    let list = format!(r#"{{"data":[{known},{unknown}],"totalPages":1}}"#);
    it.fynapse.configure(|it| it.scripted = Some((200, list)));
    for _ in 0..3 {
        it.world.advance(MINUTE * 15);
        let run = it.run_auditor().await;
        assert_eq!((&run["lost"], &run["not_comparable"]), (&json!(0), &json!(1)));
    }
}

#[tokio::test]
async fn a_list_whose_states_are_all_unknown_is_a_problem() {
    let it = FynapseWorld::new().await;
    let list = r#"[{"id":"d-1","status":"SENT"},{"id":"d-2","status":"FAILED"}]"#;
    it.fynapse.configure(|it| it.scripted = Some((200, list.to_owned())));
    let run = it.run_auditor().await;
    assert_eq!((&run["problem"], &run["is_complete"]), (&json!("unknown_statuses"), &json!(false)));
    let one_is_known = list.replace("SENT", "delivered");
    it.fynapse.configure(|it| it.scripted = Some((200, one_is_known)));
    assert_eq!(it.run_auditor().await["is_complete"], true);
}

#[tokio::test]
async fn a_list_that_declines_the_page_after_the_last_one_has_ended() {
    let it = world_with(|list| (list.shape, list.declines_pages_beyond_end) = (ListShape::Array, true)).await;
    assert_eq!(found(&it).await, everything());
    it.add_ended("e-later", DeliveryStatus::DeadLetter);
    assert_eq!(found(&it).await["missed"], 1);
}

/// The run ends with the last page, and does not know that it is the last one.
#[tokio::test]
async fn a_list_that_ends_with_a_run_has_ended() {
    let it = FynapseWorld::new().await;
    it.fynapse.configure(|list| {
        (list.shape, list.page_rows, list.declines_pages_beyond_end) = (ListShape::Array, 1, true);
    });
    for number in 0..100 {
        it.add_ended(&format!("e-{number}"), DeliveryStatus::Pending);
    }
    assert_eq!(counts(&it.run_auditor().await), json!({"pages": 100, "listed": {"PENDING": 100}}));
    assert_eq!(counts(&it.run_auditor().await), json!({"listed": {}, "is_complete": true}));
}

#[tokio::test]
async fn what_was_recorded_and_given_up_is_not_missed_days_later() {
    let it = FynapseWorld::new().await;
    it.fynapse.configure(|list| (list.is_oldest_first, list.has_event_ids) = (true, false));
    it.deliver("e-1").await;
    // Recorded, but every answer was lost.
    it.add_ended("e-1", DeliveryStatus::DeadLetter);
    // Longer than the keys of recorded events are searched.
    for _ in 0..8 {
        it.run_auditor().await;
        it.world.advance(HOUR * 40);
    }
    assert_eq!(it.missed().await, []);
}

#[tokio::test]
async fn p3_the_payload_of_an_old_delivery_is_not_recorded_again() {
    let it = FynapseWorld::new().await;
    it.fynapse.configure(|list| list.has_payloads = true);
    it.add_ended("e-1", DeliveryStatus::DeadLetter);
    it.world.advance(HOUR * 24 * 31);
    let run = it.run_auditor().await;
    assert_eq!((&run["recovered"], &run["missed"]), (&json!(0), &json!(1)));
    assert_eq!(it.missed().await, missed(&[("delivery-e-1", "dead_letter")]));
}

#[tokio::test]
async fn p4_a_payload_is_recorded_as_it_stands_in_every_shape() {
    for shape in SHAPES {
        let it = FynapseWorld::new().await;
        it.fynapse.configure(|list| (list.shape, list.has_payloads) = (shape, true));
        let outgoing = it.add_ended("e-1", DeliveryStatus::Cancelled);
        assert_eq!(it.run_auditor().await["recovered"], 1, "{shape:?}");
        let record = it.world.item("fynapse#event#e-1", "event").await.unwrap();
        assert_eq!(record["payload"].as_b().unwrap().as_ref(), outgoing.body.as_ref(), "{shape:?}");
    }
}
