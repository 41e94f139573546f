//! The table `balances` as operators and consumers read it: the balances of a batch, and the checks of an authorizer.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use inbox_aws::AwsErrorKind;
use inbox_aws::balances::{BalanceSource, BalancesTable};
use inbox_aws::items::BalanceItem;
use inbox_aws::stores::{ListCursor, ListPage, PageStart};
use inbox_core::id::Id;
use inbox_core::limits::BALANCES_RETENTION_DAYS;
use inbox_core::rightfoot_api::Balance;
use inbox_core::time::UnixMillis;
use local::stack::BALANCES_TABLE;
use tests::rightfoot_world::RightfootWorld;
use tests::{World, completion_body, number};

use crate::tidy::documents::section;

fn id(text: &str) -> Id {
    Id::new(text).unwrap()
}

/// A year to compare with, and a month to do it (template.yaml, `BalancesRetentionDays`).
#[tokio::test]
async fn a_balance_is_kept_for_400_days_after_its_check_or_for_ever_if_so_configured() {
    let world = World::new().await;
    let (batch_id, received_at) = (id("b-1"), world.now());
    let source = BalanceSource { batch_id: &batch_id, schedule_id: None, received_at };
    for (authorizer, retention_days) in [("a", BALANCES_RETENTION_DAYS), ("b", 0), ("c", 1)] {
        let row = Balance { authorizer: id(authorizer), amount: None, status_code: 3_300, checked_at: None };
        let db = world.stack.unrestricted_clients().dynamodb;
        BalancesTable::new(db, BALANCES_TABLE, retention_days).store(&[row], &source).await.unwrap();
    }
    let stored = world.stored_balances().await;
    let expiries: Vec<_> = stored.iter().map(|item| number(item, "expires_at")).collect();
    // 2026-01-02T03:04:05Z, and 400 days or one day later.
    assert_eq!(expiries, [Some(1_767_323_045 + 34_560_000), None, Some(1_767_323_045 + 86_400)]);
}

/// Names `user-000`, `user-001`, ….
fn users(numbers: impl Iterator<Item = usize>) -> Vec<String> {
    numbers.map(|n| format!("user-{n:03}")).collect()
}

/// Stores a balance of each of these authorizers in the batch.
async fn store(world: &World, batch_id: &str, authorizers: &[String]) {
    let rows: Vec<_> = authorizers.iter().map(|it| (it.as_str(), Some("1.00"))).collect();
    world.store_balances(batch_id, None, &rows).await;
}

async fn of_batch(world: &World, batch_id: &str, start: &PageStart, limit: usize) -> ListPage<BalanceItem> {
    world.balances().list_of_batch(&id(batch_id), start, limit).await.unwrap()
}

fn authorizers(page: &ListPage<BalanceItem>) -> Vec<String> {
    page.items.iter().map(|it| it.authorizer.as_str().to_owned()).collect()
}

fn older(page: &ListPage<BalanceItem>) -> PageStart {
    PageStart::OlderThan(page.older.clone().unwrap())
}

fn newer(page: &ListPage<BalanceItem>) -> PageStart {
    PageStart::NewerThan(page.newer.clone().unwrap())
}

