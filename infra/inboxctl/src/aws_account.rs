//! Profile, region, endpoint and credentials of the AWS account, each with the option, variable or profile that sets it.
//!
//! An option overrides the environment, which overrides the profile. As in the AWS CLI, the credentials of a profile that an
//! option names override exported keys; those of a profile that a variable names do not.

use std::fmt;
use std::time::Duration;

use anyhow::{Context, bail};
use aws_config::ecs::EcsCredentialsProvider;
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::meta::credentials::CredentialsProviderChain;
use aws_config::meta::region::ProvideRegion;
use aws_config::profile::{self, ProfileFileCredentialsProvider, ProfileFileRegionProvider, ProfileSet};
use aws_config::provider_config::ProviderConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_types::os_shim_internal::{Env as SdkEnv, Fs};
use aws_types::service_config::ServiceConfigKey;
use inbox_aws::AwsErrorKind;
use inbox_aws::ca_bundle::CaBundle;
use inbox_aws::config::{BaseUrl, Env, redact_userinfo};
use reqwest::Url;

use crate::aws_error::ResourceError;
use crate::global_args::GlobalArgs;
use crate::loopback::is_loopback;

/// Longest wait for a connection, TLS included.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_millis(1_500);
/// Longest wait for the first byte of a response.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// Services that are called: the prefix of their IAM actions and their id in the SDK's configuration.
const SERVICES: [(&str, &str); 5] = [
    ("cloudformation", "CloudFormation"),
    ("dynamodb", "DynamoDB"),
    ("events", "EventBridge"),
    ("secretsmanager", "Secrets Manager"),
    ("sqs", "SQS"),
];

/// Keys of a profile that give credentials.
const CREDENTIAL_KEYS: [&str; 9] = [
    "aws_access_key_id",
    "aws_secret_access_key",
    "credential_process",
    "credential_source",
    "login_session",
    "role_arn",
    "sso_account_id",
    "sso_session",
    "sso_start_url",
];

/// Variables that give credentials of this machine's own.
const MACHINE_CREDENTIAL_VARIABLES: [&str; 3] = [
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
];

/// Access key and secret key for a loopback endpoint: `local` accepts any.
const LOCAL_KEY: &str = "local";
/// Port of the AWS endpoint of `local`, unless an option names another one.
const LOCAL_AWS_PORT: u16 = 9001;

/// Name of AWS's own endpoints in messages.
const DEFAULT_ENDPOINT: &str = "AWS";

/// A setting and its source: option, variable or profile.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Setting {
    value: String,
    source: String,
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.value, self.source)
    }
}

/// The AWS account and the sources of its settings.
#[derive(Debug)]
pub(crate) struct AwsAccount {
    pub(crate) sdk: SdkConfig,
    pub(crate) ca_bundle: Option<CaBundle>,
    region: Setting,
    /// Endpoint of all services that have none of their own.
    endpoint: Option<Setting>,
    ca_bundle_setting: Option<Setting>,
    credentials: String,
}

