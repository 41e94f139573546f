//! Whether the secrets hold what can be used.

use std::ops::Deref;

use inbox_aws::inbox::Selection;
use inbox_aws::{Cause, Fault, secrets};
use inbox_core::delivery::Provider;
use inbox_core::inbox::Desk;
use inbox_core::keys::{KeyCodec, KeyError, Keys, first_of};
use inbox_core::limits::SECRETS_MAX;
use inbox_core::quarantine::KeptId;

use super::Check;
use crate::place::{Place, Thing};
use crate::trouble::About;

/// Open items of a desk that are looked at for a provider.
const SAMPLE: usize = 50;

pub(super) async fn checks(at: &Place) -> [Check; 3] {
    let codec = at.parameter("FynapseKeyCodec").and_then(|codec| codec.parse().ok());
    let keys = |codec| move |value: &str| Keys::parse(value, codec).map(drop);
    let api_key = |value: &str| first_of(value).map(drop);
    let (fynapse, rightfoot) = (Provider::Fynapse, Provider::Rightfoot);
    let of_urls = at.rightfoot_url_key();
    [
        secret(at, ("secret of Fynapse", fynapse), at.fynapse_secret(), keys(codec.unwrap_or_default()))
            .await,
        secret(at, ("key of Rightfoot's URLs", rightfoot), of_urls, keys(KeyCodec::Utf8)).await,
        secret(at, ("key of Rightfoot's API", rightfoot), at.rightfoot_api_key(), api_key).await,
    ]
}

async fn secret(
    at: &Place,
    (check, provider): (&'static str, Provider),
    thing: anyhow::Result<Thing>,
    read: impl Fn(&str) -> Result<(), KeyError>,
) -> Check {
    let thing = match thing {
        Ok(thing) => thing,
        Err(why) => return Check::unnamed(check, &why),
    };
    let value = match held(at, &thing).await {
        Ok(Some(value)) => value,
        Ok(None) => return empty(at, check, provider, &thing).await,
        Err(fault) => return Check::unanswered(at, check, &fault, &thing),
    };
    match read(&value) {
        Ok(()) => Check::ok(check, format!("{thing} has a value that can be used")),
        Err(why) => Check::fail(check, format!("{thing}: {why}"), remedy(why)),
    }
}

/// What a secret holds; `None` if nothing was ever put into it, or nothing but blanks.
async fn held(at: &Place, thing: &Thing) -> Result<Option<impl Deref<Target = String>>, Fault> {
    let client = aws_sdk_secretsmanager::Client::new(&at.sdk);
    match secrets::fetch(&client, &thing.name).await {
        Ok(value) if matches!(value.trim(), "" | "[]") => Ok(None),
        Ok(value) => Ok(Some(value)),
        // What is not there, and what nothing was ever put into, have one error code.
        Err(fault) if matches!(&fault.cause, Cause::Service(code) if code.contains("ResourceNotFound")) => {
            let is_there = client.describe_secret().secret_id(&thing.name).send().await.is_ok();
            if is_there { Ok(None) } else { Err(fault) }
        }
        Err(fault) => Err(fault),
    }
}

/// Of a provider that nobody uses it may stay empty.
async fn empty(at: &Place, check: &'static str, provider: Provider, thing: &Thing) -> Check {
    let name = match provider {
        Provider::Rightfoot => "Rightfoot",
        Provider::Fynapse => "Fynapse",
    };
    match is_used(at, provider).await {
        Ok(true) => Check::fail(
            check,
            format!("{thing} is empty, and the inbox has records of {name}"),
            "put its value in place: until then nothing of it can be proven or asked".to_owned(),
        ),
        Ok(false) => Check::warn(
            check,
            format!("{thing} is empty, and the inbox has no record of {name}: it is not set up yet"),
            format!("put it in place, or leave it if you do not use {name}"),
        ),
        Err(why) => Check::unnamed(check, &why.context(format!("{thing} is empty"))),
    }
}

/// Whether the inbox has a record of this provider. Asked only about an empty secret: it may read the table.
async fn is_used(at: &Place, provider: Provider) -> anyhow::Result<bool> {
    let (inbox, table) = (at.inbox()?, at.table()?);
    let looked = async {
        if provider == Provider::Rightfoot && !inbox.waiting(Desk::Poll, None, 1).await?.0.is_empty() {
            return Ok(true);
        }
        let kept = inbox.waiting(Desk::Quarantine, None, SAMPLE).await?.0;
        if kept.iter().filter_map(|it| KeptId::from_pk(&it.pk)).any(|id| id.provider == provider) {
            return Ok(true);
        }
        let which = Selection { provider: Some(provider), ..Selection::default() };
        Ok(!inbox.events(&which, None, 1, at.now()).await?.found.is_empty())
    };
    looked.await.about(&table)
}

fn remedy(why: KeyError) -> String {
    match why {
        KeyError::TooMany => {
            format!(
                "take the oldest ones, the last of the array, away: at most {SECRETS_MAX} can stand in it"
            )
        }
        KeyError::Empty => "take the empty element away, or put a value into its place".to_owned(),
        KeyError::NotStrings => {
            "put a plain string into it, or an array of strings: [\"current\", \"previous\"]".to_owned()
        }
        KeyError::Undecodable => {
            "put a value into it that the parameter FynapseKeyCodec can read, or change that".to_owned()
        }
        KeyError::UnknownCodec => "set the parameter FynapseKeyCodec to utf8, base64 or hex".to_owned(),
    }
}
