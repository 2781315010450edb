using Scheduler.Sqlite.Files;

namespace Scheduler.Tests.Sqlite;

public sealed class FileSystemRulesTests
{
    private const string Mounts = """
        22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
        23 22 0:21 / /proc rw,nosuid shared:12 - proc proc rw
        40 22 0:40 / /srv/nfs rw,relatime shared:30 master:3 - nfs4 server:/export rw,vers=4.2
        41 22 0:41 / /srv/share\040with\134blanks rw - cifs //server/share rw
        42 22 0:42 / /srv/sshfs rw - fuse.sshfs user@host:/ rw
        43 40 254:2 / /srv/nfs/local rw - xfs /dev/vdb rw
        44 22 0:44 / /over rw - nfs server:/under rw
        45 44 0:45 / /over rw - tmpfs tmpfs rw
        46 22 0:46 / /host rw - 9p drvfs rw
        47 22 0:47 / /vm rw - virtiofs share rw

        """;

    [Theory]
    [InlineData("/srv/nfs", "nfs4", "/srv/nfs")]
    [InlineData("/srv/nfs/data/deep", "nfs4", "/srv/nfs")]
    [InlineData("/srv/share with\\blanks/x", "cifs", "/srv/share with\\blanks")]
    [InlineData("/srv/sshfs/data", "fuse.sshfs", "/srv/sshfs")]
    [InlineData("/host", "9p", "/host")]
    [InlineData("/vm/data", "virtiofs", "/vm")]
    public void Network_and_FUSE_file_systems_are_refused(string folder, string type, string mountPoint) =>
        Assert.Equal((type, mountPoint), FileSystemRules.FindRefusedIn(Mounts, folder));

    [Theory]
    [InlineData("/", "ext4")]
    [InlineData("/srv", "ext4")]
    [InlineData("/srv/nfs2/data", "ext4")]
    [InlineData("/srv/nfs/local/data", "xfs")]
    [InlineData("/over/data", "tmpfs")]
    public void Local_file_systems_are_taken(string folder, string type)
    {
        Assert.Equal(type, FileSystemRules.Find(Mounts, folder)?.Type);
        Assert.Null(FileSystemRules.FindRefusedIn(Mounts, folder));
    }

    [Theory]
    [InlineData("nfs")]
    [InlineData("smb3")]
    [InlineData("ceph")]
    [InlineData("lustre")]
    [InlineData("afs")]
    [InlineData("glusterfs")]
    [InlineData("fuse.glusterfs")]
    [InlineData("fuseblk")]
    [InlineData("FUSE")]
    public void Types_are_known(string type) =>
        Assert.Equal((type, "/"), FileSystemRules.FindRefusedIn($"1 0 0:1 / / rw - {type} x rw", "/data"));

    [Fact]
    public void The_mounts_of_this_host_can_be_read() =>
        Assert.NotNull(FileSystemRules.Find(File.ReadAllText("/proc/self/mountinfo"), AppContext.BaseDirectory));
}
