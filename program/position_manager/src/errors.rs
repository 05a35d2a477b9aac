//! The program's own errors, numbered from 6000 in the order of the interface.

sdk::errors! {
    PositionError:
    InvalidAmount = 6000, "Amount must be greater than zero";
    Unauthorized = 6001, "Unauthorized";
    InsufficientFunds = 6002, "Insufficient funds";
    Overflow = 6003, "Arithmetic overflow or underflow";
    UnauthorizedProgram = 6004, "Caller program is not authorized";
    AlreadyInitialized = 6005, "Account already initialized";
    NotFound = 6007, "Account not found";
}
