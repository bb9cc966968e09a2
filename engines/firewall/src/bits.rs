//! Keys of a radix tree: numbers that are compared from their highest bit on.

/// IPv4 addresses, networks' numbers and countries are `u32`, IPv6 addresses `u128`.
pub(crate) trait Bits: Copy + Ord {
    const WIDTH: u8;
    const BYTES: usize;

    /// Entries of a leaf. More make a lookup search longer and a change copy more; fewer cost memory, since every leaf
    /// is an allocation. Keys of a full leaf take four to eight cache lines.
    const LEAF_MAX: usize;

    /// The number of equal bits from the highest on.
    fn common(self, other: Self) -> u8;

    /// The eight bits that follow the first `depth` ones. `depth` is less than the width.
    fn octet_at(self, depth: u8) -> u8;

    /// With zeros after the first `length` bits.
    fn cut(self, length: u8) -> Self;

    fn write(self, to: &mut Vec<u8>);

    /// The key number `index` of those that lie in `keys` one after the other.
    fn read(keys: &[u8], index: usize) -> Option<Self>;

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
            const WIDTH: u8 = <$number>::BITS as u8;
            const BYTES: usize = size_of::<$number>();
            const LEAF_MAX: usize = $leaf_max;

            fn common(self, other: Self) -> u8 {
                (self ^ other).leading_zeros() as u8
            }

            fn octet_at(self, depth: u8) -> u8 {
                ((self << depth) >> (Self::WIDTH - 8)) as u8
            }

            fn cut(self, length: u8) -> Self {
                match length {
                    0 => 0,
                    length => self & (Self::MAX << (Self::WIDTH - length)),
                }
            }

            fn write(self, to: &mut Vec<u8>) {
                to.extend_from_slice(&self.to_le_bytes());
            }

            fn read(keys: &[u8], index: usize) -> Option<Self> {
                let (keys, _) = keys.as_chunks::<{ size_of::<$number>() }>();
                keys.get(index).map(|bytes| Self::from_le_bytes(*bytes))
            }

            fn count_up_to(keys: &[u8], key: Self) -> usize {
                let (keys, _) = keys.as_chunks::<{ size_of::<$number>() }>();
                keys.partition_point(|bytes| Self::from_le_bytes(*bytes) <= key)
            }
        }
    };
}

bits!(u32, leaf_max = 48);
bits!(u128, leaf_max = 32);
