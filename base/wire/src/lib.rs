//! Byte formats, each parser once.
