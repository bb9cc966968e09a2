//! Cookies and limits, through the front door of the crate.

mod cookies;
mod rates;
