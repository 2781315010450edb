using Scheduler.Runs;

namespace Scheduler.Bench.Members;

/// <summary>Members whose heartbeat is young and who do nothing: killed a moment ago, again and again.</summary>
internal sealed class Ghosts : IAsyncDisposable
{
    private static readonly TimeSpan Beat = TimeSpan.FromSeconds(1);
    private readonly CancellationTokenSource _stop;
    private readonly Task _beating;

    private Ghosts(Task beating, CancellationTokenSource stop) => (_beating, _stop) = (beating, stop);

    public static async Task<Ghosts> StartAsync(StateGuard state, int count, IReadOnlyList<string> jobs)
    {
        var now = TimeProvider.System.GetUtcNow();
        var members = Enumerable
            .Range(1, count)
            .Select(i => ReplicaIdentity.Create($"ghost-{i}"))
            .Select(id => new MemberRecord
            {
                Id = id.Id,
                Name = id.Name,
                StartedAt = now,
                WallClock = now,
                BootClock = TimeSpan.Zero,
                Jobs = jobs,
            })
            .ToList();
        await BeatAsync();
        var stop = new CancellationTokenSource();
        return new Ghosts(BeatUntilAsync(stop.Token), stop);

        async Task BeatUntilAsync(CancellationToken token)
        {
            using var timer = new PeriodicTimer(Beat);
            try
            {
                while (await timer.WaitForNextTickAsync(token))
                {
                    await BeatAsync();
                }
            }
            catch (OperationCanceledException)
            {
                // Enough.
            }
        }

        async Task BeatAsync()
        {
            foreach (var member in members)
            {
                var beat = member with { WallClock = TimeProvider.System.GetUtcNow() };
                await state.CallAsync((s, t) => s.Members.HeartbeatAsync(beat, t), CancellationToken.None);
            }
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _beating;
        _stop.Dispose();
    }
}
