//! What an edge has put into the kernel for its way to applications, and how it is taken back.
//!
//! It takes rights that an edge in service has given up. So the fd store, which has kept them, does it for it at a clean
//! stop.

use std::path::Path;

use anyhow::Context;
use bartizan_names::Prefix;
use bartizan_plane_bpf::{AnyIp, BPFFS, Tproxy, remove_pin};

/// Nothing here says which process made them: only one process at a time uses a data directory.
#[derive(Clone, Debug)]
pub struct Traces {
    pub way: Way,
    /// What the pin and the table are called.
    pub pin: String,
    /// Prefixes with a route.
    pub pool: Vec<Prefix>,
}

/// The same as words of a command line; none of them where there is nothing to take back.
#[derive(clap::Args, Debug, Default)]
pub struct TracesWords {
    #[arg(long, value_enum, requires = "pin")]
    way: Option<Way>,
    /// What the pin and the table are called
    #[arg(long, requires = "way")]
    pin: Option<String>,
    /// Prefixes with a route
    #[arg(long, requires = "way")]
    pool: Vec<Prefix>,
}

impl TracesWords {
    pub fn traces(&self) -> Option<Traces> {
        let (way, pin) = self.way.zip(self.pin.clone())?;
        Some(Traces { way, pin, pool: self.pool.clone() })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Way {
    SkLookup,
    Tproxy,
}

impl Way {
    pub const fn as_str(self) -> &'static str {
        match self {
            Way::SkLookup => "sk_lookup",
            Way::Tproxy => "tproxy",
        }
    }
}

impl Traces {
    /// As the words of a command line, which clap reads back.
    pub fn words(&self) -> Vec<String> {
        let mut words = vec!["--way".to_owned(), self.way.as_str().to_owned(), "--pin".to_owned(), self.pin.clone()];
        for prefix in &self.pool {
            words.extend(["--pool".to_owned(), prefix.to_string()]);
        }
        words
    }

    /// New clients are refused from here on.
    pub fn stop_steering(&self) -> anyhow::Result<()> {
        match self.way {
            Way::SkLookup => {
                let pin = Path::new(BPFFS).join(&self.pin);
                remove_pin(&pin).with_context(|| format!("the pin {}", pin.display()))?;
            }
            Way::Tproxy => Tproxy::left(&self.pin).detach()?,
        }
        Ok(())
    }

    /// From here on no packet for the pools reaches this machine's sockets, those of open connections neither.
    pub fn remove_routes(&self) -> anyhow::Result<()> {
        Ok(AnyIp::left(&self.pool).remove()?)
    }
}
