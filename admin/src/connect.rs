//! How a deployment is found: by its stack, by its tables, or as the local stack that runs on this machine.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use aws_config::{AppName, BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::ProvideCredentials;
use serde::Deserialize;
use shared::aws::Aws;
use shared::clock::Clock;
use shared::concurrency::Concurrency;
use shared::config::{AwsEnvironment, Environment, Tables};
use shared::function::Function;
use shared::store::Store;
use shared::token::KeyRing;

use crate::{AdminError, Deployment, Settings};

/// The file in the data directory of the local stack that tells how to reach it (`local/src/endpoint_file.rs`).
const ENDPOINT_FILE: &str = "endpoint.json";
/// What the template's resources are called on this machine.
const LOCAL_TABLES: [&str; 2] = ["UsersTable", "KeysTable"];
const LOCAL_ROTATE_KEYS: &str = "RotateKeysFunction";

#[expect(clippy::struct_field_names, reason = "as the file has them")]
#[derive(Deserialize)]
struct Endpoint {
    endpoint: String,
    lambda_endpoint: String,
    region: String,
    access_key_id: String,
    secret_access_key: String,
    session_token: String,
    parameters: BTreeMap<String, String>,
}

/// The local stack that runs on a data directory.
pub fn local(directory: &Path, clock: Clock) -> Result<Deployment, AdminError> {
    let file = directory.join(ENDPOINT_FILE);
    let text = std::fs::read_to_string(&file).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => AdminError::NotFound(format!(
            "no local stack runs on {}: start it with cargo run, or name its data directory with --local=DIR",
            directory.display()
        )),
        _ => AdminError::Failed(format!("{}: {error}", file.display())),
    })?;
    let endpoint: Endpoint =
        serde_json::from_str(&text).map_err(|error| AdminError::Failed(format!("{}: {error}", file.display())))?;
    let aws = Aws::new(AwsEnvironment {
        region: endpoint.region,
        credentials: (endpoint.access_key_id, endpoint.secret_access_key, Some(endpoint.session_token)),
        dynamodb_endpoint: Some(endpoint.endpoint),
        eventbridge_endpoint: None,
        lambda_endpoint: Some(endpoint.lambda_endpoint),
        ses_endpoint: None,
        ca_bundle: None,
    });
    let [users, keys] = LOCAL_TABLES.map(str::to_owned);
    let settings = Settings { parameters: endpoint.parameters, outputs: BTreeMap::new() };
    let found = Found { tables: Tables { users, keys }, rotate_keys: Some(LOCAL_ROTATE_KEYS.to_owned()), settings };
    Ok(deployment(&aws, found, "local".to_owned(), None, clock))
}

/// AWS as the operator's own settings describe it: the usual chain of environment, profiles, single sign-on and roles.
pub async fn aws(region: Option<String>, profile: Option<String>) -> Result<SdkConfig, AdminError> {
    let ca_bundle = Environment::of_process().ca_bundle()?;
    let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .http_client(shared::aws::http_client(ca_bundle.as_deref()))
        .app_name(AppName::new("latchkey").map_err(|error| AdminError::failed(&error))?);
    if let Some(region) = region {
        loader = loader.region(Region::new(region));
    }
    if let Some(profile) = profile {
        loader = loader.profile_name(profile);
    }
    Ok(loader.load().await)
}

