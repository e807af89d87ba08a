//! The Lambda binary `signup`; its specification is in `lib.rs`.

fn main() -> Result<(), lambda_http::Error> {
    shared::runtime::run(signup::service)
}
