//! The parameters of template.yaml, their groups, conditions and rules.

use std::collections::{BTreeMap, BTreeSet};

use inbox_core::delivery::Provider;
use inbox_core::providers::ProviderSpec;
use serde_json::{Value, json};

use super::crates_in;
use super::documents::section;
use super::template::{as_list, data_resources, functions, resources, template};

/// infra/README.md's one table of parameters, each with its default (`—` if that is empty).
#[test]
fn every_parameter_is_documented_with_its_default() {
    let text = section("infra/README.md", "Parameters");
    let row = |line: &str| -> Option<(String, String)> {
        let mut cells = line.strip_prefix("| `")?.split(" | ");
        let (name, default) = (cells.next()?.trim_end_matches('`'), cells.next()?);
        Some((name.to_owned(), default.trim_matches('`').to_owned()))
    };
    let table = text.split("| parameter | default |").nth(1).unwrap();
    let documented: Vec<_> = table.lines().skip(2).map_while(row).collect();
    let template = template();
    let parameters = template["Parameters"].as_object().unwrap().iter();
    let of_template = parameters.map(|(name, parameter)| {
        let default = &parameter["Default"];
        let default = default.as_str().map_or_else(|| default.to_string(), str::to_owned);
        let default = if default.is_empty() { "—".to_owned() } else { default };
        (name.clone(), default)
    });
    assert_eq!(documented.len(), parameters_grouped(&template).len(), "grouped for the console");
    assert_eq!(BTreeMap::from_iter(documented), of_template.collect());
}

