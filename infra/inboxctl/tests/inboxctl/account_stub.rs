//! A stub of the services that `doctor` asks about the account of a stack.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use local::stack;
use serde_json::{Value, json};

const TOPIC: &str = "arn:aws:sns:us-east-1:123456789012:alarms";
const NESTED: &str = "arn:aws:cloudformation:us-east-1:123456789012:stack/ours-Monitoring-1/2";

/// An alarm of the stack.
#[derive(Clone)]
pub(crate) struct Alarm {
    pub(crate) name: &'static str,
    pub(crate) is_enabled: bool,
    pub(crate) has_action: bool,
    pub(crate) state: &'static str,
}

pub(crate) const fn alarm(name: &'static str) -> Alarm {
    Alarm { name, is_enabled: true, has_action: true, state: "OK" }
}

/// An account with the stack `ours`, and the action that is denied.
#[derive(Clone)]
pub(crate) struct StubAccount {
    pub(crate) parameters: BTreeMap<&'static str, &'static str>,
    pub(crate) quota: u64,
    pub(crate) unreserved: u64,
    pub(crate) reserved: BTreeMap<&'static str, u64>,
    /// Names that the nested stack has deployed.
    pub(crate) deployed_alarms: Vec<&'static str>,
    pub(crate) alarms: Vec<Alarm>,
    /// `SubscriptionArn` of each subscription, by page.
    pub(crate) subscriptions: Vec<Vec<&'static str>>,
    /// Throttled events by table, index and metric.
    pub(crate) throttled: BTreeMap<(&'static str, &'static str, &'static str), u64>,
    pub(crate) denied: &'static str,
}

impl StubAccount {
    /// An account in which everything is as it should be.
    pub(crate) fn new() -> Self {
        let parameters = BTreeMap::from([
            ("MonitoringEnabled", "true"),
            ("AlarmTopicArn", TOPIC),
            ("FynapseRateLimit", "1000"),
            ("FynapseBurstLimit", "2000"),
            ("FynapseReservedConcurrency", "0"),
            ("RightfootRateLimit", "50"),
            ("RightfootBurstLimit", "100"),
            ("RightfootReservedConcurrency", "0"),
            ("EventWorkerMaxConcurrency", "5"),
        ]);
        Self {
            parameters,
            quota: 2_000,
            unreserved: 1_129,
            reserved: BTreeMap::new(),
            deployed_alarms: vec!["ours-rejected", "ours-quarantined", "ours-found-by-poll"],
            alarms: vec![
                alarm("ours-rejected"),
                alarm("ours-quarantined"),
                Alarm { has_action: false, state: "ALARM", ..alarm("ours-found-by-poll") },
            ],
            subscriptions: vec![vec!["arn:aws:sns:us-east-1:123456789012:alarms:9d"]],
            throttled: BTreeMap::new(),
            denied: "",
        }
    }

    pub(crate) fn with_parameter(mut self, name: &'static str, value: &'static str) -> Self {
        self.parameters.insert(name, value);
        self
    }
}

/// A stub of AWS and the actions that it was asked for.
pub(crate) struct Stub {
    account: StubAccount,
    requests: Mutex<Vec<(String, Value)>>,
}

pub(crate) type SharedStub = Arc<Stub>;

impl Stub {
    /// Notes a request; returns the error if the action is denied.
    fn begin(&self, service: &str, action: &str, request: Value, headers: &HeaderMap) -> Option<Response> {
        let authorization = headers["authorization"].to_str().unwrap();
        assert!(authorization.contains(&format!("/us-east-1/{service}/aws4_request")), "{authorization}");
        self.requests.lock().unwrap().push((action.to_owned(), request));
        (self.account.denied == action).then(|| match service {
            "lambda" => {
                (StatusCode::FORBIDDEN, [("x-amzn-errortype", "AccessDeniedException")], "{}").into_response()
            }
            "monitoring" => {
                let body = r#"{"__type":"com.amazonaws.cloudwatch#AccessDenied","Message":"no"}"#;
                (StatusCode::FORBIDDEN, body).into_response()
            }
            _ => {
                let code = if service == "sns" { "AuthorizationError" } else { "AccessDenied" };
                let error = format!("<Error><Code>{code}</Code><Message>no</Message></Error>");
                (StatusCode::FORBIDDEN, format!("<ErrorResponse>{error}</ErrorResponse>")).into_response()
            }
        })
    }

