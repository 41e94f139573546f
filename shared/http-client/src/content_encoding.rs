//! Decodes the content codings of responses (RFC 9110, 8.4). A proxy may compress what the API does not.

use std::io::{self, Read};

use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use reqwest::header::{CONTENT_ENCODING, HeaderMap, HeaderValue};

use crate::HttpError;

/// The codings that [`decode_body`] decodes, for `Accept-Encoding`.
pub(crate) const ACCEPTED: HeaderValue = HeaderValue::from_static("gzip, deflate");

/// The low half of a zlib stream's first byte. A raw deflate stream does not begin so.
const ZLIB_METHOD: u8 = 8;

/// Decodes the body by its headers. The decoded body may have at most `max_bytes` bytes.
pub(crate) fn decode_body(
    headers: &HeaderMap,
    body: Vec<u8>,
    max_bytes: usize,
) -> Result<Vec<u8>, HttpError> {
    let mut codings = Vec::new();
    for line in headers.get_all(CONTENT_ENCODING) {
        let line = line.to_str().map_err(|_| unsupported(""))?;
        codings.extend(line.split(',').map(|coding| coding.trim().to_ascii_lowercase()));
    }
    // The last coding was applied last.
    codings.iter().rev().try_fold(body, |body, coding| match coding.as_str() {
        "" | "identity" => Ok(body),
        _ if body.is_empty() => Ok(body),
        // A gzip body may have several members.
        "gzip" | "x-gzip" => read_limited(MultiGzDecoder::new(&*body), max_bytes),
        // By the standard it is zlib; some servers send the raw stream.
        "deflate" if body.first().is_some_and(|first| first & 0x0f == ZLIB_METHOD) => {
            read_limited(ZlibDecoder::new(&*body), max_bytes)
        }
        "deflate" => read_limited(DeflateDecoder::new(&*body), max_bytes),
        other => Err(unsupported(other)),
    })
}

fn read_limited(decoder: impl Read, max_bytes: usize) -> Result<Vec<u8>, HttpError> {
    // One byte more than allowed shows that the body is too large, without decoding all of it.
    let limit = u64::try_from(max_bytes).unwrap_or(u64::MAX).saturating_add(1);
    let mut body = Vec::new();
    let read: io::Result<usize> = decoder.take(limit).read_to_end(&mut body);
    read.map_err(|_| HttpError::InvalidResponse("its content-encoding cannot be decoded"))?;
    if body.len() > max_bytes { Err(HttpError::TOO_LARGE) } else { Ok(body) }
}

/// The error for a coding; it names only registered ones.
fn unsupported(coding: &str) -> HttpError {
    HttpError::InvalidResponse(match coding {
        "br" => "content-encoding br, which was not asked for",
        "compress" | "x-compress" => "content-encoding compress, which was not asked for",
        "dcb" => "content-encoding dcb, which was not asked for",
        "dcz" => "content-encoding dcz, which was not asked for",
        "exi" => "content-encoding exi, which was not asked for",
        "zstd" => "content-encoding zstd, which was not asked for",
        // Other values of the header stay out of logs (P8).
        _ => "a content-encoding that was not asked for",
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use proptest::prelude::*;

    const BODY: &[u8] = br#"{"balances":[]}"#;

    fn gzip(body: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(body).unwrap();
        encoder.finish().unwrap()
    }

    fn zlib(body: &[u8], level: u32) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::new(level));
        encoder.write_all(body).unwrap();
        encoder.finish().unwrap()
    }

    fn raw(body: &[u8], level: u32) -> Vec<u8> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::new(level));
        encoder.write_all(body).unwrap();
        encoder.finish().unwrap()
    }

    fn decode_with(codings: &[&'static str], body: &[u8]) -> Result<Vec<u8>, HttpError> {
        let lines = codings.iter().map(|line| (CONTENT_ENCODING, HeaderValue::from_static(line)));
        decode_body(&lines.collect(), body.to_vec(), 1_000)
    }

    #[test]
    fn accepted_codings_are_decoded() {
        for (codings, body) in [
            (&[][..], BODY.to_vec()),
            (&["identity"], BODY.to_vec()),
            (&["gzip"], gzip(BODY)),
            (&["GZip"], gzip(BODY)),
            (&["x-gzip"], gzip(BODY)),
            (&["gzip, identity"], gzip(BODY)),
            (&["gzip"], [gzip(&BODY[..3]), gzip(&BODY[3..])].concat()),
            (&["deflate"], zlib(BODY, 6)),
            (&["deflate"], zlib(BODY, 0)),
            (&["deflate"], raw(BODY, 6)),
            (&["deflate"], raw(BODY, 0)),
            (&["deflate, gzip"], gzip(&zlib(BODY, 6))),
            (&["deflate", "gzip"], gzip(&zlib(BODY, 6))),
        ] {
            assert_eq!(decode_with(codings, &body), Ok(BODY.to_vec()), "{codings:?}");
        }
        assert_eq!(decode_with(&["gzip"], b""), Ok(vec![]), "nothing is nothing");
    }

    #[test]
    fn other_codings_are_named_and_corrupt_bodies_are_invalid() {
        let unasked = |coding| Err(HttpError::InvalidResponse(coding));
        assert_eq!(decode_with(&["br"], BODY), unasked("content-encoding br, which was not asked for"));
        assert_eq!(
            decode_with(&["gzip, zstd"], BODY),
            unasked("content-encoding zstd, which was not asked for")
        );
        assert_eq!(decode_with(&["canary"], BODY), unasked("a content-encoding that was not asked for"));
        let cut_off = gzip(BODY);
        for body in [BODY, &cut_off[..cut_off.len() - 9], &cut_off[..5]] {
            assert_eq!(decode_with(&["gzip"], body), unasked("its content-encoding cannot be decoded"));
        }
        assert_eq!(decode_with(&["deflate"], &[0xff; 20]), unasked("its content-encoding cannot be decoded"));
    }

    #[test]
    fn the_largest_size_holds_after_decoding() {
        assert_eq!(decode_with(&["gzip"], &gzip(&[b' '; 1_000])).map(|body| body.len()), Ok(1_000));
        for bomb in [gzip(&[b' '; 1_001]), gzip(&vec![b' '; 50_000_000])] {
            assert_eq!(decode_with(&["gzip"], &bomb), Err(HttpError::TOO_LARGE));
        }
        assert_eq!(
            decode_with(&["gzip, gzip"], &gzip(&gzip(&vec![b' '; 50_000_000]))),
            Err(HttpError::TOO_LARGE)
        );
    }

    proptest! {
        #[test]
        fn any_body_comes_back_and_no_bytes_make_it_panic(body in prop::collection::vec(any::<u8>(), 1..900), level in 0u32..10) {
            for (coding, coded) in [("gzip", gzip(&body)), ("deflate", zlib(&body, level)), ("deflate", raw(&body, level))] {
                prop_assert_eq!(decode_with(&[coding], &coded), Ok(body.clone()), "{}", coding);
                let odd = decode_with(&[coding], &body);
                prop_assert!(odd.is_err() || odd.is_ok_and(|read| read.len() <= 1_000));
            }
        }
    }
}
