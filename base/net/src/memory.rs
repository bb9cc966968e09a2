//! Memory that was let go.

/// Gives what this process let go, and holds for later, back to the system. Takes some milliseconds for some hundred
/// megabytes; to be called when much was let go that will not be needed again soon.
///
/// Does nothing where the C library has no such call.
pub fn give_back_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes a number and touches nothing that is in use; any thread may call it at any time (malloc_trim(3)).
    #[allow(unsafe_code)]
    unsafe {
        libc::malloc_trim(0);
    }
}
