//! DynamoDB: conditional writes, the index `due`, transactions, limits and reserved words.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::{
    AttributeValue, KeysAndAttributes, PutRequest, ReturnValuesOnConditionCheckFailure, WriteRequest,
};
use inbox_core::limits::PART_MAX_BYTES;
use local::connector::Fault;
use local::stack::{BALANCES_TABLE, INBOX_TABLE};
use tests::{Item, World, alert_body, extract_body, number, text};

fn s(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

fn n(value: impl ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

fn b(value: impl Into<Vec<u8>>) -> AttributeValue {
    AttributeValue::B(aws_sdk_dynamodb::primitives::Blob::new(value))
}

fn item<const N: usize>(pk: &str, sk: &str, more: [(&str, AttributeValue); N]) -> Item {
    let keys = [("pk", s(pk)), ("sk", s(sk))];
    keys.into_iter().chain(more).map(|(name, value)| (name.to_owned(), value)).collect()
}

async fn table() -> (World, Client) {
    let world = World::new().await;
    let client = world.stack.inspector.dynamodb.clone();
    (world, client)
}

async fn put_once(db: &Client, item: Item) -> Result<(), Option<Item>> {
    let put = db
        .put_item()
        .table_name(INBOX_TABLE)
        .set_item(Some(item))
        .condition_expression("attribute_not_exists(pk)")
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
    match put.send().await.map_err(|error| error.into_service_error()) {
        Ok(_) => Ok(()),
        Err(PutItemError::ConditionalCheckFailedException(failed)) => Err(failed.item),
        Err(other) => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn p3_a_refused_put_changes_nothing_and_comes_back_with_the_old_item() {
    let (world, db) = table().await;
    let first = item("a", "b", [("delivery_id", s("one")), ("rev", n(1)), ("payload", b([0, 255]))]);
    assert_eq!(put_once(&db, first.clone()).await, Ok(()));
    assert_eq!(put_once(&db, item("a", "b", [("delivery_id", s("two"))])).await, Err(Some(first.clone())));
    assert_eq!(world.item("a", "b").await, Some(first));
    assert_eq!(put_once(&db, item("a", "c", [])).await, Ok(()), "another item of the same collection");
}

#[tokio::test]
async fn p3_of_twenty_puts_at_once_one_wins() {
    let (world, db) = table().await;
    let put = |who: usize| put_once(&db, item("a", "b", [("delivery_id", s(who.to_string()))]));
    let outcomes = futures::future::join_all((0..20).map(put)).await;
    let winners: Vec<_> = (0..20).filter(|who| outcomes[*who].is_ok()).collect();
    assert_eq!(winners.len(), 1, "{outcomes:?}");
    let stands = world.item("a", "b").await;
    assert_eq!(text(stands.as_ref().unwrap(), "delivery_id"), winners[0].to_string());
    assert!(outcomes.iter().filter_map(|it| it.as_ref().err()).all(|old| *old == stands), "losers see it");
}

#[tokio::test]
async fn p2_p3_an_update_needs_the_rev_that_it_saw() {
    let (world, db) = table().await;
    world.put_item(item("a", "b", [("rev", n(2)), ("due", s("outbox#00")), ("due_at", n(7))])).await;
    let mark = async |sk: &str, rev: u64| {
        let update = db
            .update_item()
            .table_name(INBOX_TABLE)
            .key("pk", s("a"))
            .key("sk", s(sk))
            .update_expression("SET sent_at = :now, rev = rev + :one REMOVE due, due_at")
            .condition_expression("rev = :seen AND attribute_exists(due)")
            .expression_attribute_values(":seen", n(rev))
            .expression_attribute_values(":one", n(1))
            .expression_attribute_values(":now", n(9));
        match update.send().await {
            Ok(_) => true,
            Err(error) => {
                assert!(error.into_service_error().is_conditional_check_failed_exception());
                false
            }
        }
    };
    assert!(!mark("b", 1).await, "overtaken");
    assert!(!mark("none", 2).await, "no such item");
    assert!(mark("b", 2).await);
    assert!(!mark("b", 3).await, "no longer due");
    assert_eq!(world.items().await, [item("a", "b", [("rev", n(3)), ("sent_at", n(9))])], "nothing was made");
}

/// One page of the index: its items, and the key at which the next page starts.
async fn due_page(db: &Client, now: i64, limit: i32, start: Option<Item>) -> (Vec<Item>, Option<Item>) {
    let query = db
        .query()
        .table_name(INBOX_TABLE)
        .index_name("due")
        .key_condition_expression("due = :shard AND due_at <= :now")
        .expression_attribute_values(":shard", s("outbox#00"))
        .expression_attribute_values(":now", n(now))
        .limit(limit)
        .set_exclusive_start_key(start);
    let page = query.send().await.unwrap();
    (page.items.unwrap_or_default(), page.last_evaluated_key)
}

#[tokio::test]
async fn p2_the_index_holds_what_is_due_and_nothing_else() {
    let (world, db) = table().await;
    let due = |at: i64| [("due", s("outbox#00")), ("due_at", n(at)), ("payload", b("x"))];
    world.put_item(item("a", "1", due(30))).await;
    world.put_item(item("b", "1", due(9))).await;
    world.put_item(item("c", "1", due(200))).await;
    world.put_item(item("d", "1", [("payload", b("x"))])).await;
    world.put_item(item("e", "1", [("due", s("outbox#01")), ("due_at", n(1))])).await;
    let keys_only = |pk, at| item(pk, "1", [("due", s("outbox#00")), ("due_at", n(at))]);
    let seen = due_page(&db, 100, 50, None).await;
    assert_eq!(seen, (vec![keys_only("b", 9), keys_only("a", 30)], None), "by number, not by text");

    let remove = db.update_item().table_name(INBOX_TABLE).key("pk", s("b")).key("sk", s("1"));
    remove.update_expression("REMOVE due, due_at").send().await.unwrap();
    let later = db.update_item().table_name(INBOX_TABLE).key("pk", s("a")).key("sk", s("1"));
    let later = later.update_expression("SET due_at = :later").expression_attribute_values(":later", n(101));
    later.send().await.unwrap();
    assert_eq!(due_page(&db, 100, 50, None).await, (vec![], None));
    assert_eq!(due_page(&db, 101, 50, None).await.0, [keys_only("a", 101)]);
}

#[tokio::test]
async fn p2_the_index_is_read_page_by_page_without_a_gap() {
    let (world, db) = table().await;
    // Twelve items are due at the same time and eleven are not, so that a page ends between items with equal keys.
    for number in 0..23 {
        let due_at = if number < 12 { 5 } else { number };
        let attributes = [("due", s("outbox#00")), ("due_at", n(due_at))];
        world.put_item(item(&format!("event-{number:02}"), "event", attributes)).await;
    }
    let (mut seen, mut sizes, mut start) = (Vec::new(), Vec::new(), None);
    loop {
        let (page, next) = due_page(&db, 1_000, 5, start).await;
        sizes.push(page.len());
        seen.extend(page);
        start = next;
        if start.is_none() {
            break;
        }
        assert!(sizes.len() < 20, "it never ends");
    }
    assert_eq!(sizes, [5, 5, 5, 5, 3]);
    let times: Vec<_> = seen.iter().map(|item| number(item, "due_at").unwrap()).collect();
    assert!(times.is_sorted());
    let partitions: BTreeSet<_> = seen.iter().map(|item| text(item, "pk").to_owned()).collect();
    assert_eq!(partitions.len(), 23);
}

#[tokio::test]
async fn many_items_are_read_at_once_and_strongly_but_at_most_a_hundred() {
    let (world, db) = table().await;
    let get = async |numbers: &[usize]| {
        let keys = numbers.iter().map(|number| item(&format!("event-{number}"), "event", [])).collect();
        let keys = KeysAndAttributes::builder().set_keys(Some(keys)).consistent_read(true).build().unwrap();
        let answer = db.batch_get_item().request_items(INBOX_TABLE, keys).send().await;
        answer.map(|answer| {
            assert!(answer.unprocessed_keys.unwrap_or_default().is_empty());
            let found = answer.responses.unwrap().remove(INBOX_TABLE).unwrap();
            found.iter().map(|item| text(item, "pk").to_owned()).collect::<BTreeSet<_>>()
        })
    };
    for round in 0..50 {
        world.put_item(item(&format!("event-{round}"), "event", [("round", n(round))])).await;
        let expected = BTreeSet::from([format!("event-{round}")]);
        assert_eq!(get(&[round, 9_999]).await.unwrap(), expected, "what was just written is seen");
    }
    assert_eq!(get(&(0..100).collect::<Vec<_>>()).await.unwrap().len(), 50);
    for too_much in [(0..101).collect::<Vec<_>>(), vec![1, 1]] {
        assert_eq!(get(&too_much).await.unwrap_err().code(), Some("ValidationException"));
    }
}

#[tokio::test]
async fn what_a_read_of_many_cannot_answer_at_once_it_leaves_unprocessed() {
    let (world, db) = table().await;
    let key = |number: usize| item(&format!("event-{number}"), "event", []);
    for number in 0..45 {
        world.put_item(item(&format!("event-{number}"), "event", [("payload", b(vec![7; 400_000]))])).await;
    }
    let keys = KeysAndAttributes::builder().set_keys(Some((0..45).map(key).collect()));
    let keys = keys.consistent_read(true).build().unwrap();
    let answer = db.batch_get_item().request_items(INBOX_TABLE, keys).send().await.unwrap();
    let found = answer.responses.unwrap()[INBOX_TABLE].len();
    let left =
        answer.unprocessed_keys.unwrap_or_default().get(INBOX_TABLE).map_or(0, |left| left.keys().len());
    assert_eq!(found + left, 45);
    assert!(left > 0, "45 times 400 kB is more than the 16 MB of an answer");
}

#[tokio::test]
async fn p10_a_batch_of_writes_says_what_it_left_and_takes_25_items_each_once() {
    let (world, db) = table().await;
    let clients = world.stack.unrestricted_clients();
    let row = |number: usize| item("user-1", &format!("{number:015}#b"), [("balance", n("150.5"))]);
    let write = async |numbers: Vec<usize>| {
        let put = |number| {
            let put = PutRequest::builder().set_item(Some(row(number))).build().unwrap();
            WriteRequest::builder().put_request(put).build()
        };
        let puts = numbers.into_iter().map(put).collect();
        clients.dynamodb.batch_write_item().request_items(BALANCES_TABLE, puts).send().await.map(|answer| {
            let left =
                answer.unprocessed_items.unwrap_or_default().remove(BALANCES_TABLE).unwrap_or_default();
            left.iter().map(|left| left.put_request().unwrap().item().clone()).collect::<Vec<_>>()
        })
    };
    let stored = async || {
        let query = db.query().table_name(BALANCES_TABLE).key_condition_expression("pk = :pk");
        let query = query.expression_attribute_values(":pk", s("user-1")).scan_index_forward(false);
        query.send().await.unwrap().items.unwrap_or_default()
    };
    assert_eq!(write((0..25).collect()).await.unwrap(), []);
    assert_eq!(stored().await, (0..25).rev().map(row).collect::<Vec<_>>(), "the latest first");
    for refused in [(0..26).collect(), vec![1, 1], vec![]] {
        assert_eq!(write(refused).await.unwrap_err().code(), Some("ValidationException"));
    }
    for (fault, left, there) in [
        (Fault::Unprocessed, vec![row(30), row(31), row(32)], 25),
        (Fault::FirstUnprocessed, vec![row(30)], 27),
    ] {
        world.inject_fault("BatchWriteItem", fault);
        assert_eq!(write(vec![30, 31, 32]).await.unwrap(), left);
        assert_eq!(stored().await.len(), there);
    }
    assert!(
        world.stack.connector.call_log().iter().all(|(call, _)| call.event_ids.is_empty()),
        "it is about no event"
    );
}

#[tokio::test]
async fn p4_an_item_holds_a_part_and_not_more_than_400_kb() {
    let (world, db) = table().await;
    let put = async |bytes: usize| {
        let part = item("payload#x", "part#0", [("piece", b(vec![7; bytes]))]);
        db.put_item().table_name(INBOX_TABLE).set_item(Some(part)).send().await
    };
    put(PART_MAX_BYTES).await.unwrap();
    assert_eq!(put(409_600).await.unwrap_err().code(), Some("ValidationException"));
    let stands = world.item("payload#x", "part#0").await.unwrap();
    assert_eq!(stands["piece"].as_b().unwrap().as_ref(), vec![7; PART_MAX_BYTES]);
}

#[tokio::test]
async fn the_longest_id_makes_a_key_that_dynamodb_takes() {
    let (world, db) = table().await;
    for (pk_bytes, sk_bytes) in [(2_049, 1), (1, 1_025)] {
        let key = item(&"p".repeat(pk_bytes), &"s".repeat(sk_bytes), []);
        let refused = db.put_item().table_name(INBOX_TABLE).set_item(Some(key)).send().await.unwrap_err();
        assert_eq!(refused.code(), Some("ValidationException"));
    }
    let (batch, uuid) = ("b".repeat(512), "u".repeat(512));
    assert_eq!(world.deliver_rightfoot(alert_body(&batch, &uuid)).await.status, 200);
    assert_eq!(world.deliver_fynapse(extract_body(&"é".repeat(256))).await.status, 200);
    let longest =
        world.items().await.iter().map(|item| (text(item, "pk").len(), text(item, "sk").len())).max();
    assert_eq!(longest, Some((528, 518)), "rightfoot#batch#…, alert#…");
}

#[tokio::test]
async fn p4_numbers_keep_their_digits_and_bytes_are_bytes() {
    let (world, _) = table().await;
    let digits = "12345678901234567890123456789012345678";
    let every_byte: Vec<_> = (0..=255).collect();
    let stored = item(
        "a",
        "b",
        [
            ("due_at", n(1_767_323_045_123_i64)),
            ("largest", n(i64::MAX)),
            ("smallest", n(i64::MIN)),
            ("digits", n(digits)),
            ("bytes", b(every_byte)),
            ("no_bytes", b([])),
            ("no_text", s("")),
        ],
    );
    world.put_item(stored.clone()).await;
    assert_eq!(world.items().await, [stored]);
}

#[tokio::test]
async fn a_balance_keeps_its_value_and_not_its_last_zeros() {
    let (world, db) = table().await;
    let stored = item("user-1", "1#b", [("balance", n("150.00")), ("null", AttributeValue::Null(true))]);
    db.put_item().table_name(BALANCES_TABLE).set_item(Some(stored)).send().await.unwrap();
    let read = db
        .get_item()
        .table_name(BALANCES_TABLE)
        .key("pk", s("user-1"))
        .key("sk", s("1#b"))
        .send()
        .await
        .unwrap();
    let read = read.item.unwrap();
    assert_eq!((&read["balance"], &read["null"]), (&n("150"), &AttributeValue::Null(true)));
    assert_eq!(world.items().await, Vec::<Item>::new(), "it is another table");
}

#[tokio::test]
async fn p7_twenty_updates_at_once_are_all_counted_under_any_name() {
    let (world, db) = table().await;
    let headers = || AttributeValue::M([("content-type".to_owned(), s("text/plain"))].into());
    let count = |now: i64| {
        db.update_item()
            .table_name(INBOX_TABLE)
            .key("pk", s("quarantine#x"))
            .key("sk", s("delivery"))
            .update_expression(
                "SET first_received_at = if_not_exists(first_received_at, :now), #headers = :headers, \
                 deliveries = if_not_exists(deliveries, :zero) + :one",
            )
            .expression_attribute_names("#headers", "headers")
            .expression_attribute_values(":headers", headers())
            .expression_attribute_values(":zero", n(0))
            .expression_attribute_values(":now", n(now))
            .expression_attribute_values(":one", n(1))
            .send()
    };
    count(7).await.unwrap();
    for outcome in futures::future::join_all((0..20).map(|_| count(8))).await {
        outcome.unwrap();
    }
    let more = [("first_received_at", n(7)), ("headers", headers()), ("deliveries", n(21))];
    assert_eq!(world.items().await, [item("quarantine#x", "delivery", more)]);
}

#[tokio::test]
async fn an_expression_with_a_reserved_word_or_an_unused_value_is_refused() {
    let (world, db) = table().await;
    world.put_item(item("a", "b", [("rev", n(1))])).await;
    let update = |expression: &str, unused: Option<&str>| {
        let mut update = db.update_item().table_name(INBOX_TABLE).key("pk", s("a")).key("sk", s("b"));
        if let Some(name) = unused {
            update = update.expression_attribute_values(name, n(3));
        }
        update.update_expression(expression).expression_attribute_values(":v", n(2)).send()
    };
    update("SET rev = :v", None).await.unwrap();
    for (expression, unused) in
        [("SET status = :v", None), ("SET TTL = :v", None), ("SET rev = :v", Some(":unused"))]
    {
        let refused = update(expression, unused).await.unwrap_err();
        assert_eq!(refused.code(), Some("ValidationException"), "{expression}");
    }
}
