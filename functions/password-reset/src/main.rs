//! The Lambda binary `password-reset`; its specification is in `lib.rs`.

fn main() -> Result<(), lambda_http::Error> {
    shared::runtime::run(password_reset::service)
}
