//! The names of ka sessions: what the golden node serves and a node asks for.
//!
//! `kaopt=NAME` gives nodes a private run: NAME replaces the base of every name
//! (manual; the names themselves are those of the old tools).

/// The session that brings stage 2.
///
/// ```
/// use goldring_contract::ka::stage2_session;
/// assert_eq!(stage2_session(None), "getstage2");
/// assert_eq!(stage2_session(Some("lab")), "lab");
/// ```
pub fn stage2_session(kaopt: Option<&str>) -> String {
    kaopt.unwrap_or("getstage2").to_owned()
}

/// The sessions of an installation, from 1 on.
///
/// ```
/// use goldring_contract::ka::install_session;
/// assert_eq!(install_session(None, 2), "kainstall2");
/// assert_eq!(install_session(Some("lab"), 2), "lab2");
/// ```
pub fn install_session(kaopt: Option<&str>, number: u32) -> String {
    format!("{}{number}", kaopt.unwrap_or("kainstall"))
}
