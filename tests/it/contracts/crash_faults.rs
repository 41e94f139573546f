//! Crash faults of calls that one process makes at the same time.

use aws_sdk_dynamodb::types::AttributeValue;
use local::connector::{CallOutcome, Fault, until_crash};
use tests::World;

#[tokio::test]
async fn a_call_that_a_process_sent_before_another_call_crashed_it_is_applied_and_logged() {
    let world = World::new().await;
    let connector = &world.stack.connector;
    connector.clear_call_log();
    connector.set_fault_plan(|call| match call.operation.as_str() {
        "PutItem" => Some(Fault::CrashAfter),
        _ => Some(Fault::CrashBefore),
    });
    let dynamodb = world.stack.unrestricted_clients().dynamodb;
    let key = || AttributeValue::S("sent before the crash".to_owned());
    let put = dynamodb.put_item().table_name("inbox").item("pk", key()).item("sk", key()).send();
    let get = dynamodb.get_item().table_name("inbox").key("pk", key()).key("sk", key()).send();
    let crashed = Box::pin(until_crash(async { tokio::join!(put, get) })).await;
    assert!(crashed.is_none());

    for (operation, fault) in [("PutItem", Fault::CrashAfter), ("GetItem", Fault::CrashBefore)] {
        let mut log = connector.call_log().into_iter();
        let is_logged =
            log.any(|(call, outcome)| call.operation == operation && outcome == CallOutcome::Faulted(fault));
        assert!(is_logged, "{operation}");
    }
    connector.clear_fault_plan();
    let stored =
        dynamodb.get_item().table_name("inbox").key("pk", key()).key("sk", key()).send().await.unwrap();
    assert!(stored.item.is_some());
}
