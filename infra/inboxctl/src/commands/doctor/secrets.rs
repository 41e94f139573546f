//! Checks that the secrets hold usable values. Never prints a value.

use std::ops::Deref;

use inbox_aws::stores::{EventFilter, PageStart};
use inbox_aws::{AwsError, AwsErrorKind, secrets};
use inbox_core::delivery::Provider;
use inbox_core::due_queue::DueQueue;
use inbox_core::limits::SECRETS_MAX;
use inbox_core::providers::ProviderSpec;
use inbox_core::quarantine::QuarantineId;
use inbox_core::secret_keys::{KeyCodec, KeyError, Keys, parse_api_key};

use super::check_result::CheckResult;
use crate::aws_error::{ResourceRef, WithResource};
use crate::target::Target;
use crate::webhook_keys::{fynapse_key_codec, suspicion_text};

/// Number of quarantine items that are searched for one of a provider.
const SAMPLE_SIZE: usize = 50;

/// A secret, and the effect of leaving it empty.
struct SecretCheck {
    check: &'static str,
    provider: Provider,
    while_empty: &'static str,
    /// Advice if the suspected mistake in its value is one.
    if_mistaken: &'static str,
}

const FYNAPSE_SIGNING: SecretCheck = SecretCheck {
    check: "secret of Fynapse",
    provider: Provider::Fynapse,
    while_empty: "every delivery of Fynapse is answered 503",
    if_mistaken: "if Fynapse did not issue it like that, store the bare value: until then every genuine delivery is \
                  rejected, although `inboxctl send` passes, as it signs with the same wrong value",
};
const RIGHTFOOT_URL_KEY: SecretCheck = SecretCheck {
    check: "key of Rightfoot's URLs",
    provider: Provider::Rightfoot,
    while_empty: "every delivery of Rightfoot is answered 503, and no URL can be minted",
    if_mistaken: "the URLs that were minted with it are accepted only while it stays: if it is a mistake, put the right value \
                  before it, as [\"right\", \"as it is\"], and mint the URLs again",
};
const RIGHTFOOT_API_KEY: SecretCheck = SecretCheck {
    check: "key of Rightfoot's API",
    provider: Provider::Rightfoot,
    while_empty: "nothing can be submitted to Rightfoot or polled",
    if_mistaken: "if Rightfoot did not issue it like that, store the bare key: until then every request is answered 401",
};

pub(super) async fn checks(target: &Target) -> [CheckResult; 3] {
    let codec = fynapse_key_codec(target).map_err(|_| KeyError::UnknownCodec);
    let keys = |codec: Result<KeyCodec, KeyError>| move |value: &str| Keys::parse(value, codec?).map(drop);
    [
        FYNAPSE_SIGNING.check(target, target.fynapse_secret(), keys(codec)).await,
        RIGHTFOOT_URL_KEY.check(target, target.rightfoot_url_key(), keys(Ok(KeyCodec::Utf8))).await,
        RIGHTFOOT_API_KEY
            .check(target, target.rightfoot_api_key(), |value| parse_api_key(value).map(drop))
            .await,
    ]
}

impl SecretCheck {
    async fn check(
        &self,
        target: &Target,
        resource: anyhow::Result<ResourceRef>,
        read: impl Fn(&str) -> Result<(), KeyError>,
    ) -> CheckResult {
        // It stays, and may be empty: nothing reads it.
        if let Some(why) = target.disabled_text(self.provider) {
            return CheckResult::skipped(self.check, why);
        }
        let resource = match resource {
            Ok(resource) => resource,
            Err(why) => return CheckResult::unresolved(self.check, &why),
        };
        let value = match fetch_value(target, &resource).await {
            Ok(Some(value)) => value,
            Ok(None) => return self.check_empty(target, &resource).await,
            Err(fault) => return CheckResult::from_error(target, self.check, &fault, &resource),
        };
        match (read(&value), suspicion_text(&value)) {
            (Ok(()), None) => CheckResult::ok(self.check, format!("{resource} has a usable value")),
            (Ok(()), Some(suspected)) => CheckResult::warn(
                self.check,
                format!("{resource} is used as it is, and has {suspected}"),
                self.if_mistaken,
            ),
            (Err(why), None) => CheckResult::fail(self.check, format!("{resource}: {why}"), advice_for(why)),
            (Err(why), Some(suspected)) => CheckResult::fail(
                self.check,
                format!("{resource}: {why}; it has {suspected}"),
                advice_for(why),
            ),
        }
    }