#[tokio::test]
async fn the_balances_of_a_batch_are_one_query_a_page_exact_and_with_the_status_of_a_failed_check() {
    let rightfoot =
        RightfootWorld::with_run("r-1", &[("b", "-0.10"), ("a", "12345678901234567890.12")]).await;
    let world = &rightfoot.world;
    world.deliver_rightfoot(completion_body("r-1", "u-1")).await;
    world.run_worker().await;
    world.store_balances("r-1", Some("s-1"), &[("c", None)]).await;
    world.store_balances("another", None, &[("a", Some("7"))]).await;
    world.stack.connector.clear_call_log();
    let page = of_batch(world, "r-1", &PageStart::Newest, 100).await;
    let calls = world.stack.connector.call_log();
    assert_eq!(calls.iter().map(|(call, _)| call.operation.as_str()).collect::<Vec<_>>(), ["Query"]);
    let shown = page.items.iter().map(|it| {
        let amount = it.amount.map(|amount| amount.to_string());
        (it.authorizer.as_str(), amount, it.status_code, it.status.as_str(), it.schedule_id.clone())
    });
    let schedule = Some(id("s-1"));
    assert_eq!(
        shown.collect::<Vec<_>>(),
        [
            ("a", Some("12345678901234567890.12".to_owned()), 0, "success", schedule.clone()),
            ("b", Some("-0.1".to_owned()), 0, "success", schedule.clone()),
            ("c", None, 3_300, "institution_not_supported", schedule),
        ]
    );
    assert!(page.items.iter().all(|it| it.batch_id == id("r-1")));
    assert_eq!((page.older, page.newer, page.examined), (None, None, 3));
}

#[tokio::test]
async fn the_balances_of_a_batch_are_paged_both_ways_without_a_gap() {
    let world = World::new().await;
    store(&world, "b-1", &users(0..250)).await;
    store(&world, "b-2", &users(0..3)).await;
    let first = of_batch(&world, "b-1", &PageStart::Newest, 100).await;
    assert_eq!((authorizers(&first), &first.newer), (users(0..100), &None));
    let second = of_batch(&world, "b-1", &older(&first), 100).await;
    assert_eq!(authorizers(&second), users(100..200));
    let third = of_batch(&world, "b-1", &older(&second), 100).await;
    assert_eq!((authorizers(&third), &third.older), (users(200..250), &None));
    let back = of_batch(&world, "b-1", &newer(&third), 100).await;
    assert_eq!(authorizers(&back), users(100..200));
    let front = of_batch(&world, "b-1", &newer(&back), 100).await;
    assert_eq!((authorizers(&front), &front.newer), (users(0..100), &None));
    let end = of_batch(&world, "b-1", &PageStart::Oldest, 100).await;
    assert_eq!((authorizers(&end), &end.older), (users(150..250), &None));
    // A full last page has none behind it.
    let whole = of_batch(&world, "b-2", &PageStart::Newest, 3).await;
    assert_eq!((authorizers(&whole), whole.older), (users(0..3), None));
    assert_eq!(of_batch(&world, "b", &PageStart::Newest, 3).await.items.len(), 0, "not by a prefix");
}

#[tokio::test]
async fn an_authorizer_that_was_checked_again_in_a_batch_is_on_one_page_each_time() {
    let world = World::new().await;
    for _ in 0..5 {
        world.store_balances("b-1", None, &[("a", Some("1")), ("b", Some("2"))]).await;
        world.advance(Duration::from_secs(60));
    }
    let (mut seen, mut start) = (Vec::new(), PageStart::Newest);
    loop {
        let page = of_batch(&world, "b-1", &start, 2).await;
        seen.extend(page.items.iter().map(|it| (it.authorizer.clone(), it.checked_at)));
        let Some(cursor) = page.older else { break };
        start = PageStart::OlderThan(cursor);
    }
    let count = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!((count, seen.len()), (10, 10));
}

#[tokio::test]
async fn the_checks_of_an_authorizer_are_listed_newest_first() {
    let world = World::new().await;
    let mut times = Vec::new();
    for n in 0..7 {
        world.store_balances(&format!("b-{n}"), None, &[("user-1", Some("1")), ("user-10", Some("2"))]).await;
        times.push(world.now());
        world.advance(Duration::from_secs(1));
    }
    let list =
        async |start: &PageStart| world.balances().list_of_authorizer(&id("user-1"), start, 3).await.unwrap();
    let batches = |page: &ListPage<BalanceItem>| -> Vec<String> {
        page.items.iter().map(|it| it.batch_id.as_str().to_owned()).collect()
    };
    let first = list(&PageStart::Newest).await;
    assert_eq!(
        (batches(&first), first.items[0].checked_at),
        (vec!["b-6".into(), "b-5".into(), "b-4".into()], times[6])
    );
    let second = list(&older(&first)).await;
    let third = list(&older(&second)).await;
    assert_eq!((batches(&third), &third.older), (vec!["b-0".to_owned()], &None));
    assert_eq!(batches(&list(&newer(&third)).await), batches(&second));
}

