//! Stores large payloads: deflated, and cut into part items.
//!
//! A part is named by the hash of its own bytes, so a second write of it is the same write, whichever version deflated the
//! payload. The parts of one payload are in different partitions, because one partition takes 1 MB/s. Parts are written
//! before the record that names them; a crash between the two leaves orphans, which expire. Several items may name the same
//! part: its expiry only ever moves later.

use std::io::{Read, Write};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure::AllOld;
use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use futures::stream::{self, StreamExt, TryStreamExt};

use inbox_core::event::payload_hash;
use inbox_core::limits::{INLINE_PAYLOAD_MAX_BYTES, PART_MAX_BYTES};
use inbox_core::time::UnixSecs;

use crate::AwsError;
use crate::conditional::{condition_failed, existing_item};
use crate::item::{Item, PayloadLocation, SCHEMA_VERSION, binary, key, number};

const GET: &str = "dynamodb:GetItem";
const EXPIRES_BEFORE: &str = "expires_at < :at";
/// Part items that are read or written at the same time.
const CONCURRENT_PARTS: usize = 6;

/// Stores a payload and returns its location. A small one goes into its record, so nothing is written here.
pub(crate) async fn store(
    db: &Client,
    table: &str,
    payload: &[u8],
    expire_at: UnixSecs,
) -> Result<PayloadLocation, AwsError> {
    if payload.len() <= INLINE_PAYLOAD_MAX_BYTES {
        return Ok(PayloadLocation::Inline(payload.to_vec()));
    }
    let deflated = deflate(payload);
    let pieces: Vec<(String, &[u8])> =
        deflated.chunks(PART_MAX_BYTES).map(|piece| (payload_hash(piece), piece)).collect();
    let puts: Vec<_> =
        pieces.iter().map(|(name, piece)| put_part(db, table, name, piece, expire_at)).collect();
    // In any order, because no record names the parts before all of them are stored.
    stream::iter(puts).buffer_unordered(CONCURRENT_PARTS).try_collect::<Vec<_>>().await?;
    Ok(PayloadLocation::Parts { names: pieces.into_iter().map(|(name, _)| name).collect(), expire_at })
}

/// Loads a stored payload. Its hash is checked: the bytes are those that were stored, or it is an error.
pub(crate) async fn load(
    db: &Client,
    table: &str,
    stored: &PayloadLocation,
    hash: &str,
    payload_bytes: usize,
) -> Result<Vec<u8>, AwsError> {
    let payload = match stored {
        PayloadLocation::Inline(payload) => Some(payload.clone()),
        PayloadLocation::Parts { names, .. } => inflate(&load_parts(db, table, names).await?, payload_bytes),
    };
    payload.filter(|payload| payload_hash(payload) == hash).ok_or(AwsError::unreadable_item(GET))
}

async fn load_parts(db: &Client, table: &str, names: &[String]) -> Result<Vec<u8>, AwsError> {
    let gets: Vec<_> = names.iter().map(|name| get_part(db, table, name)).collect();
    // In order, because the pieces are joined.
    let pieces: Vec<_> = stream::iter(gets).buffered(CONCURRENT_PARTS).try_collect().await?;
    Ok(pieces.concat())
}

async fn get_part(db: &Client, table: &str, name: &str) -> Result<Vec<u8>, AwsError> {
    let get = db.get_item().table_name(table).set_key(Some(part_key(name))).consistent_read(true);
    let answer = get.send().await.map_err(|error| AwsError::from_sdk_error(GET, &error))?;
    let part = answer.item().ok_or(AwsError::payload_gone(GET))?;
    part_bytes(part).ok_or(AwsError::unreadable_item(GET))
}

/// Moves the expiry of the parts to a later time. The error is
/// [`AwsErrorKind::PayloadGone`](crate::AwsErrorKind::PayloadGone) if one is gone.
pub(crate) async fn extend_expiry(
    db: &Client,
    table: &str,
    names: &[String],
    expire_at: UnixSecs,
) -> Result<(), AwsError> {
    for name in names {
        let moved = db
            .update_item()
            .table_name(table)
            .set_key(Some(part_key(name)))
            .update_expression("SET expires_at = :at")
            // Also false for a part that is gone: the update would create an empty one.
            .condition_expression(EXPIRES_BEFORE)
            .expression_attribute_values(":at", number(expire_at.0))
            .return_values_on_condition_check_failure(AllOld)
            .send()
            .await;
        match moved {
            Err(error) if existing_item(&error).is_some() => {}
            Err(error) if condition_failed(&error) => {
                return Err(AwsError::payload_gone("dynamodb:UpdateItem"));
            }
            moved => drop(moved.map_err(|error| AwsError::from_sdk_error("dynamodb:UpdateItem", &error))?),
        }
    }
    Ok(())
}

async fn put_part(
    db: &Client,
    table: &str,
    name: &str,
    piece: &[u8],
    expire_at: UnixSecs,
) -> Result<(), AwsError> {
    let put = db
        .put_item()
        .table_name(table)
        .set_item(Some(part_key(name)))
        .item("v", number(SCHEMA_VERSION))
        .item("piece", binary(piece))
        .item("expires_at", number(expire_at.0))
        .condition_expression(format!("attribute_not_exists(pk) OR {EXPIRES_BEFORE}"))
        .expression_attribute_values(":at", number(expire_at.0))
        .send()
        .await;
    match put {
        // The part exists, and expires no sooner.
        Err(error) if condition_failed(&error) => Ok(()),
        put => put.map(drop).map_err(|error| AwsError::from_sdk_error("dynamodb:PutItem", &error)),
    }
}

fn part_key(name: &str) -> Item {
    key(&format!("payload#{name}"), "part")
}

fn part_bytes(part: &Item) -> Option<Vec<u8>> {
    Some(part.get("piece")?.as_b().ok()?.as_ref().to_vec())
}

fn deflate(payload: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    // Writing into memory cannot fail.
    let _ = encoder.write_all(payload);
    encoder.finish().unwrap_or_default()
}

fn inflate(deflated: &[u8], payload_bytes: usize) -> Option<Vec<u8>> {
    let mut payload = Vec::with_capacity(payload_bytes);
    // One byte more than expected shows that the payload is too long, without inflating all of it.
    let bound = u64::try_from(payload_bytes).ok()?.checked_add(1)?;
    DeflateDecoder::new(deflated).take(bound).read_to_end(&mut payload).ok()?;
    (payload.len() == payload_bytes).then_some(payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deflating_can_be_undone_and_inflating_is_bounded() {
        let payload = b"{\"a\":1}".repeat(10_000);
        let deflated = deflate(&payload);
        assert!(deflated.len() < payload.len() / 10);
        assert_eq!(inflate(&deflated, payload.len()), Some(payload.clone()));
        assert_eq!(inflate(&deflated, payload.len() - 1), None, "longer than it claims to be");
        assert_eq!(inflate(&deflated, payload.len() + 1), None, "shorter than it claims to be");
        assert_eq!(inflate(b"no deflate stream", 5), None);
    }
}
