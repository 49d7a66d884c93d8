//! IPv6: what the routers of the link say decides where the address comes from.
//!
//! | the router says | address | name servers |
//! |---|---|---|
//! | M (managed) | DHCPv6; when it is silent, of its own making | DHCPv6, router |
//! | O (other) | of its own making (SLAAC, by the kernel) | DHCPv6, router |
//! | neither | of its own making | router (RDNSS) |
//! | nothing, there is none | DHCPv6 | DHCPv6 |

use std::fs;
use std::process::ExitCode;
use std::time::Duration;

use goldring_contract::Root;
use goldring_wire::dhcp6::Wish;

use super::dhcp6::Conversation;
use super::held6::{Held6, is_autonomous};
use super::inet6;
use super::link::{self, Link};
use super::routers::{Router, Routers};
use crate::console::say;
use crate::fate::Fate;

/// A kernel without IPv6, in one sentence.
pub(super) const MISSING: &str = "this kernel has no IPv6; is ipv6.disable=1 on its command \
                                  line, or the module ipv6 missing in images/stage1.toml?";
/// How long the kernel may take to make an address once a router has spoken.
const MAKING: Duration = Duration::from_secs(8);

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asker<'a> {
    /// Where the kernel's files are.
    pub(crate) root: &'a Root,
    /// Where resolv.conf is written, if anywhere.
    pub(crate) files: Option<&'a Root>,
    pub(crate) card: &'a Link,
    /// The name to ask for.
    pub(crate) hostname: Option<&'a str>,
    /// The domain that outdoes that of a server.
    pub(crate) domain: Option<&'a str>,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Got {
    /// What the card has.
    pub(crate) held: Held6,
    /// The conversation that will renew it.
    conversation: Option<Conversation>,
}

impl Got {
    /// Keeps it for as long as the machine runs.
    pub(crate) fn keep(self) {
        if let Some(conversation) = self.conversation {
            conversation.keep(self.held);
        }
    }
}

/// Listens to routers while something else is tried.
#[derive(Debug)]
pub(crate) struct Ear(Option<Routers>);

impl Ear {
    /// Starts to listen; a kernel without IPv6 hears nothing.
    pub(crate) fn open(card: &Link) -> Self {
        Self(Routers::listen(card).ok())
    }

    /// The router that has spoken, or speaks when it is asked now.
    pub(crate) fn router(&self) -> Option<Router> {
        self.0.as_ref()?.find()
    }
}

/// Gets an IPv6 address.
///
/// # Errors
/// A kernel without IPv6, no router and no server, an address that somebody else has.
pub(crate) fn get(asker: &Asker<'_>) -> Result<Got, Fate> {
    let card = asker.card;
    if !inet6::is_there(asker.root) {
        return Err(Fate::reboot(MISSING));
    }
    let routers =
        Routers::listen(card).map_err(|error| Fate::retry(format!("IPv6 on {card}: {error}")))?;
    inet6::link_local(asker.root, card)?;
    by_router(asker, routers.find())
}

/// Gets an IPv6 address as this router says.
///
/// # Errors
/// As [`get`].
pub(crate) fn by_router(asker: &Asker<'_>, router: Option<Router>) -> Result<Got, Fate> {
    let Asker { root, card, .. } = *asker;
    inet6::link_local(root, card)?;
    let said = router.as_ref().map(|router| router.said.clone());
    let mut held = Held6::new(asker, router);
    let Some(said) = said else {
        say(&format!(
            "{}: no router speaks IPv6 here, asking DHCPv6",
            card.name
        ));
        let conversation = by_dhcp(asker, &mut held).map_err(|fate| {
            fate.because(&["no router answers either; does one speak IPv6 here?".to_owned()])
        })?;
        held.finish();
        return Ok(Got {
            held,
            conversation: Some(conversation),
        });
    };
    let mut conversation = None;
    if said.managed {
        match by_dhcp(asker, &mut held) {
            Ok(talk) => conversation = Some(talk),
            Err(Fate::Retry(cause)) if is_autonomous(&said) => {
                say(&format!("{}; making an address instead", cause.why));
            }
            Err(fate) => return Err(fate),
        }
    }
    if conversation.is_none() {
        held.made_by_kernel(MAKING)?;
    }
    if said.other && !said.managed {
        conversation = settings(asker, &mut held);
    }
    held.finish();
    Ok(Got { held, conversation })
}

/// An address by DHCPv6.
fn by_dhcp(asker: &Asker<'_>, held: &mut Held6) -> Result<Conversation, Fate> {
    let mut conversation = talk(asker, Wish::Address)?;
    conversation.first_lease(&mut |lease| held.take(lease))?;
    Ok(conversation)
}

/// Only what a server says beside an address; without it the node works all the same.
fn settings(asker: &Asker<'_>, held: &mut Held6) -> Option<Conversation> {
    let asked = talk(asker, Wish::Settings).and_then(|mut conversation| {
        let settings = conversation.settings()?;
        Ok((conversation, settings))
    });
    match asked {
        Ok((conversation, settings)) => {
            held.settle(settings);
            Some(conversation)
        }
        Err(Fate::Retry(cause) | Fate::Reboot(cause) | Fate::Hold(cause)) => {
            say(&format!("{}; going on without it", cause.why));
            None
        }
    }
}

fn talk(asker: &Asker<'_>, wish: Wish) -> Result<Conversation, Fate> {
    Conversation::new(asker.card, asker.hostname, wish)
        .map_err(|error| Fate::retry(format!("DHCPv6 on {}: {error}", asker.card)))
}

/// With a fixed address nothing is taken from routers: everything is written down. Must be
/// said before the cards are up.
pub(crate) fn ignore_routers(root: &Root, cards: &[Link]) {
    // A VLAN device that is made later takes the default.
    let names = cards.iter().map(|card| card.name.as_str());
    for name in names.chain(["default"]) {
        // A kernel without IPv6 is told about when the address is taken.
        let _ = fs::write(
            root.join(format!("/proc/sys/net/ipv6/conf/{name}/accept_ra")),
            "0",
        );
    }
}

/// `init --ipv6 CARD`: gets an address and says what it got. With `keep` it goes on until
/// somebody ends the program, and writes resolv.conf below that folder.
pub(crate) fn show(card: &str, keep: Option<Root>) -> ExitCode {
    let root = Root::system();
    let Some(card) = link::named(&root, card) else {
        eprintln!("init: there is no Ethernet card {card}");
        return ExitCode::FAILURE;
    };
    let asker = Asker {
        root: &root,
        files: keep.as_ref(),
        card: &card,
        hostname: None,
        domain: None,
    };
    match get(&asker) {
        Ok(mut got) => {
            println!("{:#?}", got.held.settings());
            if keep.is_none() {
                got.held.lose();
                return ExitCode::SUCCESS;
            }
            got.keep();
            loop {
                std::thread::park();
            }
        }
        Err(Fate::Retry(cause) | Fate::Reboot(cause) | Fate::Hold(cause)) => {
            eprintln!("init: {}", cause.why);
            ExitCode::FAILURE
        }
    }
}
