//! Hands libFuzzer's inputs to the target named in `LOUVER_FUZZ_TARGET`; without a name, lists the targets.
#![no_main]

use std::sync::LazyLock;

use louver::fuzzing::TARGETS;
use louver::fuzzing::Target;

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("LOUVER_FUZZ_TARGET").unwrap_or_default();
    let Some((_, target)) = TARGETS.iter().find(|(n, _)| *n == name) else {
        for (name, _) in TARGETS {
            println!("{name}");
        }
        std::process::exit(0);
    };
    *target
});

libfuzzer_sys::fuzz_target!(
    init: {
        LazyLock::force(&TARGET);
    },
    |data: &[u8]| (*TARGET)(data)
);
