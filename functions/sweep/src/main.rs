//! The Lambda binary `sweep`; its specification is in `lib.rs`.

// The compiler measures the runtime's nested futures more than 128 levels deep.
#![recursion_limit = "256"]

fn main() -> Result<(), lambda_http::Error> {
    shared::runtime::run_event(sweep::Deps::new, sweep::sweep)
}
