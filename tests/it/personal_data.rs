//! What is stored of a person is found and erased, and nothing acts twice because of it.
//!
//! The person is `user-1`. `user-10` is another one, whose data must stay. What is left is searched here by a text search of all
//! items, which shares no code with the search under test.

mod crashes;
mod interleavings;
mod random_histories;
mod what_is_erased;
mod what_is_left;

use std::io::Read as _;

use aws_sdk_dynamodb::types::AttributeValue;
use flate2::read::DeflateDecoder;
use inbox_aws::stores::{FoundPersonalData, PersonalDataKind, WhyLeft};
use inbox_core::id::Id;
use tests::{Item, MINUTE, World, random_hex, text};

const PERSON: &str = "user-1";
const SIBLING: &str = "user-10";

fn person() -> Id {
    Id::new(PERSON).unwrap()
}

async fn find(world: &World, person: &str) -> FoundPersonalData {
    world.find_person(person).await.unwrap()
}

/// The kinds that were found, with their numbers.
async fn found_kinds(world: &World, person: &str) -> Vec<(&'static str, usize)> {
    let mut kinds = Vec::<(&str, usize)>::new();
    for item in find(world, person).await.items {
        match kinds.last_mut().filter(|(kind, _)| *kind == item.kind.as_str()) {
            Some((_, count)) => *count += 1,
            None => kinds.push((item.kind.as_str(), 1)),
        }
    }
    kinds
}

/// Erases the person. Returns what is left.
async fn erase(world: &World) -> Vec<(PersonalDataKind, WhyLeft)> {
    world.erase_person(PERSON).await.unwrap()
}

/// Panics if the id is in any item of both tables.
async fn assert_nowhere(world: &World, person: &str) {
    for item in world.items().await.iter().chain(&world.stored_balances().await) {
        let texts: Vec<_> = item.iter().flat_map(|(name, value)| texts_of(name, value)).collect();
        assert!(
            !texts.iter().any(|text| mentions(text, person)),
            "{person} is in {} {}",
            text(item, "pk"),
            text(item, "sk")
        );
    }
}

fn mentions(text: &str, person: &str) -> bool {
    text.match_indices(person)
        .any(|(at, _)| !text[at + person.len()..].starts_with(|next: char| next.is_alphanumeric()))
}

/// All texts in an attribute; a part of a payload is inflated.
fn texts_of(name: &str, value: &AttributeValue) -> Vec<String> {
    let bytes = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if let Ok(text) = value.as_s() {
        return vec![text.clone()];
    }
    if let Ok(texts) = value.as_ss() {
        return texts.clone();
    }
    if let Ok(all) = value.as_l() {
        return all.iter().flat_map(|one| texts_of(name, one)).collect();
    }
    if let Ok(fields) = value.as_m() {
        let texts = |(field, value): (&String, _)| [vec![field.clone()], texts_of(name, value)].concat();
        return fields.iter().flat_map(texts).collect();
    }
    let Ok(blob) = value.as_b() else { return Vec::new() };
    if name != "piece" {
        return vec![bytes(blob.as_ref())];
    }
    let mut payload = Vec::new();
    let _ = DeflateDecoder::new(blob.as_ref()).read_to_end(&mut payload);
    vec![bytes(&payload)]
}

/// A Fynapse event that names these people; large ones are stored in parts.
fn extract_naming(event_id: &str, people: &[&str], is_large: bool) -> String {
    let people: Vec<_> = people.iter().map(|it| format!(r#"{{"owner":"{it}","amount":150.00}}"#)).collect();
    let filler = if is_large { random_hex(9_000, 7) } else { String::new() };
    format!(
        r#"{{"event_id":"{event_id}","event_type":"balance.extracted","data":[{}],"metadata":{{"filler":"{filler}"}}}}"#,
        people.join(",")
    )
}

/// Runs relay and worker until all events have ended.
async fn settle(world: &World) {
    for _ in 0..4 {
        world.run_worker().await;
        world.advance(MINUTE * 16);
        world.run_relay().await.unwrap().unwrap();
    }
    world.run_worker().await;
}

/// The audit entries as items.
async fn audit_items(world: &World) -> Vec<Item> {
    let items = world.items().await;
    items.into_iter().filter(|item| text(item, "pk").starts_with("audit#")).collect()
}
