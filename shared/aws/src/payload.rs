//! Large payloads: deflated, cut into content-addressed part items.
//!
//! Parts are written before the record that refers to them, unconditionally: the same content makes the same
//! parts. A crash between the two leaves orphans, which expire.

use std::io::{Read, Write};

use aws_sdk_dynamodb::Client;
use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use futures::stream::{self, StreamExt, TryStreamExt};

use inbox_core::event::payload_hash;
use inbox_core::limits::{INLINE_PAYLOAD_MAX_BYTES, PART_MAX_BYTES};
use inbox_core::time::UnixSecs;

use crate::Fault;
use crate::item::{Item, Stored, VERSION, binary, key, number};

/// Parts in flight at the same time.
const CONCURRENT_PARTS: usize = 6;

/// Stores a payload: nothing to do for a small one, which goes into its record.
pub(crate) async fn store(
    db: &Client,
    table: &str,
    payload: &[u8],
    hash: &str,
    expire_at: UnixSecs,
) -> Result<Stored, Fault> {
    if payload.len() <= INLINE_PAYLOAD_MAX_BYTES {
        return Ok(Stored::Inline(payload.to_vec()));
    }
    let deflated = deflate(payload);
    let pieces: Vec<&[u8]> = deflated.chunks(PART_MAX_BYTES).collect();
    let count = u32::try_from(pieces.len()).unwrap_or(u32::MAX);
    let puts: Vec<_> = pieces
        .into_iter()
        .zip(0..)
        .map(|(piece, n)| put_part(db, table, hash, n, piece, expire_at))
        .collect();
    stream::iter(puts).buffer_unordered(CONCURRENT_PARTS).try_collect::<Vec<_>>().await?;
    Ok(Stored::Parts { count, expire_at })
}

/// Gets a stored payload back. The bytes are those that were stored, or it is a fault.
pub(crate) async fn load(
    db: &Client,
    table: &str,
    stored: &Stored,
    hash: &str,
    payload_bytes: usize,
) -> Result<Vec<u8>, Fault> {
    let count = match stored {
        Stored::Inline(payload) => return Ok(payload.clone()),
        Stored::Parts { count, .. } => *count,
    };
    let pieces: Vec<Vec<u8>> = stream::iter(0..count)
        .map(|n| async move {
            let answer = db
                .get_item()
                .table_name(table)
                .set_key(Some(part_key(hash, n)))
                .consistent_read(true)
                .send()
                .await
                .map_err(|error| Fault::of("dynamodb:GetItem", &error))?;
            piece_of(answer.item()).ok_or(Fault::item("dynamodb:GetItem"))
        })
        .buffered(CONCURRENT_PARTS)
        .try_collect()
        .await?;
    inflate(&pieces.concat(), payload_bytes)
        .filter(|payload| payload_hash(payload) == hash)
        .ok_or(Fault::item("dynamodb:GetItem"))
}

/// Moves the expiry of a stored payload's parts.
pub(crate) async fn keep_until(
    db: &Client,
    table: &str,
    hash: &str,
    count: u32,
    expire_at: UnixSecs,
) -> Result<(), Fault> {
    for n in 0..count {
        db.update_item()
            .table_name(table)
            .set_key(Some(part_key(hash, n)))
            .update_expression("SET expires_at = :at")
            .expression_attribute_values(":at", number(expire_at.0))
            .send()
            .await
            .map_err(|error| Fault::of("dynamodb:UpdateItem", &error))?;
    }
    Ok(())
}

async fn put_part(
    db: &Client,
    table: &str,
    hash: &str,
    n: u32,
    piece: &[u8],
    expire_at: UnixSecs,
) -> Result<(), Fault> {
    db.put_item()
        .table_name(table)
        .set_item(Some(part_key(hash, n)))
        .item("v", number(VERSION))
        .item("piece", binary(piece))
        .item("expires_at", number(expire_at.0))
        .send()
        .await
        .map(|_| ())
        .map_err(|error| Fault::of("dynamodb:PutItem", &error))
}

fn part_key(hash: &str, n: u32) -> Item {
    key(&format!("payload#{hash}"), &format!("part#{n}"))
}

fn piece_of(item: Option<&Item>) -> Option<Vec<u8>> {
    Some(item?.get("piece")?.as_b().ok()?.as_ref().to_vec())
}

fn deflate(payload: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    // Writing into memory cannot fail.
    let _ = encoder.write_all(payload);
    encoder.finish().unwrap_or_default()
}

fn inflate(deflated: &[u8], payload_bytes: usize) -> Option<Vec<u8>> {
    let mut payload = Vec::with_capacity(payload_bytes);
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
