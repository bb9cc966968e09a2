//! Load generators and benchmarks of single parts. `cargo xtask bench` starts them beside their peers, pinned to cores.
//!
//! | binary | what |
//! | --- | --- |
//! | `blast` | asks a server as fast as it answers: `--server ADDR --names N --seconds S [--zone Z] [--missing or --denied] [--signed] [--from N] [--tcp QUERIES_A_WRITE] [--json]` |
//! | `echo` | the least that a UDP server does: `--listen ADDR` |
//! | `serve` | the DNS plane alone, with a zone of names: `--listen ADDR --names N [--zone Z] [--sign ALGORITHM]` |
//! | `sign` | µs for a signature of the crypto library alone: `--algorithm N --seconds S` |
//! | `lookup` | ns a query and µs a change, in this process, by number of names: `[--names N]` |
//! | `lookup-signed` | ns a signed answer, beside unsigned ones and a bare signature, in this process: `[--names N] [--algorithm N]` |
//! | `lookup-firewall` | ns a decision, µs a change and bytes a rule of the firewall, in this process: `[--rules N] [--layout L]` |
//! | `dns-guard` | ns a query for DNS cookies and response rate limiting, in this process |
//! | `hpack` | ns a header block of HTTP/2, read and written, in this process |
//! | `tables` | µs a change, ns a lookup and bytes an entry of certificates and applications: `[--entries N] [--table T]` |
//! | `attack` | visitors that are in the way of others, and one that feels it: `--what W --at ADDR --host H --seconds S` |
//! | `pour` | load for a proxy of TCP and UDP, and the origin behind it: `--what W --at ADDR [--count N] [--seconds S]` |
//!
//! All that have to do with DNS agree on the names: `n0`, `n1` … below the zone, each with one address.

mod flags;
mod measure;
mod zone;

pub use flags::{FlagError, Flags};
pub use measure::{cpu_nanos, median, resident_bytes};
pub use zone::{NAMES_MAX, owner, sign_zone, zone_of_names};

/// The zone that is asked for unless another is named.
pub const ZONE: &str = "bench.example";

/// Numbers that look random and are the same each time (xorshift64*).
#[derive(Clone, Debug)]
pub struct Draw(u64);

impl Draw {
    pub fn new(seed: u64) -> Draw {
        Draw(seed | 1)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        (high * limit) >> 32
    }
}
