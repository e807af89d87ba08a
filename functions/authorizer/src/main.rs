//! The Lambda binary `authorizer`; its specification is in `lib.rs`.

use std::sync::Arc;

use lambda_http::{lambda_runtime, service_fn};

fn main() -> Result<(), lambda_http::Error> {
    shared::runtime::run_with(|platform| {
        let deps = Arc::new(authorizer::Deps::new(platform));
        lambda_runtime::run(service_fn(move |event: lambda_http::LambdaEvent<_>| {
            authorizer::authorize(Arc::clone(&deps), event.payload)
        }))
    })
}
