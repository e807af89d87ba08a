use aws_sdk_dynamodb::types::AttributeValue;
use lambda_http::{Body, Error, Request, Response, run, service_fn};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let config = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
    let client = aws_sdk_dynamodb::Client::new(&config);
    let table = std::env::var("TABLE_NAME")?;
    run(service_fn(|_: Request| async {
        let text = |value: &str| AttributeValue::S(value.to_owned());
        let call = client.get_item().table_name(&table).key("pk", text("USERNAME#ann")).key("sk", text("USERNAME"));
        let found = call.consistent_read(true).send().await?.item.is_some();
        Ok::<_, Error>(Response::new(Body::Text(format!("{{\"found\":{found}}}"))))
    }))
    .await
}
