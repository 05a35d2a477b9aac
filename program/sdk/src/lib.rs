//! What an on-chain program needs of the Solana virtual machine, in safe Rust without `std`.
//!
//! All `unsafe` of the programs is in this crate: `syscalls` (calls into the virtual machine),
//! `input` (the accounts as the virtual machine serialises them) and one cast in `bytes`.
#![no_std]
#![deny(unsafe_op_in_unsafe_fn)]

pub mod accounts;
pub mod bytes;
pub mod cpi;
pub mod discriminator;
pub mod error;
pub mod hash;
pub mod input;
pub mod loader;
pub mod log;
pub mod pda;
pub mod pubkey;
pub mod reader;
pub mod security_txt;
pub mod syscalls;
pub mod system;
pub mod sysvar;
pub mod token;

pub use bytes::Bytes;
pub use error::{AnchorError, Error, ProgramError, Result};
pub use input::{Account, Context};
pub use pubkey::Pubkey;
pub use reader::Reader;

/// Defines the program's entry point and panic handler from a `fn(&Context) -> Result` and the set
/// of the program's own errors.
#[macro_export]
macro_rules! entrypoint {
    ($process:path, $errors:path) => {
        /// # Safety
        /// Called by the virtual machine only, with its serialised input.
        #[allow(unsafe_code, reason = "the programs deny it everywhere else")]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn entrypoint(input: *const u8) -> u64 {
            let mut slots = $crate::input::SLOTS;
            // SAFETY: the virtual machine passes its serialised input, which outlives the call.
            let outcome = unsafe { $crate::Context::parse(input, &mut slots) };
            match outcome.and_then(|context| $process(&context)) {
                Ok(()) => 0,
                Err(error) => {
                    $crate::AnchorError::log(error);
                    <$errors>::log(error);
                    error.code()
                }
            }
        }

        #[panic_handler]
        fn panic(_: &core::panic::PanicInfo) -> ! {
            $crate::syscalls::abort()
        }
    };
}

/// Calls the handler of the instruction that the data name, after logging Anchor's line for it:
/// `dispatch!(context, "name", "Name" => handler; …)`, with handlers `fn(&Context, &mut Reader) ->
/// Result`.
#[macro_export]
macro_rules! dispatch {
    ($context:ident, $($name:literal, $title:literal => $handler:path;)*) => {{
        let mut arguments = $context.data;
        let Ok(name) = arguments.array() else {
            return Err($crate::AnchorError::InstructionFallbackNotFound);
        };
        let name = u64::from_le_bytes(*name);
        $(if name == const { u64::from_le_bytes($crate::discriminator::discriminator("global", $name)) } {
            $crate::log::log(concat!("Instruction: ", $title));
            return $handler($context, &mut arguments);
        })*
        Err($crate::AnchorError::InstructionFallbackNotFound)
    }};
}
