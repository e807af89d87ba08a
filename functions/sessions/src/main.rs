//! The Lambda binary `sessions`; its specification is in `lib.rs`.

fn main() -> Result<(), lambda_http::Error> {
    shared::runtime::run(sessions::service)
}
