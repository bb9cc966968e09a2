//! Durable objects, change log, listing tables.
