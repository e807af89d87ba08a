//! The Lambda binary `email-undo`; its specification is in `lib.rs`.

fn main() -> Result<(), lambda_http::Error> {
    shared::runtime::run(email_undo::service)
}
