//! The command `local`.
fn main() {}
