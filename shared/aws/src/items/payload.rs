//! Payloads: small ones are an attribute of the item, large ones are deflated and cut into part items.
//!
//! A part is named by the hash of its own bytes, so a second write of it is the same write, whichever version deflated the
//! payload. The parts of one payload are in different partitions, because one partition takes 1 MB/s. Parts are written
//! before the item that names them; a crash between the two leaves orphans, which expire. Several items may name the same
//! part: its expiry only ever moves later.

use std::fmt;
use std::io::{Read, Write};

use aws_sdk_dynamodb::types::AttributeValue;
use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use futures::stream::{self, StreamExt, TryStreamExt};

use inbox_core::event::payload_hash;
use inbox_core::expiry::parts_expiry;
use inbox_core::limits::{INLINE_PAYLOAD_MAX_BYTES, PART_MAX_BYTES};
use inbox_core::time::{UnixMillis, UnixSecs};

use crate::table::attribute::Attribute;
use crate::table::key::Key;
use crate::table::new_item::NewItem;
use crate::table::update::Update;
use crate::table::value::{Item, ToAttribute, read};
use crate::table::{GET, Table, UPDATE, Written};
use crate::{AwsError, AwsErrorKind};

/// Part items that are read or written at the same time.
const CONCURRENT_PARTS: usize = 6;

/// A payload that is stored: where, how large, and with which hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPayload {
    /// SHA-256 of the payload, in hexadecimal.
    pub hash: String,
    /// Size of the payload, in bytes.
    pub bytes: usize,
    location: PayloadLocation,
}

#[derive(Clone, PartialEq, Eq)]
enum PayloadLocation {
    /// In the item itself.
    Inline(Vec<u8>),
    /// Deflated, in part items of these names, which DynamoDB may delete from `expire_at` on.
    Parts { names: Vec<String>, expire_at: UnixSecs },
    /// Erased by an operator, at this time.
    Erased(UnixMillis),
}

/// Shows no payload (P8).
impl fmt::Debug for PayloadLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inline(payload) => write!(f, "Inline({} bytes)", payload.len()),
            Self::Parts { names, .. } => write!(f, "Parts({})", names.len()),
            Self::Erased(_) => f.write_str("Erased"),
        }
    }
}

impl StoredPayload {
    /// Reads where an item's payload is; `None` if it has none.
    pub(crate) fn from_item(item: &Item) -> Option<Self> {
        let location = match (item.get(Attribute::Payload.name()), read(item, Attribute::PayloadErasedAt)) {
            (_, Some(erased_at)) => PayloadLocation::Erased(erased_at),
            (Some(payload), None) => PayloadLocation::Inline(payload.as_b().ok()?.as_ref().to_vec()),
            (None, None) => PayloadLocation::Parts {
                names: read(item, Attribute::Parts)?,
                expire_at: read(item, Attribute::PartsExpireAt)?,
            },
        };
        Some(Self {
            hash: read(item, Attribute::PayloadHash)?,
            bytes: read(item, Attribute::PayloadBytes)?,
            location,
        })
    }

    /// The attributes of an item that has this payload.
    pub(crate) fn attributes(&self) -> Vec<(Attribute, AttributeValue)> {
        let mut attributes = vec![
            (Attribute::PayloadHash, self.hash.to_attribute()),
            (Attribute::PayloadBytes, self.bytes.to_attribute()),
        ];
        match &self.location {
            PayloadLocation::Inline(payload) => {
                attributes.push((Attribute::Payload, payload.as_slice().to_attribute()));
            }
            PayloadLocation::Parts { names, expire_at } => attributes.extend([
                (Attribute::Parts, names.to_attribute()),
                (Attribute::PartsExpireAt, expire_at.to_attribute()),
            ]),
            PayloadLocation::Erased(at) => attributes.push((Attribute::PayloadErasedAt, at.to_attribute())),
        }
        attributes
    }

    /// Time at which an operator erased the payload; `None` if it was not erased.
    pub const fn erased_at(&self) -> Option<UnixMillis> {
        match self.location {
            PayloadLocation::Erased(at) => Some(at),
            PayloadLocation::Inline(_) | PayloadLocation::Parts { .. } => None,
        }
    }

    /// The payload, if it is in the item itself.
    pub(crate) fn inline(&self) -> Option<&[u8]> {
        match &self.location {
            PayloadLocation::Inline(payload) => Some(payload),
            PayloadLocation::Parts { .. } | PayloadLocation::Erased(_) => None,
        }
    }

    /// The names of its parts, and their expiry; `None` if it is not in parts.
    pub(crate) fn parts(&self) -> Option<(&[String], UnixSecs)> {
        match &self.location {
            PayloadLocation::Parts { names, expire_at } => Some((names, *expire_at)),
            PayloadLocation::Inline(_) | PayloadLocation::Erased(_) => None,
        }
    }
}

