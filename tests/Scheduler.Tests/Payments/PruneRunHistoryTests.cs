using System.Reflection;
using Microsoft.Extensions.Logging.Abstractions;
using Payments.Jobs.Maintenance;
using Scheduler.Runs;
using Scheduler.Testing;

namespace Scheduler.Tests.Payments;

public class PruneRunHistoryTests
{
    private readonly FakeTime _time = new();

    [Theory]
    [InlineData(0, 1)]
    [InlineData(999, 1)]
    [InlineData(1_000, 2)]
    [InlineData(2_500, 3)]
    public async Task Old_runs_are_deleted_in_batches_until_none_is_left(int old, int calls)
    {
        var ledger = LedgerOf(old);

        Assert.Equal(old, await JobOn(ledger).PruneAsync(CancellationToken.None));

        Assert.Equal(0, ledger.Old);
        Assert.Equal(calls, ledger.Bounds.Count);
        Assert.All(ledger.Bounds, bound => Assert.Equal(_time.GetUtcNow().AddDays(-7), bound));
    }

    [Fact]
    public async Task Cancellation_ends_it_between_batches()
    {
        using var cancel = new CancellationTokenSource();
        var ledger = LedgerOf(5_000);
        ledger.AfterBatch = cancel.Cancel;

        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () => await JobOn(ledger).PruneAsync(cancel.Token));

        Assert.Equal(4_000, ledger.Old);
    }

    private PruneRunHistory JobOn(OnlyPrune ledger)
    {
        var state = DispatchProxy.Create<IState, OnlyRuns>();
        ((OnlyRuns)(object)state).Ledger = (IRunLedger)(object)ledger;
        return new PruneRunHistory(
            state,
            new PruneOptions { KeepRuns = TimeSpan.FromDays(7) },
            _time,
            NullLogger<PruneRunHistory>.Instance
        );
    }

    private static OnlyPrune LedgerOf(int old)
    {
        var ledger = (OnlyPrune)(object)DispatchProxy.Create<IRunLedger, OnlyPrune>();
        ledger.Old = old;
        return ledger;
    }

    public class OnlyRuns : DispatchProxy
    {
        public IRunLedger? Ledger { get; set; }

        protected override object? Invoke(MethodInfo? targetMethod, object?[]? args) =>
            targetMethod!.Name == "get_Runs" ? Ledger : throw new NotSupportedException(targetMethod.Name);
    }

    public class OnlyPrune : DispatchProxy
    {
        public int Old { get; set; }

        public List<DateTimeOffset> Bounds { get; } = [];

        public Action? AfterBatch { get; set; }

        protected override object? Invoke(MethodInfo? targetMethod, object?[]? args)
        {
            Assert.Equal(nameof(IRunLedger.PruneAsync), targetMethod!.Name);
            Bounds.Add((DateTimeOffset)args![0]!);
            var deleted = Math.Min(Old, (int)args[1]!);
            Old -= deleted;
            AfterBatch?.Invoke();
            return new ValueTask<int>(deleted);
        }
    }
}
