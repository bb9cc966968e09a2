//! `bartizan tunnel`: the origin's end.

use std::process::Command;

use crate::edge::Edge;
use crate::program::Program;

/// A connector that runs. Dropped, it is killed.
pub struct Connector {
    pub program: Program,
}

impl Connector {
    /// `bartizan tunnel WORDS`, with the edge found through the environment.
    #[track_caller]
    pub fn start(edge: &Edge, words: &[&str]) -> Connector {
        Connector::from(edge.command(["tunnel"].iter().chain(words)))
    }

    #[track_caller]
    pub fn from(mut command: Command) -> Connector {
        Connector { program: Program::start("connector", &mut command) }
    }
}
