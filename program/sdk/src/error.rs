//! Errors with Anchor's numbers and texts, so that a stock Anchor client prints them correctly.

use core::num::NonZeroU64;

/// An error of a program: a custom error code, or a built-in error in the upper half.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Error(NonZeroU64);

pub type Result<T = ()> = core::result::Result<T, Error>;

impl Error {
    pub const fn new(code: u64) -> Error {
        Error(NonZeroU64::new(code).expect("zero is success"))
    }

    #[inline(always)]
    pub fn code(self) -> u64 {
        self.0.get()
    }
}

/// Defines a set of errors as associated constants (`VaultError::Unauthorized`), and `log`.
#[macro_export]
macro_rules! errors {
    ($(#[$doc:meta])* $set:ident: $($name:ident = $code:literal, $message:literal;)*) => {
        $(#[$doc])*
        pub struct $set;

        #[allow(non_upper_case_globals, reason = "named like variants")]
        impl $set {
            $(pub const $name: $crate::Error = $crate::Error::new($code);)*

            /// Logs Anchor's line for an error of this set.
            #[inline(never)]
            pub fn log(error: $crate::Error) {
                match error.code() {
                    $($code => $crate::log::log(concat!(
                        "AnchorError occurred. Error Code: ", stringify!($name),
                        ". Error Number: ", $code, ". Error Message: ", $message, "."
                    )),)*
                    _ => (),
                }
            }
        }
    };
}

errors! {
    /// The errors of the Anchor framework that these programs use.
    AnchorError:
    InstructionFallbackNotFound = 101, "Fallback functions are not supported";
    InstructionDidNotDeserialize = 102, "The program could not deserialize the given instruction";
    ConstraintMut = 2000, "A mut constraint was violated";
    ConstraintSeeds = 2006, "A seeds constraint was violated";
    ConstraintAssociated = 2009, "An associated constraint was violated";
    ConstraintTokenMint = 2014, "A token mint constraint was violated";
    ConstraintTokenOwner = 2015, "A token owner constraint was violated";
    AccountDiscriminatorMismatch = 3002, "Account discriminator did not match what was expected";
    AccountDidNotDeserialize = 3003, "Failed to deserialize the account";
    AccountNotEnoughKeys = 3005, "Not enough account keys given to the instruction";
    AccountOwnedByWrongProgram = 3007, "The given account is owned by a different program than expected";
    InvalidProgramId = 3008, "Program ID was not as expected";
    AccountNotSigner = 3010, "The given account did not sign";
    AccountNotInitialized = 3012, "The program expected this account to be already initialized";
    AccountSysvarMismatch = 3015, "The given public key does not match the required sysvar";
}

/// Errors whose numbers and texts Solana defines.
pub struct ProgramError;

#[allow(non_upper_case_globals, reason = "named like variants")]
impl ProgramError {
    pub const InvalidArgument: Error = Error::new(2 << 32);
    pub const ArithmeticOverflow: Error = Error::new(24 << 32);
    pub const UnsupportedSysvar: Error = Error::new(17 << 32);
}
