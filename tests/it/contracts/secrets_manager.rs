//! Secrets Manager: secrets without a usable value.

use std::time::Duration;

use aws_sdk_secretsmanager::error::ProvideErrorMetadata;
use aws_sdk_secretsmanager::primitives::Blob;
use local::stack::{FYNAPSE_SECRET, RIGHTFOOT_URL_KEY_SECRET};
use tests::{World, completion_body, extract_body};

/// A world in which both secrets exist without a value: never set, as the stack creates them, or set to `put`.
async fn world_with_secret_values(put: Option<EmptyValue>) -> World {
    let world = World::new().await;
    let secrets = &world.stack.inspector.secrets;
    for name in [FYNAPSE_SECRET, RIGHTFOOT_URL_KEY_SECRET] {
        let delete = secrets.delete_secret().secret_id(name).force_delete_without_recovery(true);
        delete.send().await.unwrap();
        secrets.create_secret().name(name).send().await.unwrap();
        let value = secrets.put_secret_value().secret_id(name);
        match put {
            None => {}
            Some(EmptyValue::Empty) => drop(value.secret_string("").send().await.unwrap()),
            Some(EmptyValue::OneNewline) => drop(value.secret_string("\n").send().await.unwrap()),
            Some(EmptyValue::Binary) => {
                drop(value.secret_binary(Blob::new("not a string")).send().await.unwrap());
            }
        }
    }
    world
}

#[derive(Clone, Copy, Debug)]
enum EmptyValue {
    /// Rejected by AWS; the emulator stores it.
    Empty,
    /// A newline only, as an editor or `echo` leaves it.
    OneNewline,
    /// Returned with status 200 and without a string.
    Binary,
}

async fn put_secret(world: &World, name: &str, value: &str) {
    let put = world.stack.inspector.secrets.put_secret_value().secret_id(name).secret_string(value);
    put.send().await.unwrap();
}

async fn statuses(world: &World) -> [u16; 2] {
    [
        world.deliver_fynapse(extract_body("e-1")).await.status,
        world
            .deliver_rightfoot_to(
                "demo.LBqwep969-60s9I9TeWGIuOL23BzLnsGhQzb4mm0rT0",
                completion_body("b-1", "u-1"),
            )
            .await
            .status,
    ]
}

#[tokio::test]
async fn a_secret_without_a_value_is_an_error_and_a_binary_one_has_no_string() {
    let world = world_with_secret_values(None).await;
    let get = || world.stack.inspector.secrets.get_secret_value().secret_id(FYNAPSE_SECRET).send();
    assert_eq!(get().await.unwrap_err().code(), Some("ResourceNotFoundException"));
    put_secret(&world, FYNAPSE_SECRET, "first").await;
    put_secret(&world, FYNAPSE_SECRET, "second").await;
    assert_eq!(get().await.unwrap().secret_string(), Some("second"));
    let world = world_with_secret_values(Some(EmptyValue::Binary)).await;
    let answer = world.stack.inspector.secrets.get_secret_value().secret_id(FYNAPSE_SECRET).send().await;
    assert_eq!(answer.unwrap().secret_string(), None);
}

#[tokio::test]
async fn p6_p4_without_a_value_nothing_is_decided_and_once_it_is_put_it_is_loaded() {
    for nothing in [None, Some(EmptyValue::Empty), Some(EmptyValue::OneNewline), Some(EmptyValue::Binary)] {
        let world = world_with_secret_values(nothing).await;
        assert_eq!(statuses(&world).await, [503, 503], "{nothing:?}");
        assert!(world.items().await.is_empty());
        put_secret(&world, FYNAPSE_SECRET, "local-fynapse-secret").await;
        put_secret(&world, RIGHTFOOT_URL_KEY_SECRET, "local-rightfoot-url-key").await;
        // A secret that was never loaded is fetched at most once a second.
        world.age_secret_caches(Duration::from_millis(1_001));
        assert_eq!(statuses(&world).await, [200, 200], "{nothing:?}");
        assert_eq!(world.drain_event_ids().await, ["fynapse/event/e-1", "rightfoot/batch/b-1/completed"]);
    }
}
