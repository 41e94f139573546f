//! Check that somebody gets the messages of the topic of the alarms.

use aws_smithy_xml::decode::{Document, XmlDecodeError, try_data};
use inbox_aws::{AwsError, AwsErrorKind};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::Account;
use crate::aws_error::ResourceRef;
use crate::commands::doctor::check_result::CheckResult;
use crate::output::pluralize;
use crate::sigv4_client::AwsService;

const CHECK: &str = "alarm topic";
const SNS: AwsService = AwsService { sdk_id: "SNS", signing_name: "sns" };
const LIST_SUBSCRIPTIONS: &str = "sns:ListSubscriptionsByTopic";
const RESPONSE: &str = "ListSubscriptionsByTopicResponse";
/// `SubscriptionArn` of a subscription that nobody has confirmed.
const PENDING: &str = "PendingConfirmation";
/// `SubscriptionArn` of a subscription that has ended.
const DELETED: &str = "Deleted";
/// Most pages that are read, of 100 subscriptions each.
const PAGES_MAX: usize = 10;

/// Number of subscriptions.
#[derive(Debug, Default, PartialEq, Eq)]
struct Subscriptions {
    confirmed: u64,
    pending: u64,
}

pub(super) async fn check(account: Account<'_>, has_alarms: bool) -> CheckResult {
    let topic = account.target.parameter("AlarmTopicArn").unwrap_or_default();
    if !has_alarms || topic.is_empty() {
        return CheckResult::skipped(CHECK, "the stack's alarms have no topic");
    }
    let resource = ResourceRef::new("topic", topic, "--stack");
    match read_subscriptions(account, topic).await {
        Ok(subscriptions) => check_subscriptions(&resource, &subscriptions),
        Err(AwsError { kind: AwsErrorKind::Service(code), .. }) if code == "NotFound" => {
            let found = format!("{resource} does not exist: nobody gets the alarms");
            CheckResult::warn(CHECK, found, "set AlarmTopicArn to an SNS topic with a subscriber")
        }
        Err(fault) => CheckResult::from_optional_call(account.target, CHECK, &fault, &resource),
    }
}

fn check_subscriptions(resource: &ResourceRef, subscriptions: &Subscriptions) -> CheckResult {
    let Subscriptions { confirmed, pending } = *subscriptions;
    let pending_text =
        format!("{} not confirmed", pluralize(pending, "subscription is", "subscriptions are"));
    let confirm = "each of these subscribers has a message with a link to confirm it, which is valid for two days; then subscribe again";
    match (confirmed, pending) {
        (0, 0) => CheckResult::warn(
            CHECK,
            format!("{resource} has no subscriber: nobody gets the alarms"),
            format!(
                "`aws sns subscribe --topic-arn {} --protocol email --notification-endpoint …`",
                resource.name
            ),
        ),
        (0, _) => {
            CheckResult::warn(CHECK, format!("{resource}: {pending_text}: nobody gets the alarms"), confirm)
        }
        (_, 0) => {
            let confirmed = pluralize(confirmed, "confirmed subscription", "confirmed subscriptions");
            CheckResult::ok(CHECK, format!("{resource} has {confirmed}"))
        }
        _ => CheckResult::warn(CHECK, format!("{resource}: {pending_text}, {confirmed} confirmed"), confirm),
    }
}

async fn read_subscriptions(account: Account<'_>, topic: &str) -> Result<Subscriptions, AwsError> {
    let unreadable = |_| AwsError { action: LIST_SUBSCRIPTIONS, kind: AwsErrorKind::UnreadableResponse };
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let first = format!("Action=ListSubscriptionsByTopic&Version=2010-03-31&TopicArn={}", encoded(topic));
    let (mut subscriptions, mut form) = (Subscriptions::default(), first.clone());
    for _ in 0..PAGES_MAX {
        let body = account.aws.post_query(&SNS, LIST_SUBSCRIPTIONS, form, account.now()).await?;
        let next_token = count_page(&body, &mut subscriptions).map_err(unreadable)?;
        let Some(token) = next_token else { break };
        form = format!("{first}&NextToken={}", encoded(&token));
    }
    Ok(subscriptions)
}

/// Counts the subscriptions of a page; returns the token of the next one. Addresses of subscribers are not read.
fn count_page(body: &str, subscriptions: &mut Subscriptions) -> Result<Option<String>, XmlDecodeError> {
    let mut document = Document::new(body);
    // Anything else would count as a page without subscriptions.
    if !document.next_start_element().is_some_and(|root| root.matches(RESPONSE)) {
        return Err(XmlDecodeError::custom("not the response of the operation"));
    }
    let mut next_token = None;
    while let Some(element) = document.next_start_element() {
        let (is_arn, is_token) = (element.matches("SubscriptionArn"), element.matches("NextToken"));
        if !is_arn && !is_token {
            continue;
        }
        let text = try_data(&mut document.scoped_to(element))?;
        match text.as_ref() {
            "" | DELETED => {}
            token if is_token => next_token = Some(token.to_owned()),
            PENDING => subscriptions.pending += 1,
            _ => subscriptions.confirmed += 1,
        }
    }
    Ok(next_token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_counted_by_the_state_of_its_subscriptions() {
        let member = |arn: &str| {
            format!(
                "<member><Owner>1</Owner><SubscriptionArn>{arn}</SubscriptionArn><Endpoint>a&amp;b</Endpoint></member>"
            )
        };
        let members: String =
            ["arn:aws:sns:eu-west-1:1:alarms:9d", PENDING, DELETED, PENDING].map(member).concat();
        let page = |rest: &str| {
            format!(
                "<{RESPONSE} xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><ListSubscriptionsByTopicResult>\
                 <Subscriptions>{members}</Subscriptions>{rest}</ListSubscriptionsByTopicResult></{RESPONSE}>"
            )
        };
        let mut counted = Subscriptions::default();
        let next = count_page(&page("<NextToken>a&lt;b</NextToken>"), &mut counted).unwrap();
        assert_eq!((next.as_deref(), &counted), (Some("a<b"), &Subscriptions { confirmed: 1, pending: 2 }));
        assert_eq!(count_page(&page("<NextToken/>"), &mut counted).unwrap(), None);
        assert_eq!(counted, Subscriptions { confirmed: 2, pending: 4 });
    }

    #[test]
    fn what_is_not_the_response_is_not_an_empty_list() {
        for body in ["", "no", "<html><p>no</p></html>", "<ErrorResponse><Error/></ErrorResponse>"] {
            assert!(count_page(body, &mut Subscriptions::default()).is_err(), "{body}");
        }
    }
}
