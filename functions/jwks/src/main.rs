//! The Lambda binary `jwks`; its specification is in `lib.rs`.

fn main() -> Result<(), lambda_http::Error> {
    shared::runtime::run(jwks::service)
}
