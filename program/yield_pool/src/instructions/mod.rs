//! One module for each instruction, or for a pair of inverse instructions.

pub mod claim;
pub mod fund_reserve;
pub mod initialize_pool;
pub mod open_position;
pub mod principal;
pub mod set_rate;
