//! signup
fn main() {}
