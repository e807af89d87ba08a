//! The Lambda binary `logout`; its specification is in `lib.rs`.

fn main() -> Result<(), lambda_http::Error> {
    shared::runtime::run(logout::service)
}
