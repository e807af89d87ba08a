//! The Lambda binary `refresh`; its specification is in `lib.rs`.

fn main() -> Result<(), lambda_http::Error> {
    shared::runtime::run(refresh::service)
}
