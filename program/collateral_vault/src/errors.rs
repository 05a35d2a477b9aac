//! The program's own errors, numbered from 6000 in the order of the interface, and first the one
//! framework error that only this program uses.

sdk::errors! {
    VaultError:
    ConstraintDuplicateMutableAccount = 2040, "A duplicate mutable account constraint was violated";
    InvalidAmount = 6000, "Amount must be greater than zero";
    Unauthorized = 6001, "Unauthorized";
    InsufficientFunds = 6002, "Insufficient funds";
    Overflow = 6003, "Arithmetic overflow or underflow";
    UnauthorizedProgram = 6004, "Caller program is not authorized";
    AlreadyInitialized = 6005, "Account already initialized";
    AlreadyExists = 6006, "Entry already exists";
    NotFound = 6007, "Account not found";
    Frozen = 6008, "Vault operations are frozen";
    InvariantViolation = 6009, "Balance invariant violated";
    NonZeroBalance = 6010, "Vault has non-zero balance";
    InvalidTokenProgramOwner = 6011, "Invalid token account program owner";
    OpenPositionsExist = 6012, "User has open positions (locked collateral present)";
    YieldProgramNotWhitelisted = 6013, "Yield program not whitelisted";
    InsufficientYieldBalance = 6014, "Insufficient yield balance";
    PositionSummaryMissing = 6015, "Missing position summary for authorized program";
    PositionSummaryInvalid = 6016, "Invalid position summary supplied";
    ForeignTokenAuthority = 6017, "Token account has a delegate or a close authority";
    WithdrawalsPaused = 6018, "Withdrawals are paused";
    TransferLimitExceeded = 6019, "Transfer limit exceeded";
    NotExecutableNow = 6020, "Not executable at this time";
    GuardInForce = 6021, "A delay or a multisig guards this change";
    DurationTooLong = 6022, "Duration is too long";
    NotUpgradeAuthority = 6023, "Signer is not the program's upgrade authority";
    TransferNotAgreed = 6024, "The owner has not agreed to transfer more than what is locked";
    AnotherYieldProgramHolds = 6025, "Another yield program holds tokens: withdraw from it first";
}
