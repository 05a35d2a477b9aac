//! The program's own errors, numbered from 6000 in the order of the interface.

sdk::errors! {
    PoolError:
    InvalidAmount = 6000, "Amount must be greater than zero";
    Unauthorized = 6001, "Unauthorized";
    RateTooHigh = 6002, "Rate is above 10000 basis points a year";
    InsufficientPrincipal = 6003, "Amount is above the principal of the position";
    InsufficientInterest = 6004, "Amount is above the interest that has accrued";
    InsufficientReserve = 6005, "Amount is above what the reserve holds";
    AlreadyInitialized = 6006, "Account already initialized";
    Overflow = 6007, "Arithmetic overflow or underflow";
    InvariantViolation = 6008, "Pool tokens do not cover the principal";
    InvalidTokenProgramOwner = 6009, "Invalid token account program owner";
}
