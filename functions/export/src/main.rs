//! The Lambda binary `export`; its specification is in `lib.rs`.

fn main() -> Result<(), lambda_http::Error> {
    shared::runtime::run(export::service)
}
