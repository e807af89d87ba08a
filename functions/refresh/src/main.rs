//! refresh
fn main() {}
