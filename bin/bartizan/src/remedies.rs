//! What is said in several places about an edge whose data are spoilt or gone: the same words, and each of them works.

/// A restore never replaces what is there.
pub const RESTORE: &str =
    "restore a backup to a new directory (`bartizan restore FILE --data DIR`) and start the edge with that one";

/// Without what is there.
pub const BEGIN_ANEW: &str = "to begin anew, name another directory with --data DIR";

/// Keys and the CA that belong to each other.
pub use bartizan_publish::KEYS_BACK;

/// What mending a store's file needs.
pub const REBUILD: &str = "stop the edge if it runs, and run `bartizan doctor --rebuild`";
