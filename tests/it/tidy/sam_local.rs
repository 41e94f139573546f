//! What `sam local` needs: the template, its file of variables, and the documented commands.

use std::collections::{BTreeMap, BTreeSet};

use inbox_core::local_hosts::{CONTAINER_HOSTS, LOOPBACK_HOSTS};
use inbox_rightfoot::ClientConfig;
use serde_json::{Value, json};

use super::documents::section;
use super::template::{functions, name_of, resources, template};
use super::{read_file, repository_root};

/// Variables of `sam local` for all functions, and those for one.
fn sam_variables() -> Value {
    serde_json::from_str(&read_file("infra/local/sam-env.json")).unwrap()
}

/// True if `AwsEndpointUrl` accepts a value. CloudFormation compares the pattern with the whole value.
fn is_accepted(url: &str) -> bool {
    let pattern = template()["Parameters"]["AwsEndpointUrl"]["AllowedPattern"].as_str().unwrap().to_owned();
    jsonschema::is_valid(&json!({"pattern": format!("^(?:{pattern})$")}), &json!(url))
}

#[test]
fn a_stack_on_aws_has_no_endpoint_and_another_stack_has_one_on_this_machine() {
    let template = template();
    let value = json!({"Fn::If": ["WithAwsEndpoint", {"Ref": "AwsEndpointUrl"}, {"Ref": "AWS::NoValue"}]});
    assert_eq!(template["Globals"]["Function"]["Environment"]["Variables"]["AWS_ENDPOINT_URL"], value);
    let is_given = json!({"Fn::Not": [{"Fn::Equals": [{"Ref": "AwsEndpointUrl"}, ""]}]});
    assert_eq!(template["Conditions"]["WithAwsEndpoint"], is_given);
    assert_eq!(template["Parameters"]["AwsEndpointUrl"]["Default"], "");
    for (id, function) in functions(&template) {
        let own = &function["Properties"]["Environment"]["Variables"];
        assert_eq!(own.get("AWS_ENDPOINT_URL"), None, "{id}");
    }
}

#[test]
fn the_endpoint_of_a_stack_can_only_be_this_machine() {
    assert!(is_accepted(""));
    for host in LOOPBACK_HOSTS.into_iter().chain(CONTAINER_HOSTS) {
        for end in ["", "/", ":9001", ":9001/"] {
            assert!(is_accepted(&format!("http://{host}{end}")), "{host}{end}");
        }
        for other in [
            format!("https://{host}:9001"),
            format!("http://{host}.evil.test"),
            format!("http://evil.test/{host}"),
            format!("http://{host}@evil.test"),
            format!("http://user@{host}"),
            format!("http://{host}:9001/path"),
            format!("http://{host}:9001?a=b"),
            format!("http://evil.test\nhttp://{host}"),
            format!(" http://{host}"),
        ] {
            assert!(!is_accepted(&other), "{other}");
        }
        // A dot of the pattern is a dot.
        for (at, _) in host.match_indices('.') {
            let other = format!("http://{}x{}", &host[..at], &host[at + 1..]);
            assert!(!is_accepted(&other), "{other}");
        }
    }
    for elsewhere in [
        "http://127.0.0.2:9001",
        "http://10.0.0.7:9001",
        "http://172.18.0.1:9001",
        "http://dynamodb.us-east-1.amazonaws.com",
        "https://sqs.us-east-1.amazonaws.com",
        "http://",
    ] {
        assert!(!is_accepted(elsewhere), "{elsewhere}");
    }
}

/// The same rule in the functions: http to a container's host, only beside an AWS endpoint there.
#[test]
fn a_deployable_endpoint_and_rightfoots_url_follow_one_rule() {
    for host in CONTAINER_HOSTS {
        let endpoint = format!("http://{host}:9001");
        assert!(is_accepted(&endpoint));
        let rightfoot = format!("http://{host}:9002");
        assert!(ClientConfig::new(&rightfoot, Some(&endpoint)).is_ok(), "{host}");
        // As on AWS.
        assert!(ClientConfig::new(&rightfoot, None).is_err(), "{host}");
    }
}

