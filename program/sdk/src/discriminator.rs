//! Anchor's discriminators: the first eight bytes of a SHA-256, computed by the compiler.

#[expect(clippy::cast_possible_truncation, reason = "without the 32 bits of the whole part")]
const K: [u32; 64] = {
    // The fractional parts of the cube roots of the first 64 primes.
    let mut constants = [0u32; 64];
    let mut candidate = 2u128;
    let mut count = 0;
    while count < 64 {
        let mut divisor = 2;
        while divisor * divisor <= candidate && !candidate.is_multiple_of(divisor) {
            divisor += 1;
        }
        if divisor * divisor > candidate {
            constants[count] = root(candidate, 3) as u32;
            count += 1;
        }
        candidate += 1;
    }
    constants
};

#[expect(clippy::cast_possible_truncation, reason = "without the 32 bits of the whole part")]
const START: [u32; 8] = {
    // The fractional parts of the square roots of the first 8 primes.
    let primes = [2u128, 3, 5, 7, 11, 13, 17, 19];
    let mut state = [0u32; 8];
    let mut index = 0;
    while index < 8 {
        state[index] = root(primes[index], 2) as u32;
        index += 1;
    }
    state
};

/// ⌊number^(1/degree) · 2³²⌋ for degree 2 or 3.
const fn root(number: u128, degree: u32) -> u128 {
    let target = number << (32 * degree); // number · 2^(32·degree) fits in 128 bits
    let mut result = 0u128;
    let mut bit = 1u128 << 36;
    while bit > 0 {
        let candidate = result | bit;
        if candidate.pow(degree) <= target {
            result = candidate;
        }
        bit >>= 1;
    }
    result
}

/// `sha256(namespace + ":" + name)[..8]`. The text is short enough for one block.
#[expect(clippy::cast_possible_truncation, reason = "the length in bits, byte by byte")]
#[expect(clippy::many_single_char_names, reason = "the first eight bytes have no names")]
pub const fn discriminator(namespace: &str, name: &str) -> [u8; 8] {
    let mut block = [0u8; 64];
    let mut length = append(&mut block, 0, namespace.as_bytes());
    length = append(&mut block, length, b":");
    length = append(&mut block, length, name.as_bytes());
    assert!(length < 56);
    block[length] = 0x80;
    block[62] = ((length * 8) >> 8) as u8;
    block[63] = (length * 8) as u8;

    let state = compress(START, &block);
    let [a, b, c, d] = state[0].to_be_bytes();
    let [e, f, g, h] = state[1].to_be_bytes();
    [a, b, c, d, e, f, g, h]
}

const fn append(block: &mut [u8; 64], at: usize, text: &[u8]) -> usize {
    let mut index = 0;
    while index < text.len() {
        block[at + index] = text[index];
        index += 1;
    }
    at + text.len()
}

#[expect(clippy::many_single_char_names, reason = "FIPS 180-4 names them so")]
const fn compress(state: [u32; 8], block: &[u8; 64]) -> [u32; 8] {
    let mut words = [0u32; 64];
    let mut t = 0;
    while t < 64 {
        words[t] = if t < 16 {
            let at = 4 * t;
            u32::from_be_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]])
        } else {
            let (w2, w15) = (words[t - 2], words[t - 15]);
            let low = w15.rotate_right(7) ^ w15.rotate_right(18) ^ (w15 >> 3);
            let high = w2.rotate_right(17) ^ w2.rotate_right(19) ^ (w2 >> 10);
            words[t - 16].wrapping_add(low).wrapping_add(words[t - 7]).wrapping_add(high)
        };
        t += 1;
    }
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = state;
    let mut t = 0;
    while t < 64 {
        let sum = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
        let choice = (e & f) ^ (!e & g);
        let first = h.wrapping_add(sum).wrapping_add(choice);
        let first = first.wrapping_add(K[t]).wrapping_add(words[t]);
        let sum = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
        let majority = (a & b) ^ (a & c) ^ (b & c);
        (h, g, f, e) = (g, f, e, d.wrapping_add(first));
        (d, c, b, a) = (c, b, a, first.wrapping_add(sum.wrapping_add(majority)));
        t += 1;
    }
    let after = [a, b, c, d, e, f, g, h];
    let mut sum = [0u32; 8];
    let mut index = 0;
    while index < 8 {
        sum[index] = state[index].wrapping_add(after[index]);
        index += 1;
    }
    sum
}

const _: () = {
    // From the interface: the discriminator of `deposit`.
    let expected = [242, 35, 198, 137, 82, 225, 242, 182];
    assert!(u64::from_le_bytes(discriminator("global", "deposit")) == u64::from_le_bytes(expected));
};
