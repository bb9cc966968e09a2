//! Keys of a tree: numbers whose first bits are prefixes.

/// IPv4 addresses, networks' numbers and countries are `u32`, IPv6 addresses `u128`.
pub(crate) trait Bits: Copy + Ord {
    const BYTES: usize;

    /// Entries of a leaf. More make a change copy more and a search fetch more cache lines at once, ten to twenty as it
    /// is; fewer make what lies above leaves larger than the caches near a core.
    const LEAF_MAX: usize;

    /// The number of equal bits from the highest on.
    fn common(self, other: Self) -> u8;

    /// With ones after the first `length` bits.
    fn last(self, length: u8) -> Self;

    fn write(self, to: &mut Vec<u8>);

    /// The key number `index` of those that lie in `keys` one after the other.
    fn read(keys: &[u8], index: usize) -> Option<Self>;

    /// All keys that lie in `keys`.
    fn each(keys: &[u8]) -> impl Iterator<Item = Self>;

    /// How many of the ascending `keys` are no greater than `key`.
    fn count_up_to(keys: &[u8], key: Self) -> usize;

    /// Whether the prefix of `length` bits of `self` is one of `key`.
    fn covers(self, length: u8, key: Self) -> bool {
        self.common(key) >= length
    }
}

macro_rules! bits {
    ($number:ty, leaf_max = $leaf_max:literal) => {
        impl Bits for $number {
            const BYTES: usize = size_of::<$number>();
            const LEAF_MAX: usize = $leaf_max;

            fn common(self, other: Self) -> u8 {
                (self ^ other).leading_zeros() as u8
            }

            fn last(self, length: u8) -> Self {
                self | Self::MAX.checked_shr(length.into()).unwrap_or(0)
            }

            fn write(self, to: &mut Vec<u8>) {
                to.extend_from_slice(&self.to_le_bytes());
            }

            fn read(keys: &[u8], index: usize) -> Option<Self> {
                let (keys, _) = keys.as_chunks::<{ size_of::<$number>() }>();
                keys.get(index).map(|bytes| Self::from_le_bytes(*bytes))
            }

            fn each(keys: &[u8]) -> impl Iterator<Item = Self> {
                let (keys, _) = keys.as_chunks::<{ size_of::<$number>() }>();
                keys.iter().map(|bytes| Self::from_le_bytes(*bytes))
            }

            fn count_up_to(keys: &[u8], key: Self) -> usize {
                let (keys, _) = keys.as_chunks::<{ size_of::<$number>() }>();
                keys.partition_point(|bytes| Self::from_le_bytes(*bytes) <= key)
            }
        }
    };
}

bits!(u32, leaf_max = 128);
bits!(u128, leaf_max = 96);
