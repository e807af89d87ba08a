//! The Lambda binary `deletion`; its specification is in `lib.rs`.

fn main() -> Result<(), lambda_http::Error> {
    shared::runtime::run(deletion::service)
}
