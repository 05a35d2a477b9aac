//! One module for each instruction, or for a pair of inverse instructions.

pub mod init_position_summary;
pub mod positions;
pub mod rebalance_collateral;
pub mod settle_position_summary;
