//! Connections of connectors over HTTP/2: they dial, and then the edge asks as a client does (`bartizan_rpc::over_http2`).
//!
//! ```text
//! TCP 7844 ─ TLS ─ Session: a task on the plane's threads reads frames, and writes what was gathered
//!                     ▲ lock for a frame                    │ bytes that came, wakers
//!            Handle: a request or a connection, on its caller's thread ◄┘
//! ```
//! The protocol is that of `base/wire`, as the HTTP edge speaks it with origins; there all of a connection is on one thread.

mod ask;
mod driver;
mod handle;
mod held;
mod ingress;
mod session;
mod stream;

pub(crate) use ask::{ControlError, PushError, connect, exchange, open_service, push, switch};
pub(crate) use handle::{Handle, Reader};
pub(crate) use held::Share;
pub(crate) use ingress::accept;
pub(crate) use session::{Session, Slot};
pub(crate) use stream::Closed;
