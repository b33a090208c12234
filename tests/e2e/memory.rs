//! What the program keeps in memory.

use crate::relay::Options;
use crate::relay::Relay;

/// Kilobytes of libraries in memory, by proc_pid_smaps(5).
fn libraries(pid: u32) -> u64 {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap();
    let mut is_library = false;
    let mut sum = 0;
    for line in maps.lines() {
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["Rss:", kilobytes, _] if is_library => sum += kilobytes.parse::<u64>().unwrap(),
            [range, _, _, _, _, ..] if range.contains('-') => is_library = line.contains(".so"),
            _ => {}
        }
    }
    sum
}

#[test]
fn a_relay_without_cameras_keeps_no_pages_that_only_the_loader_touched() {
    let relay = Relay::start(Options::publish());
    // With Debian's FFmpeg it would be 42 MB. What remains are tables that the loader wrote to.
    let kilobytes = libraries(relay.pid());
    assert!((1..20_000).contains(&kilobytes), "{kilobytes} kB of libraries");
}
