//! Real clients against the real binary.
//!
//! Here: starting it ([`Edge`]), what stands behind it ([`origin`], [`Connector`]), and the programs that call it
//! ([`curl`], [`dns`], [`Program`]). The tests are in `tests/it`, one file a topic; each starts what it needs on free
//! ports, so that all of them run at the same time. Nothing sleeps and hopes: what takes time is asked for again until
//! it is there ([`wait::until`]).
//!
//! Here everything panics on purpose: the caller is a test, and the message is what its reader needs.

mod connector;
pub mod curl;
pub mod dns;
mod edge;
pub mod origin;
mod program;
mod vendor;
pub mod wait;

pub use connector::Connector;
pub use edge::{Answer, Demo, Edge};
pub use program::{Finished, Program, bartizan, binary, finish, in_namespace, python_with_sdk, rust_client};
pub use vendor::Vendor;