impl AwsAccount {
    /// Loads the settings from options, environment and profile.
    ///
    /// # Errors
    ///
    /// There is no such profile, no region, no credentials, or an invalid endpoint or CA bundle.
    pub(crate) async fn load(args: &GlobalArgs) -> anyhow::Result<Self> {
        let option = |name: &str, value: &Option<String>| {
            value.clone().map(|value| Setting { value, source: name.to_owned() })
        };
        let profile_option = option("--profile", &args.profile);
        // The AWS CLI's order.
        let profile = profile_option.clone().or_else(|| env_setting(&["AWS_DEFAULT_PROFILE", "AWS_PROFILE"]));
        let profiles = load_profiles(profile.as_ref()).await?;
        let profile_value = |key| {
            let from = format!("{key} of profile {}", profiles.selected_profile());
            profiles
                .get(key)
                .filter(|value| !value.is_empty())
                .map(|value| Setting { value: value.to_owned(), source: from })
        };

        let is_ignored = env_setting(&["AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"])
            .or_else(|| profile_value("ignore_configured_endpoint_urls"))
            .is_some_and(|it| it.value.eq_ignore_ascii_case("true"));
        let configured_endpoint =
            || env_setting(&["AWS_ENDPOINT_URL"]).or_else(|| profile_value("endpoint_url"));
        let endpoint = option("--endpoint-url", &args.endpoint_url);
        let endpoint = endpoint.or_else(|| configured_endpoint().filter(|_| !is_ignored));
        let region =
            option("--region", &args.region).or_else(|| env_setting(&["AWS_REGION", "AWS_DEFAULT_REGION"]));
        let region = match region {
            Some(region) => Some(region),
            None => profile_region(&profiles, endpoint.is_some()).await,
        };
        let Some(region) = region else {
            bail!(
                "no AWS region: set --region, AWS_REGION or the region of profile {}",
                profiles.selected_profile()
            )
        };
        let bundle = env_setting(&["AWS_CA_BUNDLE"]).or_else(|| profile_value("ca_bundle"));
        let read = |it: &Setting| CaBundle::read(&it.value).with_context(|| it.to_string());
        let ca_bundle = bundle.as_ref().map(read).transpose()?;

        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .profile_name(profiles.selected_profile())
            .region(Region::new(region.value.clone()))
            .timeout_config(timeouts());
        // All other endpoints, also those of single services, are found by the SDK.
        if args.endpoint_url.is_some()
            && let Some(endpoint) = &endpoint
        {
            loader = loader.endpoint_url(&endpoint.value);
        }
        if let Some(bundle) = &ca_bundle {
            loader = loader.http_client(bundle.http_client());
        }
        // The SDK's own chain would prefer exported keys to the profile.
        if profile_option.is_some() {
            loader = loader.credentials_provider(profile_credentials(&profiles, &region, ca_bundle.as_ref()));
        }
        let mut credentials = describe_credentials(profile_option.as_ref(), profile.as_ref(), &profiles);
        let is_loopback = endpoint.as_ref().is_some_and(|it| is_loopback_text(&it.value));
        if is_loopback && profile_option.is_none() && !has_credentials(&profiles) {
            let local = Credentials::new(LOCAL_KEY, LOCAL_KEY, None, None, "loopback endpoint");
            loader = loader.credentials_provider(SharedCredentialsProvider::new(local));
            credentials = "`local`".to_owned();
        }
        let sdk = loader.load().await;
        let account = Self { sdk, ca_bundle, region, endpoint, ca_bundle_setting: bundle, credentials };
        account.check_endpoints()?;
        // Later, every call would report a failed connection.
        account.check_credentials(profile.as_ref()).await?;
        Ok(account)
    }

    /// Returns `true` if the endpoint is the one of `local`, on its default port.
    pub(crate) fn is_local(&self) -> bool {
        let url = self.endpoint.as_ref().and_then(|it| Url::parse(&it.value).ok());
        url.is_some_and(|url| is_loopback(&url) && url.port() == Some(LOCAL_AWS_PORT))
    }

    /// The account of an AWS endpoint on this machine: any credentials will do, and neither the environment nor a profile
    /// changes anything.
    pub(crate) fn of_local_endpoint(endpoint_url: &str) -> Self {
        let credentials = Credentials::new("local", "local", None, None, "local");
        let sdk = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .endpoint_url(endpoint_url)
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .timeout_config(timeouts())
            .build();
        let setting = |value: &str| Setting { value: value.to_owned(), source: "--endpoint-url".to_owned() };
        Self {
            sdk,
            ca_bundle: None,
            region: setting("us-east-1"),
            endpoint: Some(setting(endpoint_url)),
            ca_bundle_setting: None,
            credentials: "local".to_owned(),
        }
    }

    /// The region.
    pub(crate) fn region(&self) -> &str {
        &self.region.value
    }

