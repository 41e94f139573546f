//! Event on the command line.

use inbox_aws::stores::Stores;
use inbox_core::delivery::Provider;
use inbox_core::event::EventKey;
use inbox_core::id::Id;
use inbox_core::list_kind::ListKind;
use inbox_core::table_keys::batch_pk;

use crate::aws_error::{ResourceRef, WithResource};
use crate::short_id;
use crate::target::Target;

/// An event on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EventRef {
    /// Full event id.
    Key(EventKey),
    /// Bare id of a Fynapse event or of a batch.
    BareId(Id),
}

pub(crate) fn parse_event_ref(id: &str) -> Result<EventRef, String> {
    if let Some(key) = EventKey::from_event_id(id) {
        return Ok(EventRef::Key(key));
    }
    // A mistyped full id must not be looked up as a bare one.
    let is_qualified = id.starts_with("rightfoot/") || id.starts_with("fynapse/");
    Id::new(id).filter(|_| !is_qualified).map(EventRef::BareId).ok_or_else(|| {
        "an event's id is rightfoot/batch/<id>/completed, rightfoot/batch/<id>/alert/<id>, fynapse/event/<id>, \
         or the bare id of a batch or a Fynapse event (1 to 512 bytes)"
            .to_owned()
    })
}

/// Resolves the event that a command means which only looks: a full id, the bare id of a Fynapse event or of a batch with only
/// one event, or the beginning of one, or of its batch, among the newest
/// events.
pub(crate) async fn find_key(
    stores: &Stores,
    table: &ResourceRef,
    event: &EventRef,
) -> anyhow::Result<EventKey> {
    let id = match event {
        EventRef::Key(key) => return Ok(key.clone()),
        EventRef::BareId(id) => id,
    };
    if let Some(key) = by_bare_id(stores, table, id).await? {
        return Ok(key);
    }
    let found = short_id::find(stores, table, ListKind::Event, id.as_str()).await?;
    match found.as_deref().and_then(EventKey::from_event_id) {
        Some(key) => Ok(key),
        None => anyhow::bail!(
            "no event in {table} has the id {0} or is of a batch {0}, and none of the newest ones has an id that begins so",
            id.as_str()
        ),
    }
}

/// Resolves the event that a command means which changes something: a full id, the bare id of a Fynapse event or of a batch
/// with only one event, or a short id of the last printed list.
///
/// # Errors
///
/// There is none, or the id means one event on the list and another one by its bare id.
pub(crate) async fn key_to_change(
    target: &Target,
    stores: &Stores,
    table: &ResourceRef,
    event: &EventRef,
) -> anyhow::Result<EventKey> {
    let id = match event {
        EventRef::Key(key) => return Ok(key.clone()),
        EventRef::BareId(id) => id,
    };
    let listed = short_id::find_on_last_list(target, ListKind::Event, id.as_str())?;
    let by_whole_id = by_bare_id(stores, table, id).await?;
    let Some(listed) = listed else {
        return by_whole_id.ok_or_else(|| short_id::not_on_last_list(id.as_str()));
    };
    let key = listed_key(stores, table, &listed).await?;
    match (key, by_whole_id) {
        (Some(key), None) => Ok(key),
        // Senders choose ids: one that equals a short id must not take its place.
        (Some(key), Some(other)) if key != other => {
            Err(short_id::means_two(id.as_str(), &key.event_id(), &other.event_id()))
        }
        (None, Some(other)) if listed != id.as_str() => {
            Err(short_id::means_two(id.as_str(), &listed, &other.event_id()))
        }
        (_, Some(key)) => Ok(key),
        (None, None) => anyhow::bail!("{listed} is not an event"),
    }
}

/// The event that an id on a printed list means: its own, or that of a batch with only one event.
async fn listed_key(stores: &Stores, table: &ResourceRef, listed: &str) -> anyhow::Result<Option<EventKey>> {
    match (EventKey::from_event_id(listed), Id::new(listed)) {
        (Some(key), _) => Ok(Some(key)),
        (None, Some(id)) => by_bare_id(stores, table, &id).await,
        (None, None) => Ok(None),
    }
}

/// The event with the bare id of a Fynapse event or of a batch; `None` if there is none.
async fn by_bare_id(stores: &Stores, table: &ResourceRef, id: &Id) -> anyhow::Result<Option<EventKey>> {
    let mut found = stores.operator.timeline(&batch_pk(id)).await.with_resource(table)?.events;
    // Two providers choose these ids, so the same one may name a batch and a Fynapse event.
    for key in Provider::ALL.iter().filter_map(|provider| EventKey::signed(*provider, id.clone())) {
        found.extend(stores.operator.event(&key).await.with_resource(table)?);
    }
    let ids: Vec<_> = found.iter().map(|event| event.key.event_id()).collect();
    match (found.as_slice(), ids.as_slice()) {
        ([only], _) => Ok(Some(only.key.clone())),
        ([], _) => Ok(None),
        _ => anyhow::bail!("{} is the id of several events: use one of {}", id.as_str(), ids.join(", ")),
    }
}
