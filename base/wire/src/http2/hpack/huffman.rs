//! Huffman's code for strings (RFC 7541 §5.2, appendix B).
//!
//! It is a canonical one: shorter codes come before longer ones, and those of one length are in the order of their symbols. So the
//! lengths say all, and the tables are made of them while this is compiled.

use super::decoder::HpackError;

/// Bits of the code of each octet. What is left over, thirty ones, is the end of a string, which never occurs.
const BITS: [[u8; 16]; 16] = [
    [13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28],
    [28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28],
    [6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6],
    [5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10],
    [13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7],
    [7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6],
    [15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5],
    [6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28],
    [20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23],
    [24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24],
    [22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23],
    [21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23],
    [26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25],
    [19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27],
    [20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23],
    [26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26],
];

const BITS_MAX: usize = 30;

/// What one look into the table of short codes tells: all of most texts.
const SHORT_BITS: usize = 8;

#[derive(Clone, Copy)]
struct Code {
    /// In the lowest bits.
    code: u32,
    bits: u8,
}

const CODES: [Code; 256] = codes();

const fn codes() -> [Code; 256] {
    let mut codes = [Code { code: 0, bits: 0 }; 256];
    let (mut code, mut bits) = (0, 0);
    while bits < BITS_MAX {
        (code, bits) = (code << 1, bits + 1);
        let mut symbol = 0;
        while symbol < codes.len() {
            if BITS[symbol / 16][symbol % 16] as usize == bits {
                codes[symbol] = Code { code, bits: bits as u8 };
                code += 1;
            }
            symbol += 1;
        }
    }
    assert!(code == (1 << BITS_MAX) - 1, "one is left over");
    codes
}

/// A symbol, and of how many bits it was made: none if its code is longer than [`SHORT_BITS`].
#[derive(Clone, Copy)]
struct Short {
    symbol: u8,
    bits: u8,
}

/// For each value of the next bits, what they begin with.
const SHORT: [Short; 1 << SHORT_BITS] = short();

const fn short() -> [Short; 1 << SHORT_BITS] {
    let mut short = [Short { symbol: 0, bits: 0 }; 1 << SHORT_BITS];
    let mut symbol = 0;
    while symbol < 256 {
        let Code { code, bits } = CODES[symbol];
        if bits as usize <= SHORT_BITS {
            let spare = SHORT_BITS - bits as usize;
            let mut tail = 0;
            while tail < 1 << spare {
                short[(code as usize) << spare | tail] = Short { symbol: symbol as u8, bits };
                tail += 1;
            }
        }
        symbol += 1;
    }
    short
}

/// The codes of one length.
#[derive(Clone, Copy)]
struct Long {
    /// The first code behind them, in the highest bits.
    below: u32,
    /// The first of them, in the lowest bits.
    first: u32,
    /// Where its symbol is in [`LONG_SYMBOLS`].
    at: usize,
}

/// For each length above [`SHORT_BITS`].
const LONG: [Long; BITS_MAX - SHORT_BITS] = long().0;

/// The symbols with such codes, in the order of these.
const LONG_SYMBOLS: [u8; 182] = long().1;

const fn long() -> ([Long; BITS_MAX - SHORT_BITS], [u8; 182]) {
    let (mut long, mut symbols) = ([Long { below: 0, first: 0, at: 0 }; BITS_MAX - SHORT_BITS], [0; 182]);
    let (mut at, mut bits, mut below) = (0, SHORT_BITS + 1, 0);
    while bits <= BITS_MAX {
        let group = &mut long[bits - SHORT_BITS - 1];
        (group.at, group.first) = (at, u32::MAX);
        let mut symbol = 0;
        while symbol < 256 {
            let Code { code, bits: length } = CODES[symbol];
            if length as usize == bits {
                if group.first == u32::MAX {
                    group.first = code;
                }
                below = (code + 1) << (32 - bits);
                symbols[at] = symbol as u8;
                at += 1;
            }
            symbol += 1;
        }
        group.below = below;
        bits += 1;
    }
    assert!(at == symbols.len());
    (long, symbols)
}

/// The symbol that the bits begin with, and of how many it was made.
fn first_symbol(bits: u64) -> Result<(u8, u32), HpackError> {
    let short = SHORT[(bits >> (64 - SHORT_BITS)) as usize];
    if short.bits != 0 {
        return Ok((short.symbol, u32::from(short.bits)));
    }
    let window = (bits >> 32) as u32;
    let group = LONG.iter().position(|group| window < group.below).ok_or(HpackError::BadHuffman)?;
    let (length, Long { first, at, .. }) = (group + SHORT_BITS + 1, LONG[group]);
    Ok((LONG_SYMBOLS[at + ((window >> (32 - length)) - first) as usize], length as u32))
}

/// Puts what a string stands for at the end of `out`: at most eight fifths of its length.
// Hot: once a path, an agent's name, a cookie.
pub(super) fn decode(coded: &[u8], out: &mut Vec<u8>) -> Result<(), HpackError> {
    out.reserve(coded.len() * 8 / 5);
    // The next bits are the highest of `bits`; behind the last of `left` are zeros, in the end ones.
    let (mut bits, mut left) = (0_u64, 0);
    let (words, rest) = coded.as_chunks::<4>();
    for word in words {
        bits |= u64::from(u32::from_be_bytes(*word)) << (32 - left);
        left += 32;
        while left >= BITS_MAX as u32 {
            let (symbol, used) = first_symbol(bits)?;
            out.push(symbol);
            (bits, left) = (bits << used, left - used);
        }
    }
    for byte in rest {
        bits |= u64::from(*byte) << (56 - left);
        left += 8;
    }
    bits |= u64::MAX >> left;
    while left >= 8 || bits != u64::MAX {
        let (symbol, used) = first_symbol(bits)?;
        left = left.checked_sub(used).ok_or(HpackError::BadHuffman)?;
        out.push(symbol);
        bits = !(!bits << used);
    }
    Ok(())
}

/// Octets of a text in this code.
pub(super) fn encoded_len(text: &[u8]) -> usize {
    let bits: usize = text.iter().map(|byte| usize::from(CODES[usize::from(*byte)].bits)).sum();
    bits.div_ceil(8)
}

/// Writes a text in this code, with ones behind it up to a whole octet.
pub(super) fn encode(text: &[u8], out: &mut Vec<u8>) {
    // The last `there` bits are not written yet.
    let (mut bits, mut there) = (0_u64, 0);
    for byte in text {
        let Code { code, bits: length } = CODES[usize::from(*byte)];
        bits = bits << length | u64::from(code);
        there += u32::from(length);
        if there >= 32 {
            there -= 32;
            out.extend_from_slice(&((bits >> there) as u32).to_be_bytes());
        }
    }
    let last = bits << (32 - there) | u64::from(u32::MAX >> there);
    out.extend_from_slice(&(last as u32).to_be_bytes()[..there.div_ceil(8) as usize]);
}
