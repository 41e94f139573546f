//! A session at Fynapse: the token that our API client was given, and the calls with it.

use std::fmt;
use std::sync::Arc;

use inbox_http_client::{ClientConfig, HttpClient};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{RequestBuilder, Url};
use serde::Deserialize;
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use inbox_core::fynapse_api::credentials::ClientCredentials;
use inbox_core::fynapse_api::paging::PageRequest;
use inbox_core::id::Id;

use crate::transport::Transport;
use crate::{ApiError, ClientBuildError};

/// A client of Fynapse's API. Clones share their connections.
#[derive(Clone)]
pub struct FynapseClient(Transport);

impl FynapseClient {
    /// Creates the client. Nothing is connected yet.
    pub fn new(config: ClientConfig) -> Result<Self, ClientBuildError> {
        Transport::new(config).map(Self)
    }

    /// Begins a session with these credentials. The first call fetches the token.
    pub fn session(&self, credentials: ClientCredentials) -> FynapseSession {
        FynapseSession { client: self.clone(), credentials, token: Mutex::new(None) }
    }

    async fn fetch_token(&self, credentials: &ClientCredentials) -> Result<AccessToken, ApiError> {
        let encoded = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
        let form = Zeroizing::new(format!(
            "grant_type=client_credentials&client_id={}&client_secret={}",
            encoded(&credentials.client_id),
            encoded(&credentials.client_secret),
        ));
        let url = self.0.token_url()?;
        let post = |client: &HttpClient| client.post_form(url.clone(), form.as_str().to_owned());
        let body = self.0.send(post).await.map_err(refused)?;
        AccessToken::parse(&Zeroizing::new(body))
    }
}

/// An answer of the token endpoint that is about the credentials. RFC 6749, 5.2, answers wrong ones with 400 or 401; Fynapse documents
/// 401 and 403 (shared/providers/fynapse.md, "Management API").
fn refused(error: ApiError) -> ApiError {
    match error {
        ApiError::TokenExpired | ApiError::Forbidden | ApiError::Declined(400) => {
            ApiError::CredentialsRefused
        }
        other @ (ApiError::CredentialsRefused
        | ApiError::NotFound
        | ApiError::RateLimited
        | ApiError::Unavailable(_)
        | ApiError::Declined(_)
        | ApiError::InvalidResponse(_)) => other,
    }
}

/// The token of a session.
struct AccessToken(HeaderValue);

#[derive(Deserialize)]
struct TokenAnswer<'a> {
    #[serde(borrow)]
    access_token: &'a str,
}

impl AccessToken {
    fn parse(body: &[u8]) -> Result<Self, ApiError> {
        const NO_TOKEN: ApiError = ApiError::InvalidResponse("an answer without a token");
        let answer: TokenAnswer<'_> = serde_json::from_slice(body).map_err(|_| NO_TOKEN)?;
        let text = Zeroizing::new(format!("Bearer {}", answer.access_token));
        let mut header = HeaderValue::from_str(&text).map_err(|_| NO_TOKEN)?;
        // Keeps the token out of `Debug` output (P8).
        header.set_sensitive(true);
        if answer.access_token.is_empty() { Err(NO_TOKEN) } else { Ok(Self(header)) }
    }
}

/// A call of the API.
struct Call {
    url: Url,
    /// The body of a `POST`; a `GET` has none.
    posted: Option<String>,
}

/// A session at Fynapse.
pub struct FynapseSession {
    client: FynapseClient,
    credentials: ClientCredentials,
    token: Mutex<Option<Arc<AccessToken>>>,
}

impl FynapseSession {
    /// Fetches the token, which the first call would fetch otherwise.
    pub async fn begin(&self) -> Result<(), ApiError> {
        self.current_token().await.map(drop)
    }

    /// Reads a page of the deliveries of a subscription. The answer's form is not documented, so it is returned as it is.
    pub async fn deliveries(&self, subscription_id: &Id, page: &PageRequest) -> Result<Vec<u8>, ApiError> {
        let mut url = self.endpoint(&["subscriptions", subscription_id.as_str(), "deliveries"])?;
        let query = page.query();
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.get(url).await
    }

    /// Sends a request that changes nothing, so it is repeated freely.
    pub(crate) async fn get(&self, url: Url) -> Result<Vec<u8>, ApiError> {
        self.call(&Call { url, posted: None }).await
    }

    /// Sends a request that changes something. It is sent once; only if the token is not accepted, once more with a new one.
    pub(crate) async fn post(&self, url: Url, body: String) -> Result<Vec<u8>, ApiError> {
        self.call(&Call { url, posted: Some(body) }).await
    }

    /// The URL of these segments below the API's path. Opaque ids may be among them.
    pub(crate) fn endpoint(&self, segments: &[&str]) -> Result<Url, ApiError> {
        self.client.0.endpoint(segments)
    }

    /// Makes a call; once more with a new token if the session has ended.
    async fn call(&self, call: &Call) -> Result<Vec<u8>, ApiError> {
        let (token, is_new) = self.current_token().await?;
        match self.call_with(&token, call).await {
            Err(ApiError::TokenExpired) if !is_new => {
                let token = self.renew_token(&token).await?;
                self.call_with(&token, call).await.map_err(refused_with_new_token)
            }
            answer => answer.map_err(refused_with_new_token),
        }
    }

    async fn call_with(&self, token: &AccessToken, call: &Call) -> Result<Vec<u8>, ApiError> {
        let (transport, url) = (&self.client.0, &call.url);
        let authorized = |request: RequestBuilder| request.header(AUTHORIZATION, token.0.clone());
        match call.posted.clone() {
            None => transport.send(|client| authorized(client.get(url.clone()))).await,
            Some(body) => {
                transport.send_once(|client| authorized(client.post_json(url.clone(), body.into()))).await
            }
        }
    }

    /// The token, and whether it was fetched for this call.
    async fn current_token(&self) -> Result<(Arc<AccessToken>, bool), ApiError> {
        let mut current = self.token.lock().await;
        if let Some(token) = &*current {
            return Ok((token.clone(), false));
        }
        let token = Arc::new(self.client.fetch_token(&self.credentials).await?);
        *current = Some(token.clone());
        Ok((token, true))
    }

    /// Fetches a new token, unless another call has replaced `used` meanwhile.
    async fn renew_token(&self, used: &Arc<AccessToken>) -> Result<Arc<AccessToken>, ApiError> {
        let mut current = self.token.lock().await;
        if let Some(token) = current.as_ref().filter(|token| !Arc::ptr_eq(token, used)) {
            return Ok(token.clone());
        }
        let token = Arc::new(self.client.fetch_token(&self.credentials).await?);
        *current = Some(token.clone());
        Ok(token)
    }
}

/// A token that was just given and is not accepted says that the credentials are of no use.
fn refused_with_new_token(error: ApiError) -> ApiError {
    if error == ApiError::TokenExpired { ApiError::CredentialsRefused } else { error }
}

/// Does not show the URL.
impl fmt::Debug for FynapseClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FynapseClient")
    }
}

/// Shows neither credentials nor token (P8).
impl fmt::Debug for FynapseSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FynapseSession")
    }
}
