//! The memory functions that generated code calls, implemented with the virtual machine's syscalls.
#![feature(compiler_builtins)]
#![compiler_builtins]
#![allow(internal_features)]
#![no_std]

// murmur3_32 of the syscalls' names.
const SOL_MEMCPY: usize = 0x717c_c4a3;
const SOL_MEMMOVE: usize = 0x4343_71f8;
const SOL_MEMSET: usize = 0x3770_fb22;
const SOL_MEMCMP: usize = 0x5fdc_de31;

type Copy = extern "C" fn(*mut u8, *const u8, usize);
type Set = extern "C" fn(*mut u8, u8, usize);
type Compare = extern "C" fn(*const u8, *const u8, usize, *mut i32);

#[unsafe(no_mangle)]
pub unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    let syscall: Copy = unsafe { core::mem::transmute(SOL_MEMCPY) };
    syscall(to, from, length);
    to
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    let syscall: Copy = unsafe { core::mem::transmute(SOL_MEMMOVE) };
    syscall(to, from, length);
    to
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn memset(to: *mut u8, byte: i32, length: usize) -> *mut u8 {
    let syscall: Set = unsafe { core::mem::transmute(SOL_MEMSET) };
    syscall(to, byte as u8, length);
    to
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn memcmp(one: *const u8, other: *const u8, length: usize) -> i32 {
    let syscall: Compare = unsafe { core::mem::transmute(SOL_MEMCMP) };
    let mut order = 0;
    syscall(one, other, length, &mut order);
    order
}
