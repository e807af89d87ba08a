//! Reference C: `lambda_http`, a DynamoDB client built by hand, and one call.

use aws_credential_types::Credentials;
use aws_sdk_dynamodb::config::{BehaviorVersion, IdentityCache, Region, StalledStreamProtectionConfig};
use aws_sdk_dynamodb::types::AttributeValue;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use lambda_http::{Body, Error, Request, Response, service_fn};
use references::variable;

fn client() -> Result<aws_sdk_dynamodb::Client, Error> {
    let roots = TrustStore::empty().with_pem_certificate(std::fs::read(variable("AWS_CA_BUNDLE"))?);
    let tls = TlsContext::builder().with_trust_store(roots).build()?;
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
        .tls_context(tls)
        .build_https();
    let key = (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY"));
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new(variable("AWS_REGION")))
        .credentials_provider(Credentials::new(key.0, key.1, None, None, "environment"))
        .identity_cache(IdentityCache::no_cache())
        .http_client(http)
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .endpoint_url(variable("AWS_ENDPOINT_URL_DYNAMODB"));
    Ok(aws_sdk_dynamodb::Client::from_conf(config.build()))
}

fn main() -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let client = client()?;
    let table = variable("TABLE_NAME");
    runtime.block_on(lambda_http::run(service_fn(|_: Request| async {
        let text = |value: &str| AttributeValue::S(value.to_owned());
        let call = client.get_item().table_name(&table).key("pk", text("USERNAME#ann")).key("sk", text("USERNAME"));
        let found = call.consistent_read(true).send().await?.item.is_some();
        Ok::<_, Error>(Response::new(Body::Text(format!("{{\"found\":{found}}}"))))
    })))
}
