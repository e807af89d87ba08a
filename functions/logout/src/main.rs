//! logout
fn main() {}
