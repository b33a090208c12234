//! What the relay asks of the system for its own process, before anything else runs.

/// As many open files as allowed.
#[cfg(unix)]
pub(super) fn prepare() {
    use nix::sys::resource::Resource;
    use nix::sys::resource::getrlimit;
    use nix::sys::resource::setrlimit;
    // Each reader is an open file, and the usual 1024 are for programs that still use select(2).
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    }
}

/// No core files: memory holds the keys of pseudonyms. Before any of those is made.
#[cfg(unix)]
pub(super) fn leave_no_core_files() {
    use nix::sys::resource::Resource;
    use nix::sys::resource::setrlimit;
    // One byte, not none: Linux pipes core files to a collector even at 0, but not at 1 (core(5)).
    let _ = setrlimit(Resource::RLIMIT_CORE, 1, 1);
    // And nobody but root looks into this process by way of /proc or ptrace.
    #[cfg(target_os = "linux")]
    let _ = nix::sys::prctl::set_dumpable(false);
}

#[cfg(not(unix))]
pub(super) fn prepare() {}

#[cfg(not(unix))]
pub(super) fn leave_no_core_files() {}
