//! REST v4: one file a resource.
