using System.Globalization;
using System.Text.RegularExpressions;
using Scheduler.Locking;
using Scheduler.Testing;

namespace Scheduler.Tests.Sqlite;

/// <summary>The SQLite locks between real processes.</summary>
public sealed partial class SqliteProcessTests : IAsyncDisposable
{
    private static readonly TimeSpan Long = TimeSpan.FromSeconds(30);
    private static readonly LockKey Key = LockKey.From("job:settle");
    private readonly LockFolder _files = new();

    public ValueTask DisposeAsync() => _files.DisposeAsync();

    [Theory]
    [InlineData("sqlite-hold")]
    [InlineData("sqlite-hold-with-child")]
    public async Task The_leases_of_a_killed_process_are_free_at_once(string command)
    {
        await using var peer = Peer.Start(command, _files.File, "test", Key.Value);
        var line = HeldLine().Match(await peer.LineAsync());
        var number = long.Parse(line.Groups["number"].Value, CultureInfo.InvariantCulture);
        var child = int.Parse(line.Groups["child"].Value, CultureInfo.InvariantCulture);
        try
        {
            var client = await _files.ConnectAsync();
            Assert.True((await client.ExpectHeldAsync(Key)).Remaining > TimeSpan.FromSeconds(10));
            Assert.NotNull(await client.ReadAsync(Key));

            await peer.KillAsync();

            var grant = await client.AcquireWhenFreeAsync(Key, Long, within: TimeSpan.FromSeconds(1));
            Assert.True(grant.Number > number);
            Assert.Equal(client.Replica.Id, (await client.ReadAsync(Key))!.Holder);
        }
        finally
        {
            EndChild(child);
        }
    }

    [Fact]
    public async Task A_killed_process_shows_no_leases_and_its_files_are_cleaned_up()
    {
        await using var peer = Peer.Start("sqlite-hold", _files.File, "test", Key.Value);
        await peer.LineAsync();
        var client = await _files.ConnectAsync();
        Assert.Single(await client.ListAsync(""));
        Assert.Equal(2, LockFiles());

        await peer.KillAsync();
        await Eventually.Holds(async () => (await client.ListAsync("")).Count == 0, TimeSpan.FromSeconds(1));
        Assert.Null(await client.ReadAsync(Key));

        await client.Store.CheckAsync(LockStoreUse.Used, TestContext.Current.CancellationToken);
        Assert.Equal(1, LockFiles());
        await client.AcquireAsync(Key, Long);
    }

    [Fact]
    public async Task A_process_that_ends_in_order_leaves_no_lock_file()
    {
        await using var peer = Peer.Start("sqlite-stress", _files.File, "test", "1", "1");
        await peer.LineAsync();
        Assert.Equal(1, LockFiles());

        await peer.GoAsync();
        await peer.LineAsync();

        await Eventually.Holds(() => LockFiles() == 0);
    }

    [Fact]
    public async Task A_frozen_process_keeps_its_leases_until_their_time()
    {
        await using var peer = Peer.Start("sqlite-hold", _files.File, "test", Key.Value);
        await peer.LineAsync();
        await peer.SignalAsync("STOP");
        var client = await _files.ConnectAsync();

        for (var i = 0; i < 20; i++)
        {
            Assert.True((await client.ExpectHeldAsync(Key)).Remaining > TimeSpan.FromSeconds(5));
            await client.Store.CheckAsync(LockStoreUse.Used, TestContext.Current.CancellationToken);
        }

        await peer.SignalAsync("CONT");
        await client.ExpectHeldAsync(Key);
    }

    [Fact]
    public async Task Two_processes_with_8_writers_each_all_finish_without_an_error()
    {
        const int Writers = 8;
        const int Cycles = 1_500;
        string[] arguments = ["sqlite-stress", _files.File, "test", $"{Writers}", $"{Cycles}"];
        await using var one = Peer.Start(arguments);
        await using var two = Peer.Start(arguments);
        Peer[] both = [one, two];
        foreach (var peer in both)
        {
            Assert.Equal("ready", await peer.LineAsync());
        }

        await Task.WhenAll(both.Select(p => p.GoAsync()));
        var lines = await Task.WhenAll(both.Select(p => p.LineAsync(TimeSpan.FromMinutes(2))));

        foreach (var line in lines)
        {
            TestContext.Current.TestOutputHelper!.WriteLine(line);
            var result = FinishedLine().Match(line);
            Assert.True(result.Success, line);
            Assert.Equal($"{Writers}", result.Groups["writers"].Value);
            Assert.Equal("0", result.Groups["errors"].Value);
            // Seven of eight cycles ask for a key that nobody else wants.
            Assert.InRange(
                int.Parse(result.Groups["granted"].Value, CultureInfo.InvariantCulture),
                Writers * Cycles * 7 / 8,
                Writers * Cycles
            );
            // Others build and test on the same cores, so far above what a quiet machine shows, and below any time-out of SQLite.
            Assert.InRange(double.Parse(result.Groups["longest"].Value, CultureInfo.InvariantCulture), 0, 5_000);
        }
    }

    private int LockFiles() => Directory.GetFiles(_files.File + ".replicas").Length;

    private static void EndChild(int id)
    {
        if (id == 0)
        {
            return;
        }
        using var child = System.Diagnostics.Process.GetProcessById(id);
        Assert.False(child.HasExited, "The child must have outlived its parent, or the test shows nothing.");
        child.Kill();
    }

    [GeneratedRegex(@"^held (?<number>\d+) child (?<child>\d+)$", RegexOptions.CultureInvariant, 1_000)]
    private static partial Regex HeldLine();

    [GeneratedRegex(
        @"^finished (?<writers>\d+) errors (?<errors>\d+) granted (?<granted>\d+) longest (?<longest>[\d.]+) ms",
        RegexOptions.CultureInvariant,
        1_000
    )]
    private static partial Regex FinishedLine();
}
