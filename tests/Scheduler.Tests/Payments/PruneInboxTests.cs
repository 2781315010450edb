using System.Globalization;
using System.Reflection;
using Payments.Jobs.Maintenance;
using Scheduler.Inbox;
using Scheduler.Runs;
using Scheduler.Testing;

namespace Scheduler.Tests.Payments;

public sealed class PruneInboxTests : IDisposable
{
    private static readonly string[] Both = ["shop", "stripe"];

    private readonly FakeTime _time = new();
    private readonly LogCapture _log = new();
    private readonly OnlyPrune _inbox = (OnlyPrune)(object)DispatchProxy.Create<IInbox, OnlyPrune>();

    public void Dispose() => _log.Dispose();

    [Fact]
    public async Task Each_part_goes_on_until_none_is_left_and_the_log_says_what_was_done()
    {
        (_inbox.Bodies, _inbox.Dead, _inbox.Quarantined, _inbox.Events) = (2_500, 3, 1_000, 7);

        await JobOn(TimeSpan.FromDays(400)).PruneAsync(CancellationToken.None);

        var now = _time.GetUtcNow();
        Assert.Equal(
            [
                ("quarantined", "shop 10", 1_000),
                ("quarantined", "shop 10", 0),
                ("quarantined", "stripe 10", 0),
                ("bodies", Text(now.AddDays(-30)), 1_000),
                ("bodies", Text(now.AddDays(-30)), 1_000),
                ("bodies", Text(now.AddDays(-30)), 500),
                ("dead", Text(now.AddDays(-90)), 3),
                // Only where an old delivery cannot come again.
                ("events", $"stripe {Text(now.AddDays(-400))}", 7),
            ],
            _inbox.Calls
        );
        Assert.Contains("dropped 2500 bodies", Assert.Single(_log.Entries).Message, StringComparison.Ordinal);
        Assert.Contains("3 of dead ones", Assert.Single(_log.Entries).Message, StringComparison.Ordinal);
        Assert.Contains("deleted 7 events", Assert.Single(_log.Entries).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Keys_are_kept_for_ever_where_that_is_wanted()
    {
        _inbox.Events = 7;

        await JobOn(TimeSpan.Zero).PruneAsync(CancellationToken.None);

        Assert.Equal(7, _inbox.Events);
        Assert.DoesNotContain(_inbox.Calls, c => c.What == "events");
    }

    [Fact]
    public async Task Cancellation_ends_it_between_batches()
    {
        using var cancel = new CancellationTokenSource();
        _inbox.Bodies = 5_000;
        _inbox.AfterBatch = cancel.Cancel;

        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () => await JobOn(TimeSpan.Zero).PruneAsync(cancel.Token));

        Assert.Equal(5_000, _inbox.Bodies);
        Assert.Single(_inbox.Calls);
    }

    private PruneInbox JobOn(TimeSpan keepKeys)
    {
        var state = DispatchProxy.Create<IState, OnlyInbox>();
        ((OnlyInbox)(object)state).Inbox = (IInbox)(object)_inbox;
        var options = new PruneInboxOptions
        {
            KeepBodies = TimeSpan.FromDays(30),
            KeepDead = TimeSpan.FromDays(90),
            KeepKeys = keepKeys,
            KeepQuarantined = 10,
            Sources = Both,
            TimedSources = ["stripe"],
        };
        return new PruneInbox(state, options, _time, new Microsoft.Extensions.Logging.Logger<PruneInbox>(_log));
    }

    private static string Text(DateTimeOffset time) => time.ToString("O", CultureInfo.InvariantCulture);

    public class OnlyInbox : DispatchProxy
    {
        public IInbox? Inbox { get; set; }

        protected override object? Invoke(MethodInfo? targetMethod, object?[]? args) =>
            targetMethod!.Name == "get_Inbox" ? Inbox : throw new NotSupportedException(targetMethod.Name);
    }

    public class OnlyPrune : DispatchProxy
    {
        public int Bodies { get; set; }

        public int Dead { get; set; }

        public int Quarantined { get; set; }

        public int Events { get; set; }

        public List<(string What, string On, int Count)> Calls { get; } = [];

        public Action? AfterBatch { get; set; }

        protected override object? Invoke(MethodInfo? targetMethod, object?[]? args)
        {
            var limit = (int)args![^2]!;
            int count;
            switch (targetMethod!.Name)
            {
                case nameof(IInbox.DropBodiesAsync):
                    Bodies -= count = Math.Min(Bodies, limit);
                    Calls.Add(("bodies", Text((DateTimeOffset)args[0]!), count));
                    break;
                case nameof(IInbox.DropDeadBodiesAsync):
                    Dead -= count = Math.Min(Dead, limit);
                    Calls.Add(("dead", Text((DateTimeOffset)args[0]!), count));
                    break;
                case nameof(IInbox.DeleteAsync):
                    Events -= count = Math.Min(Events, limit);
                    Calls.Add(("events", $"{args[0]} {Text((DateTimeOffset)args[1]!)}", count));
                    break;
                case nameof(IInbox.DropQuarantinedAsync):
                    Quarantined -= count = Math.Min(Quarantined, limit);
                    Calls.Add(("quarantined", $"{args[0]} {args[1]}", count));
                    break;
                default:
                    throw new NotSupportedException(targetMethod.Name);
            }
            AfterBatch?.Invoke();
            return new ValueTask<int>(count);
        }
    }
}