/// Parameters in the order in which the console asks for them.
fn parameters_grouped(template: &Value) -> Vec<String> {
    let groups = as_list(&template["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]);
    let names = groups.iter().flat_map(|group| as_list(&group["Parameters"]));
    names.map(|name| name.as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_key_of_the_accounts_own_is_on_everything_that_is_kept() {
    let template = template();
    let key = json!({"Fn::If": ["WithKey", {"Ref": "KmsKeyArn"}, {"Ref": "AWS::NoValue"}]});
    for (of_type, count, name) in [
        ("AWS::SQS::Queue", 2, "KmsMasterKeyId"),
        // Each provider's, and one for each provider's API.
        ("AWS::SecretsManager::Secret", 2 * Provider::ALL.len(), "KmsKeyId"),
        // Each function's, and the access log.
        ("AWS::Logs::LogGroup", crates_in("functions").len() + 1, "KmsKeyId"),
    ] {
        let resources_of_type = resources(&template, of_type);
        assert_eq!(resources_of_type.len(), count, "{of_type}");
        for (id, resource) in resources_of_type {
            assert_eq!(resource["Properties"][name], key, "{id}");
        }
    }
}

/// The permission to use a key exists before anything is encrypted with it.
#[test]
fn a_key_is_permitted_before_it_is_used() {
    for (id, resource) in data_resources(&template()) {
        assert_eq!(resource["DependsOn"], "FunctionPolicy", "{id}");
    }
}

#[test]
fn every_function_is_in_the_vpc_that_is_asked_for() {
    let template = template();
    let network = json!({
        "SubnetIds": {"Ref": "VpcSubnetIds"}, "SecurityGroupIds": {"Ref": "VpcSecurityGroupIds"},
    });
    let network = json!({"Fn::If": ["InVpc", network, {"Ref": "AWS::NoValue"}]});
    assert_eq!(template["Globals"]["Function"]["VpcConfig"], network);
    for (id, function) in functions(&template) {
        assert_eq!(function["Properties"].get("VpcConfig"), None, "{id}");
    }
}

#[test]
fn concurrency_is_set_aside_for_a_provider_only_if_it_is_asked_for() {
    let template = template();
    for provider in Provider::ALL.iter().map(|provider| ProviderSpec::of(*provider).title) {
        let reserved = &template["Resources"][format!("{provider}Webhook")]["Properties"];
        let asked = json!({"Fn::If": [
            format!("ReserveFor{provider}"),
            {"Ref": format!("{provider}ReservedConcurrency")},
            {"Ref": "AWS::NoValue"},
        ]});
        assert_eq!(reserved["ReservedConcurrentExecutions"], asked);
    }
}

#[test]
fn a_domain_of_your_own_is_where_the_urls_lead() {
    let template = template();
    let resource = |id: &str| template["Resources"][id].clone();
    for (id, condition) in
        [("Domain", "WithDomain"), ("DomainMapping", "WithDomain"), ("DomainRecord", "WithDnsRecord")]
    {
        assert_eq!(resource(id)["Condition"], condition, "{id}");
    }
    let domain = &resource("Domain")["Properties"];
    assert_eq!(domain["DomainName"], json!({"Ref": "DomainName"}));
    let certificate = &domain["DomainNameConfigurations"][0]["CertificateArn"];
    assert_eq!(*certificate, json!({"Ref": "CertificateArn"}));
    let mapping = json!({
        "ApiId": {"Ref": "HttpApi"}, "DomainName": {"Ref": "Domain"}, "Stage": {"Ref": "HttpApiStage"},
    });
    assert_eq!(resource("DomainMapping")["Properties"], mapping);
    let target = &resource("DomainRecord")["Properties"]["AliasTarget"];
    assert_eq!(target["DNSName"], json!({"Fn::GetAtt": "Domain.RegionalDomainName"}));
    let base = json!({"Fn::If": [
        "WithDomain", {"Fn::Sub": "https://${DomainName}"}, {"Fn::GetAtt": "HttpApi.ApiEndpoint"},
    ]});
    let variables = &resource("RightfootRequests")["Properties"]["Environment"]["Variables"];
    assert_eq!(variables["WEBHOOK_BASE_URL"], base);
    assert_eq!(template["Outputs"]["WebhookBaseUrl"]["Value"], base);
    for provider in Provider::ALL {
        let spec = ProviderSpec::of(*provider);
        // A token has to be minted for the rest of the URL.
        let [path, end] =
            spec.route.strip_suffix("{token}").map_or([spec.route, ""], |path| [path, "Prefix"]);
        let output = format!("{}WebhookUrl{end}", spec.title);
        let value = json!({"Fn::If": [
            "WithDomain",
            {"Fn::Sub": format!("https://${{DomainName}}{path}")},
            {"Fn::Sub": format!("${{HttpApi.ApiEndpoint}}{path}")},
        ]});
        assert_eq!(template["Outputs"][output]["Value"], value);
    }
}

/// Half of a pair would fail in the middle of a deployment, or be ignored silently.
#[test]
fn what_is_half_given_is_refused() {
    let rules = template()["Rules"].as_object().unwrap().clone();
    let named = |condition: &Value| {
        let of_list = condition["Fn::Not"][0]["Fn::EachMemberEquals"][0]["Ref"].as_str();
        let of_text = condition["Fn::Not"][0]["Fn::Equals"][0]["Ref"].as_str();
        // A switch that is on.
        let of_switch =
            condition["Fn::Equals"][0]["Ref"].as_str().filter(|_| condition["Fn::Equals"][1] == "true");
        of_list.or(of_text).or(of_switch).unwrap().to_owned()
    };
    let of_two_parameters = rules.values().filter(|rule| rule.get("RuleCondition").is_some());
    let pairs: BTreeMap<_, _> = of_two_parameters
        .map(|rule| (named(&rule["RuleCondition"]), named(&rule["Assertions"][0]["Assert"])))
        .collect();
    let expected = [
        ("CertificateArn", "DomainName"),
        ("DisableExecuteApiEndpoint", "DomainName"),
        ("DomainName", "CertificateArn"),
        ("FynapseApiUrl", "FynapseSubscriptionId"),
        ("FynapseSubscriptionId", "FynapseApiUrl"),
        ("HostedZoneId", "DomainName"),
        ("VpcSecurityGroupIds", "VpcSubnetIds"),
        ("VpcSubnetIds", "VpcSecurityGroupIds"),
    ];
    assert_eq!(pairs, expected.map(|(one, other)| (one.to_owned(), other.to_owned())).into());
}

/// A stack may be for one provider alone: then it has no route, function, schedule or log of the other one. The secrets stay, because
/// a new key would end every URL that was minted.
#[test]
fn without_a_provider_there_is_nothing_of_it_but_its_secrets() {
    let template = template();
    let conditional = |section: &str, provider: &str| -> BTreeSet<String> {
        let all = template[section].as_object().unwrap().iter();
        let of_provider = all.filter(|(_, it)| it["Condition"] == format!("With{provider}"));
        of_provider.map(|(id, _)| id.clone()).collect()
    };
    for provider in Provider::ALL.iter().map(|provider| ProviderSpec::of(*provider).title) {
        let named = |(id, resource): (&String, &Value)| {
            let is_its_own = id.starts_with(provider) && !id.starts_with("FynapseAuditor");
            (is_its_own && resource["Type"] != "AWS::SecretsManager::Secret").then(|| id.clone())
        };
        let resources = template["Resources"].as_object().unwrap().iter().filter_map(named);
        assert_eq!(conditional("Resources", provider), resources.collect(), "{provider}");
        let enabled = json!({"Fn::Equals": [{"Ref": format!("{provider}Enabled")}, "true"]});
        assert_eq!(template["Conditions"][format!("With{provider}")], enabled);
    }
    // The auditor also needs an address to ask.
    let of_auditor =
        template["Resources"].as_object().unwrap().keys().filter(|id| id.starts_with("FynapseAuditor"));
    assert_eq!(conditional("Resources", "FynapseAuditor"), of_auditor.cloned().collect());
    let has_address = json!({"Fn::Not": [{"Fn::Equals": [{"Ref": "FynapseApiUrl"}, ""]}]});
    let with_auditor = json!({"Fn::And": [{"Condition": "WithFynapse"}, has_address]});
    assert_eq!(template["Conditions"]["WithFynapseAuditor"], with_auditor);
    assert_eq!(conditional("Outputs", "Fynapse"), ["FynapseWebhookUrl".to_owned()].into());
    let of_rightfoot = ["RightfootRequestsName", "RightfootWebhookUrlPrefix"];
    assert_eq!(conditional("Outputs", "Rightfoot"), of_rightfoot.map(str::to_owned).into());
    let one_at_least = json!({"Fn::Or": Provider::ALL.iter().map(|provider| {
        json!({"Fn::Equals": [{"Ref": format!("{}Enabled", ProviderSpec::of(*provider).title)}, "true"]})
    }).rev().collect::<Vec<_>>()});
    assert_eq!(template["Rules"]["OneProviderAtLeast"]["Assertions"][0]["Assert"], one_at_least);
}

/// A stack whose queue is read by somebody else omits the worker, and keeps the data and the bus on which rules
/// exist.
#[test]
fn without_the_worker_there_is_nothing_of_it() {
    let template = template();
    let of_worker = |section: &str| -> BTreeSet<String> {
        let all = template[section].as_object().unwrap().iter();
        all.filter(|(_, it)| it["Condition"] == "WithEventWorker").map(|(id, _)| id.clone()).collect()
    };
    let resources =
        ["EventBusPolicy", "EventWorker", "EventWorkerLog", "EventWorkerMapping", "EventWorkerRole"];
    assert_eq!(of_worker("Resources"), resources.map(str::to_owned).into());
    assert_eq!(
        of_worker("Outputs"),
        BTreeSet::new(),
        "whoever removes the stack needs the names of all that stays"
    );
    let mapping = &template["Resources"]["EventWorkerMapping"]["Properties"];
    assert_eq!(mapping["FunctionResponseTypes"], json!(["ReportBatchItemFailures"]));
}