/// Of `!GetAtt Function.Arn`, `sam local start-api` makes a route without a function, and answers 502.
#[test]
fn a_route_names_its_function_by_an_arn_that_sam_local_understands() {
    let template = template();
    let integrations = resources(&template, "AWS::ApiGatewayV2::Integration");
    let expected = |integration: &str| {
        let function = format!("{}Webhook", integration.strip_suffix("Integration").unwrap());
        assert!(functions(&template).contains_key(&function), "{integration}");
        let arn = "arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function:";
        json!({"Fn::Sub": format!("{arn}${{{function}}}")})
    };
    for (id, integration) in &integrations {
        assert_eq!(integration["Properties"]["IntegrationUri"], expected(id), "{id}");
    }
    let targets: BTreeSet<_> = resources(&template, "AWS::ApiGatewayV2::Route")
        .values()
        .map(|route| route["Properties"]["Target"]["Fn::Sub"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(targets, integrations.keys().map(|id| format!("integrations/${{{id}}}")).collect());
}

/// A function in a container reaches the same system as one that runs directly on the machine, at other addresses.
#[test]
fn the_variables_in_docker_are_those_of_the_recorded_events_at_the_containers_host() {
    let outside: Value = serde_json::from_str(&read_file("tests/fixtures/events/env.json")).unwrap();
    let inside = sam_variables();
    let mut read = BTreeSet::from(["AWS_ENDPOINT_URL".to_owned()]);
    for id in functions(&template()).keys() {
        for (name, value) in outside[id].as_object().unwrap() {
            let Some(own) = inside[id].get(name).or(inside["Parameters"].get(name)) else {
                assert!(
                    is_parameter(id, name),
                    "{id} needs {name}: sam local cannot tell it from the template"
                );
                continue;
            };
            let there = match name.as_str() {
                // The simulated Rightfoot calls it, which does not run in a container.
                "WEBHOOK_BASE_URL" => value.clone(),
                _ => value.as_str().unwrap().replace("//127.0.0.1:", "//host.docker.internal:").into(),
            };
            assert_eq!(*own, there, "{id} {name}");
            read.insert(name.clone());
        }
    }
    let given = inside.as_object().unwrap().values().flat_map(|it| it.as_object().unwrap().keys().cloned());
    assert_eq!(given.collect::<BTreeSet<_>>(), read, "no variable that no function reads");
    assert_eq!(inside["Parameters"]["AWS_ENDPOINT_URL"], "http://host.docker.internal:9001");
}

/// True if a variable of a function is a parameter of the template: the SAM CLI takes its default.
fn is_parameter(function: &str, variable: &str) -> bool {
    let template = template();
    let own = &template["Resources"][function]["Properties"]["Environment"]["Variables"];
    let of_all = &template["Globals"]["Function"]["Environment"]["Variables"];
    let value = own.get(variable).unwrap_or(&of_all[variable]);
    value["Ref"].as_str().is_some_and(|name| template["Parameters"].get(name).is_some())
}

#[test]
fn every_function_has_a_command_that_runs_it_in_docker() {
    let documented = section("tests/README.md", "Run the functions in Docker");
    let commands = documented.lines().filter_map(|line| line.strip_prefix("sam local invoke "));
    let mut invoked = BTreeMap::new();
    for command in commands {
        let words: Vec<_> = command.split_whitespace().collect();
        let [function, "--event", event, options @ ..] = words.as_slice() else { panic!("{command}") };
        assert_eq!(options, ["--config-file", "infra/samconfig.toml", "--config-env", "docker"], "{command}");
        assert!(repository_root().join(event).is_file(), "{command}");
        invoked.insert((*function).to_owned(), event.rsplit('/').next().unwrap().to_owned());
    }
    let template = template();
    let functions = functions(&template);
    assert_eq!(invoked.keys().collect::<Vec<_>>(), functions.keys().collect::<Vec<_>>());
    for (id, event) in invoked {
        assert!(event.starts_with(&format!("{}-", name_of(&functions[&id]))), "{id}: {event}");
    }
    let start_api = "sam local start-api --config-file infra/samconfig.toml --config-env docker\n";
    assert!(documented.contains(start_api), "{start_api}");
    // x86-64 is what `cargo lambda build` builds for without `--arm64`.
    let settings = "env_vars = \"infra/local/sam-env.json\"\n\
                    add_host = [\"host.docker.internal:host-gateway\"]\n\
                    parameter_overrides = \"Architecture=x86_64\"\n";
    for command in ["local_invoke", "local_start_api"] {
        let table = format!("[docker.{command}.parameters]\ntemplate_file = \"template.yaml\"\n{settings}");
        assert!(read_file("infra/samconfig.toml").contains(&table), "{table}");
    }
}