/// A page token comes from outside: it may be of another list, or made up.
#[tokio::test]
async fn a_cursor_of_another_list_leads_to_no_balance_of_another_batch_or_authorizer() {
    let world = World::new().await;
    store(&world, "b-1", &users(0..3)).await;
    store(&world, "b-2", &users(3..6)).await;
    let cursor = |pk: &str, sk: &str| ListCursor { at: UnixMillis(0), pk: pk.to_owned(), sk: sk.to_owned() };
    for cursor in
        [cursor("", ""), cursor("", "x"), cursor("user-004", "1#b-2"), cursor("fynapse#event#e", "event")]
    {
        for start in [PageStart::OlderThan(cursor.clone()), PageStart::NewerThan(cursor.clone())] {
            let page = of_batch(&world, "b-1", &start, 10).await;
            assert!(page.items.iter().all(|it| it.batch_id == id("b-1")), "{cursor:?}");
            let page = world.balances().list_of_authorizer(&id("user-004"), &start, 10).await.unwrap();
            assert!(page.items.iter().all(|it| it.authorizer == id("user-004")), "{cursor:?}");
        }
    }
}

/// A list that left it out would show a batch with fewer balances than it has.
#[tokio::test]
async fn an_item_that_is_no_balance_is_an_error() {
    let world = World::new().await;
    store(&world, "b-1", &users(0..2)).await;
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let put = world.stack.inspector.dynamodb.put_item().table_name(BALANCES_TABLE);
    let put = put.item("pk", text("user-9")).item("sk", text("1#b-1")).item("batch_id", text("b-1"));
    put.send().await.unwrap();
    let listed = world.balances().list_of_batch(&id("b-1"), &PageStart::Newest, 10).await;
    assert_eq!(listed.unwrap_err().kind, AwsErrorKind::UnreadableItem);
}

/// The query that functions/README.md shows to consumers.
#[tokio::test]
async fn the_documented_query_finds_the_balances_of_a_batch() {
    let world = World::new().await;
    let text = section("functions/README.md", "The table of balances");
    let command = text.split("```").nth(1).unwrap();
    let option = |name: &str| {
        let rest = command.split_once(&format!("--{name} ")).unwrap().1;
        let value = rest.strip_prefix('\'').map(|rest| rest.split('\'').next().unwrap());
        value.unwrap_or_else(|| rest.split_whitespace().next().unwrap()).to_owned()
    };
    let values: serde_json::Value = serde_json::from_str(&option("expression-attribute-values")).unwrap();
    let batch_id = values[":batch"]["S"].as_str().unwrap();
    store(&world, batch_id, &users(0..3)).await;
    store(&world, "another", &users(0..5)).await;
    let query = world.stack.inspector.dynamodb.query().table_name(BALANCES_TABLE);
    let query = query.index_name(option("index-name"));
    let query = query.key_condition_expression(option("key-condition-expression"));
    let query = query.expression_attribute_values(":batch", AttributeValue::S(batch_id.to_owned()));
    let found = query.send().await.unwrap();
    let shown = |name: &str| -> Vec<_> { found.items().iter().map(|it| it[name].clone()).collect() };
    assert_eq!(shown("pk"), users(0..3).into_iter().map(AttributeValue::S).collect::<Vec<_>>());
    assert_eq!(
        shown("balance"),
        vec![AttributeValue::N("1".to_owned()); 3],
        "all attributes are in the index"
    );
}
