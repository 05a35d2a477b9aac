//! The Borsh arguments of an instruction.

use crate::{AnchorError, Pubkey, Result};

/// Reads arguments in order. Anything that does not fit is `InstructionDidNotDeserialize`.
#[derive(Clone, Copy)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    #[inline(always)]
    pub fn new(data: &'a [u8]) -> Self {
        Reader(data)
    }

    #[inline(always)]
    pub fn array<const N: usize>(&mut self) -> Result<&'a [u8; N]> {
        let (first, rest) =
            self.0.split_first_chunk().ok_or(AnchorError::InstructionDidNotDeserialize)?;
        self.0 = rest;
        Ok(first)
    }

    #[inline(always)]
    pub fn u8(&mut self) -> Result<u8> {
        Ok(self.array::<1>()?[0])
    }

    #[inline(always)]
    pub fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(*self.array()?))
    }

    #[inline(always)]
    pub fn i64(&mut self) -> Result<i64> {
        Ok(i64::from_le_bytes(*self.array()?))
    }

    #[inline(always)]
    pub fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(*self.array()?))
    }

    #[inline(always)]
    pub fn key(&mut self) -> Result<Pubkey> {
        Ok(Pubkey(*self.array()?))
    }

    #[inline(always)]
    pub fn bool(&mut self) -> Result<bool> {
        match self.array()? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(AnchorError::InstructionDidNotDeserialize),
        }
    }

    #[inline(always)]
    pub fn optional_bool(&mut self) -> Result<Option<bool>> {
        Ok(if self.bool()? { Some(self.bool()?) } else { None })
    }

    /// Reads a vector of addresses in place.
    #[inline(always)]
    pub fn keys(&mut self) -> Result<&'a [[u8; 32]]> {
        let count = u32::from_le_bytes(*self.array()?) as usize;
        let (keys, _) = self.0.as_chunks();
        let keys = keys.get(..count).ok_or(AnchorError::InstructionDidNotDeserialize)?;
        self.0 = &self.0[32 * count..];
        Ok(keys)
    }

    /// What is left, without reading it.
    #[inline(always)]
    pub fn rest(self) -> &'a [u8] {
        self.0
    }

    /// Requires that no bytes are left.
    #[inline(always)]
    pub fn end(self) -> Result {
        if self.0.is_empty() { Ok(()) } else { Err(AnchorError::InstructionDidNotDeserialize) }
    }
}
