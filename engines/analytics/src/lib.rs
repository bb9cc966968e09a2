//! What happened, counted.
//!
//! ```text
//! plane: Event ─► Table of a worker ─ each second ─► Segment of a zone and a minute ─► hour ─► day
//!                                                           Query ─► Tally ─► Report
//! ```
//! Events are counted by what they mean, and by all that is told apart of them at once ([`DnsFacts`],
//! [`HttpFacts`]), so that any of it can be
//! asked for together. Only names are too many for that: [`Table`] and [`Segment`] keep as many as they have room for, those
//! that come most often, and count the others without their names. So each count of a name is told with how many may be
//! missing, and all other counts are exact.
//!
//! Not here: files, threads, a clock. Who collects tells which minute it is.

mod catalogue;
mod counts;
mod dns;
mod filter;
mod http;
mod l4;
mod query;
mod report;
mod segment;
mod step;
mod table;

pub use catalogue::{Catalogue, Dimension, Fact, Measure, Metric, What};
pub use counts::{Counts, Times};
pub use dns::{DNS, DnsFacts, Transport};
pub use http::{HTTP, HttpFacts, Protocol, Sealed};
pub use l4::{FlowEvent, FlowFacts, L4};
pub use query::{LIMIT_USUAL, Query, QueryError, Wanted};
pub use report::{Report, Row, Tally, TooMuch};
pub use segment::{Facts, Segment, Unreadable, visit};
pub use step::Step;
pub use table::{Counted, Event, TABLE_BYTES_MAX, Table};
