//! The steps of the pipeline, in their order: each looks at one thing.

pub(crate) mod admit;
pub(crate) mod parse;

pub(crate) mod cookie;
pub(crate) mod options;

pub(crate) mod rate;

pub(crate) mod write;
