//! A response: its status first, then its body within limits.

use std::fmt;
use std::time::Duration;

use reqwest::Response;

use crate::{HttpError, content_encoding};

/// Size limit of a response, before and after it is decoded.
pub const RESPONSE_MAX_BYTES: usize = 8 * 1024 * 1024;

/// A response whose body is not read yet.
pub struct ApiResponse {
    response: Response,
    /// The pause that it asks for, a day at most.
    pub retry_after: Option<Duration>,
}

impl ApiResponse {
    pub(crate) const fn new(response: Response, retry_after: Option<Duration>) -> Self {
        Self { response, retry_after }
    }

    /// The status.
    pub fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    /// Reads and decodes the whole body, within [`RESPONSE_MAX_BYTES`].
    pub async fn read_body(mut self) -> Result<Vec<u8>, HttpError> {
        let response = &mut self.response;
        let max_bytes = u64::try_from(RESPONSE_MAX_BYTES).unwrap_or(u64::MAX);
        if response.content_length().is_some_and(|length| length > max_bytes) {
            return Err(HttpError::TOO_LARGE);
        }
        let headers = std::mem::take(response.headers_mut());
        let mut body = Vec::new();
        // Chunk by chunk, because a response need not state its length.
        while let Some(chunk) = response.chunk().await? {
            if body.len().saturating_add(chunk.len()) > RESPONSE_MAX_BYTES {
                return Err(HttpError::TOO_LARGE);
            }
            body.extend_from_slice(&chunk);
        }
        content_encoding::decode_body(&headers, body, RESPONSE_MAX_BYTES)
    }
}

/// Shows neither headers nor body (P8).
impl fmt::Debug for ApiResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiResponse({})", self.status())
    }
}
