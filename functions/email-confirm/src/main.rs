//! The Lambda binary `email-confirm`; its specification is in `lib.rs`.

fn main() -> Result<(), lambda_http::Error> {
    shared::runtime::run(email_confirm::service)
}