impl Table {
    /// Stores a payload. A small one goes into its item, so nothing is written here.
    pub(crate) async fn store_payload(
        &self,
        payload: &[u8],
        expire_at: UnixSecs,
    ) -> Result<StoredPayload, AwsError> {
        let (hash, bytes) = (payload_hash(payload), payload.len());
        if bytes <= INLINE_PAYLOAD_MAX_BYTES {
            return Ok(StoredPayload { hash, bytes, location: PayloadLocation::Inline(payload.to_vec()) });
        }
        let deflated = deflate(payload);
        let pieces: Vec<(String, &[u8])> =
            deflated.chunks(PART_MAX_BYTES).map(|piece| (payload_hash(piece), piece)).collect();
        let puts: Vec<_> = pieces.iter().map(|(name, piece)| self.put_part(name, piece, expire_at)).collect();
        // In any order, because no item names the parts before all of them are stored.
        stream::iter(puts).buffer_unordered(CONCURRENT_PARTS).try_collect::<Vec<_>>().await?;
        let names = pieces.into_iter().map(|(name, _)| name).collect();
        Ok(StoredPayload { hash, bytes, location: PayloadLocation::Parts { names, expire_at } })
    }

    /// Loads a stored payload. Its hash is checked: the bytes are those that were stored, or it is an error.
    pub(crate) async fn load_payload(&self, stored: &StoredPayload) -> Result<Vec<u8>, AwsError> {
        let payload = match &stored.location {
            PayloadLocation::Inline(payload) => Some(payload.clone()),
            PayloadLocation::Parts { names, .. } => inflate(&self.load_parts(names).await?, stored.bytes),
            PayloadLocation::Erased(_) => return Err(AwsError::payload_gone(GET)),
        };
        payload.filter(|payload| payload_hash(payload) == stored.hash).ok_or(AwsError::unreadable_item(GET))
    }

    /// Moves the expiry of a payload's parts to `expire_at`, if it is earlier. Returns `true` if it was moved.
    ///
    /// # Errors
    ///
    /// The kind is [`AwsErrorKind::PayloadGone`] if a part is gone.
    pub(crate) async fn extend_payload_expiry(
        &self,
        stored: &mut StoredPayload,
        expire_at: UnixSecs,
    ) -> Result<bool, AwsError> {
        let PayloadLocation::Parts { names, expire_at: current } = &mut stored.location else {
            return Ok(false);
        };
        if *current >= expire_at {
            return Ok(false);
        }
        for name in names {
            // The condition is also false for a part that is gone: the update would create an empty one.
            let update = Update::without_rev(Key::payload_part(name))
                .only_if(Attribute::ExpiresAt.is_below(&expire_at))
                .set(Attribute::ExpiresAt, &expire_at);
            if let Written::ConditionFailed(None) = self.update(update).await? {
                return Err(AwsError::payload_gone(UPDATE));
            }
        }
        *current = expire_at;
        Ok(true)
    }

    /// Makes sure that the payload outlives its record, even one that could not be enqueued for months: `record_expires_at` is
    /// when the record may expire. Returns the new expiry of the parts if it has moved.
    ///
    /// # Errors
    ///
    /// The kind is [`AwsErrorKind::PayloadGone`] if a part is gone, or the payload was erased.
    pub(crate) async fn outlive_record(
        &self,
        stored: &mut StoredPayload,
        record_expires_at: UnixSecs,
        now: UnixMillis,
    ) -> Result<Option<UnixSecs>, AwsError> {
        match &stored.location {
            PayloadLocation::Parts { expire_at, .. } if *expire_at <= record_expires_at => {
                let later = parts_expiry(now, self.retention_days);
                Ok(self.extend_payload_expiry(stored, later).await?.then_some(later))
            }
            PayloadLocation::Parts { .. } | PayloadLocation::Inline(_) => Ok(None),
            PayloadLocation::Erased(_) => Err(AwsError::payload_gone(UPDATE)),
        }
    }

    async fn load_parts(&self, names: &[String]) -> Result<Vec<u8>, AwsError> {
        let gets: Vec<_> = names.iter().map(|name| self.get_part(name)).collect();
        // In order, because the pieces are joined.
        let pieces: Vec<_> = stream::iter(gets).buffered(CONCURRENT_PARTS).try_collect().await?;
        Ok(pieces.concat())
    }

    async fn get_part(&self, name: &str) -> Result<Vec<u8>, AwsError> {
        let part = self.get(&Key::payload_part(name)).await?.ok_or(AwsError::payload_gone(GET))?;
        let piece = part.get(Attribute::Piece.name()).and_then(|piece| piece.as_b().ok());
        piece.map(|bytes| bytes.as_ref().to_vec()).ok_or(AwsError::unreadable_item(GET))
    }

    async fn put_part(&self, name: &str, piece: &[u8], expire_at: UnixSecs) -> Result<(), AwsError> {
        let part = NewItem::at(&Key::payload_part(name))
            .set(Attribute::Piece, piece)
            .set(Attribute::ExpiresAt, &expire_at)
            .build();
        let is_new_or_expires_sooner =
            Attribute::Pk.is_missing().or(Attribute::ExpiresAt.is_below(&expire_at));
        // If the condition fails, the part exists, and expires no sooner.
        self.put_if(part, &is_new_or_expires_sooner).await
    }
}

/// The beginning of a payload, as far as the first part of it can be inflated; `None` if the part is not the first one.
pub(crate) fn inflate_beginning(piece: &[u8], bytes_max: u64) -> Option<Vec<u8>> {
    let mut payload = Vec::new();
    // An error at the end only says that other parts follow.
    let _ = DeflateDecoder::new(piece).take(bytes_max).read_to_end(&mut payload);
    (!payload.is_empty()).then_some(payload)
}

/// Returns `true` if the error says that a part is gone: an operator may replay a record whose parts have expired.
pub(crate) fn is_payload_gone(error: &AwsError) -> bool {
    error.kind == AwsErrorKind::PayloadGone
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
