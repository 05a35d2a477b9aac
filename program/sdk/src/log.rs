//! Log lines and events.

use crate::Pubkey;
use crate::syscalls::{self, Slice};

/// Logs `Program log: <line>`.
#[inline(always)]
pub fn log(line: &str) {
    // SAFETY: the syscall reads the line and keeps nothing.
    unsafe { syscalls::sol_log_(line.as_ptr(), line.len() as u64) }
}

/// Logs `Program data: <base64>`.
#[inline(always)]
fn log_data(bytes: &[u8]) {
    let field = Slice::of(bytes);
    // SAFETY: the syscall reads one field and keeps nothing.
    unsafe { syscalls::sol_log_data(&raw const field, 1) }
}

/// An event under construction: discriminator, then Borsh fields, in a buffer of N bytes.
pub struct EventBuffer<const N: usize> {
    bytes: [u8; N],
    length: usize,
}

impl<const N: usize> EventBuffer<N> {
    #[inline(always)]
    pub fn new(discriminator: [u8; 8]) -> Self {
        let mut event = EventBuffer { bytes: [0; N], length: 0 };
        event.bytes(&discriminator);
        event
    }

    #[inline(always)]
    fn bytes(&mut self, bytes: &[u8]) {
        let end = self.length + bytes.len();
        self.bytes[self.length..end].copy_from_slice(bytes);
        self.length = end;
    }

    /// Appends bytes whose number is known only at run time, when there is no inline copy.
    #[inline(always)]
    fn many(&mut self, bytes: &[u8]) {
        let end = self.length + bytes.len();
        let target = &mut self.bytes[self.length..end];
        // SAFETY: the target has the length of the source.
        unsafe {
            syscalls::sol_memmove_(target.as_mut_ptr(), bytes.as_ptr(), bytes.len() as u64);
        };
        self.length = end;
    }

    #[inline(always)]
    pub fn emit(&self) {
        log_data(&self.bytes[..self.length]);
    }
}

/// A field of an event.
pub trait Field {
    const LENGTH: usize;
    fn append<const N: usize>(&self, event: &mut EventBuffer<N>);
}

impl Field for Pubkey {
    const LENGTH: usize = 32;
    #[inline(always)]
    fn append<const N: usize>(&self, event: &mut EventBuffer<N>) {
        event.bytes(&self.0);
    }
}

macro_rules! integers {
    ($($type:ty)*) => {
        $(impl Field for $type {
            const LENGTH: usize = size_of::<$type>();
            #[inline(always)]
            fn append<const N: usize>(&self, event: &mut EventBuffer<N>) {
                event.bytes(&self.to_le_bytes());
            }
        })*
    };
}
integers!(u8 u32 u64 i64);

impl Field for bool {
    const LENGTH: usize = 1;
    #[inline(always)]
    fn append<const N: usize>(&self, event: &mut EventBuffer<N>) {
        event.bytes(&[u8::from(*self)]);
    }
}

/// A vector of at most MAX addresses.
#[derive(Clone, Copy)]
pub struct Keys<'a, const MAX: usize>(pub &'a [[u8; 32]]);

impl<const MAX: usize> Field for Keys<'_, MAX> {
    const LENGTH: usize = 4 + 32 * MAX;
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the buffer holds MAX of them")]
    fn append<const N: usize>(&self, event: &mut EventBuffer<N>) {
        event.bytes(&(self.0.len() as u32).to_le_bytes());
        event.many(self.0.as_flattened());
    }
}

/// A field that is in Borsh already, of at most MAX bytes.
#[derive(Clone, Copy)]
pub struct Borsh<'a, const MAX: usize>(pub &'a [u8]);

impl<const MAX: usize> Field for Borsh<'_, MAX> {
    const LENGTH: usize = MAX;
    #[inline(always)]
    fn append<const N: usize>(&self, event: &mut EventBuffer<N>) {
        event.many(self.0);
    }
}

/// Defines events as structs with an `emit` method; the name gives the discriminator.
#[macro_export]
macro_rules! events {
    ($(struct $name:ident $(<$life:lifetime>)? { $($field:ident: $type:ty,)* })*) => {
        $(#[derive(Clone, Copy)]
        pub struct $name $(<$life>)? {
            $(pub $field: $type,)*
        }

        impl $(<$life>)? $name $(<$life>)? {
            const LENGTH: usize = 8 $(+ <$type as $crate::log::Field>::LENGTH)*;

            #[inline(never)]
            pub fn emit(&self) {
                let discriminator =
                    const { $crate::discriminator::discriminator("event", stringify!($name)) };
                let mut event = $crate::log::EventBuffer::<{ $name::LENGTH }>::new(discriminator);
                $($crate::log::Field::append(&self.$field, &mut event);)*
                event.emit();
            }
        })*
    };
}
