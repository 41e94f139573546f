//! Sets in conditions: an item without the set counts as an empty one, and adding twice is adding once.

use aws_sdk_dynamodb::types::AttributeValue::{S, Ss};
use local::stack::INBOX_TABLE;
use tests::World;

/// Adds a tag, unless it is there already or the set is full at two.
async fn add_to_set(world: &World, tag: &str) -> bool {
    let update = world
        .stack
        .inspector
        .dynamodb
        .update_item()
        .table_name(INBOX_TABLE)
        .key("pk", S("a".to_owned()))
        .key("sk", S("b".to_owned()))
        .update_expression("ADD tags :tags")
        .condition_expression(
            "NOT contains(tags, :tag) AND (attribute_not_exists(tags) OR size(tags) < :most)",
        )
        .expression_attribute_values(":tags", Ss(vec![tag.to_owned()]))
        .expression_attribute_values(":tag", S(tag.to_owned()))
        .expression_attribute_values(":most", aws_sdk_dynamodb::types::AttributeValue::N("2".to_owned()));
    match update.send().await {
        Ok(_) => true,
        Err(error) => {
            assert!(error.into_service_error().is_conditional_check_failed_exception());
            false
        }
    }
}

#[tokio::test]
async fn p10_a_set_holds_each_tag_once_and_no_more_than_its_bound() {
    let world = World::new().await;
    let added = [
        add_to_set(&world, "1").await,
        add_to_set(&world, "1").await,
        add_to_set(&world, "2").await,
        add_to_set(&world, "3").await,
    ];
    assert_eq!(added, [true, false, true, false]);
    let item = world.item("a", "b").await.unwrap();
    let mut tags = item["tags"].as_ss().unwrap().clone();
    tags.sort();
    assert_eq!(tags, ["1", "2"]);
}

#[tokio::test]
async fn p10_adding_to_a_set_what_is_in_it_changes_nothing() {
    let world = World::new().await;
    for _ in 0..2 {
        let update = world.stack.inspector.dynamodb.update_item().table_name(INBOX_TABLE);
        let update = update.key("pk", S("a".to_owned())).key("sk", S("b".to_owned()));
        let update = update.update_expression("ADD tags :tags");
        update
            .expression_attribute_values(":tags", Ss(vec!["1".to_owned(), "2".to_owned()]))
            .send()
            .await
            .unwrap();
    }
    assert_eq!(world.item("a", "b").await.unwrap()["tags"].as_ss().unwrap().len(), 2);
}
