//! The API's shapes as sent and stored; nothing checked.