    /// Requests for an action.
    pub(crate) fn requests(&self, action: &str) -> Vec<Value> {
        let requests = self.requests.lock().unwrap();
        requests.iter().filter(|it| it.0 == action).map(|it| it.1.clone()).collect()
    }
}

pub(crate) async fn serve(account: StubAccount) -> (String, SharedStub) {
    let stub = Arc::new(Stub { account, requests: Mutex::default() });
    let routes = Router::new()
        .route("/", post(post_root))
        .route("/2016-08-19/account-settings/", get(account_settings))
        .route("/2019-09-30/functions/{name}/concurrency", get(function_concurrency))
        .with_state(stub.clone());
    let listener = crate::bind_listener().await;
    let url = format!("http://{}", listener.local_addr().unwrap());
    stack::spawn_server(listener, routes);
    (url, stub)
}

async fn post_root(State(stub): State<SharedStub>, headers: HeaderMap, body: String) -> Response {
    if let Some(operation) = headers.get("x-amz-target") {
        assert_eq!(headers["content-type"], "application/x-amz-json-1.0");
        let operation = operation.to_str().unwrap().strip_prefix("GraniteServiceVersion20100801.").unwrap();
        let request: Value = serde_json::from_str(&body).unwrap();
        let denied = stub.begin("monitoring", &format!("cloudwatch:{operation}"), request.clone(), &headers);
        return denied.unwrap_or_else(|| match operation {
            "DescribeAlarms" => describe_alarms(&stub.account, &request),
            "GetMetricData" => get_metric_data(&stub.account, &request),
            _ => panic!("{operation}"),
        });
    }
    let form: BTreeMap<String, String> = form_fields(&body);
    let (service, action) = match form["Action"].as_str() {
        "ListSubscriptionsByTopic" => ("sns", "sns:ListSubscriptionsByTopic".to_owned()),
        action => ("cloudformation", format!("cloudformation:{action}")),
    };
    let denied = stub.begin(service, &action, json!(form), &headers);
    denied.unwrap_or_else(|| match form["Action"].as_str() {
        "DescribeStacks" => describe_stacks(&stub.account),
        "ListStackResources" => list_stack_resources(&stub.account, &form),
        "ListSubscriptionsByTopic" => list_subscriptions(&stub.account, &form),
        _ => StatusCode::NOT_FOUND.into_response(),
    })
}

fn form_fields(body: &str) -> BTreeMap<String, String> {
    let decoded = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8().unwrap().into_owned();
    let fields = body.split('&').filter_map(|field| field.split_once('='));
    fields.map(|(name, value)| (decoded(name), decoded(value))).collect()
}

fn xml(operation: &str, result: &str) -> Response {
    format!("<{operation}Response><{operation}Result>{result}</{operation}Result></{operation}Response>")
        .into_response()
}

fn describe_stacks(account: &StubAccount) -> Response {
    let parameters = account.parameters.iter().map(|(name, value)| {
        format!(
            "<member><ParameterKey>{name}</ParameterKey><ParameterValue>{value}</ParameterValue></member>"
        )
    });
    let parameters: String = parameters.collect();
    let stack = format!(
        "<StackName>ours</StackName><CreationTime>2026-01-02T03:04:05Z</CreationTime>\
         <StackStatus>CREATE_COMPLETE</StackStatus><Parameters>{parameters}</Parameters>"
    );
    xml("DescribeStacks", &format!("<Stacks><member>{stack}</member></Stacks>"))
}

fn list_stack_resources(account: &StubAccount, form: &BTreeMap<String, String>) -> Response {
    let resource = |kind: &str, logical_id: &str, id: &str| {
        format!(
            "<member><LogicalResourceId>{logical_id}</LogicalResourceId><PhysicalResourceId>{id}</PhysicalResourceId>\
             <ResourceType>{kind}</ResourceType><ResourceStatus>CREATE_COMPLETE</ResourceStatus>\
             <LastUpdatedTimestamp>2026-01-02T03:04:05Z</LastUpdatedTimestamp></member>"
        )
    };
    let listed: String = match form["StackName"].as_str() {
        "ours" => {
            resource("AWS::SQS::Queue", "EventsQueue", "q")
                + &resource("AWS::CloudFormation::Stack", "Monitoring", NESTED)
        }
        NESTED => {
            let alarms = account.deployed_alarms.iter();
            let alarms = alarms.map(|name| resource("AWS::CloudWatch::Alarm", "Any", name));
            resource("AWS::Logs::MetricFilter", "Filter", "ours-f") + &alarms.collect::<String>()
        }
        other => panic!("{other}"),
    };
    xml("ListStackResources", &format!("<StackResourceSummaries>{listed}</StackResourceSummaries>"))
}

fn list_subscriptions(account: &StubAccount, form: &BTreeMap<String, String>) -> Response {
    assert_eq!((form["Version"].as_str(), form["TopicArn"].as_str()), ("2010-03-31", TOPIC));
    let page: usize =
        form.get("NextToken").map_or(0, |token| token.strip_prefix("page=").unwrap().parse().unwrap());
    let member = |arn: &&str| {
        format!(
            "<member><TopicArn>{TOPIC}</TopicArn><Protocol>email</Protocol><SubscriptionArn>{arn}</SubscriptionArn>\
             <Owner>123456789012</Owner><Endpoint>ada@example.com</Endpoint></member>"
        )
    };
    let members: String = account.subscriptions[page].iter().map(member).collect();
    let next =
        (page + 1 < account.subscriptions.len()).then(|| format!("<NextToken>page={}</NextToken>", page + 1));
    let result = format!("<Subscriptions>{members}</Subscriptions>{}", next.unwrap_or_default());
    xml("ListSubscriptionsByTopic", &result)
}

/// One alarm a page.
fn describe_alarms(account: &StubAccount, request: &Value) -> Response {
    let names = request["AlarmNames"].as_array().unwrap();
    let asked: Vec<_> = account.alarms.iter().filter(|it| names.contains(&json!(it.name))).collect();
    let page = request["NextToken"].as_str().map_or(0, |token| token.parse::<usize>().unwrap());
    let alarm = asked.get(page).map(|it| {
        let actions = if it.has_action { json!([TOPIC]) } else { json!([]) };
        json!({"AlarmName": it.name, "ActionsEnabled": it.is_enabled, "AlarmActions": actions, "StateValue": it.state})
    });
    let next = (page + 1 < asked.len()).then(|| (page + 1).to_string());
    let alarms: Vec<_> = alarm.into_iter().collect();
    json!({"MetricAlarms": alarms, "CompositeAlarms": [], "NextToken": next}).to_string().into_response()
}

fn get_metric_data(account: &StubAccount, request: &Value) -> Response {
    let start = request["StartTime"].as_i64().unwrap();
    let results = request["MetricDataQueries"].as_array().unwrap().iter().map(|query| {
        let metric = &query["MetricStat"]["Metric"];
        let dimension = |name: &str| {
            let found = metric["Dimensions"].as_array().unwrap().iter().find(|it| it["Name"] == name);
            found.map_or("", |it| it["Value"].as_str().unwrap())
        };
        let key = (
            dimension("TableName"),
            dimension("GlobalSecondaryIndexName"),
            metric["MetricName"].as_str().unwrap(),
        );
        let count = account.throttled.iter().find(|it| *it.0 == key).map(|it| *it.1);
        let values: Vec<_> = count.into_iter().flat_map(|count| [count, 0, 1, 0]).collect();
        let times: Vec<_> =
            (0..values.len()).map(|hour| start + 3_600 * i64::try_from(hour).unwrap()).collect();
        json!({"Id": query["Id"], "StatusCode": "Complete", "Timestamps": times, "Values": values})
    });
    json!({"MetricDataResults": results.collect::<Vec<_>>(), "Messages": []}).to_string().into_response()
}

async fn account_settings(State(stub): State<SharedStub>, headers: HeaderMap) -> Response {
    let denied = stub.begin("lambda", "lambda:GetAccountSettings", Value::Null, &headers);
    denied.unwrap_or_else(|| {
        let StubAccount { quota, unreserved, .. } = stub.account;
        let limit = json!({"ConcurrentExecutions": quota, "UnreservedConcurrentExecutions": unreserved});
        json!({"AccountLimit": limit, "AccountUsage": {}}).to_string().into_response()
    })
}

async fn function_concurrency(
    State(stub): State<SharedStub>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    let denied = stub.begin("lambda", "lambda:GetFunctionConcurrency", json!(name), &headers);
    denied.unwrap_or_else(|| match stub.account.reserved.get(name.as_str()) {
        Some(reserved) => json!({"ReservedConcurrentExecutions": reserved}).to_string().into_response(),
        None => "{}".into_response(),
    })
}
