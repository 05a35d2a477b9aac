//! Addresses.

#[repr(transparent)]
#[derive(Clone, Copy, Eq)]
pub struct Pubkey(pub [u8; 32]);

/// Compares word by word: different addresses mostly differ in the first, and `memcmp` is a
/// syscall.
impl PartialEq for Pubkey {
    #[inline(always)]
    fn eq(&self, other: &Self) -> bool {
        let (ours, theirs) = (self.words(), other.words());
        ours[0] == theirs[0] && ours[1] == theirs[1] && ours[2] == theirs[2] && ours[3] == theirs[3]
    }
}

impl Pubkey {
    #[inline(always)]
    fn words(&self) -> [u64; 4] {
        let (words, _) = self.0.as_chunks();
        core::array::from_fn(|index| u64::from_ne_bytes(words[index]))
    }

    /// Decodes base58, at compile time: `const ID: Pubkey = Pubkey::from_base58("…")`.
    #[expect(clippy::cast_possible_truncation, reason = "the low byte; the rest is carried")]
    pub const fn from_base58(text: &str) -> Pubkey {
        let text = text.as_bytes();
        let mut bytes = [0u8; 32];
        let mut at = 0;
        while at < text.len() {
            let mut carry = digit(text[at]);
            let mut index = 32;
            while index > 0 {
                index -= 1;
                carry += bytes[index] as u32 * 58;
                bytes[index] = carry as u8;
                carry >>= 8;
            }
            assert!(carry == 0, "more than 32 bytes");
            at += 1;
        }
        Pubkey(bytes)
    }

    #[inline(always)]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a place in the alphabet")]
const fn digit(character: u8) -> u32 {
    let alphabet = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    let mut value = 0;
    while alphabet[value] != character {
        value += 1;
    }
    value as u32
}
