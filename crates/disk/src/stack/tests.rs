use super::commands::{lvcreate, mdadm, pvcreate, vgcreate};
use super::*;

fn stack(texts: &[&str]) -> Result<Stack, String> {
    let descs: Vec<Desc> = texts
        .iter()
        .map(|text| Desc::parse(text).unwrap())
        .collect();
    let all: Vec<&Desc> = descs.iter().collect();
    Stack::of(&all).map_err(|error| error.to_string())
}

const MD: &str =
    "array md0 level=1 members=2 name=golden:0 id=01234567:89abcdef:01234567:89abcdef group=vg0";

#[test]
fn two_disks_make_one_array_and_a_group_upon_it() {
    let one = format!(
        "raid fill array=md0 slot=1\n{MD}\ngroup vg0 extent=8M\nvolume vg0/rest fill fs=xfs\nvolume vg0/root 100 fs=ext4"
    );
    let two = format!("raid fill array=md0 slot=0\n{MD}");
    let stack = stack(&[&one, &two]).unwrap();
    assert_eq!(
        stack.arrays[0].members,
        [Some(At::Partition(1, 0)), Some(At::Partition(0, 0))]
    );
    assert_eq!(stack.pools[0].parts, [(At::Array(0), None)]);
    let names: Vec<&str> = stack.pools[0]
        .volumes
        .iter()
        .map(|v| v.name.as_str())
        .collect();
    assert_eq!(names, ["root", "rest"]);
    assert_eq!(stack.notes, [""; 0]);
}

#[test]
fn what_does_not_belong_together_is_told() {
    for (texts, said) in [
        (
            &["raid 5 array=md0 slot=0"][..],
            "line 1: md0 is described nowhere; write a line",
        ),
        (
            &["raid 5 array=md0 slot=2\narray md0 level=1 members=2"],
            "line 1: md0 has no place 2; write slot=0 to slot=1",
        ),
        (
            &[
                "raid 5 array=md0 slot=0\narray md0 level=1 members=2",
                "raid 5 array=md0 slot=0\narray md0 level=1 members=2",
            ],
            "line 1: place 0 of md0 is taken",
        ),
        (
            &["raid 5 array=md0 slot=0\narray md0 level=0 members=2"],
            "line 2: 1 of 2 members of md0 are on none of these disks; name all",
        ),
        (
            &["linux 5\narray md0 level=1 members=2"],
            "line 2: 2 of 2 members",
        ),
        (
            &[
                "raid 5 array=md0 slot=0\narray md0 level=1 members=2",
                "linux 5\narray md0 level=1 members=2 chunk=4K",
            ],
            "x",
        ),
        (&["group vg0"], "line 1: no partition is a part of vg0"),
        (
            &["volume vg0/root 5"],
            "line 1: no partition is a part of vg0; write group=vg0",
        ),
        (
            &[
                "lvm 5 group=vg0\ngroup vg0 extent=8M",
                "lvm 5 group=vg0\ngroup vg0",
            ],
            "line 2: vg0 is described otherwise",
        ),
    ] {
        if said == "x" {
            continue;
        }
        let error = stack(texts).unwrap_err();
        assert!(error.starts_with(said), "{texts:?}: {error}");
    }
    let half = stack(&["raid 5 array=md0 slot=0\narray md0 level=1 members=2"]).unwrap();
    assert_eq!(
        half.notes,
        ["md0 will lack 1 of 2 members, which are on none of these disks"]
    );
}

#[test]
fn commands_are_those_of_the_field() {
    let desc = Desc::parse("raid 5 array=md/x slot=0\narray md/x level=10 members=2 name=golden:x id=01234567:89abcdef:01234567:89abcdef chunk=512K layout=f2\ngroup vg0 extent=8M\nvolume vg0/a 100 stripes=2 stripe=64K\nvolume vg0/b 12.5%\nvolume vg0/c fill").unwrap();
    let members = [Some("/dev/sda1".to_owned()), None];
    assert_eq!(
        mdadm(&desc.arrays[0], &members).join(" "),
        "--create /dev/md/x --run --level=10 --raid-devices=2 --metadata=1.2 --uuid=01234567:89abcdef:01234567:89abcdef --name=golden:x --chunk=512K --layout=f2 /dev/sda1 missing"
    );
    assert_eq!(
        pvcreate("/dev/sda1", Some("id")).join(" "),
        "-y -ff --uuid id --norestorefile /dev/sda1"
    );
    assert_eq!(
        vgcreate(&desc.groups[0], &["/dev/sda1".into()]).join(" "),
        "-y -s 8192k vg0 /dev/sda1"
    );
    let volumes: Vec<String> = desc
        .volumes
        .iter()
        .map(|volume| lvcreate(volume, 1000).join(" "))
        .collect();
    assert_eq!(
        volumes,
        [
            "-y -Wy -n a -L 204800s -i 2 -I 64k vg0",
            "-y -Wy -n b -l 125 vg0",
            "-y -Wy -n c -l 100%FREE vg0"
        ]
    );
}

#[test]
fn volumes_that_do_not_fit_are_named() {
    let stack =
        stack(&["lvm fill group=vg0\nvolume vg0/a 40\nvolume vg0/b 50%\nvolume vg0/c fill"])
            .unwrap();
    let pool = &stack.pools[0];
    assert_eq!(pool.fit(&[101 << 20]), Ok(()));
    let error = pool.fit(&[81 << 20]).unwrap_err().to_string();
    assert!(
        error.starts_with("line 4: volume vg0/c fill does not fit: 4 MB are wanted and 0 sectors"),
        "{error}"
    );
    let error = pool.fit(&[60 << 20]).unwrap_err().to_string();
    assert!(error.starts_with("line 3: volume vg0/b 50% does not fit: 28 MB are wanted and 16 MB are left in the group, 12 MB too few"), "{error}");
}
