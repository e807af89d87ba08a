//! The Lambda binary `password-forgot`; its specification is in `lib.rs`.

fn main() -> Result<(), lambda_http::Error> {
    shared::runtime::run(password_forgot::service)
}
