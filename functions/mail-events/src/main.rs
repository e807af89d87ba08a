//! The Lambda binary `mail-events`; its specification is in `lib.rs`.

// The compiler measures the runtime's nested futures more than 128 levels deep.
#![recursion_limit = "256"]

use std::sync::Arc;

use lambda_http::{Error, LambdaEvent, lambda_runtime, service_fn};

fn main() -> Result<(), Error> {
    shared::runtime::run_with(|platform| {
        let deps = Arc::new(mail_events::Deps::new(platform));
        lambda_runtime::run(service_fn(move |event: LambdaEvent<_>| {
            let deps = Arc::clone(&deps);
            async move { mail_events::receive(deps, event.payload).await.map_err(Error::from) }
        }))
    })
}
