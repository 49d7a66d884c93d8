//! What an error means for the machine, as a type.

use std::time::Duration;

use goldring_contract::limits::{REBOOT_COUNTDOWN, REBOOT_COUNTDOWN_LONG};
pub(crate) use goldring_contract::sentences::chain;

/// Why, in one sentence that says what to do next, and how long it is to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cause {
    pub(crate) why: String,
    pub(crate) countdown: Duration,
}

/// The error of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Another try may do: a lost packet, a server that is not up yet.
    Retry(Cause),
    /// Nothing that this boot can mend; the next one may find a mended world.
    Reboot(Cause),
    /// For a person to look at; the machine stays as it is.
    Hold(Cause),
}

impl Fate {
    /// Try again; when all tries are used up, a short countdown and a reboot.
    pub(crate) fn retry(why: impl Into<String>) -> Self {
        Self::Retry(Cause {
            why: why.into(),
            countdown: REBOOT_COUNTDOWN,
        })
    }

    /// Reboot after a long countdown, since only a person can mend it.
    pub(crate) fn reboot(why: impl Into<String>) -> Self {
        Self::Reboot(Cause {
            why: why.into(),
            countdown: REBOOT_COUNTDOWN_LONG,
        })
    }

    /// Adds what may be the reason.
    pub(crate) fn because(mut self, reasons: &[String]) -> Self {
        let (Self::Retry(cause) | Self::Reboot(cause) | Self::Hold(cause)) = &mut self;
        for reason in reasons {
            cause.why.push_str("; ");
            cause.why.push_str(reason);
        }
        self
    }

    /// Stay.
    pub(crate) fn hold(why: impl Into<String>) -> Self {
        Self::Hold(Cause {
            why: why.into(),
            countdown: Duration::ZERO,
        })
    }
}
