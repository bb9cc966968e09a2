//! What can be asked for of one kind of statistics: by which names, and how it is told.

/// One kind of statistics.
#[derive(Debug)]
pub struct Catalogue {
    pub dimensions: &'static [Dimension],
    /// The first one is what is told if nothing is asked for.
    pub metrics: &'static [Metric],
    /// Dimensions that others have, and why there are none here.
    pub not_kept: &'static [(&'static str, &'static str)],
    pub name_text: fn(&[u8]) -> String,
    pub name_of: fn(&str) -> Option<Box<[u8]>>,
    /// What stays of facts where there are too many.
    pub coarse: fn(u64) -> u64,
    /// Whether the time of such events is told apart: of requests if an origin answered, of connections if they are over.
    pub is_apart: fn(u64) -> bool,
    /// Whether no others have a time.
    pub only_apart: bool,
    /// How many of its units of time are a millisecond: classes of times begin at 512 of them.
    pub units_a_milli: f64,
}

impl Catalogue {
    /// The dimension of that name, if it is one of the facts.
    pub fn fact(&self, name: &str) -> Option<&Fact> {
        self.dimensions.iter().find(|dimension| dimension.name == name).and_then(|dimension| match &dimension.what {
            What::Fact(fact) => Some(fact),
            _ => None,
        })
    }
}

/// Something by which events are told apart.
#[derive(Debug)]
pub struct Dimension {
    pub name: &'static str,
    pub what: What,
}

#[derive(Debug)]
pub enum What {
    Name,
    /// Of the week: 1 is Monday.
    Day,
    /// The place where it was counted.
    Pop,
    Fact(Fact),
}

/// A field of the packed facts.
#[derive(Debug)]
pub struct Fact {
    pub of: fn(u64) -> u64,
    pub text: fn(u64) -> String,
    pub read: fn(&str) -> Option<u64>,
    /// Whether one is more than another.
    pub is_ordered: bool,
}

/// Something that is told of events.
#[derive(Debug)]
pub struct Metric {
    pub name: &'static str,
    pub measure: Measure,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Measure {
    Events,
    /// What never happens here.
    Zero,
    Sent,
    Received,
    MillisAverage,
    /// Of those whose time is told apart.
    MillisAverageApart,
    /// An estimate: times are kept by classes.
    MillisQuantile(f64),
}

/// A field of packed facts: where it begins, and how many bits it has.
pub(crate) struct Bits(pub(crate) u32, pub(crate) u32);

impl Bits {
    pub(crate) const fn get(&self, facts: u64) -> u64 {
        facts >> self.0 & ((1 << self.1) - 1)
    }

    pub(crate) const fn put(&self, value: u64) -> u64 {
        (value & ((1 << self.1) - 1)) << self.0
    }
}
