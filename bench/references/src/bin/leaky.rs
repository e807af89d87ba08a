//! `POST /password/forgot` as it must not be: where there is no account it answers at once. What compares times has to tell
//! it from the real one, or it sees nothing.

use std::convert::Infallible;
use std::sync::Arc;

use lambda_http::Request;
use lambda_http::tower::{Service, ServiceExt, service_fn};
use shared::account::EmailAddress;
use shared::http::json;
use shared::runtime::Endpoint;
use shared::store::Identifier;

fn main() -> Result<(), lambda_http::Error> {
    shared::runtime::run(|platform| {
        let store = platform.store();
        let real = password_forgot::service(platform)?;
        Ok(Endpoint::new(service_fn(move |request: Request| {
            let (store, mut real) = (Arc::clone(&store), real.clone());
            async move {
                let body: serde_json::Value = serde_json::from_slice(request.body()).unwrap_or_default();
                let email = body["email"].as_str().and_then(|text| EmailAddress::parse(text).ok());
                let found = match email {
                    Some(email) => store.find_user_id(&Identifier::Email(email)).await.ok().flatten(),
                    None => None,
                };
                if found.is_none() {
                    let body = serde_json::json!({ "reset_id": "x", "expires_in": 86_400 });
                    return Ok::<_, Infallible>(json::response(lambda_http::http::StatusCode::ACCEPTED, &body));
                }
                real.ready().await?.call(request).await
            }
        })))
    })
}
