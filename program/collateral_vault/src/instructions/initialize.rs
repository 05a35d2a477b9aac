use sdk::{Context, Reader, Result, system};

use crate::accounts;

/// Does nothing, as the interface requires.
#[inline(never)]
pub fn process(context: &Context, arguments: &mut Reader) -> Result {
    arguments.end()?;
    let (&[system_program], _) = accounts::take(context)?;
    accounts::program(system_program, &system::ID)
}
