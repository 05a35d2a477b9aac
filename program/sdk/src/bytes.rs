//! Account data, which other programs may change during a call: bytes in cells.

use core::cell::Cell;

use crate::syscalls;
use crate::{AnchorError, Pubkey, Result};

/// Bytes of an account. Copies alias: a write through one is visible through every other.
///
/// All positions are checked; one out of range is `AccountDidNotDeserialize`.
#[derive(Clone, Copy)]
pub struct Bytes<'a>(&'a [Cell<u8>]);

impl<'a> Bytes<'a> {
    #[inline(always)]
    pub fn new(cells: &'a [Cell<u8>]) -> Self {
        Bytes(cells)
    }

    #[inline(always)]
    pub fn len(self) -> usize {
        self.0.len()
    }

    #[inline(always)]
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    #[inline(always)]
    fn part(self, at: usize, length: usize) -> Result<&'a [Cell<u8>]> {
        let end = at.checked_add(length).ok_or(AnchorError::AccountDidNotDeserialize)?;
        self.0.get(at..end).ok_or(AnchorError::AccountDidNotDeserialize)
    }

    /// The first `length` bytes.
    #[inline(always)]
    pub fn first(self, length: usize) -> Result<Bytes<'a>> {
        Ok(Bytes(self.part(0, length)?))
    }

    #[inline(always)]
    fn array<const N: usize>(self, at: usize) -> Result<&'a Cell<[u8; N]>> {
        let part = self.part(at, N)?;
        // SAFETY: `Cell<[u8; N]>` has the layout of `[Cell<u8>; N]`, and `part` is N cells long.
        Ok(unsafe { &*part.as_ptr().cast() })
    }

    #[inline(always)]
    pub fn get<const N: usize>(self, at: usize) -> Result<[u8; N]> {
        Ok(self.array(at)?.get())
    }

    #[inline(always)]
    pub fn put<const N: usize>(self, at: usize, bytes: [u8; N]) -> Result {
        self.array(at)?.set(bytes);
        Ok(())
    }

    #[inline(always)]
    pub fn u8(self, at: usize) -> Result<u8> {
        Ok(self.get::<1>(at)?[0])
    }

    #[inline(always)]
    pub fn u16(self, at: usize) -> Result<u16> {
        Ok(u16::from_le_bytes(self.get(at)?))
    }

    #[inline(always)]
    pub fn u32(self, at: usize) -> Result<u32> {
        Ok(u32::from_le_bytes(self.get(at)?))
    }

    #[inline(always)]
    pub fn u64(self, at: usize) -> Result<u64> {
        Ok(u64::from_le_bytes(self.get(at)?))
    }

    #[inline(always)]
    pub fn i64(self, at: usize) -> Result<i64> {
        Ok(i64::from_le_bytes(self.get(at)?))
    }

    #[inline(always)]
    pub fn key(self, at: usize) -> Result<Pubkey> {
        Ok(Pubkey(self.get(at)?))
    }

    /// `count` parts of N bytes each, from `at` on.
    #[inline(always)]
    pub fn chunks<const N: usize>(
        self,
        at: usize,
        count: usize,
    ) -> Result<impl Iterator<Item = Bytes<'a>>> {
        let (chunks, _) = self.part(at, N * count)?.as_chunks::<N>();
        Ok(chunks.iter().map(|chunk| Bytes(chunk)))
    }

    /// Copies the bytes from `at` on into `target`.
    #[inline(always)]
    pub fn copy_to(self, at: usize, target: &mut [u8]) -> Result {
        let source = self.part(at, target.len())?.as_ptr().cast();
        // SAFETY: both ranges have this length, and the target is borrowed mutably.
        unsafe { syscalls::sol_memmove_(target.as_mut_ptr(), source, target.len() as u64) };
        Ok(())
    }

    /// Writes `source` at `at`.
    #[inline(always)]
    pub fn copy_from(self, at: usize, source: &[u8]) -> Result {
        let target = self.part(at, source.len())?.as_ptr().cast_mut().cast();
        // SAFETY: both ranges have this length, and the cells may be written through.
        unsafe { syscalls::sol_memmove_(target, source.as_ptr(), source.len() as u64) };
        Ok(())
    }

    /// Moves `length` bytes; the two ranges may overlap.
    #[inline(always)]
    pub fn shift(self, from: usize, to: usize, length: usize) -> Result {
        let source = self.part(from, length)?.as_ptr().cast();
        let target = self.part(to, length)?.as_ptr().cast_mut().cast();
        // SAFETY: both ranges lie within the cells, which may be written through.
        unsafe { syscalls::sol_memmove_(target, source, length as u64) };
        Ok(())
    }

    /// Sets `length` bytes to zero.
    #[inline(always)]
    pub fn clear(self, at: usize, length: usize) -> Result {
        let target = self.part(at, length)?.as_ptr().cast_mut().cast();
        // SAFETY: the range lies within the cells, which may be written through.
        unsafe { syscalls::sol_memset_(target, 0, length as u64) };
        Ok(())
    }
}
