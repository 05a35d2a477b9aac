//! The commands, read in place one after another.

use sdk::{Bytes, Pubkey, Result};

/// The maximal length of a call's data and of logged bytes.
pub const MAX_LENGTH: usize = 1024;

pub struct Script<'a> {
    data: Bytes<'a>,
    at: usize,
}

impl<'a> Script<'a> {
    pub fn new(data: Bytes<'a>) -> Self {
        Script { data, at: 0 }
    }

    pub fn is_at_end(&self) -> bool {
        self.at == self.data.len()
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let array = self.data.get(self.at)?;
        self.at += N;
        Ok(array)
    }

    pub fn u8(&mut self) -> Result<u8> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    pub fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub fn name(&mut self) -> Result<[u8; 8]> {
        self.array()
    }

    pub fn skip(&mut self, length: u16) {
        self.at += usize::from(length);
    }

    pub fn key(&mut self) -> Result<Pubkey> {
        Ok(Pubkey(self.array()?))
    }

    /// Reads a length and as many bytes. Copies them into `buffer`, since a call takes a slice and
    /// the data are in cells. Panics if they do not fit.
    pub fn bytes<'b>(&mut self, buffer: &'b mut [u8; MAX_LENGTH]) -> Result<&'b [u8]> {
        let length = usize::from(self.u16()?);
        let bytes = &mut buffer[..length];
        for byte in &mut *bytes {
            *byte = self.u8()?;
        }
        Ok(bytes)
    }
}
