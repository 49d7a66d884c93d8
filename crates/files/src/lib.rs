//! The files of an installed system as what is cloned: which of them ([`select`],
//! [`manifest`], [`deployment`]), how they travel ([`send`], [`receive`], [`walk`], [`trailer`]), what a
//! tar cannot carry ([`made`]), and whether two trees are the same ([`compare`]).
//!
//! GNU tar reads and writes the files themselves: it is the one program that carries
//! everything they have. What is here stands around it ([`mod@tar`], [`said`]).

pub mod compare;
pub mod deployment;
pub mod golden;
pub mod made;
pub mod manifest;
pub mod partfiles;
pub mod receive;
pub mod said;
pub mod select;
pub mod send;
pub mod store;
pub mod tar;
pub mod text;
pub mod trailer;
pub mod walk;
