//! A Lambda binary that panics when it is asked for `/panic`, and answers otherwise: whether panics are caught in what is
//! deployed shows only in what is built as that is (`local/tests/lambda`).

use std::convert::Infallible;

use lambda_http::http::StatusCode;
use lambda_http::{Error, Request, service_fn};
use shared::http;

fn main() -> Result<(), Error> {
    shared::runtime::run_with(|_| {
        Ok(lambda_http::run(service_fn(async |request: Request| {
            assert_ne!(request.uri().path(), "/panic", "this function was asked to panic");
            Ok::<_, Infallible>(http::empty(StatusCode::NO_CONTENT))
        })))
    })
}
