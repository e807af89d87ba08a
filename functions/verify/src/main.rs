//! The Lambda binary `verify`; its specification is in `lib.rs`.

fn main() -> Result<(), lambda_http::Error> {
    shared::runtime::run(verify::service)
}
