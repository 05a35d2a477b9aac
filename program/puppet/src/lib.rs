//! A program for tests: it runs the script in the data of its last account. It plays any caller of
//! the vault program, and any yield program.
//!
//! The script is a list of commands, run in order until it ends (an empty script succeeds):
//!
//! ```text
//! 1  program: [u8; 32]  count: u8  count × (index: u8, rights: u8)  length: u16  data: [u8; length]
//!    Calls a program with those of the puppet's accounts; rights: 1 signs, 2 writable.
//! 2  length: u16  bytes: [u8; length]
//!    Logs `Program data: <bytes>`; at least eight of them.
//! 3  code: u32
//!    Fails with this custom error.
//! 4  bound: [u8; 32]  and what follows 1
//!    Calls as 1 does, but with the signature of the puppet's PDA `["caller", bound]`.
//! 5  name: [u8; 8]  length: u16
//!    Skips the next `length` bytes of the script, unless the instruction data begin with `name`.
//! ```
//!
//! Integers are little-endian; a length is at most 1024. The puppet's PDA, derived from
//! `["puppet"]`, signs calls that say so: accounts of that address belong to the puppet.
#![no_std]
#![deny(unsafe_code)]

mod script;

use sdk::cpi::{self, Call, MAX_ACCOUNTS, Use};
use sdk::log::{EventBuffer, Field};
use sdk::{AnchorError, Context, Error, Result, pda};

use script::{MAX_LENGTH, Script};

const PUPPET: &[u8] = b"puppet";
const CALLER: &[u8] = b"caller";
const CALL: u8 = 1;
const LOG: u8 = 2;
const FAIL: u8 = 3;
const CALL_BOUND: u8 = 4;
const WHEN: u8 = 5;

const SIGNS: u8 = 1;
const WRITABLE: u8 = 2;

sdk::errors! {
    PuppetError:
    UnknownCommand = 9000, "The script has a command that does not exist";
}

sdk::entrypoint!(process, PuppetError);

fn process(context: &Context) -> Result {
    let account = context.accounts.last().ok_or(AnchorError::AccountNotEnoughKeys)?;
    let mut script = Script::new(account.data());
    while !script.is_at_end() {
        match script.u8()? {
            CALL => call(context, &mut script, [PUPPET, &[]])?,
            CALL_BOUND => {
                let bound = script.key()?;
                call(context, &mut script, [CALLER, bound.as_bytes()])?;
            }
            LOG => log(&mut script)?,
            WHEN => {
                let (name, length) = (script.name()?, script.u16()?);
                if !context.data.rest().starts_with(&name) {
                    script.skip(length);
                }
            }
            FAIL => return Err(Error::new(script.u32()?.into())),
            _ => return Err(PuppetError::UnknownCommand),
        }
    }
    Ok(())
}

#[inline(never)]
fn call(context: &Context, script: &mut Script, [name, bound]: [&[u8]; 2]) -> Result {
    let program = script.key()?;
    let mut uses = [Use::readonly(context.accounts[0]); MAX_ACCOUNTS];
    let count = usize::from(script.u8()?);
    for used in &mut uses[..count] {
        let account = context.accounts[usize::from(script.u8()?)];
        *used = match script.u8()? {
            0 => Use::readonly(account),
            SIGNS => Use::signer(account),
            WRITABLE => Use::writable(account),
            _ => Use::writable_signer(account),
        };
    }
    let mut data = [0; MAX_LENGTH];
    let data = script.bytes(&mut data)?;
    let (_, bump) = pda::find([name, bound], context.program_id)?;
    cpi::invoke(&Call {
        program: &program,
        accounts: &uses[..count],
        data,
        signer: &[name, bound, &[bump]],
    });
    Ok(())
}

#[inline(never)]
fn log(script: &mut Script) -> Result {
    let mut bytes = [0; MAX_LENGTH];
    let bytes = script.bytes(&mut bytes)?;
    let (first, rest) = bytes.split_first_chunk().ok_or(AnchorError::AccountDidNotDeserialize)?;
    let mut event = EventBuffer::<MAX_LENGTH>::new(*first);
    for byte in rest {
        byte.append(&mut event);
    }
    event.emit();
    Ok(())
}
