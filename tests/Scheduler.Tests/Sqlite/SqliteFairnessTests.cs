using Scheduler.Locking;

namespace Scheduler.Tests.Sqlite;

/// <summary>Writers of other replicas get their turn however busy one of them is.</summary>
public sealed class SqliteFairnessTests : IAsyncDisposable
{
    private readonly LockFolder _files = new();

    public ValueTask DisposeAsync() => _files.DisposeAsync();

    [Fact]
    public async Task A_replica_that_always_has_more_to_write_does_not_keep_the_others_away()
    {
        var (busy, quiet) = (await _files.ConnectAsync(), await _files.ConnectAsync());
        using var stop = new CancellationTokenSource();
        var load = Enumerable
            .Range(0, 128)
            .Select(i =>
                Task.Run(async () =>
                {
                    var key = LockKey.From($"busy:{i}");
                    while (!stop.IsCancellationRequested)
                    {
                        await busy.ReleaseAsync(await busy.AcquireAsync(key, TimeSpan.FromSeconds(30)));
                    }
                })
            )
            .ToList();
        var longest = TimeSpan.Zero;
        for (var i = 0; i < 200; i++)
        {
            var since = TimeProvider.System.GetTimestamp();
            await quiet.ReadAsync(LockKey.From("quiet"));
            var took = TimeProvider.System.GetElapsedTime(since);
            longest = took > longest ? took : longest;
        }
        await stop.CancelAsync();
        await Task.WhenAll(load);

        TestContext.Current.TestOutputHelper!.WriteLine($"longest wait {longest.TotalMilliseconds:0} ms");
        Assert.True(longest < TimeSpan.FromMilliseconds(500), $"waited {longest.TotalMilliseconds:0} ms");
    }
}
