//! A golden node as the small files of an image, and back.

use anyhow::{Context, ensure};
use goldring_disk::desc::Desc;
use goldring_disk::table::Geometry;
use goldring_files::deployment::{DEPLOYMENT_FILE, Deployment, DiskOrder, MANIFEST_FILE};
use goldring_files::manifest::Manifest;
use goldring_files::store::{Image, Index, KeptDisk};

use crate::deploy::{Golden, GoldenDisk};

/// Names and bytes.
pub(super) fn files(golden: &Golden) -> Vec<(String, Vec<u8>)> {
    let order = |(number, disk): (usize, &GoldenDisk)| DiskOrder {
        device: disk.device.clone(),
        desc: format!("desc.{number}"),
        boot: disk
            .boot
            .as_ref()
            .map(|_| format!("MBR.{number}"))
            .unwrap_or_default(),
    };
    let deployment = Deployment {
        disks: golden.disks.iter().enumerate().map(order).collect(),
        raw: golden.raw.clone(),
        ..Deployment::default()
    };
    let mut files = vec![
        (DEPLOYMENT_FILE.to_owned(), deployment.to_string().into()),
        (MANIFEST_FILE.to_owned(), golden.manifest.to_string().into()),
    ];
    for (disk, order) in golden.disks.iter().zip(deployment.disks) {
        if let Some(desc) = &disk.desc {
            files.push((order.desc, desc.to_string().into()));
        }
        files.extend(disk.boot.clone().map(|code| (order.boot, code)));
    }
    files
}

/// The disks as the index tells of them.
pub(super) fn disks(golden: &Golden) -> Vec<KeptDisk> {
    let disk = |disk: &GoldenDisk| {
        disk.geometry.map(|geometry| KeptDisk {
            device: disk.device.clone(),
            size: geometry.sectors * u64::from(geometry.sector_size),
            sector_size: geometry.sector_size,
        })
    };
    golden.disks.iter().filter_map(disk).collect()
}

/// The golden node of an image.
///
/// # Errors
/// One of its files is damaged, or says what it cannot.
pub(super) fn golden(image: &Image) -> anyhow::Result<Golden> {
    let deployment = Deployment::parse(&text(image, DEPLOYMENT_FILE)?).context(DEPLOYMENT_FILE)?;
    let manifest = Manifest::parse(&text(image, MANIFEST_FILE)?).context(MANIFEST_FILE)?;
    ensure!(
        image.index.streams.len() == deployment.raw.len() + 1,
        "the image has {} streams, and its deployment wants {}",
        image.index.streams.len(),
        deployment.raw.len() + 1
    );
    let disks = deployment.disks.iter().map(|order| {
        let desc = Desc::parse(&text(image, &order.desc)?).context(order.desc.clone())?;
        Ok(GoldenDisk {
            device: order.device.clone(),
            geometry: geometry(&image.index, &order.device),
            desc: Some(desc),
            notes: Vec::new(),
            boot: image.file(&order.boot)?,
        })
    });
    Ok(Golden {
        disks: disks.collect::<anyhow::Result<_>>()?,
        manifest,
        raw: deployment.raw,
    })
}

fn text(image: &Image, name: &str) -> anyhow::Result<String> {
    let bytes = image.file(name)?;
    let bytes = bytes.with_context(|| format!("the image has no {name}"))?;
    String::from_utf8(bytes).with_context(|| name.to_owned())
}

fn geometry(index: &Index, device: &str) -> Option<Geometry> {
    let mut disks = index.disks.iter();
    let disk = disks.find(|disk| disk.device == device)?;
    Some(Geometry::new(disk.size, disk.sector_size))
}
