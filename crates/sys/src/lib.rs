//! The fence: every system call that the standard library lacks, and the only
//! crate of the workspace that may contain `unsafe`.
