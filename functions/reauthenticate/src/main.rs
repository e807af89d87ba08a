//! The Lambda binary `reauthenticate`; its specification is in `lib.rs`.

fn main() -> Result<(), lambda_http::Error> {
    shared::runtime::run(reauthenticate::service)
}
