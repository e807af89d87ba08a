//! The Lambda binary `outbox`; its specification is in `lib.rs`.

// The compiler measures the runtime's nested futures more than 128 levels deep.
#![recursion_limit = "256"]

fn main() -> Result<(), lambda_http::Error> {
    shared::runtime::run_event(outbox::Deps::new, outbox::deliver)
}
