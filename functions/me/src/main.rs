//! me
fn main() {}
