//! The Lambda binary `email-change`; its specification is in `lib.rs`.

fn main() -> Result<(), lambda_http::Error> {
    shared::runtime::run(email_change::service)
}