    /// HTTP client that trusts the system's certificates and those of the AWS clients.
    pub(crate) fn http_client(&self, timeout: Duration) -> anyhow::Result<reqwest::Client> {
        let mut client = reqwest::Client::builder()
            .timeout(timeout)
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none());
        if let Some(bundle) = &self.ca_bundle {
            let pem = bundle.pem().as_bytes();
            let certificates = reqwest::Certificate::from_pem_bundle(pem).context("the CA bundle")?;
            client = client.tls_certs_merge(certificates);
        }
        client.build().context("no HTTP client")
    }

    /// Endpoint of the service of an IAM action, with its source.
    pub(crate) fn describe_endpoint(&self, action: &str) -> String {
        let service = action.split(':').next().unwrap_or_default();
        let id = SERVICES.iter().find(|it| it.0 == service).map(|it| it.1);
        match id.and_then(|id| self.service_endpoint(id)) {
            Some(endpoint) => endpoint.to_string(),
            None => DEFAULT_ENDPOINT.to_owned(),
        }
    }

    /// Adds endpoint, region and credentials to an error: a wrong one of them looks like a missing resource.
    pub(crate) fn with_location(&self, error: anyhow::Error) -> anyhow::Error {
        let Some(ResourceError { error: fault, .. }) = error.downcast_ref() else { return error };
        let asked = self.describe_endpoint(fault.action);
        // The region does not matter for a custom endpoint.
        let region =
            if asked == DEFAULT_ENDPOINT { format!(" in region {}", self.region) } else { String::new() };
        let located = match &fault.kind {
            AwsErrorKind::Connection => format!("nothing answers at {asked}{region}"),
            AwsErrorKind::Timeout => format!("no answer in time from {asked}{region}"),
            AwsErrorKind::Certificate => match &self.ca_bundle_setting {
                Some(bundle) => {
                    format!("{asked} shows a certificate that no authority of {bundle} has signed")
                }
                None => format!(
                    "{asked} shows a certificate that no authority of this system has signed: name a file with the \
                     right one in AWS_CA_BUNDLE"
                ),
            },
            AwsErrorKind::Service(_) => {
                let (region, credentials) = (&self.region, &self.credentials);
                format!("asked: {asked} in region {region}, with the credentials of {credentials}")
            }
            AwsErrorKind::Construction
            | AwsErrorKind::UnreadableResponse
            | AwsErrorKind::UnreadableItem
            | AwsErrorKind::PayloadGone => return error,
        };
        anyhow::anyhow!("{error:#} — {located}")
    }

    /// Endpoint of a service by its SDK id; `None` for AWS's own.
    pub(crate) fn endpoint_url(&self, id: &str) -> Option<String> {
        self.service_endpoint(id).map(|it| it.value)
    }

    fn service_endpoint(&self, id: &str) -> Option<Setting> {
        // An option overrides even the endpoint that is set for one service alone.
        if self.endpoint.as_ref().is_some_and(|it| it.source.starts_with("--")) {
            return self.endpoint.clone();
        }
        let key = ServiceConfigKey::builder().service_id(id).env("AWS_ENDPOINT_URL").profile("endpoint_url");
        let value = self.sdk.service_config()?.load_config(key.build().ok()?)?;
        let own = format!("AWS_ENDPOINT_URL_{}", id.to_uppercase().replace(' ', "_"));
        if let Some(of_service) = env_setting(&[&own]) {
            return Some(of_service);
        }
        let global_endpoint = self.endpoint.clone().filter(|it| it.value == value);
        Some(
            global_endpoint
                .unwrap_or_else(|| Setting { value, source: format!("endpoint_url of {id} in the profile") }),
        )
    }

    fn check_endpoints(&self) -> anyhow::Result<()> {
        for (_, id) in SERVICES {
            if let Some(endpoint) = self.service_endpoint(id) {
                // The user part of a URL may be a password, so the error does not show it.
                endpoint.value.parse::<BaseUrl>().with_context(|| {
                    format!("{} is {:?}", endpoint.source, redact_userinfo(&endpoint.value))
                })?;
            }
        }
        Ok(())
    }

    /// Fails early without credentials.
    async fn check_credentials(&self, profile: Option<&Setting>) -> anyhow::Result<()> {
        let provider = self.sdk.credentials_provider().context("no AWS credentials are configured")?;
        provider.provide_credentials().await.map(|_| ()).with_context(|| match profile {
            Some(profile) => format!("no AWS credentials from profile {profile}"),
            None => "no AWS credentials: configure them as for the AWS CLI (for `local`, any AWS_ACCESS_KEY_ID and \
                     AWS_SECRET_ACCESS_KEY will do)"
                .to_owned(),
        })
    }
}

/// First of these variables that is set.
fn env_setting(names: &[&str]) -> Option<Setting> {
    let of =
        |name: &&str| Env::process().var(name).map(|value| Setting { value, source: (*name).to_owned() });
    names.iter().find_map(of)
}