/// The deployment of a CloudFormation stack, by its parameters and outputs.
pub async fn stack(name: &str, config: SdkConfig, clock: Clock) -> Result<Deployment, AdminError> {
    let (aws, operator) = identify(&config).await?;
    let client = aws_sdk_cloudformation::Client::new(&config);
    let answer = client.describe_stacks().stack_name(name).send().await;
    let answer = answer.map_err(|error| {
        use aws_sdk_cloudformation::error::ProvideErrorMetadata;
        match error.as_service_error().and_then(ProvideErrorMetadata::code) {
            Some("ValidationError") => {
                AdminError::NotFound(format!("there is no stack {name} in this account and region"))
            }
            _ => AdminError::failed(&error),
        }
    })?;
    let stack = answer.stacks.unwrap_or_default().pop();
    let stack = stack.ok_or_else(|| AdminError::NotFound(format!("there is no stack {name}")))?;
    let parameters = stack.parameters.unwrap_or_default().into_iter();
    let outputs = stack.outputs.unwrap_or_default().into_iter();
    let settings = Settings {
        parameters: parameters.filter_map(|one| Some((one.parameter_key?, one.parameter_value?))).collect(),
        outputs: outputs.filter_map(|one| Some((one.output_key?, one.output_value?))).collect(),
    };
    let output = |output: &str| {
        let missing =
            || AdminError::NotFound(format!("stack {name} has no output {output}: is it Latchkey's, and up to date?"));
        settings.outputs.get(output).cloned().ok_or_else(missing)
    };
    let tables = Tables { users: output("TableName")?, keys: output("KeysTableName")? };
    let found = Found { tables, rotate_keys: settings.outputs.get("RotateKeysFunctionName").cloned(), settings };
    Ok(deployment(&aws, found, operator, Some(config), clock))
}

/// A deployment of which the tables alone are known, and perhaps where its API is.
pub async fn tables(
    tables: Tables,
    api_url: Option<String>,
    config: SdkConfig,
    clock: Clock,
) -> Result<Deployment, AdminError> {
    let (aws, operator) = identify(&config).await?;
    let parameters = api_url.map(|url| ("ApiUrl".to_owned(), url)).into_iter().collect();
    let found = Found { tables, rotate_keys: None, settings: Settings { parameters, outputs: BTreeMap::new() } };
    Ok(deployment(&aws, found, operator, Some(config), clock))
}

/// What is known of a deployment.
struct Found {
    tables: Tables,
    rotate_keys: Option<String>,
    settings: Settings,
}

fn deployment(aws: &Aws, found: Found, operator: String, config: Option<SdkConfig>, clock: Clock) -> Deployment {
    let Found { tables, rotate_keys, settings } = found;
    let store = Arc::new(Store::new(aws.dynamodb(), tables, Concurrency::Many));
    let rotate_keys = rotate_keys.map(|name| Function::new(aws.lambda(), name));
    let keys = Arc::new(KeyRing::new(Arc::clone(&store), None, rotate_keys.clone()));
    Deployment { store, keys, rotate_keys, settings, operator, aws: config, clock }
}

/// Who the operator is, and AWS with their credentials, as the functions' own modules use it.
async fn identify(config: &SdkConfig) -> Result<(Aws, String), AdminError> {
    let provider = config.credentials_provider();
    let provider = provider.ok_or_else(|| AdminError::Usage("there are no credentials of AWS".to_owned()))?;
    let credentials = provider.provide_credentials().await.map_err(|error| AdminError::failed(&error))?;
    let region = config.region().map(ToString::to_string);
    let region = region.ok_or_else(|| AdminError::Usage("no region is set: say which with --region".to_owned()))?;
    let endpoint = config.endpoint_url().map(str::to_owned);
    let aws = Aws::new(AwsEnvironment {
        region,
        credentials: (
            credentials.access_key_id().to_owned(),
            credentials.secret_access_key().to_owned(),
            credentials.session_token().map(str::to_owned),
        ),
        dynamodb_endpoint: endpoint.clone(),
        eventbridge_endpoint: endpoint.clone(),
        lambda_endpoint: endpoint.clone(),
        ses_endpoint: endpoint,
        ca_bundle: Environment::of_process().ca_bundle()?,
    })
    .with_credentials_provider(provider);
    let identity = aws_sdk_sts::Client::new(config).get_caller_identity().send().await;
    let identity = identity.map_err(|error| AdminError::failed(&error))?;
    let arn = identity.arn.ok_or_else(|| AdminError::Failed("STS does not say who you are".to_owned()))?;
    Ok((aws, arn))
}
