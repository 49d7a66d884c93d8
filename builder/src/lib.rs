//! From recipes to images: `vmlinuz`, `all.rdz` and `rescue.clp`.
//!
//! [`recipe`] says what goes in; [`apt`], [`sysroot`] and [`kernel`] say where it comes
//! from; [`modules`] and [`elf`] find what that needs; [`stage1`] and [`stage2`] make
//! trees of it, which [`newc`] and [`squash`] write. [`image`] does it all in order.

pub mod apt;
pub mod compress;
pub mod digest;
pub mod elf;
pub mod image;
pub mod inspect;
pub mod kconfig;
pub mod kernel;
pub mod lock;
pub mod modinfo;
pub mod modules;
pub mod newc;
pub mod progress;
pub mod recipe;
pub mod report;
pub mod squash;
pub mod stage1;
pub mod stage2;
pub mod sysroot;
pub mod tree;