/// Loads the profiles of the AWS CLI's files and selects one.
async fn load_profiles(profile: Option<&Setting>) -> anyhow::Result<ProfileSet> {
    let name = profile.map_or("default", |it| &it.value).to_owned();
    let files = profile::load(&Fs::real(), &SdkEnv::real(), &Default::default(), Some(name.into())).await;
    let profiles = files.context("the files with AWS profiles cannot be read")?;
    if let Some(named) = profile
        && profiles.get_profile(&named.value).is_none()
    {
        let mut known: Vec<_> = profiles.profiles().collect();
        known.sort_unstable();
        bail!(
            "there is no AWS profile {named}: known are {}",
            match known.as_slice() {
                [] => "none".to_owned(),
                known => known.join(", "),
            }
        );
    }
    Ok(profiles)
}

/// Region of the profile, or of this machine. A custom endpoint needs none, but the SDK does: a default.
async fn profile_region(profiles: &ProfileSet, has_endpoint: bool) -> Option<Setting> {
    let name = profiles.selected_profile().to_owned();
    let of_profile = ProfileFileRegionProvider::builder().profile_name(name.clone()).build();
    if let Some(region) = of_profile.region().await {
        return Some(Setting { value: region.to_string(), source: format!("profile {name}") });
    }
    if has_endpoint {
        return Some(Setting { value: "us-east-1".to_owned(), source: "the default".to_owned() });
    }
    // Asked last: away from EC2 nothing answers.
    let imds_region = aws_config::imds::region::ImdsRegionProvider::builder().build().region().await?;
    Some(Setting { value: imds_region.to_string(), source: "this machine's".to_owned() })
}

/// Credentials of the selected profile. As in the AWS CLI, a profile without its own uses those of this machine (container or
/// instance), never exported keys.
fn profile_credentials(
    profiles: &ProfileSet,
    region: &Setting,
    bundle: Option<&CaBundle>,
) -> SharedCredentialsProvider {
    let mut config = ProviderConfig::without_region()
        .with_region(Some(Region::new(region.value.clone())))
        .with_timeout_config(timeouts());
    if let Some(bundle) = bundle {
        config = config.with_http_client(bundle.http_client());
    }
    let name = profiles.selected_profile();
    if CREDENTIAL_KEYS.iter().any(|key| profiles.get(key).is_some()) {
        let own = ProfileFileCredentialsProvider::builder().configure(&config).profile_name(name).build();
        return SharedCredentialsProvider::new(own);
    }
    let container = EcsCredentialsProvider::builder().configure(&config).build();
    let machine = ImdsCredentialsProvider::builder().configure(&config).build();
    let chain = CredentialsProviderChain::first_try("EcsContainer", container);
    SharedCredentialsProvider::new(chain.or_else("Ec2InstanceMetadata", machine))
}

fn is_loopback_text(url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| is_loopback(&url))
}

/// Returns `true` if the environment or the profile names credentials.
fn has_credentials(profiles: &ProfileSet) -> bool {
    env_setting(&["AWS_ACCESS_KEY_ID"]).is_some()
        || env_setting(&MACHINE_CREDENTIAL_VARIABLES).is_some()
        || CREDENTIAL_KEYS.iter().any(|key| profiles.get(key).is_some())
}

/// Source of the credentials, for messages.
fn describe_credentials(
    profile_option: Option<&Setting>,
    profile: Option<&Setting>,
    profiles: &ProfileSet,
) -> String {
    let keys = || env_setting(&["AWS_ACCESS_KEY_ID"]).zip(env_setting(&["AWS_SECRET_ACCESS_KEY"]));
    let has_own = CREDENTIAL_KEYS.iter().any(|key| profiles.get(key).is_some());
    match (profile_option, profile) {
        (Some(profile), _) => format!("profile {profile}"),
        (None, _) if keys().is_some() => "AWS_ACCESS_KEY_ID".to_owned(),
        (None, Some(profile)) => format!("profile {profile}"),
        (None, None) if has_own => "profile default".to_owned(),
        (None, None) => "this machine".to_owned(),
    }
}

fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).read_timeout(READ_TIMEOUT).build()
}
