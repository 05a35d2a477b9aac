//! A Borsh vector inside account data. What follows it moves when it grows or shrinks.

use sdk::{AnchorError, Bytes, Pubkey, Result};

use crate::errors::VaultError;

/// A vector: the position of its length prefix, the size of an entry, and its capacity.
///
/// `data` is the account at its maximal length, so that there is always room after the vector.
#[derive(Clone, Copy)]
pub struct List<'a> {
    pub data: Bytes<'a>,
    pub at: usize,
    pub stride: usize,
    pub capacity: usize,
}

impl List<'_> {
    #[inline(always)]
    pub fn len(self) -> Result<usize> {
        let length = self.data.u32(self.at)? as usize;
        if length > self.capacity {
            return Err(AnchorError::AccountDidNotDeserialize);
        }
        Ok(length)
    }

    /// `len()` in the type that events use.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "a capacity is 64 at most")]
    pub fn count(self) -> Result<u32> {
        Ok(self.len()? as u32)
    }

    #[inline(always)]
    pub fn is_full(self) -> Result<bool> {
        Ok(self.len()? == self.capacity)
    }

    /// The position of an entry, or for `len()` of the first byte after the vector.
    #[inline(always)]
    pub fn entry(self, index: usize) -> Result<usize> {
        if index > self.len()? {
            return Err(AnchorError::AccountDidNotDeserialize);
        }
        Ok(self.at + 4 + index * self.stride)
    }

    #[inline(always)]
    pub fn end(self) -> Result<usize> {
        self.entry(self.len()?)
    }

    #[inline(always)]
    pub fn key(self, index: usize) -> Result<Pubkey> {
        self.data.key(self.entry(index)?)
    }

    #[inline(always)]
    pub fn position(self, key: &Pubkey) -> Result<Option<usize>> {
        for index in 0..self.len()? {
            if self.key(index)? == *key {
                return Ok(Some(index));
            }
        }
        Ok(None)
    }

    #[inline(always)]
    pub fn contains(self, key: &Pubkey) -> Result<bool> {
        Ok(self.position(key)?.is_some())
    }

    /// Appends an entry. Fails with `Overflow` if the vector is full.
    #[inline(always)]
    pub fn push<const N: usize>(self, entry: [u8; N]) -> Result {
        let length = self.len()?;
        if self.is_full()? {
            return Err(VaultError::Overflow);
        }
        let end = self.end()?;
        self.data.shift(end, end + N, self.data.len() - end - N)?;
        self.data.put(end, entry)?;
        self.set_len(length + 1)
    }

    /// Appends an address. Fails with `AlreadyExists` if the vector contains it.
    #[inline(always)]
    pub fn insert(self, key: &Pubkey) -> Result {
        if self.contains(key)? {
            return Err(VaultError::AlreadyExists);
        }
        self.push(key.0)
    }

    /// Removes an entry. Later entries keep their order.
    #[inline(always)]
    pub fn remove(self, index: usize) -> Result {
        self.remove_range(index, index + 1)
    }

    /// Removes the entries from `first` to before `end`. Later entries keep their order.
    #[inline(always)]
    pub fn remove_range(self, first: usize, end: usize) -> Result {
        let length = self.len()?;
        let (to, from) = (self.entry(first)?, self.entry(end)?);
        let whole = self.data.len();
        self.data.shift(from, to, whole - from)?;
        self.data.clear(whole - (from - to), from - to)?;
        self.set_len(length - (end - first))
    }

    #[inline(always)]
    pub fn clear(self) -> Result {
        self.remove_range(0, self.len()?)
    }

    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "a capacity is 64 at most")]
    fn set_len(self, length: usize) -> Result {
        self.data.put(self.at, (length as u32).to_le_bytes())
    }
}
