//! One target under libFuzzer. Its name is the last argument, behind `-ignore_remaining_args=1`, as `scripts/fuzz` has it.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

static TARGET: LazyLock<fuzz::Target> = LazyLock::new(|| {
    let name = std::env::args().next_back().unwrap_or_default();
    fuzz::find(&name).unwrap_or_else(|| panic!("no target {name}"))
});

fuzz_target!(|data: &[u8]| {
    TARGET(data);
});
