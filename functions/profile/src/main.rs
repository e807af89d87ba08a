//! The Lambda binary `profile`; its specification is in `lib.rs`.

fn main() -> Result<(), lambda_http::Error> {
    shared::runtime::run(profile::service)
}
