//! Limits of secrets: their number, and how long a loaded one is used.

/// Most values accepted at the same time in one secret.
pub const SECRETS_MAX: usize = 4;
/// Longest use of a loaded secret while it can be fetched again.
pub const SECRET_TTL_SECS: u64 = 300;
/// Age from which a secret is fetched again; a pause between two fetches still fits before its expiry.
pub const SECRET_REFRESH_SECS: u64 = 240;
/// Shortest pause between two fetches that a caller's mismatch can cause.
pub const SECRET_REFETCH_SECS: u64 = 30;
/// Shortest pause between two fetches while the secret was never loaded.
pub const SECRET_FIRST_LOAD_RETRY_MS: u64 = 1_000;
