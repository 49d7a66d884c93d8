//! Places where a program can be made to die, so that tests see what a power cut leaves
//! behind. They exist in a build with `--features faults` only.

/// Ends this program at once when `GOLDRING_KILL` names this place.
#[cfg(feature = "faults")]
pub(crate) fn killpoint(place: &str) {
    if std::env::var("GOLDRING_KILL").is_ok_and(|wanted| wanted == place) {
        eprintln!("goldring: killed at {place:?}, as GOLDRING_KILL says");
        std::process::abort();
    }
}

/// Nothing, in a program for people.
#[cfg(not(feature = "faults"))]
pub(crate) fn killpoint(_place: &str) {}