    /// An empty secret fails only if the inbox has records of its provider: an unused provider needs none.
    async fn check_empty(&self, target: &Target, resource: &ResourceRef) -> CheckResult {
        let Self { check, provider, while_empty, .. } = *self;
        let name = ProviderSpec::of(provider).title;
        // It may scan the table, so it is asked only for an empty secret.
        match has_records_of(target, provider).await {
            Ok(true) => CheckResult::fail(
                check,
                format!("{resource} is empty, and the inbox has records of {name}"),
                format!("store its value: until then {while_empty}"),
            ),
            Ok(false) => CheckResult::warn(
                check,
                format!("{resource} is empty: until it has a value, {while_empty}"),
                format!(
                    "store it, or leave it empty if you do not use {name}: the inbox has no record of it"
                ),
            ),
            Err(why) => CheckResult::unresolved(check, &why.context(format!("{resource} is empty"))),
        }
    }
}

/// Value of a secret; `None` if it never had one, or only blanks or an empty array.
async fn fetch_value(
    target: &Target,
    resource: &ResourceRef,
) -> Result<Option<impl Deref<Target = String>>, AwsError> {
    let client = target.secrets_manager();
    match secrets::fetch_secret(&client, &resource.name).await {
        Ok(value) if matches!(value.trim(), "" | "[]") => Ok(None),
        Ok(value) => Ok(Some(value)),
        // A missing secret and one without a value have the
        // same error code; `DescribeSecret` tells them apart.
        Err(AwsError { kind: AwsErrorKind::Service(code), .. }) if code.contains("ResourceNotFound") => {
            let described = client.describe_secret().secret_id(&resource.name).send().await;
            described
                .map(|_| None)
                .map_err(|error| AwsError::from_sdk_error("secretsmanager:DescribeSecret", &error))
        }
        Err(fault) => Err(fault),
    }
}

/// Returns `true` if the inbox has a record of this provider.
async fn has_records_of(target: &Target, provider: Provider) -> anyhow::Result<bool> {
    let (stores, table) = (target.stores()?, target.inbox_table()?);
    let has_records = async {
        // The cheap reads come first: the last one may scan the whole table.
        if provider == Provider::Rightfoot
            && !stores.due_index.list_due_keys(DueQueue::Poll, None, 1).await?.0.is_empty()
        {
            return Ok(true);
        }
        let quarantined = stores.due_index.list_due_keys(DueQueue::Quarantine, None, SAMPLE_SIZE).await?.0;
        if quarantined.iter().filter_map(|it| QuarantineId::from_pk(&it.pk)).any(|id| id.provider == provider)
        {
            return Ok(true);
        }
        let selection = EventFilter { provider: Some(provider), ..EventFilter::default() };
        Ok(!stores
            .operator
            .list_events(&selection, &PageStart::Newest, 1, target.now())
            .await?
            .items
            .is_empty())
    };
    has_records.await.with_resource(&table)
}

fn advice_for(why: KeyError) -> String {
    match why {
        KeyError::TooMany => {
            format!("remove the oldest ones, at the end of the array: it may hold at most {SECRETS_MAX}")
        }
        KeyError::Empty => "remove the empty element, or replace it with a value".to_owned(),
        KeyError::NotStringArray => {
            "store a plain string, or an array of strings: [\"current\", \"previous\"]".to_owned()
        }
        KeyError::Undecodable => {
            "store a value that the parameter FynapseKeyCodec can decode, or change the parameter".to_owned()
        }
        KeyError::NotVisibleAscii => {
            "store the bare key: no quotation marks, no `Bearer`, no blank or line break".to_owned()
        }
        KeyError::UnknownCodec => "set the parameter FynapseKeyCodec to utf8, base64 or hex".to_owned(),
    }
}
