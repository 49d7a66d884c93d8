//! Helpers of the stories in virtual machines.
