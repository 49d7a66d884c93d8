//! nfs-ganesha, an NFS server that is not ours and needs no kernel for it, in a room.

use std::fs;
use std::path::Path;

use anyhow::Result;

use crate::room::Room;

/// How a server is to be.
#[derive(Debug)]
pub struct Ganesha<'a> {
    /// The versions of NFS: `3, 4`.
    pub protocols: &'a str,
    /// Where it listens.
    pub port: u16,
    /// What it exports, see [`Ganesha::export`].
    pub exports: String,
}

impl Ganesha<'_> {
    /// Exports `folder`; `name` is what clients call it, `access` who may come.
    pub fn export(folder: &Path, name: &str, access: &str) -> String {
        format!(
            "EXPORT {{ Export_Id = 7; Path = {}; Pseudo = {name}; Squash = None; SecType = sys; \
             {access} FSAL {{ Name = VFS; }} }}\n",
            folder.display()
        )
    }

    /// Starts it in the room. Version 3 needs a port mapper, which wants a `/run` of its
    /// own: its socket is a file.
    ///
    /// # Errors
    /// As [`Room::serve`].
    pub fn start(&self, room: &mut Room) -> Result<()> {
        let config = room.folder().join("ganesha.conf");
        let state = room.folder().join("ganesha");
        fs::create_dir_all(&state)?;
        fs::write(
            &config,
            format!(
                "NFS_CORE_PARAM {{ Protocols = {}; NFS_Port = {}; Enable_NLM = false; \
                 Enable_RQUOTA = false; Enable_UDP = false; mount_path_pseudo = true; }}\n\
                 NFSv4 {{ RecoveryBackend = fs; RecoveryRoot = {}; Graceless = true; }}\n{}",
                self.protocols,
                self.port,
                state.display(),
                self.exports
            ),
        )?;
        let script = format!(
            "mount -t tmpfs none /run\nmkdir /run/rpcbind\nrpcbind -f &\n\
             until [ -S /run/rpcbind.sock ]; do sleep 0.1; done\n\
             exec ganesha.nfsd -F -f {} -L /dev/stdout -p {}",
            config.display(),
            state.join("pid").display()
        );
        let mut command = room.command("sh");
        command.args(["-c", &script]);
        room.serve("ganesha", command, Some("NFS SERVER INITIALIZED"))
    }
}
